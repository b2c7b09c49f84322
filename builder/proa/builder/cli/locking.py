"""``proa-build lock``, and what ``check --online`` asks: the packages of a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proa.builder.build import pipeline
from proa.builder.build.pipeline import BuildOrder
from proa.builder.config.loading import Loaded
from proa.builder.engine import resolve
from proa.builder.engine.cache import StepCache
from proa.builder.engine.resolve import Resolved, Supply
from proa.core.runtime.errors import ProaError, ProaErrors
from proa.core.runtime.events import SILENT
from proa.core.runtime.files import replace
from proa.core.schema.model import Report, field
from proa.core.schema.values import Count


@dataclass(frozen=True)
class LockReport(Report, schema="proa.lock/v1"):
    """`proa-build lock`: what the lock of packages says, and what an update changes of it."""

    lock: str = field("The file.")
    packages: Count = field("How many packages the configuration resolves to now.")
    added: tuple[str, ...] = field("Packages that the lock does not have, as NAME VERSION.")
    removed: tuple[str, ...] = field("Packages that it has but that are no longer needed, as NAME VERSION.")
    changed: tuple[str, ...] = field("Packages of another version or content, as NAME OLD -> NEW.")
    written: bool = field("Whether the file was written: it is if there is none, or with `--update`.")


def lock(loaded: Loaded, cache: StepCache, *, update: bool, dry_run: bool) -> LockReport:
    """Compare the lock with what the mirrors come to now, and write it if asked or if there is none.

    Raises:
        ProaError: ``MIRROR``, ``PACKAGES``, or what is wrong with the lock.
    """
    path = loaded.path.parent / resolve.LOCK
    found = _resolved(loaded, cache)
    old = resolve.read_lock(path) if path.is_file() else Resolved((), ())
    differs = resolve.changes(old.all, found.all)
    writes = (update or not path.is_file()) and not dry_run
    if writes:
        replace(path, found.text().encode())
    parts = {name: tuple(rows) for name, rows in differs.items()}
    return LockReport(str(path), len(found.all), **parts, written=writes)


def lock_text(report: LockReport) -> str:
    """The same for people."""
    signs = {"added": "+", "removed": "-", "changed": "~"}
    lines = [f"{sign} {row}" for name, sign in signs.items() for row in getattr(report, name)]
    if report.written:
        return "\n".join([*lines, f"wrote {report.lock}: {report.packages} packages"])
    return "\n".join([*lines, f"{len(lines)} changes; write them with --update" if lines else "nothing has changed"])


def online_errors(loaded: Loaded, cache: StepCache) -> tuple[ProaError, ...]:
    """What the mirrors have to say against a configuration."""
    try:
        _resolved(loaded, cache)
    except ProaErrors as several:
        return several.errors
    except ProaError as error:
        return (error,)
    return ()


def _resolved(loaded: Loaded, cache: StepCache) -> Resolved:
    resolve.forget()
    return pipeline.resolved(BuildOrder(loaded, Path(), None, cache, SILENT, supply=Supply()))
