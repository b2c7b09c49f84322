"""A break counts only if the node says that it was this one: a rehearsal can fail, and says what came instead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from proa.agent.node.cause import Cause
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.process import ProcessResult
from proa.partition.boot.bootstate import Slot
from proa.vm.machine.console import Line
from proa.vm.machine.machine import Machine
from proa.vm.machine.qmp import QmpEvent
from proa.vm.node.demo import check_return
from proa.vm.node.expectation import OTHER_REASON, Witness
from proa.vm.node.faults import BROKEN_CHECK, MARK, Break, break_trial
from proa.vm.node.node import Node
from proa.vm.node.rehearse import RehearsalReport, as_text, break_release, journal_told
from proa.vm.support.limits import TimeLimits
from proa.vm.support.report import StepRecord, Story

DEADLINE = 150.0
BROKEN = {"what": f"check {BROKEN_CHECK}", "why": "exited with status 100", "output": "", "waiting": False}
STARTING = {"what": "system", "why": "is still starting", "output": "", "waiting": True}


def returned(cause: Cause | None, what: str, *failures: Mapping[str, Any]) -> dict[str, Any]:
    """``returned`` of ``proa.status/v1``, as far as it is looked at."""
    words = {"cause": cause.value if cause else "", "reason": f"{what}; 1 of 1 attempts used"}
    return {**words, "failures": list(failures), "version": "2.0.0"}


NOTHING = Witness()


@dataclass(frozen=True)
class End:
    """How a trial came back."""

    told: dict[str, Any]
    witness: Witness = NOTHING


def end(cause: Cause, what: str, *failures: Mapping[str, Any], mark: str = "", event: str = "") -> End:
    return End(returned(cause, what, *failures), Witness(mark, frozenset({event} - {""})))


UNHEALTHY = end(Cause.UNHEALTHY, f"not healthy and never will be: check {BROKEN_CHECK}: exited with status 100", BROKEN)
AS_ORDERED = {
    Break.PANIC: [end(Cause.PANIC, "the kernel panicked: sysrq triggered crash", mark="panic")],
    Break.HANG: [
        end(Cause.WATCHDOG, "the hardware watchdog reset the machine", mark="hang", event="WATCHDOG"),
        end(Cause.CUT_OFF, "the trial was cut off before it was committed", mark="hang", event="WATCHDOG"),
    ],
    Break.UNHEALTHY: [UNHEALTHY],
    Break.EMERGENCY: [end(Cause.EMERGENCY, "the trial ended in an emergency shell", mark="emergency")],
    Break.NO_AGENT: [
        end(Cause.DEADLINE, "the trial was not committed in time; it never reached its agent", mark="no-agent")
    ],
    Break.CORRUPT: [end(Cause.CORRUPT, "a block of the root does not match: dm-verity device corrupted")],
    Break.CORRUPT_UKI: [end(Cause.REFUSED, "the boot loader could not start the trial's kernel image")],
}
"""What the node says of each break."""
BY_ITSELF = {
    "a slow machine": end(Cause.DEADLINE, "the trial was not committed in time; it never reached its agent"),
    "a slow system": end(Cause.DEADLINE, "not healthy within 135 s: system: is still starting", STARTING),
    "another check": end(
        Cause.UNHEALTHY,
        "not healthy within 135 s: check 10-net: exited with status 1",
        BROKEN | {"what": "check 10-net"},
    ),
    "another check too": end(
        Cause.UNHEALTHY,
        f"not healthy: check 10-net: exited with status 1; check {BROKEN_CHECK}: exited with status 100",
        BROKEN | {"what": "check 10-net"},
        BROKEN,
    ),
    "the check was killed": end(
        Cause.UNHEALTHY, f"not healthy: check {BROKEN_CHECK}: was killed by signal 9", BROKEN | {"why": "killed"}
    ),
    "the check had no time": end(Cause.DEADLINE, f"not healthy: check {BROKEN_CHECK}: no end after 60 s", BROKEN),
    "a panic of its own": end(Cause.PANIC, "the kernel panicked: Attempted to kill init!"),
    "a panic before the break": end(Cause.PANIC, "the kernel panicked: sysrq triggered crash"),
    "a reset before the break": end(Cause.WATCHDOG, "the hardware watchdog reset the machine", event="WATCHDOG"),
    "a power cut": end(Cause.CUT_OFF, "the trial was cut off before it was committed", mark="hang"),
    "a shell of its own": end(Cause.EMERGENCY, "the trial ended in an emergency shell"),
    "an early death": end(Cause.SILENT, "its initrd left no record, and the trial never reached its agent"),
    "an order": end(Cause.ORDERED, "withdrawn by order"),
    "an older agent": End(returned(None, f"not healthy: check {BROKEN_CHECK}: exited with status 100", BROKEN)),
}
"""What comes back without any break, or for another one than was meant."""


def test_every_break_has_an_end_of_its_own() -> None:
    assert set(AS_ORDERED) == set(Break)


@pytest.mark.parametrize("fault", Break)
def test_a_break_is_known_by_its_own_end_and_by_no_other(fault: Break) -> None:
    for other, ends in AS_ORDERED.items():
        for one in ends:
            assert (fault.value.cause.problem(one.told, one.witness) == "") is (other is fault), (other, one)


@pytest.mark.parametrize("name", BY_ITSELF)
@pytest.mark.parametrize("fault", Break)
def test_what_comes_back_by_itself_passes_for_no_break(fault: Break, name: str) -> None:
    one = BY_ITSELF[name]
    assert fault.value.cause.problem(one.told, one.witness).startswith(OTHER_REASON)


@dataclass
class Guest:
    """A machine whose trial ends as it is told: it answers what a node asks of its guest."""

    end: End
    good: Slot = Slot.A
    """What runs after the trial."""
    name: str = "guest"
    running: bool = True
    limits: TimeLimits = field(default_factory=TimeLimits)
    clock: VirtualClock = field(default_factory=VirtualClock)
    commands: list[str] = field(default_factory=list)
    boots: int = 1
    events: list[QmpEvent] = field(default_factory=list)
    lines: tuple[Line, ...] = ()
    journal: str = ""

    @property
    def console(self) -> Guest:
        return self

    def mark(self) -> int:
        return len(self.lines)

    def tail(self) -> str:
        return ""

    def wait_for_boot(self, seconds: float) -> str:
        return f"boot-{self.boots}"

    def succeed(self, command: str, *, stdin: bytes | None = None) -> str:
        self.commands.append(command)
        if command.startswith("systemctl reboot"):
            self.boots += 1
            self.events += [QmpEvent(name, {}, 0.0) for name in self.end.witness.events]
        if command.startswith("cat /proc/sys/kernel/random/boot_id"):
            slot = self.good.value if self.boots > 1 else "a"
            return f"boot-{self.boots}\n" + json.dumps({"slot": slot, "root_hash": "ab", "trial": False})
        if command.startswith("proa-agent returned --journal | tail"):
            return self.journal
        return self.end.witness.mark if command.startswith(f"cat {MARK}") else ""

    def execute(self, command: str, *, seconds: float | None = None) -> ProcessResult:
        """``proa-agent``: what it says of the node."""
        self.commands.append(command)
        told = self.end.told if self.good is Slot.A else None
        slots = {"a": {"version": "1.0.0", "state": "good"}, "b": {"version": "2.0.0", "state": "failed"}}
        status = {"good": self.good.value, "state": "returned", "returned": told, "slots": slots}
        return ProcessResult((command,), 0, json.dumps(status).encode(), b"", 0.0)


def node_in(guest: Guest) -> Node:
    """The real verbs of a node, on the part of a machine that they use."""
    return Node(cast("Machine", guest))


def rehearsed(fault: Break, guest: Guest) -> StepRecord:
    record = StepRecord("break it", 0.0)
    break_release(node_in(guest), fault, DEADLINE, record)
    return record


@pytest.mark.parametrize("fault", Break)
def test_a_rehearsal_takes_the_break_that_was_ordered(fault: Break) -> None:
    for one in AS_ORDERED[fault]:
        assert rehearsed(fault, Guest(one)).details["cause"] == one.told["cause"]


def test_a_trial_that_hangs_is_not_unhealthy() -> None:
    guest = Guest(AS_ORDERED[Break.HANG][0])
    with pytest.raises(
        ProaError, match="came back, but for another reason: the cause is watchdog, not unhealthy"
    ) as caught:
        rehearsed(Break.UNHEALTHY, guest)
    assert caught.value.code is Code.REHEARSAL


def test_a_machine_that_is_too_slow_is_told_so_with_what_to_do() -> None:
    record = StepRecord("break it", 0.0)
    node = node_in(Guest(BY_ITSELF["a slow machine"]))
    with pytest.raises(ProaError, match="another reason: the cause is deadline, not panic") as caught:
        break_release(node, Break.PANIC, DEADLINE, record)
    assert "health.deadline" in caught.value.hint
    assert (record.details["cause"], record.details["expected"]) == ("deadline", "the kernel panics")


def test_a_broken_release_that_is_committed_is_told_at_once() -> None:
    guest = Guest(UNHEALTHY, good=Slot.B)
    with pytest.raises(ProaError, match="slot b runs, it was committed"):
        rehearsed(Break.UNHEALTHY, guest)
    assert guest.clock.at == 0


def test_a_return_that_the_node_knows_nothing_of() -> None:
    guest = Guest(End({}))
    with pytest.raises(ProaError, match="knows of no trial that returned"):
        break_trial(node_in(guest), lambda node, slot: None, DEADLINE)


def test_a_trial_that_comes_back_instead_of_being_committed_says_why() -> None:
    guest = Guest(BY_ITSELF["a slow machine"], boots=2)
    with pytest.raises(ProaError, match="slot a runs, the trial came back: deadline: the trial was not committed"):
        node_in(guest).wait_for_slot(Slot.B, after="boot-1")


def test_the_demo_takes_the_return_of_a_broken_release_for_its_own_reason_alone() -> None:
    check_return({"returned": UNHEALTHY.told}, 1.0)
    for name, one in BY_ITSELF.items():
        with pytest.raises(ProaError, match=OTHER_REASON) as caught:
            check_return({"returned": one.told}, 7.5)
        assert name != "a slow machine" or "7.5 times" in caught.value.hint
    with pytest.raises(ProaError, match="knows of no trial"):
        check_return({"returned": None}, 1.0)


JOURNAL = ["-- boot 1 --", "kubelet[7]: <fatal> \x1b[2Jno such file"]
SHOWN = ["-- boot 1 --", "kubelet[7]: <fatal> \\x1b[2Jno such file"]


def with_journal(one: End) -> Guest:
    told = one.told | {"journal": "/persist/.proa/returned.journal"}
    return Guest(End(told, one.witness), journal="\n".join(JOURNAL) + "\n")


def test_the_end_of_the_trials_journal_stands_in_the_step_of_its_break() -> None:
    guest = with_journal(UNHEALTHY)
    assert rehearsed(Break.UNHEALTHY, guest).details["journal"] == SHOWN
    assert any("tail -n 30 " in command for command in guest.commands)


def test_a_trial_that_left_no_journal_has_none_in_its_step() -> None:
    assert rehearsed(Break.UNHEALTHY, Guest(UNHEALTHY)).details["journal"] == []


def test_a_trial_that_should_have_been_committed_tells_its_journal() -> None:
    guest = with_journal(BY_ITSELF["another check"])
    guest.boots, record = 2, StepRecord("try it and commit", 0.0)
    with (
        pytest.raises(ProaError, match="the trial came back: unhealthy") as caught,
        journal_told(node_in(guest), record),
    ):
        node_in(guest).wait_for_slot(Slot.B, after="boot-1")
    assert record.details["journal"] == SHOWN
    assert caught.value.hint.splitlines()[1:] == SHOWN


def test_the_journal_is_in_the_report_for_programs_and_for_people(tmp_path: Path) -> None:
    story = Story(RehearsalReport, "Rehearsal")
    with story.step("break it: unhealthy") as record:
        break_release(node_in(with_journal(UNHEALTHY)), Break.UNHEALTHY, DEADLINE, record)
    facts = {"old": "1", "new": "2", "secure_boot": False, "breaks": ["unhealthy"]}
    story.write(tmp_path, {}, **facts)
    document = json.loads((tmp_path / "report.json").read_bytes())
    assert document["steps"][0]["journal"] == SHOWN
    page = (tmp_path / "report.html").read_text()
    assert "<pre>-- boot 1 --\nkubelet[7]: &lt;fatal&gt; \\x1b[2Jno such file</pre>" in page
    text = as_text(document)
    assert all(f"| {line}" in text for line in SHOWN)
    assert "not healthy and never will be" in text
