"""Why a trial came back: what the boot state, the trial's own notes, and the crashed kernel left behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from proa.agent.node.paths import Paths
from proa.agent.node.record import Kept, Returned, TrialRecord
from proa.agent.trial.etc import SetAside
from proa.agent.trial.trial import TrialBoot, TrialNotes
from proa.core.runtime.errors import Code
from proa.core.runtime.printable import printable
from proa.partition.boot.bootstate import BootState, Slot, is_before

KERNEL_LINES: Final = 40
"""Last kernel messages that a report has."""
_LINE: Final = 300
_READ: Final = 1 << 16


@dataclass(frozen=True)
class Traces:
    """What there is to tell the reason from.

    Attributes:
        trial: The trial as it was armed.
        state: The boot state as this boot found it.
        notes: What the trial wrote down.
        kernel: The last kernel messages of a crash.
    """

    trial: TrialRecord
    state: BootState
    notes: TrialNotes | None
    kernel: tuple[str, ...]

    @property
    def boots(self) -> tuple[TrialBoot, ...]:
        """The boots whose agent began to watch."""
        notes = self.notes
        same = notes and (notes.root_hash, notes.seq) == (self.trial.root_hash, self.trial.seq)
        return notes.boots if notes and same else ()

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


def reason(traces: Traces) -> str:
    """Why it came back, in one sentence."""
    tries = f"{traces.used} of {traces.trial.tries} tries used"
    last = traces.boots[-1] if traces.boots else None
    if last is None and traces.state.on_trial:
        return f"the trial never came as far as its agent; {tries}"
    if last is None:
        return f"the trial was taken back, and nothing could be written down about it; {tries}"
    failures = "; ".join(f"{failure.what}: {failure.why}" for failure in last.failures)
    if last.outcome:
        return f"{last.outcome}; {tries}"
    cut = "the trial was cut off before it was committed"
    return f"{cut}, its last look found: {failures}; {tries}" if failures else f"{cut}; {tries}"


def report(traces: Traces, time: str, etc: SetAside | None) -> Returned:
    """The report as ``status`` shows it."""
    boots = traces.boots
    return Returned(
        slot=traces.trial.slot,
        version=traces.trial.version,
        root_hash=traces.trial.root_hash,
        time=time,
        reason=reason(traces),
        tries=traces.trial.tries,
        used=traces.used,
        failures=boots[-1].failures if boots else (),
        kernel=traces.kernel,
        etc=Kept(str(etc.folder), etc.files) if etc else None,
        code=(boots[-1].code if boots else "") or Code.TRIAL_RETURNED.name,
    )


def kernel_messages(paths: Paths, since: str) -> tuple[str, ...]:
    """The last lines of the newest kernel log that a crash left in pstore since then; empty where there is none.

    systemd-pstore moves records from pstore to /var/lib/systemd/pstore (systemd-pstore.service(8)).
    """
    start = datetime.fromisoformat(since).timestamp()
    try:
        logs = [path for folder in paths.pstore for path in folder.rglob("dmesg*") if _is_log(path, start)]
        # systemd-pstore puts the pieces together as dmesg.txt and keeps them beside it.
        newest = max(logs, key=lambda path: (path.name == "dmesg.txt", path.stat().st_mtime), default=None)
        return _tail(newest) if newest else ()
    except OSError:
        return ()


def _is_log(path: Path, start: float) -> bool:
    return path.is_file() and not path.name.endswith(".z") and path.stat().st_mtime >= start


def _tail(path: Path) -> tuple[str, ...]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _READ))
        lines = file.read(_READ).decode(errors="replace").splitlines()
    return tuple(printable(line)[:_LINE] for line in lines if line.strip())[-KERNEL_LINES:]
