"""The agent in the tree: its Python packages below ``/usr/lib/proa/python``, its command and its units."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proa.builder.node import units
from proa.builder.node.tree import Tree
from proa.core.runtime.errors import Code, ProaError

SITE: Final = "/usr/lib/proa/python"
COMMANDS: Final = {"proa-agent": "proa.agent.cli.main", "proa-disk": "proa.partition.cli.main"}
"""What a node has in /usr/bin, and the module of each."""
_LAUNCHER: Final = """\
#!/usr/bin/python3 -IB
import sys

sys.path.insert(0, "/usr/lib/proa/python")
from {module} import main

main()
"""
_PACKAGES: Final = ("proa.core", "proa.partition", "proa.agent")
_NOT_ON_NODES: Final = frozenset({"proa/partition/disk/table.py"})
"""Modules that need pyparted, which no node has."""
_UNITS: Final = (".service", ".socket", ".timer", ".path", ".mount")
_INITRD: Final = Path(__file__).parent.parent / "initrd"
DEADLINE: Final = (_INITRD / "proa-deadline.service", _INITRD / "proa-deadline.timer")
"""Units of the initrd that the root has too, so that the timer which the initrd starts has its unit there."""


def sources() -> Iterator[tuple[str, Path]]:
    """Every file of Proa that a node gets: the path below the site folder, and where it lies here.

    Raises:
        ProaError: ``INTERNAL`` if a package of Proa is not installed beside the builder.
    """
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ProaError(Code.INTERNAL, f"{package} is not installed", hint="Install proa[builder].")
        folder = Path(next(iter(spec.submodule_search_locations)))
        for path in sorted(folder.rglob("*")):
            name = f"{package.replace('.', '/')}/{path.relative_to(folder)}"
            if path.is_file() and "__pycache__" not in path.parts and name not in _NOT_ON_NODES:
                yield name, path


def add(tree: Tree, site: Path) -> None:
    """Put the agent into the tree.

    Args:
        tree: The tree.
        site: The folder with the packages that it needs, from wheels.
    """
    shutil.copytree(site, tree.folder(SITE), dirs_exist_ok=True)
    _normalize(tree)
    files = []
    for name, path in sources():
        tree.write(f"{SITE}/{name}", path.read_bytes())
        if name.startswith("proa/agent/systemd/") and path.suffix in _UNITS:
            files.append(path)
        if name.startswith("proa/agent/health.d/"):
            tree.write(f"/usr/lib/proa/health.d/{path.name}", path.read_bytes(), 0o755)
    for name, module in COMMANDS.items():
        tree.write(f"/usr/bin/{name}", _LAUNCHER.format(module=module), 0o755)
    units.add(tree, [*files, *DEADLINE])


def _normalize(tree: Tree) -> None:
    """Modes that do not depend on the umask of whoever unpacked the wheels."""
    for path in (tree.path(SITE), *(path for _, path in tree.files(SITE))):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
