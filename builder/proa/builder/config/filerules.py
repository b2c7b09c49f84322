"""What must hold for the files that a configuration adds to the root."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from proa.builder.config import capabilities
from proa.builder.config.image_settings import File
from proa.builder.config.node_settings import Check
from proa.builder.config.paths import canonical, is_below
from proa.builder.config.problems import Problem, Rule, missing, readable
from proa.builder.config.settings import Config
from proa.builder.inputs import localfiles
from proa.builder.inputs.localfiles import FileKind

MADE_ANEW: Final = (
    "/etc/.pwd.lock",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/etc/ssh/ssh_host_*",
    "/etc/udev/hwdb.bin",
    "/root/.cache",
)
"""Patterns of what differs from build to build, or what each node makes for itself: it is never in a release."""
EMPTIED: Final = ("/run", "/tmp", "/media", "/mnt")  # noqa: S108
"""Folders that are empty in a release."""
KEPT_FOLDERS: Final = ("/var", "/home", "/root", "/opt/cni", "/run", "/tmp", "/proc", "/sys", "/dev", "/persist")  # noqa: S108
"""Folders that are the node's own."""
_MOUNTED: Final = ("/", "/etc", "/usr", "/var", "/persist", "/boot", "/efi")
_BOOT: Final = ("/boot", "/efi", "/vmlinuz", "/initrd.img")
"""Where other systems have their kernel: here it is an image beside the root."""
OWN_PATHS: Final = (
    "/usr/lib/proa",
    "/etc/machine-id",
    "/usr/lib/os-release",
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow",
)
"""What the builder alone writes."""
_BITS: Final = {stat.S_ISUID: "set-user-ID", stat.S_ISGID: "set-group-ID", stat.S_ISVTX: "sticky"}


def content_or_source(config: Config, folder: Path) -> Iterator[Problem]:
    """A file is either written out in the configuration or copied, and what is copied is there."""
    kinds: tuple[tuple[str, tuple[File | Check, ...]], ...] = (("file", config.file), ("check", config.check))
    for name, items in kinds:
        for number, item in enumerate(items):
            if (item.content is not None) == bool(item.source):
                yield Problem((name, number), f"a [[{name}]] needs either 'content' or 'source'")
            elif item.source:
                yield from missing(folder, item.source, (name, number, "source"))


def special_bits_are_asked_for(config: Config, folder: Path) -> Iterator[Problem]:
    """A copy has plain modes: a program that lends rights where it lies must be told to do so in the release too."""
    for number, file in enumerate(config.file):
        for name, what, key in _special(folder, file) if file.source else ():
            text = f"{name} has {what}, which the copy would lose"
            yield Problem(("file", number, "source"), text, hint=f"Set '{key}', or remove it from the file.")


def _special(folder: Path, file: File) -> Iterator[tuple[str, str, str]]:
    """Files of a source with rights that nothing in its [[file]] says: the name, what it has, the key to set."""
    source = folder / file.source
    for path in (source, *(source.rglob("*") if source.is_dir() else ())):
        if path.is_symlink() or not readable(path):
            continue
        mode = path.stat().st_mode
        bits = [word for bit, word in _BITS.items() if mode & bit]
        if bits and not file.mode:
            yield str(path.relative_to(folder)), f"the {bits[0]} bit", "mode"
        if capabilities.XATTR in os.listxattr(path) and not file.capabilities:
            yield str(path.relative_to(folder)), "capabilities", "capabilities"


def files_go_where_a_release_may_write(config: Config, folder: Path) -> Iterator[Problem]:
    """What lies on PERSIST or is made at boot is no part of a release."""
    seen: dict[str, int] = {}
    for number, file in enumerate(config.file):
        path: tuple[str | int, ...] = ("file", number, "path")
        kept = (*KEPT_FOLDERS, *config.persist.keep)
        places = tuple(_destinations(file, folder))
        if lost := next((name for name in places if any(is_below(name, one) for one in kept)), ""):
            hint = "Create it on the node instead, with a tmpfiles.d(5) line in /usr/lib/tmpfiles.d."
            yield Problem(path, f"{lost} is on the node's own file systems, not in the release", hint=hint)
        if kernel := next((name for name in places if any(is_below(name, one) for one in _BOOT)), ""):
            hint = "The kernel and its command line come from the packages and from [kernel]."
            yield Problem(path, f"nothing boots or reads {kernel}: the kernel is not in the root", hint=hint)
        if mounted := _over_ours(file, folder):
            yield Problem(path, f"it mounts something on {mounted}, which the initrd has mounted already")
        if ours := next((name for name in places if any(is_below(name, own) for own in OWN_PATHS)), ""):
            yield Problem(path, f"the builder writes {ours} itself")
        yield from _vanishing(places, path)
        place = canonical(file.path)
        if place in seen:
            yield Problem(path, f"{file.path} is listed twice, first in [[file]] number {seen[place] + 1}")
        seen[place] = number


def _over_ours(file: File, folder: Path) -> str:
    """A mount point of ours that a file of fstab(5) uses; empty if it uses none, or is no such file."""
    if canonical(file.path) != "/etc/fstab":
        return ""
    source = folder / file.source
    text = file.content or (source.read_text(errors="replace") if file.source and readable(source) else "")
    lines = (line.split() for line in text.splitlines() if not line.lstrip().startswith("#"))
    points = (words[1].rstrip("/") or "/" for words in lines if len(words) > 1)
    return next((one for one in points if one in _MOUNTED), "")


def _destinations(file: File, folder: Path) -> Iterator[str]:
    """Where a [[file]] puts something: itself, and all that is in the folder that is copied."""
    yield file.path
    if file.source and (folder / file.source).is_dir():
        for item in localfiles.walk(folder / file.source):
            if item.kind is not FileKind.FOLDER:
                yield f"{file.path}/{item.name}".replace("//", "/")


def _vanishing(places: Iterable[str], at: tuple[str | int, ...]) -> Iterator[Problem]:
    """What the build takes out again."""
    for path in map(canonical, places):
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in MADE_ANEW):
            hint = "Give it to the node on PERSIST, or by a systemd credential."
            yield Problem(at, f"{path} is never in a release: each node makes its own", hint=hint)
        elif path not in EMPTIED and any(is_below(path, name) for name in EMPTIED[2:]):
            yield Problem(at, f"{path} is in a folder that is empty in a release")


def nothing_lies_below_a_file(config: Config, folder: Path) -> Iterator[Problem]:
    """What is a file cannot be a folder too."""
    for number, file in enumerate(config.file):
        for other, above in enumerate(config.file):
            apart = canonical(file.path) != canonical(above.path)
            if apart and is_below(file.path, above.path) and _is_one_file(above, folder):
                what = f"{file.path} cannot be below {above.path}, which [[file]] number {other + 1} makes a file"
                yield Problem(("file", number, "path"), what)


def _is_one_file(file: File, folder: Path) -> bool:
    return file.content is not None or readable(folder / file.source)


FILE_RULES: Final[tuple[Rule, ...]] = (
    content_or_source,
    special_bits_are_asked_for,
    files_go_where_a_release_may_write,
    nothing_lies_below_a_file,
)
"""Every rule of this module."""
