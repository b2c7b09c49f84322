"""Takes out of a tree what only the building machine or the hour decided, and what the configuration leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import Final

from proa.builder.config.drivers import EXCLUDED
from proa.builder.config.filerules import EMPTIED, MADE_ANEW
from proa.builder.config.image_settings import Kernel
from proa.builder.config.near import did_you_mean
from proa.builder.node import accounts
from proa.builder.node.tree import Tree
from proa.core.runtime.errors import Code, ProaError

_OF_INSTALLING: Final = (
    "/boot/*",
    "/vmlinuz*",
    "/initrd.img*",
    "/etc/apt/sources.list*",
    "/etc/apt/apt.conf.d/*mmdebstrap*",
    "/etc/dpkg/dpkg.cfg.d/*mmdebstrap*",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/.resolv.conf.systemd-resolved.bak",
)
"""What the building machine put into the tree, and what only its packages needed."""


def after_installing(tree: Tree) -> None:
    """Take out what is left from installing packages, before anything of the user's is added."""
    for pattern in _OF_INSTALLING:
        tree.remove(pattern)


def before_sealing(tree: Tree) -> None:
    """Take out what would differ from build to build."""
    for pattern in MADE_ANEW:
        tree.remove(pattern)
    for folder in EMPTIED:
        tree.empty(folder)
    accounts.forget_days(tree)


def modules(tree: Tree, kernel: Kernel) -> None:
    """Leave out kernel modules, and let depmod forget them.

    Of a group, a module stays that another one needs which stays; what the user names goes.

    Raises:
        ProaError: ``CONFIG_VALUE`` for a pattern that fits no module of any kernel, but for those of the groups.
    """
    top = tree.path("/usr/lib/modules")
    folders = sorted(path for path in top.iterdir() if path.is_dir())
    own = {folder: set[Path]() for folder in folders}
    for number, pattern in enumerate(kernel.exclude):
        found = {folder: set(folder.glob(pattern)) for folder in folders}
        if not any(found.values()) and pattern not in EXCLUDED["virtual"]:
            known = {str(path.relative_to(folder)) for folder in folders for path in folder.glob("kernel/*/*")}
            hint = did_you_mean(pattern, known, "Patterns are relative to /usr/lib/modules/VERSION.")
            what = f"'{pattern}' matches no module of the kernel"
            raise ProaError(Code.CONFIG_VALUE, what, at=f"kernel.exclude[{number}]", hint=hint)
        own = {folder: own[folder] | found[folder] for folder in folders}
    for folder in folders:
        gone = {path for pattern in EXCLUDED[kernel.drivers] for path in _files(folder.glob(pattern))}
        named = set(_files(own[folder]))
        for path in own[folder] | (gone - _needed(folder, gone | named)):
            tree.remove(f"/usr/lib/modules/{folder.name}/{path.relative_to(folder)}")
        _remove_empty(folder / "kernel")
        tree.run(("depmod", folder.name))


def _remove_empty(folder: Path) -> None:
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield from (below for below in path.rglob("*") if below.is_file()) if path.is_dir() else (path,)


def _needed(folder: Path, gone: Set[Path]) -> set[Path]:
    """What modules need that are not to go, by depmod's list, which names for each all that it needs."""
    listed = folder / "modules.dep"
    found: set[Path] = set()
    for line in listed.read_text().splitlines() if listed.exists() else ():
        name, _, needs = line.partition(":")
        if folder / name not in gone and (folder / name).exists():
            found |= {folder / need for need in needs.split()}
    return found
