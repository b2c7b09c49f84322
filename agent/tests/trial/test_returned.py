"""Why a trial came back, told from what it left: each cause from its own trace, and from no other."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from proa.agent.node.cause import Cause
from proa.agent.node.failure import HealthFailure
from proa.agent.node.paths import Paths
from proa.agent.node.record import TrialRecord
from proa.agent.trial import traces as left_behind
from proa.agent.trial.returned import Traces, diagnose, report
from proa.agent.trial.traces import TryNote, kernel_messages, known_logs, load_try, said, watchdog_fired
from proa.agent.trial.trial import TrialBoot, TrialNotes
from proa.partition.boot.bootstate import BootState, Slot

NOW = "2026-01-01T00:00:00+00:00"
ROOT = "ab" * 32
TRIAL = TrialRecord("b", "2", ROOT, 2, 7, NOW, "boot-1")
STATE = BootState(7, Slot.A, Slot.B, 0, alt=True)
SILENT = Traces(TRIAL, STATE, None)
STARTED = TryNote(ROOT, 7, 0, "started")
BAD = HealthFailure("unit bad.service", "failed (exit-code)")
PANIC = ("<0>[   12.345678] Kernel panic - not syncing: sysrq triggered crash", "<4>[   12.4] Call Trace:")
VERITY = ("[    9.1] Kernel panic - not syncing: dm-verity device corrupted",)


def watched(outcome: str = "", cause: str = "", failures: tuple[HealthFailure, ...] = ()) -> TrialNotes:
    """The notes of a trial whose agent began to watch."""
    return TrialNotes(ROOT, 7, (TrialBoot("boot-2", 0, NOW, failures, outcome, "TRIAL_RETURNED", cause),))


def ended(
    cause: str, what: str = "the trial was not committed in time; rebooting", seq: int = 7, left: int = 0
) -> TryNote:
    return TryNote(ROOT, seq, left, cause, what)


CASES = {
    "nothing at all": (SILENT, Cause.SILENT, "never reached its agent"),
    "taken back, no notes": (
        dataclasses.replace(SILENT, state=BootState(8, Slot.A, None, 0, alt=True)),
        Cause.UNKNOWN,
        "nothing could be recorded",
    ),
    "refused": (
        dataclasses.replace(SILENT, refused=True, kernel=PANIC, watchdog=True),
        Cause.REFUSED,
        "could not start the trial's kernel image",
    ),
    "panic": (
        dataclasses.replace(SILENT, last_try=STARTED, kernel=PANIC, watchdog=True),
        Cause.PANIC,
        "the kernel panicked: sysrq triggered crash; 2 of 2",
    ),
    "corrupt": (dataclasses.replace(SILENT, kernel=VERITY), Cause.CORRUPT, "dm-verity device corrupted"),
    "watchdog": (
        dataclasses.replace(SILENT, last_try=STARTED, watchdog=True),
        Cause.WATCHDOG,
        "the hardware watchdog reset the machine; it never reached its agent",
    ),
    "watchdog later": (
        dataclasses.replace(SILENT, notes=watched(failures=(BAD,)), watchdog=True),
        Cause.WATCHDOG,
        "reset the machine; its last check found: unit bad.service",
    ),
    "cut off early": (dataclasses.replace(SILENT, last_try=STARTED), Cause.CUT_OFF, "never reached its agent"),
    "cut off late": (
        dataclasses.replace(SILENT, notes=watched()),
        Cause.CUT_OFF,
        "the trial was cut off before it was committed; 2 of 2",
    ),
    "emergency": (
        dataclasses.replace(SILENT, last_try=ended("emergency", "the trial ended in an emergency shell; rebooting")),
        Cause.EMERGENCY,
        "emergency shell; it never reached its agent; 2 of 2",
    ),
    "initrd": (
        dataclasses.replace(SILENT, last_try=ended("initrd", "the initrd failed (stage: root): no root")),
        Cause.INITRD,
        "stage: root",
    ),
    "deadline": (dataclasses.replace(SILENT, last_try=ended("deadline")), Cause.DEADLINE, "not committed in time"),
    "deadline before PERSIST": (
        dataclasses.replace(
            SILENT, kernel=("[    1.0] proa: the trial was not committed in time; rebooting", "[ 1.1] x")
        ),
        Cause.DEADLINE,
        "not committed in time; it never reached its agent",
    ),
    "deadline with an agent": (
        dataclasses.replace(SILENT, last_try=ended("deadline"), notes=watched(failures=(BAD,))),
        Cause.DEADLINE,
        "not committed in time; its last check found: unit bad.service",
    ),
    "unhealthy": (
        dataclasses.replace(SILENT, notes=watched("not healthy within 9 s: x", "unhealthy"), kernel=PANIC),
        Cause.UNHEALTHY,
        "not healthy within 9 s: x; 2 of 2",
    ),
    "an older agent's notes": (dataclasses.replace(SILENT, notes=watched("not healthy")), Cause.UNKNOWN, "not healthy"),
    "another try's note": (
        dataclasses.replace(SILENT, last_try=ended("deadline", left=1)),
        Cause.SILENT,
        "its initrd left no record",
    ),
    "another trial's note": (
        dataclasses.replace(SILENT, last_try=ended("deadline", seq=5)),
        Cause.SILENT,
        "left no record",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_cause_is_told_from_the_surest_trace(name: str) -> None:
    traces, cause, words = CASES[name]
    told = report(traces, NOW, None)
    assert (diagnose(traces).cause, told.cause) == (cause, cause.value)
    assert words in told.reason


def test_a_report_has_the_end_of_a_long_log(tmp_path: Path) -> None:
    """The panic stands above registers and a trace that may be longer than a report, and is in it all the same."""
    kernel = (*VERITY, *(f"line {number}" for number in range(100)))
    told = report(dataclasses.replace(SILENT, kernel=kernel), NOW, None)
    assert told.cause == "corrupt"
    assert told.kernel == (VERITY[-1], *kernel[-left_behind.KERNEL_LINES + 1 :])
    assert (
        report(dataclasses.replace(SILENT, kernel=kernel[-50:]), NOW, None).kernel
        == kernel[-left_behind.KERNEL_LINES :]
    )


def test_what_was_said_last_counts() -> None:
    lines = ("[ 1.0] proa: one", "[ 2.0] not proa: one", "<10>[ 3.0][  T123] proa: two")
    assert (said(lines, "proa: "), said(lines, "other")) == ("proa: two", "")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema": "proa.try/v2"}', '{"schema": "proa.try/v1", "root_hash": "ab", "seq": -1}', "\0"],
)
def test_a_note_that_is_none_is_none(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "persist/.proa"
    folder.mkdir(parents=True)
    assert load_try(Paths(tmp_path)) is None
    (folder / "trial").write_text(text)
    assert load_try(Paths(tmp_path)) is None


@pytest.mark.parametrize(
    ("flags", "fired"), [("32\n", True), ("48\n", True), ("0\n", False), ("", False), ("x", False)]
)
def test_a_watchdog_that_fired_says_so(tmp_path: Path, flags: str, fired: bool) -> None:
    folder = tmp_path / "sys/class/watchdog/watchdog1"
    folder.mkdir(parents=True)
    assert not watchdog_fired(Paths(tmp_path))
    (folder / "bootstatus").write_text(flags)
    assert watchdog_fired(Paths(tmp_path)) is fired


WRONG_TIME = 1_000_000_000


def test_n11_a_panic_is_told_whatever_the_clock_said_when_it_happened(tmp_path: Path) -> None:
    """A machine whose clock has no battery begins every boot in the past, and may be right when it arms."""
    root = tmp_path / "var/lib/systemd/pstore"
    put(root / "1/dmesg.txt", "[ 1.0] Kernel panic - not syncing: of an earlier trial\n", LATER)
    armed = dataclasses.replace(TRIAL, logs=known_logs(Paths(tmp_path)))
    assert kernel_messages(Paths(tmp_path), armed) == ()
    put(root / "2/dmesg.txt", PANICKED, WRONG_TIME)
    assert kernel_messages(Paths(tmp_path), armed) == (PANICKED.strip(),)


def test_n11_a_log_that_was_there_before_is_known_once_it_is_put_together(tmp_path: Path) -> None:
    put(tmp_path / "sys/fs/pstore/dmesg-efi-1", OLD, LATER)
    armed = dataclasses.replace(TRIAL, logs=known_logs(Paths(tmp_path)))
    (tmp_path / "sys/fs/pstore/dmesg-efi-1").unlink()
    put(tmp_path / "var/lib/systemd/pstore/1/dmesg-efi-1", OLD, LATER)
    put(tmp_path / "var/lib/systemd/pstore/1/dmesg.txt", f"dmesg-efi-1:\n{OLD}", LATER + 9)
    assert kernel_messages(Paths(tmp_path), armed) == ()


def test_n11_a_trial_that_an_older_agent_armed_goes_by_the_time(tmp_path: Path) -> None:
    assert TRIAL.logs is None
    put(tmp_path / "var/lib/systemd/pstore/1/dmesg.txt", PANICKED, LATER)
    assert kernel_messages(Paths(tmp_path), TRIAL) == (PANICKED.strip(),)


def test_kernel_messages_of_an_earlier_trial_are_no_trace(tmp_path: Path) -> None:
    log = tmp_path / "var/lib/systemd/pstore/1/dmesg.txt"
    log.parent.mkdir(parents=True)
    log.write_text("[ 1.0] Kernel panic - not syncing: old\n")
    os.utime(log, (1_000_000_000, 1_000_000_000))
    assert kernel_messages(Paths(tmp_path), TRIAL) == ()


def put(path: Path, text: str, written: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (written, written))


OLD, PANICKED = "<6>[    9.1] old\n", "<0>[   10.2] Kernel panic - not syncing: broken\n"
LATER = 1_796_043_579
"""Of a dump; what follows a second later has another folder (seen: systemd 252 cuts off the last digit)."""


def test_a_log_that_lies_in_two_folders_is_one(tmp_path: Path) -> None:
    """The kernel writes the newest part first."""
    root = tmp_path / "var/lib/systemd/pstore"
    for name, time, text in (("179604357", LATER, PANICKED), ("179604358", LATER + 1, OLD)):
        put(root / name / f"dmesg-efi-{time}01001", f"Panic#1 Part1\n{text}", time)
        put(root / name / "dmesg.txt", f"dmesg-efi-{time}01001:\nPanic#1 Part1\n{text}", LATER + 300)
    assert kernel_messages(Paths(tmp_path), TRIAL) == (OLD.strip(), PANICKED.strip())


def test_of_two_logs_that_were_found_together_the_newest_counts(tmp_path: Path) -> None:
    root = tmp_path / "var/lib/systemd/pstore"
    for time, text in ((LATER, PANICKED), (LATER + 60, OLD)):
        put(root / f"{time}/001/dmesg-efi_pstore-{time}01001", text, time)
        put(root / f"{time}/001/dmesg.txt", text, LATER + 300)
    assert kernel_messages(Paths(tmp_path), TRIAL) == (OLD.strip(),)


def test_pieces_that_nobody_put_together_are_a_log(tmp_path: Path) -> None:
    root = tmp_path / "sys/fs/pstore"
    put(root / "dmesg-efi_pstore-1", f"Panic#1 Part1\n{PANICKED} and more\n", LATER)
    put(root / "dmesg-efi_pstore-2", f"Panic#1 Part2\n{OLD}", LATER + 2)
    put(root / "dmesg-efi_pstore-3.enc.z", "no text", LATER + 2)
    assert kernel_messages(Paths(tmp_path), TRIAL) == (OLD.strip(), PANICKED.strip(), " and more")
