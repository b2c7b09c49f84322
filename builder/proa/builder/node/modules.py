"""The kernel modules of a tree: those that the configuration leaves out go, the others are compressed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress
from pathlib import Path
from typing import Final

from proa.builder.config.drivers import EXCLUDED
from proa.builder.config.image_settings import Kernel
from proa.builder.config.near import did_you_mean
from proa.builder.formats.packed import Packed
from proa.builder.node.tree import Tree
from proa.core.runtime.errors import Code, ProaError

FOLDER: Final = "/usr/lib/modules"
_READS_ZSTD: Final = "+ZSTD"
"""What ``kmod --version`` says where the tree's kmod, and with it udev, loads modules that are compressed so."""


def arrange(tree: Tree, kernel: Kernel, packed: Packed, added: Iterable[str]) -> None:
    """Leave out modules, compress those that stay, and let depmod see what is left.

    Args:
        tree: The tree, prepared for programs of its own.
        kernel: The settings.
        packed: Modules that are compressed already.
        added: Paths of files that the configuration brought, which stay as they are.

    Raises:
        ProaError: ``CONFIG_VALUE`` for a pattern that fits no module of any kernel, but for those of the groups.
    """
    folders = sorted(path for path in tree.path(FOLDER).iterdir() if path.is_dir())
    leave_out(folders, kernel)
    if kernel.compress and _READS_ZSTD in tree.run(("kmod", "--version")).text.split():
        compress(folders, packed, {tree.path(name) for name in added})
    for folder in folders:
        tree.run(("depmod", folder.name))


def leave_out(folders: Iterable[Path], kernel: Kernel) -> None:
    """Leave out modules of the kernels in ``folders``.

    Of a group, a module stays that another one needs which stays; what the user names goes.

    Raises:
        ProaError: ``CONFIG_VALUE``.
    """
    own = {folder: set[Path]() for folder in folders}
    for number, pattern in enumerate(kernel.exclude):
        found = {folder: set(folder.glob(pattern)) for folder in own}
        if not any(found.values()) and pattern not in EXCLUDED["virtual"]:
            known = {str(path.relative_to(folder)) for folder in own for path in folder.glob("kernel/*/*")}
            hint = did_you_mean(pattern, known, "Patterns are relative to /usr/lib/modules/VERSION.")
            what = f"'{pattern}' matches no module of the kernel"
            raise ProaError(Code.CONFIG_VALUE, what, at=f"kernel.exclude[{number}]", hint=hint)
        own = {folder: own[folder] | found[folder] for folder in own}
    for folder, named in own.items():
        gone = {path for pattern in EXCLUDED[kernel.drivers] for path in _files(folder.glob(pattern))}
        for path in named | (gone - _needed(folder, gone | set(_files(named)))):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        _remove_empty(folder / "kernel")


def compress(folders: Iterable[Path], packed: Packed, added: Set[Path]) -> None:
    """Compress every module but those in ``added``; its mode stays (kmod(8) finds it by its longer name)."""
    for folder in folders:
        for path in sorted(folder.rglob("*.ko")):
            if path.is_symlink() or path in added:
                continue
            smaller = path.with_name(f"{path.name}.zst")
            smaller.write_bytes(packed.frame(path.read_bytes()))
            smaller.chmod(path.stat().st_mode & 0o7777)
            path.unlink()


def _remove_empty(folder: Path) -> None:
    for path, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # something is in it
            Path(path).rmdir()


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
