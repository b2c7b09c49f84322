"""``proa-build size``: which packages and folders of a root have how many bytes, and what a budget or OLD says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from proa.builder.cli.contents import Contents
from proa.builder.config.paths import canonical
from proa.builder.engine import output
from proa.builder.node.software import SITE
from proa.core.runtime.events import human_bytes
from proa.core.runtime.parsing import json_value
from proa.core.schema.model import Part, Report, field
from proa.core.schema.values import Count

OURS: Final = "proa"
OTHER: Final = "(no package)"
_LISTS: Final = re.compile(r"/usr/lib/sysimage/dpkg/info/([^/:]+)(?::[^/]+)?\.list")
_BYTECODE: Final = re.compile(r"(.*)/__pycache__/([^/]+?)\.cpython-\d+\.pyc")
_DEPTH: Final = 4
"""Parts of a folder's path, the first of them empty."""
_SHOWN: Final = 15


@dataclass(frozen=True)
class SizedPart(Part):
    """A package or a folder."""

    name: str = field("Its name; `proa` for the agent with its Python packages, `(no package)` for what none owns.")
    bytes: Count = field("Bytes of its files.")
    before: Count = field("The same in OLD; 0 without `--against`.")


@dataclass(frozen=True)
class Sizes(Report, schema="proa.size/v1"):
    """`proa-build size`: where the bytes of a root go."""

    release: str = field("OUT, as it was given.")
    against: str = field("OLD, as it was given; empty without `--against`.")
    root: Count = field("Bytes of the root's image.")
    before: Count = field("The same of OLD; 0 without `--against`.")
    download: Count = field("Bytes of all blobs, as a node without an older release fetches them.")
    budget: Count = field("What `build.budget` allowed for the root when it was built; 0 if it was not set.")
    packages: tuple[SizedPart, ...] = field("By package, the largest first.")
    folders: tuple[SizedPart, ...] = field("By folder, such as `/usr/lib/modules`, the largest first.")


def measure(new: Contents, old: Contents | None = None) -> Sizes:
    """Add up a release, and an older one to compare it with."""
    return Sizes(
        release=new.name,
        against=old.name if old else "",
        root=new.release.root.size,
        before=old.release.root.size if old else 0,
        download=sum(blob.size for blob in new.release.blobs.values()),
        budget=_budget(Path(new.name)),
        packages=_parts(by_package(new), by_package(old) if old else {}),
        folders=_parts(by_folder(new), by_folder(old) if old else {}),
    )


def by_package(one: Contents) -> Mapping[str, int]:
    """Bytes by the package that brought each file."""
    owners = dict(_owned(one))
    found: Counter[str] = Counter()
    for path, entry in one.files.items():
        found[_owner(path, owners)] += entry.size
    return found


def by_folder(one: Contents) -> Mapping[str, int]:
    """Bytes by the folder, three names deep, that each file is in."""
    found: Counter[str] = Counter()
    for path, entry in one.files.items():
        found["/".join(path.split("/")[:-1][:_DEPTH]) or "/"] += entry.size
    return found


def _owned(one: Contents) -> Iterator[tuple[str, str]]:
    """Paths with their packages, by dpkg's lists."""
    for path in one.files:
        if match := _LISTS.fullmatch(path):
            for line in one.image.read(path).decode(errors="surrogateescape").splitlines():
                yield canonical(line), match[1]


def _owner(path: str, owners: Mapping[str, str]) -> str:
    if PurePosixPath(path).is_relative_to(SITE):
        return OURS
    if match := _BYTECODE.fullmatch(path):
        path = f"{match[1]}/{match[2]}.py"
    if path not in owners:
        path = path.removesuffix(".zst")
    return owners.get(path, OTHER)


def _parts(now: Mapping[str, int], before: Mapping[str, int]) -> tuple[SizedPart, ...]:
    names = sorted({*now, *before}, key=lambda name: (-now.get(name, 0), -before.get(name, 0), name))
    found = (SizedPart(name, now.get(name, 0), before.get(name, 0)) for name in names)
    return tuple(part for part in found if part.bytes or part.before)


def _budget(folder: Path) -> int:
    """What the build of an output folder was allowed."""
    try:
        return int(json_value((folder / output.REPORT).read_bytes())["budget"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def text(found: Sizes) -> str:
    """The same for people."""
    lines = [f"root      {_against(found.root, found.before, found.against)}"]
    if found.budget:
        left = found.budget - found.root
        lines.append(
            f"budget    {human_bytes(found.budget)}, {human_bytes(abs(left))} {'left' if left >= 0 else 'over'}"
        )
    lines.append(f"download  {human_bytes(found.download)}")
    for title, parts in (("packages", found.packages), ("folders", found.folders)):
        width = max((len(part.name) for part in parts[:_SHOWN]), default=0)
        rows = [
            f"  {part.name:<{width}}  {_against(part.bytes, part.before, found.against)}" for part in parts[:_SHOWN]
        ]
        lines += ["", f"{title}:", *rows]
        if more := len(parts) - _SHOWN:
            lines += [f"  ... and {more} more, see --json"] if more > 0 else []
    return "\n".join(lines)


def _against(now: int, before: int, against: str) -> str:
    if not against or now == before:
        return human_bytes(now)
    return f"{human_bytes(now)} ({'+' if now > before else '-'}{human_bytes(abs(now - before))})"
