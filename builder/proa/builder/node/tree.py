"""A root that lies in a folder: paths that stay inside it, and programs that run in it."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError

_MAX_LINKS: Final = 40
"""Symbolic links that one path may lead through, as in Linux (path_resolution(7))."""
_DEVICES: Final = ("null", "zero", "full", "random", "urandom")


@dataclass(frozen=True)
class Tree:
    """A root in a folder. Paths given to its methods are those that the booted system will see.

    Attributes:
        root: The folder.
        owners: Whether files are given owners, which takes root's rights over them.
    """

    root: Path
    owners: bool = True

    def path(self, inside: str) -> Path:
        """Where a path lies on this machine; links on the way stay inside, a link at its end is not followed.

        Raises:
            ProaError: ``CONFIG_VALUE`` if links lead in a circle.
        """
        parts = deque(part for part in PurePosixPath(inside).parts if part != "/")
        done: list[str] = []
        links = 0
        while parts:
            part = parts.popleft()
            here = self.root.joinpath(*done, part)
            if part == "..":
                done = done[:-1]
            elif parts and here.is_symlink():
                links += 1
                if links > _MAX_LINKS:
                    raise ProaError(Code.CONFIG_VALUE, f"{inside} leads through too many links")
                target = PurePosixPath(here.readlink())
                done = [] if target.is_absolute() else done
                parts.extendleft(reversed([name for name in target.parts if name != "/"]))
            else:
                done.append(part)
        return self.root.joinpath(*done)

    def exists(self, inside: str) -> bool:
        """Whether something has this name, be it a link to nowhere."""
        return os.path.lexists(self.path(inside))

    def read(self, inside: str) -> str:
        """A text file; empty if it is not there."""
        path = self.path(inside)
        return path.read_text() if path.is_file() else ""

    def write(self, inside: str, data: str | bytes, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> None:
        """Write a file with all folders above it; whatever had its name is replaced."""
        path = self._free(inside)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        self._own(path, owner)
        path.chmod(mode)

    def append(self, inside: str, line: str) -> None:
        """Add a line to a file; its mode and owner stay."""
        with self.path(inside).open("a") as file:
            file.write(line + "\n")

    def link(self, inside: str, target: str) -> None:
        """Make a symbolic link; whatever had its name is replaced."""
        self._free(inside).symlink_to(target)

    def folder(self, inside: str, mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> Path:
        """Make a folder with all above it; an existing one gets the mode and the owner."""
        path = self.path(inside)
        self._parents(path)
        path.mkdir(exist_ok=True)
        self._own(path, owner)
        path.chmod(mode)
        return path

    def remove(self, inside: str) -> None:
        """Take away what matches a pattern, folders with all in them."""
        for path in sorted(self.path(str(PurePosixPath(inside).parent)).glob(PurePosixPath(inside).name)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def empty(self, inside: str) -> None:
        """Take away all that is in a folder, and leave the folder."""
        self.remove(f"{inside}/*")
        self.remove(f"{inside}/.*")

    def files(self, inside: str) -> Iterator[tuple[str, Path]]:
        """Everything below a folder, in order of names: the path inside, and the path on this machine."""
        top = self.path(inside)
        for path in sorted(top.rglob("*")) if top.is_dir() else ():
            yield str(PurePosixPath(inside) / path.relative_to(top)), path

    def run(self, argv: Sequence[str], *, code: Code = Code.TOOL, **variables: str) -> process.ProcessResult:
        """Run a program of the tree in the tree, which :meth:`mount` must have prepared.

        Raises:
            ProaError: ``code``.
        """
        settings = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "SYSTEMD_OFFLINE": "1", "TMPDIR": "/tmp"}  # noqa: S108
        done = process.run(("chroot", str(self.root), *argv), check=False, env=settings | variables)
        if done.status != 0:
            raise process.failure(done, code)
        return done

    def mount(self) -> None:
        """Give the tree /proc and the harmless devices, for this mount namespace only."""
        process.run(("mount", "-t", "proc", "proc", self.folder("/proc", 0o555)))
        process.run(("mount", "-t", "tmpfs", "tmpfs", self.folder("/dev")))
        process.run(("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", self.folder("/tmp", 0o1777)))  # noqa: S108
        for name in _DEVICES:
            node = self.root / "dev" / name
            node.touch()
            process.run(("mount", "--bind", f"/dev/{name}", node))

    def unmount(self) -> None:
        """Take away what :meth:`mount` gave."""
        for name in (*(f"dev/{name}" for name in _DEVICES), "dev", "tmp", "proc"):
            process.run(("umount", self.root / name))

    def mark(self, inside: str, attributes: Mapping[str, bytes]) -> None:
        """Give a file extended attributes, capabilities among them; do so last (see :meth:`_own`)."""
        for name, value in attributes.items():
            os.setxattr(self.path(inside), name, value)

    def _own(self, path: Path, owner: tuple[int, int]) -> None:
        """Set the owner, before the mode: chown(2) takes set-user-ID and set-group-ID bits and capabilities away."""
        if self.owners:
            os.chown(path, *owner)

    def _free(self, inside: str) -> Path:
        path = self.path(inside)
        self._parents(path)
        if path.is_dir() and not path.is_symlink():
            raise ProaError(Code.CONFIG_VALUE, f"{inside} is a folder of the tree")
        path.unlink(missing_ok=True)
        return path

    def _parents(self, path: Path) -> None:
        for parent in reversed(path.relative_to(self.root).parents):
            folder = self.root / parent
            if not folder.is_dir():
                folder.mkdir()
                folder.chmod(0o755)
