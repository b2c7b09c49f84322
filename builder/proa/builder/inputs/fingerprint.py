"""What goes into a step's key besides its inputs: the code that it is made of, and the programs that it calls.

No list is kept by hand. The code is the step's module, every module of Proa that it imports, directly or not, and
the versions of the other distributions that these import. Data files are inputs: a step names them itself.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

from proa.core.runtime import process

_OURS: Final = "proa"
_PACKAGES: Final[Mapping[str, str]] = {
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "grub-mkstandalone": "grub-common",
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
    """The hash of a module's source and of all that it imports."""
    found: dict[str, str] = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        path = _source(name)
        if path is None:
            found |= _version(name.split(".", 1)[0])
            continue
        data = path.read_bytes()
        found[name] = hashlib.sha256(data).hexdigest()
        waiting += _imports(data, name, is_package=path.name == "__init__.py")
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


def _source(module: str) -> Path | None:
    """The file of a module of ours, or None for a name that is none."""
    if module.split(".", 1)[0] != _OURS:
        return None
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.has_location else None


def _version(top: str) -> dict[str, str]:
    """The versions of the distributions that a top-level module comes from; none for the standard library's."""
    if top == _OURS or top in sys.stdlib_module_names:
        return {}
    return {f"{name} (distribution)": metadata.version(name) for name in _distributions().get(top, ())}


_distributions: Final = functools.cache(metadata.packages_distributions)


def _imports(source: bytes, module: str, *, is_package: bool) -> Iterable[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


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
