"""The settings of the build itself: what runs in it, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proa.builder.config.kinds import Choice, Listing, Number, Size
from proa.builder.config.setting import setting
from proa.builder.config.vocabulary import LOCAL

HOOK_POINTS: Final = ("build-before", "packages-before", "tree-before", "tree-after", "build-after")


@dataclass(frozen=True)
class Hook:
    """A program of yours that runs at a point of the build."""

    at: str = setting(
        Choice(HOOK_POINTS),
        "When to run: `packages-before` runs inside the root, without network, when only the essential packages are "
        "set up; `tree-before` and `tree-after` run there as well, before and after Proa sets it up; `build-before` "
        "and `build-after` run on the build machine, the latter in the output folder.",
        example="tree-after",
    )
    run: str = setting(LOCAL, "The program.", example="hooks/tree-after.sh")


@dataclass(frozen=True)
class Build:
    """How the output is made."""

    compression: int = setting(Number(1, 19), "The zstd level of the release's frames.", 9)
    budget: int = setting(
        Size(1 << 20, derived=True),
        "The largest root that a build may make; a larger one fails the build. If not set, only the slot limits it.",
        "",
        example="400 MiB",
    )
    formats: tuple[str, ...] = setting(
        Listing(Choice(("raw",))),
        "The disk images to write; none if you only need a release for running nodes.",
        ["raw"],
    )
