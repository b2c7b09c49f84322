"""A trial watches itself: it looks at its health until it is well or its time is up, and writes down what it saw."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proa.agent.node.cause import Cause
from proa.agent.node.failure import HealthFailure
from proa.agent.node.paths import Paths
from proa.agent.node.settings import HealthSettings
from proa.agent.node.view import Context, View
from proa.agent.trial.health import HealthReport
from proa.core.runtime import files
from proa.core.runtime.clock import Deadline
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Note
from proa.core.runtime.json_text import load_json
from proa.core.schema.model import Document, Part, document, field, parse
from proa.core.schema.values import CodeName, Count, Label

BOOTS: Final = 8
"""Boots of one trial that are remembered; more than the boot state can count."""

_writing: Final = threading.Lock()
"""The watch and an order write the same notes."""


@dataclass(frozen=True)
class TrialBoot(Part):
    """What one boot of the trial saw of itself."""

    boot_id: str = field("The kernel's identifier of it.")
    left: Count = field("Attempts left after this boot began.")
    started: str = field("When its agent began to watch (RFC 3339).")
    failures: tuple[HealthFailure, ...] = field("The failures that the last check found.", default=())
    outcome: str = field("How it ended, as far as its agent could tell; empty if it was cut off.", default="")
    code: CodeName = field("The code of the outcome, if it has one of its own.", default="")
    cause: Label = field("Why it ended that way, a `Cause`.", default="")


@dataclass(frozen=True)
class TrialNotes(Document, schema="proa.trial/v1"):
    """What the boots of one trial wrote down, on PERSIST, where the good slot reads it after a return."""

    root_hash: str = field("What is tried.")
    seq: Count = field("SEQ of the boot state that armed it: GRUB never changes that, and each arming has its own.")
    boots: tuple[TrialBoot, ...] = field("The boots, in order.", default=())


def load_notes(paths: Paths) -> TrialNotes | None:
    """The notes; none where there are none, or none that can be read: they explain, they decide nothing.

    A trial runs another agent than the slot it returns to, so a boot whose note cannot be read is left out alone.
    """
    try:
        written = load_json(paths.trial.read_bytes(), Code.CONFIG_SYNTAX)
        notes = parse(TrialNotes, {**written, "boots": []})
    except (OSError, ProaError):
        return None
    boots = written.get("boots")
    found = (_boot(one) for one in (boots if isinstance(boots, list) else []))
    return dataclasses.replace(notes, boots=tuple(boot for boot in found if boot))


def _boot(written: object) -> TrialBoot | None:
    try:
        return parse(TrialBoot, written)
    except ProaError:
        return None


def save_notes(paths: Paths, notes: TrialNotes) -> None:
    """Write the notes, whole.

    Raises:
        ProaError: ``DEVICE`` or ``DISK_FULL``.
    """
    with files.os_errors(paths.trial):
        paths.trial.parent.mkdir(parents=True, exist_ok=True)
    files.replace(paths.trial, (json.dumps(document(notes), indent=1) + "\n").encode(), 0o600)


class TrialLog:
    """The notes of this boot of the trial. A PERSIST that cannot be written costs the notes, not the trial.

    Opened again in the same boot, it goes on where it was.
    """

    def __init__(self, context: Context, view: View) -> None:
        root_hash = view.node.root_hash or (view.report.root_hash if view.report else "")
        self._context = context
        self._notes = TrialNotes(root_hash, view.state.seq)
        self._before = tuple(boot for boot in self._boots() if boot.boot_id != view.boot_id)[-BOOTS + 1 :]
        self._boot = TrialBoot(view.boot_id, view.report.left if view.report else 0, context.time())
        with _writing:
            self._write(self._latest())

    @property
    def problem(self) -> str:
        """Why this boot cannot be the next one of this trial: a try that was not taken off. Empty if it can."""
        last = min((boot.left for boot in self._before), default=self._boot.left + 1)
        return (
            ""
            if self._boot.left < last
            else (f"{last} attempts were left before this boot, {self._boot.left} are left now")
        )

    def saw(self, health: HealthReport) -> None:
        """Write down what a look found, if it is something new and nobody has ended the trial meanwhile."""
        with _writing:
            boot = self._latest()
            if not boot.outcome and health.failures != boot.failures:
                self._write(dataclasses.replace(boot, failures=health.failures))

    def ended(self, outcome: str, cause: Cause) -> None:
        """Write down how it ended; the first word counts."""
        with _writing:
            boot = self._latest()
            if not boot.outcome:
                code = Code.NO_COMMIT_ORDER if cause is Cause.NO_ORDER else Code.TRIAL_RETURNED
                self._write(dataclasses.replace(boot, outcome=outcome, code=code.name, cause=cause.value))

    def _boots(self) -> tuple[TrialBoot, ...]:
        """What is written down about this trial."""
        found = load_notes(self._context.paths)
        same = found and (found.root_hash, found.seq) == (self._notes.root_hash, self._notes.seq)
        return found.boots if found and same else ()

    def _latest(self) -> TrialBoot:
        """This boot, as somebody may have written it since."""
        return next((boot for boot in self._boots() if boot.boot_id == self._boot.boot_id), self._boot)

    def _write(self, boot: TrialBoot) -> None:
        self._boot = boot
        try:
            save_notes(self._context.paths, dataclasses.replace(self._notes, boots=(*self._before, boot)))
        except ProaError as error:
            self._context.monitor.emit(Note(f"the trial's notes cannot be written: {error.message}", "warning"))


def watch(
    context: Context,
    settings: HealthSettings,
    look: Callable[[], HealthReport],
    trial_log: TrialLog,
    done: Callable[[], bool],
    *,
    to_the_end: bool = False,
) -> HealthReport | None:
    """Look until the boot is healthy, will never be, or its deadline has passed; what the last look found.

    Args:
        context: Its clock counts from the kernel's start, and its wish to stop ends the watch.
        settings: Deadline and interval.
        look: One look.
        trial_log: Where it is written down.
        done: Whether somebody else ended the trial meanwhile, by an order to commit or to roll back.
        to_the_end: Whether a healthy boot is looked at until its deadline too, since somebody else commits it.

    Returns:
        The last look, healthy or not; none when somebody else ended the trial.
    """
    deadline = Deadline("a healthy trial", settings.deadline, context.clock, started=0.0)
    waits = False
    while not done():
        context.cancel.check()
        health = look()
        trial_log.saw(health)
        if deadline.passed or health.final or (health.healthy and not to_the_end):
            return health
        if not (health.healthy and waits):
            left = f"{deadline.remaining:.0f} s left"
            waiting = f"healthy, waiting for the order to commit, {left}"
            context.monitor.emit(Note(waiting if health.healthy else f"not healthy yet, {left}: {health.summary}"))
        waits = health.healthy
        context.cancel.clock(context.clock).sleep(min(settings.interval, max(deadline.remaining, 0.1)))
    return None


def broken_settings(error: ProaError) -> HealthReport:
    """What a look finds when the settings of the checks cannot be read."""
    return HealthReport((HealthFailure("settings", f"{error.message} ({error.at})"),))
