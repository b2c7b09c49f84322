"""The agent in the tree: what a node runs of Proa, below ``/usr/lib/proa/python``, its commands and its units."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from proa.builder.inputs import imports
from proa.builder.node import units
from proa.builder.node.tree import Tree

SITE: Final = "/usr/lib/proa/python"
HEALTH: Final = "/usr/lib/proa/health.d"
COMMANDS: Final = {"proa-agent": "proa.agent.cli.main", "proa-disk": "proa.partition.cli.main"}
"""What a node has in /usr/bin, and the module of each."""
LOCK: Final = Path(__file__).parent / "agent.lock"
"""The distributions that a node has beside Proa."""
_LAUNCHER: Final = """\
#!/usr/bin/python3 -ISB
import sys

sys.path.insert(0, "{site}")
from {module} import main

main()
"""
_BY_PATH: Final = re.compile(rf"{SITE}/(proa/[a-z_/]+)\.py\b")
_INITRD: Final = Path(__file__).parent.parent / "initrd"
_DEADLINE: Final = (_INITRD / "proa-deadline.service", _INITRD / "proa-deadline.timer")
"""Units of the initrd that the root has too, so that the timer which the initrd starts has its unit there."""


@functools.cache
def files() -> Mapping[str, Path]:
    """Every file of Proa that a node gets: its place there, and where it lies here.

    These are the agent's units and health checks, and the modules that run on a node: those of the commands, those
    that a unit or a check starts by their path, and all that these import.

    Raises:
        ProaError: ``INTERNAL`` if Proa is not whole here, or one of these cannot run on a node.
    """
    found = {f"{units.FOLDER}/{path.name}": path for path in (*_beside("systemd"), *_DEADLINE)}
    found |= {f"{HEALTH}/{path.name}": path for path in _beside("health.d")}
    started = {name.replace("/", ".") for path in found.values() for name in _BY_PATH.findall(path.read_text())}
    modules = imports.files({*COMMANDS.values(), *started}, LOCK)
    return MappingProxyType(found | {f"{SITE}/{name}": path for name, path in modules.items()})


def add(tree: Tree, site: Path, found: Mapping[str, Path]) -> None:
    """Put the agent into the tree.

    Args:
        tree: The tree.
        site: The folder with the packages that it needs, from wheels.
        found: What :func:`files` found.
    """
    shutil.copytree(site, tree.folder(SITE), dirs_exist_ok=True)
    _normalize(tree)
    for name, path in found.items():
        tree.write(name, path.read_bytes(), 0o755 if name.startswith(f"{HEALTH}/") else 0o644)
    for name, module in COMMANDS.items():
        tree.write(f"/usr/bin/{name}", launcher(module), 0o755)
    for name in found:
        if name.startswith(f"{units.FOLDER}/"):
            units.enable(tree, name.removeprefix(f"{units.FOLDER}/"))


def launcher(module: str, site: str = SITE) -> str:
    """The program that runs a module's ``main``, with nothing on its path but the standard library and ``site``."""
    return _LAUNCHER.format(module=module, site=site)


def _beside(name: str) -> Iterator[Path]:
    """What lies in a folder beside the agent's code."""
    return (path for path in sorted((imports.folder("proa.agent") / name).iterdir()) if path.is_file())


def _normalize(tree: Tree) -> None:
    """Modes that do not depend on the umask of the user who unpacked the wheels."""
    for path in (tree.path(SITE), *(path for _, path in tree.files(SITE))):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
