"""A trial watches itself: it looks at its health until it is well or its time is up, and writes down what it saw."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from proa.agent.health import Failure, Health
from proa.agent.paths import Paths
from proa.agent.settings import HealthSettings
from proa.agent.view import Context, View
from proa.core import files
from proa.core.clock import Deadline
from proa.core.errors import Code, ProaError
from proa.core.events import Note
from proa.core.release import load_json

SCHEMA: Final = "proa.trial/v1"
BOOTS: Final = 8
"""Boots of one trial that are remembered; more than the boot state can count."""


@dataclass(frozen=True)
class TrialBoot:
    """What one boot of the trial saw of itself.

    Attributes:
        boot_id: The kernel's identifier of it.
        left: Tries that were left after it began.
        started: When its agent began to watch (RFC 3339).
        failures: What was wrong at the last look.
        outcome: How it ended, as far as its agent could tell; empty if it was cut off.
    """

    boot_id: str
    left: int
    started: str
    failures: tuple[Mapping[str, Any], ...] = ()
    outcome: str = ""


@dataclass(frozen=True)
class TrialNotes:
    """What the boots of one trial wrote down, on PERSIST, where the good slot reads it after a return."""

    root_hash: str
    boots: tuple[TrialBoot, ...] = field(default=())


def load_notes(paths: Paths) -> TrialNotes | None:
    """The notes; none where there are none, or none that can be read: they explain, they decide nothing."""
    try:
        document = load_json(paths.trial.read_bytes(), Code.CONFIG_SYNTAX)
        if document["schema"] != SCHEMA:
            return None
        boots = tuple(TrialBoot(**{**boot, "failures": tuple(boot["failures"])}) for boot in document["boots"])
        return TrialNotes(str(document["root_hash"]), boots)
    except (OSError, ProaError, KeyError, TypeError):
        return None


def save_notes(paths: Paths, notes: TrialNotes) -> None:
    """Write the notes, whole.

    Raises:
        ProaError: ``DEVICE`` or ``DISK_FULL``.
    """
    with files.os_errors(paths.trial):
        paths.trial.parent.mkdir(parents=True, exist_ok=True)
    files.replace(paths.trial, (json.dumps({"schema": SCHEMA} | asdict(notes), indent=1) + "\n").encode(), 0o600)


class Diary:
    """The notes of this boot of the trial. A PERSIST that cannot be written costs the notes, not the trial."""

    def __init__(self, context: Context, view: View) -> None:
        root_hash = view.node.root_hash or (view.report.root_hash if view.report else "")
        earlier = load_notes(context.paths)
        kept = earlier.boots if earlier and earlier.root_hash == root_hash else ()
        self._context = context
        self._root_hash = root_hash
        self._before = tuple(boot for boot in kept if boot.boot_id != view.boot_id)[-BOOTS + 1 :]
        self._boot = TrialBoot(view.boot_id, view.report.left if view.report else 0, context.time())
        self._write()

    @property
    def problem(self) -> str:
        """Why this boot cannot be the next one of this trial: a try that was not taken off. Empty if it can."""
        last = min((boot.left for boot in self._before), default=self._boot.left + 1)
        return "" if self._boot.left < last else f"{last} tries were left before this boot, {self._boot.left} now"

    def saw(self, health: Health) -> None:
        """Write down what a look found, if it is something new."""
        failures = tuple(failure.document() for failure in health.failures)
        if failures != self._boot.failures:
            self._boot = TrialBoot(self._boot.boot_id, self._boot.left, self._boot.started, failures)
            self._write()

    def ended(self, outcome: str) -> None:
        """Write down how it ended."""
        boot = self._boot
        self._boot = TrialBoot(boot.boot_id, boot.left, boot.started, boot.failures, outcome)
        self._write()

    def _write(self) -> None:
        try:
            save_notes(self._context.paths, TrialNotes(self._root_hash, (*self._before, self._boot)))
        except ProaError as error:
            self._context.monitor.emit(Note(f"the trial's notes cannot be written: {error.message}", "warning"))


def watch(
    context: Context, settings: HealthSettings, look: Callable[[], Health], diary: Diary, done: Callable[[], bool]
) -> Health | None:
    """Look until the boot is healthy or its deadline has passed; what the last look found.

    Args:
        context: Its clock counts from the kernel's start, and its wish to stop ends the watch.
        settings: Deadline and interval.
        look: One look.
        diary: Where it is written down.
        done: Whether somebody else ended the trial meanwhile, by an order to commit or to roll back.

    Returns:
        The last look, healthy or not; none when somebody else ended the trial.
    """
    deadline = Deadline("a healthy trial", settings.deadline, context.clock, started=0.0)
    while not done():
        context.cancel.check()
        health = look()
        diary.saw(health)
        if health.healthy or deadline.passed:
            return health
        context.monitor.emit(Note(f"not healthy yet, {deadline.remaining:.0f} s left: {health.summary}"))
        context.cancel.clock(context.clock).sleep(min(settings.interval, max(deadline.remaining, 0.1)))
    return None


def broken_settings(error: ProaError) -> Health:
    """What a look finds when the settings of the checks cannot be read."""
    return Health((Failure("settings", f"{error.message} ({error.at})"),))
