"""What goes into a step's key besides its inputs: the code that it is made of, and the programs that it calls.

No list is kept by hand. The code is the step's module, every module of Proa that it imports, directly or not, and
the versions of the other distributions that these import. Data files are inputs: a step names them itself.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from proa.builder.inputs import imports
from proa.core.runtime import process

_PACKAGES: Final[Mapping[str, str]] = {
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "grub-mkstandalone": "grub-common",
    "ip": "iproute2",
    "mcopy": "mtools",
    "mformat": "mtools",
    "mke2fs": "e2fsprogs",
    "mkfs.erofs": "erofs-utils",
    "objcopy": "binutils",
    "sbsign": "sbsigntool",
}
"""Programs to the packages that hold them, where the names differ: for the hint."""


@functools.cache
def code(module: str) -> str:
    """The hash of a module's code and of all that it imports; comments are not in it."""
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name, one in imports.reached(module).items():
        found[name] = one.code
        found |= {f"{needed} (distribution)": metadata.version(needed) for needed in one.distributions}
    return of(found)


@functools.cache
def tool(name: str) -> str:
    """The hash of a program of the building machine.

    Raises:
        ProaError: ``TOOL_MISSING``.
    """
    return file(Path(process.find(name, _PACKAGES.get(name, name))))


def file(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tree(path: Path) -> dict[str, str]:
    """Names, modes and hashes of a file or of all files below a folder, as JSON values."""
    if not path.is_dir():
        return {"": _entry(path)}
    return {str(item.relative_to(path)): _entry(item) for item in _walk(path)}


def of(value: object) -> str:
    """The hash of a JSON value; tuples count as lists, the order of keys does not count."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def hidden(value: Any) -> Any:
    """A JSON value in which the texts under ``content`` stand as their hashes, since they may be secret."""
    if isinstance(value, Mapping):
        return {key: _hash(one) if key == "content" else hidden(one) for key, one in value.items()}
    return [hidden(one) for one in value] if isinstance(value, list | tuple) else value


def _hash(text: object) -> object:
    return text if text is None else f"sha256:{hashlib.sha256(str(text).encode()).hexdigest()}"


def _walk(folder: Path) -> Iterator[Path]:
    for item in sorted(folder.iterdir()):
        if item.is_dir() and not item.is_symlink():
            if item.name != "__pycache__":
                yield from _walk(item)
        else:
            yield item


def _entry(path: Path) -> str:
    if path.is_symlink():
        return f"link {path.readlink()}"
    return f"{'x' if path.stat().st_mode & 0o100 else '-'} {file(path)}"


def explain(old: Mapping[str, object], new: Mapping[str, object], way: str = "") -> str:
    """The first input that differs between two steps' inputs, for people."""
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found = explain(before, after, f"{way}{name}.")
            if found:
                return found
        elif before != after:
            return f"{way}{name}"
    return ""
