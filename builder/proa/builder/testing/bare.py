"""What a node has of Python, in a folder: to try that it is enough, and what its commands take to start."""

from __future__ import annotations

import compileall
import py_compile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from proa.builder.inputs import imports
from proa.builder.node.software import COMMANDS, LOCK, SITE, files, launcher
from proa.core.runtime import process

PYTHON: Final = ("/usr/bin/python3", "-ISB")
"""Python as a node starts it: nothing of the user's, no site folder of the system's."""

EVERYTHING: Final = """
import importlib, json, pathlib, sys
site, verbs = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
sys.path[:0] = [str(site), *sys.argv[3:]]
for path in sorted(site.glob("proa/**/*.py")):
    module = importlib.import_module(".".join(path.relative_to(site).with_suffix("").parts).removesuffix(".__init__"))
    for value in vars(module).values():
        if isinstance(value, pathlib.Path) and value.is_relative_to(site):
            assert value.exists(), value
for module, names in verbs.items():
    for name in names:
        sys.argv = ["a-command", *([name] if name else []), "--help"]
        try:
            importlib.import_module(module).main()
        except SystemExit as end:
            assert not end.code, (module, name)
"""
"""Imports every module of a site folder, looks for every file that one of them names, and runs verbs for their help.

Its arguments: the folder, the verbs of each module with a command as JSON, and further folders to import from.
"""


class Bare:
    """A node's commands, which find what a node gets of Proa and the distributions of its lock, and nothing else.

    Attributes:
        folder: Where the commands lie.
        site: Where they find what they import.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "site"
        self._add_modules()
        self._add_distributions()
        for name, module in COMMANDS.items():
            (folder / name).write_text(launcher(module, str(self.site)))
            (folder / name).chmod(0o755)

    def run(self, words: Sequence[str | Path]) -> process.ProcessResult:
        """Run one of its commands in a clean environment; any exit status comes back."""
        return process.run((self.folder / words[0], *words[1:]), check=False)

    def _add_modules(self) -> None:
        for name, path in files().items():
            if name.startswith(f"{SITE}/"):
                copy = self.site / name.removeprefix(f"{SITE}/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
        compileall.compile_dir(self.site, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)

    def _add_distributions(self) -> None:
        """Links to them as they are installed here: those that a node has, of this machine's version."""
        for distribution in map(metadata.distribution, imports.locked(LOCK)):
            inside = [file for file in distribution.files or () if ".." not in file.parts]
            for top in {file.parts[0] for file in inside} - {"__pycache__"}:
                (self.site / top).symlink_to(Path(str(distribution.locate_file(top))).absolute())
