"""``proa-build image --verify-reproducible``: two builds without kept results, and the first thing that differs.

They differ in the time, in the folders that they work in, and in the umask. Packages that were fetched are shared.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Final

from proa.builder.build.pipeline import BuildOrder, build
from proa.builder.build.record import BuildReport
from proa.builder.engine import output, scratch
from proa.builder.engine.cache import StepCache
from proa.builder.formats.erofs import Image
from proa.builder.inputs import fingerprint
from proa.builder.steps.packages import PACKAGES
from proa.builder.steps.software import SOFTWARE
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Note
from proa.core.schema.model import document

_FETCHED: Final = (PACKAGES.name, SOFTWARE.name)
"""Folders of the cache with what steps have fetched."""
_CHUNK: Final = 1 << 20


def build_twice(order: BuildOrder) -> BuildReport:
    """Build, build again elsewhere, and compare the outputs of every step and all results.

    Raises:
        ProaError: ``NOT_REPRODUCIBLE``, with the first file that differs; what :func:`~.pipeline.build` raises.
    """
    with _elsewhere(order, "first") as first, _elsewhere(order, "the-second") as second:
        one = build(dataclasses.replace(order, cache=first))
        out = second.folder / "out"
        order.monitor.emit(Note("once more, in another folder and with another umask"))
        mask = os.umask(0o077)
        try:
            other = build(dataclasses.replace(order, cache=second, out=out))
        finally:
            os.umask(mask)
        _compare((first, one), (second, other))
        _compare_folders("the results", order.out, out)
    report = dataclasses.replace(one, reproduced=True, seconds=round(one.seconds + other.seconds, 3))
    (order.out / output.REPORT).write_text(json.dumps(document(report), indent=1) + "\n")
    return report


@contextmanager
def _elsewhere(order: BuildOrder, name: str) -> Iterator[StepCache]:
    """An empty cache that knows what was fetched."""
    with scratch.folder(order.scratch, name) as folder:
        for fetched in _FETCHED:
            (order.cache.folder / fetched).mkdir(parents=True, exist_ok=True)
            (folder / fetched).symlink_to((order.cache.folder / fetched).absolute())
        yield StepCache(folder)


def _compare(first: tuple[StepCache, BuildReport], second: tuple[StepCache, BuildReport]) -> None:
    """Compare the kept outputs, step by step, so that the first cause is told and not what follows from it."""
    for one, other in zip(first[1].steps, second[1].steps, strict=True):
        found = first[0].find(one.name, one.key), second[0].find(other.name, other.key)
        if found[0] is not None and found[1] is not None:
            _compare_folders(f"step {one.name}", found[0].folder, found[1].folder)


def _compare_folders(what: str, one: Path, other: Path) -> None:
    before, after = (fingerprint.tree(folder) for folder in (one, other))
    for name in sorted({*before, *after} - {output.REPORT}):
        if name not in before or name not in after:
            raise _differs(f"{what}: only the {'first' if name in before else 'second'} build has {name}")
        if before[name] != after[name]:
            raise _differs(f"{what}: {name}, {_where(one / name, other / name)}")


def _differs(what: str) -> ProaError:
    return ProaError(Code.NOT_REPRODUCIBLE, f"two builds differ in {what}")


def _where(one: Path, other: Path) -> str:
    """The place of the first difference, as far into a file as is known of its form."""
    if one.name.endswith(".erofs"):
        found = _in_image(one, other)
    elif one.name.endswith(".tar"):
        found = _in_archive(one, other)
    else:
        found = ""
    return f"file {found}" if found else f"byte {_byte(one, other)}"


def _in_image(one: Path, other: Path) -> str:
    with _image(one) as first, _image(other) as second:
        for before, after in zip_longest(first.entries(), second.entries()):
            if before != after:
                return min(entry.path for entry in (before, after) if entry is not None)
    return ""


@contextmanager
def _image(path: Path) -> Iterator[Image]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield Image(data)


def _in_archive(one: Path, other: Path) -> str:
    with tarfile.open(one) as first, tarfile.open(other) as second:
        for before, after in zip_longest(first, second):
            if before is None or after is None or before.get_info() != after.get_info():
                return min(member.name for member in (before, after) if member is not None)
            if before.isreg():
                pieces = first.extractfile(before), second.extractfile(after)
                if pieces[0] is not None and pieces[1] is not None and pieces[0].read() != pieces[1].read():
                    return before.name
    return ""


def _byte(one: Path, other: Path) -> int:
    """The first byte that differs; the end of the shorter file if there is none."""
    at = 0
    with one.open("rb") as first, other.open("rb") as second:
        while (before := first.read(_CHUNK)) == (after := second.read(_CHUNK)) and before:
            at += len(before)
    pairs = zip(before, after, strict=False)
    return at + next((number for number, (a, b) in enumerate(pairs) if a != b), min(len(before), len(after)))
