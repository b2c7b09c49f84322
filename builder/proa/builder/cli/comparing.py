"""``proa-build diff``: what differs between two releases."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from proa.builder.cli.contents import Contents
from proa.builder.cli.reports import Package
from proa.builder.formats.erofs import Entry
from proa.core.runtime.events import human_bytes
from proa.core.schema.model import Part, Report, field
from proa.core.schema.values import Count

_SETTINGS: Final = ("name", "version", "serial", "floor", "compatible", "architecture", "created", "expires")
_SHOWN: Final = 40
"""Files of a kind that people are shown."""


@dataclass(frozen=True)
class ChangedValue(Part):
    """A value that differs."""

    name: str = field("Its name.")
    old: str = field("The value in OLD.")
    new: str = field("The value in NEW.")


@dataclass(frozen=True)
class PackageChanges(Part):
    """Packages, by their versions in the bill of materials."""

    added: tuple[Package, ...] = field("Those that only NEW has.")
    removed: tuple[Package, ...] = field("Those that only OLD has.")
    changed: tuple[ChangedValue, ...] = field("Those of another version.")


@dataclass(frozen=True)
class SizedFile(Part):
    """A file."""

    path: str = field("Its path in the root.")
    size: Count = field("Bytes of its content.")


@dataclass(frozen=True)
class ChangedFile(Part):
    """A file that differs."""

    path: str = field("Its path in the root.")
    old: Count = field("Bytes of its content in OLD.")
    new: Count = field("The same in NEW.")
    what: tuple[str, ...] = field("What differs: `kind`, `content`, `mode`, `owner`, `xattrs`.")


@dataclass(frozen=True)
class FileChanges(Part):
    """Files, folders, links and devices of the root."""

    added: tuple[SizedFile, ...] = field("Those that only NEW has.")
    removed: tuple[SizedFile, ...] = field("Those that only OLD has.")
    changed: tuple[ChangedFile, ...] = field("Those that differ.")


@dataclass(frozen=True)
class NameChanges(Part):
    """Names that only one of them has."""

    added: tuple[str, ...] = field("Those that only NEW has.")
    removed: tuple[str, ...] = field("Those that only OLD has.")


@dataclass(frozen=True)
class ChangedSize(Part):
    """A part of the release."""

    name: str = field(
        "`root`, `tree` and `boot` on the disk, `kernel` and `initrd` in `boot`; `download` of all blobs."
    )
    old: Count = field("Bytes in OLD.")
    new: Count = field("Bytes in NEW.")


@dataclass(frozen=True)
class FetchedBytes(Part):
    """Bytes that a node fetches for NEW."""

    full: Count = field("All of it, on a node that has none of it.")
    frames: Count = field("The frames that OLD does not have, on a node that runs OLD.")


@dataclass(frozen=True)
class Differences(Report, schema="proa.diff/v1"):
    """`proa-build diff`: what differs between two releases."""

    old: str = field("OLD, as it was given.")
    new: str = field("NEW, as it was given.")
    settings: tuple[ChangedValue, ...] = field("Fields of the release document that differ.")
    packages: PackageChanges = field("Packages, by their versions in the bill of materials.")
    files: FileChanges = field("Files, folders, links and devices of the root.")
    accounts: NameChanges = field("Users and groups with their numbers, as `user admin 1000`.")
    units: NameChanges = field("Units that are enabled.")
    arguments: NameChanges = field("Kernel arguments, except those that name the root.")
    sizes: tuple[ChangedSize, ...] = field("Sizes of both.")
    bytes: FetchedBytes = field("Bytes that a node fetches for NEW.")


def compare(old: Contents, new: Contents) -> Differences:
    """Compare two releases."""
    return Differences(
        old.name,
        new.name,
        tuple(_settings(old, new)),
        _packages(old.packages, new.packages),
        _files(old.files, new.files),
        _names(old.accounts, new.accounts),
        _names(old.units, new.units),
        _names(set(old.arguments), set(new.arguments)),
        tuple(ChangedSize(name, size, _sizes(new)[name]) for name, size in _sizes(old).items()),
        FetchedBytes(_sizes(new)["download"], _missing(old, new)),
    )


def _settings(old: Contents, new: Contents) -> Iterator[ChangedValue]:
    for name in _SETTINGS:
        before, after = (str(getattr(one.release, name)) for one in (old, new))
        if before != after:
            yield ChangedValue(name, before, after)


def _packages(old: Mapping[str, str], new: Mapping[str, str]) -> PackageChanges:
    return PackageChanges(
        tuple(Package(name, new[name]) for name in sorted(new.keys() - old.keys())),
        tuple(Package(name, old[name]) for name in sorted(old.keys() - new.keys())),
        tuple(
            ChangedValue(name, old[name], new[name])
            for name in sorted(old.keys() & new.keys())
            if old[name] != new[name]
        ),
    )


def _files(old: Mapping[str, Entry], new: Mapping[str, Entry]) -> FileChanges:
    both = ((old[path], new[path]) for path in sorted(old.keys() & new.keys()))
    return FileChanges(
        tuple(SizedFile(path, new[path].size) for path in sorted(new.keys() - old.keys())),
        tuple(SizedFile(path, old[path].size) for path in sorted(old.keys() - new.keys())),
        tuple(
            ChangedFile(before.path, before.size, after.size, what)
            for before, after in both
            if (what := differing(before, after))
        ),
    )


def differing(old: Entry, new: Entry) -> tuple[str, ...]:
    """In what two files differ."""
    pairs = {
        "kind": (stat.S_IFMT(old.mode), stat.S_IFMT(new.mode)),
        "content": (old.digest, new.digest),
        "mode": (stat.S_IMODE(old.mode), stat.S_IMODE(new.mode)),
        "owner": (old.owner, new.owner),
        "xattrs": (old.xattrs, new.xattrs),
    }
    return tuple(name for name, (before, after) in pairs.items() if before != after)


def _names(old: set[str], new: set[str]) -> NameChanges:
    return NameChanges(tuple(sorted(new - old)), tuple(sorted(old - new)))


def _sizes(one: Contents) -> dict[str, int]:
    release = one.release
    return {
        "root": release.root.size,
        "tree": release.root.tree_size,
        "boot": release.boot.size,
        "kernel": len(one.sections.get(".linux", b"")),
        "initrd": len(one.sections.get(".initrd", b"")),
        "download": sum(blob.size for blob in release.blobs.values()),
    }


def _missing(old: Contents, new: Contents) -> int:
    there = {frame.digest for frame in old.frames}
    return sum({frame.digest: frame.compressed for frame in new.frames if frame.digest not in there}.values())


def text(found: Differences) -> str:
    """The same for people."""
    lines = [f"{one.name}: {one.old} -> {one.new}" for one in found.settings]
    lines += _chapter(
        "packages",
        [f"+ {one.name} {one.version}" for one in found.packages.added]
        + [f"- {one.name} {one.version}" for one in found.packages.removed]
        + [f"~ {one.name} {one.old} -> {one.new}" for one in found.packages.changed],
    )
    for name in ("accounts", "units", "arguments"):
        names: NameChanges = getattr(found, name)
        lines += _chapter(name, [f"+ {one}" for one in names.added] + [f"- {one}" for one in names.removed])
    files = found.files
    lines += _chapter(
        "files",
        [
            *_some([f"+ {one.path}  {human_bytes(one.size)}" for one in files.added]),
            *_some([f"- {one.path}  {human_bytes(one.size)}" for one in files.removed]),
            *_some([f"~ {one.path}  {_grown(one.old, one.new)}  ({', '.join(one.what)})" for one in files.changed]),
        ],
    )
    lines += _chapter("sizes", [f"{one.name:<9} {_grown(one.old, one.new)}" for one in found.sizes])
    fetched = f"a node that runs OLD fetches {human_bytes(found.bytes.frames)} of {human_bytes(found.bytes.full)}"
    return "\n".join([*lines, "", fetched])


def _chapter(name: str, lines: list[str]) -> list[str]:
    return ["", f"{name}:", *(f"  {line}" for line in lines)] if lines else []


def _some(lines: list[str]) -> list[str]:
    more = len(lines) - _SHOWN
    return [*lines[:_SHOWN], f"{lines[0][0]} ... and {more} more, see --json"] if more > 0 else lines


def _grown(old: int, new: int) -> str:
    sign = "+" if new > old else "-"
    return (
        f"{human_bytes(old)} -> {human_bytes(new)} ({sign}{human_bytes(abs(new - old))})"
        if old != new
        else human_bytes(new)
    )
