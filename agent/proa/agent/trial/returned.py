"""Why a trial came back: what the boot state, the trial's own notes, its initrd and its kernel left behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from proa.agent.node.cause import Cause
from proa.agent.node.record import Kept, Returned, TrialRecord
from proa.agent.trial.etc import SetAside
from proa.agent.trial.traces import KERNEL_LINES, TryNote, said
from proa.agent.trial.trial import TrialBoot, TrialNotes
from proa.core.runtime.errors import Code
from proa.partition.boot.bootstate import BootState, Slot, is_before

NO_AGENT: Final = "it never reached its agent"
"""What is told of a trial that ended before its agent began to watch; the proofs look for it."""
_PANIC: Final = "Kernel panic - not syncing: "
_ENDS: Final = {
    Cause.DEADLINE: "the trial was not committed in time",
    Cause.EMERGENCY: "the trial ended in an emergency shell",
    Cause.INITRD: "the initrd failed",
}
"""How the words begin that the initrd's units leave when they end a try."""


class Diagnosis(NamedTuple):
    """A cause, and what happened in a sentence."""

    cause: Cause
    what: str


@dataclass(frozen=True)
class Traces:
    """What there is to tell the reason from.

    Attributes:
        trial: The trial as it was armed.
        state: The boot state as this boot found it.
        notes: What the trial wrote down.
        kernel: The last kernel messages of the trial, where its end left them.
        refused: Whether the boot loader could not start the kernel image at the last try.
        last_try: What the initrd of the last try wrote down.
        watchdog: Whether the watchdog reset the machine before this boot.
    """

    trial: TrialRecord
    state: BootState
    notes: TrialNotes | None
    kernel: tuple[str, ...] = ()
    refused: bool = False
    last_try: TryNote | None = None
    watchdog: bool = False

    @property
    def boots(self) -> tuple[TrialBoot, ...]:
        """The boots whose agent began to watch."""
        notes = self.notes
        same = notes and (notes.root_hash, notes.seq) == (self.trial.root_hash, self.trial.seq)
        return notes.boots if notes and same else ()

    @property
    def noted(self) -> TryNote | None:
        """The note of the last try; none if its initrd never came so far."""
        note = self.last_try
        same = note and (note.root_hash, note.seq) == (self.trial.root_hash, self.trial.seq)
        return note if note and same and (not self.state.on_trial or note.left == self.state.left) else None

    @property
    def used(self) -> int:
        """Tries that were used, as far as can be told: one, where nothing tells."""
        if self.state.on_trial:
            return self.trial.tries - self.state.left
        return self.trial.tries - min((boot.left for boot in self.boots), default=self.trial.tries - 1)

    @property
    def never_armed(self) -> bool:
        """Whether the power failed between the record of the trial and its arming: it was never tried."""
        return not self.state.on_trial and is_before(self.state.seq, self.trial.seq)


def has_returned(trial: TrialRecord | None, booted: Slot | None, boot_id: str, state: BootState) -> bool:
    """Whether this boot is the good slot's, after a trial that was armed in an earlier one and not committed."""
    if trial is None or booted is None or trial.boot_id == boot_id:
        return False
    return state.good is booted and booted is Slot(trial.slot).other


def diagnose(traces: Traces) -> Diagnosis:
    """Why the trial returned, from the most reliable trace of the last try."""
    return next(_diagnoses(traces))


def _diagnoses(traces: Traces) -> Iterator[Diagnosis]:
    """What the traces say, the surest one first; there is always one."""
    if traces.refused:
        yield Diagnosis(Cause.REFUSED, "the boot loader could not start the trial's kernel image")
    if traces.boots and (outcome := traces.boots[-1].outcome):
        yield Diagnosis(_cause(traces.boots[-1]), outcome)
    yield from _noted(traces)
    yield from _from_kernel(traces)
    yield from _silence(traces)


def _cause(boot: TrialBoot) -> Cause:
    """The cause that a trial wrote down; it may run an older or a newer agent than this one."""
    return next((cause for cause in Cause if cause.value == boot.cause), Cause.UNKNOWN)


def _noted(traces: Traces) -> Iterator[Diagnosis]:
    note = traces.noted
    for cause in _ENDS:
        if note and note.cause == cause.value:
            yield Diagnosis(cause, _sentence(note.what, traces))


def _from_kernel(traces: Traces) -> Iterator[Diagnosis]:
    panic = said(traces.kernel, _PANIC).removeprefix(_PANIC)
    if panic.startswith("dm-verity"):
        yield Diagnosis(Cause.CORRUPT, f"a block of the root does not match its signed hash: {panic}")
    elif panic:
        yield Diagnosis(Cause.PANIC, f"the kernel panicked: {panic}")
    for cause, words in _ENDS.items():
        if told := said(traces.kernel, f"proa: {words}"):
            yield Diagnosis(cause, _sentence(told.removeprefix("proa: "), traces))


def _silence(traces: Traces) -> Iterator[Diagnosis]:
    """What can be said of a try that ended without a word."""
    if traces.watchdog:
        yield Diagnosis(Cause.WATCHDOG, _sentence("the hardware watchdog reset the machine", traces))
    if traces.boots or traces.noted:
        yield Diagnosis(Cause.CUT_OFF, _sentence("the trial was cut off before it was committed", traces))
    if traces.state.on_trial:
        yield Diagnosis(Cause.SILENT, "its initrd left no record, and the trial never reached its agent")
    yield Diagnosis(Cause.UNKNOWN, "the trial was withdrawn, and nothing could be recorded about it")


def _sentence(what: str, traces: Traces) -> str:
    """What ended a trial from outside, with what was known of it by then."""
    what = what.removesuffix("; rebooting")
    if not traces.boots:
        return f"{what}; {NO_AGENT}"
    failures = "; ".join(f"{failure.what}: {failure.why}" for failure in traces.boots[-1].failures)
    return f"{what}; its last check found: {failures}" if failures else what


def _last_words(kernel: tuple[str, ...]) -> tuple[str, ...]:
    """The last messages, and before them that of a panic: what the kernel writes after it can be longer."""
    panics = [line for line in kernel[:-KERNEL_LINES] if _PANIC in line]
    return (*panics[-1:], *kernel[-KERNEL_LINES + len(panics[-1:]) :])


def report(traces: Traces, time: str, etc: SetAside | None) -> Returned:
    """The report as ``status`` shows it."""
    boots, diagnosis = traces.boots, diagnose(traces)
    return Returned(
        slot=traces.trial.slot,
        version=traces.trial.version,
        root_hash=traces.trial.root_hash,
        time=time,
        reason=f"{diagnosis.what}; {traces.used} of {traces.trial.tries} attempts used",
        tries=traces.trial.tries,
        used=traces.used,
        failures=boots[-1].failures if boots else (),
        kernel=_last_words(traces.kernel),
        etc=Kept(str(etc.folder), etc.files) if etc else None,
        code=(boots[-1].code if boots else "") or Code.TRIAL_RETURNED.name,
        cause=diagnosis.cause.value,
    )
