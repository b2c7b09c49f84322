"""One table says what is asked of a release at which door, and every cell of it holds at the real doors (n18)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from proa.agent.node.bookkeeping import amend
from proa.agent.node.policy import ASKED, Door, Policy, Question, Subject
from proa.agent.testing.node import Node
from proa.agent.testing.systemctl import Systemctl
from proa.agent.testing.trials import refused, warnings, watch
from proa.agent.testing.world import World
from proa.agent.verbs import verbs
from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot.bootstate import Slot

PAST: Final = "2001-01-01T00:00:00+00:00"
NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
CODES: Final[Mapping[Question, Code]] = {
    Question.SIGNATURE: Code.SIGNATURE,
    Question.COMPATIBLE: Code.INCOMPATIBLE,
    Question.FLOOR: Code.SERIAL,
    Question.NEWEST: Code.SERIAL,
    Question.DENY: Code.DENIED,
    Question.EXPIRY: Code.EXPIRED,
}
CELLS: Final = list(itertools.product(Door, Question))
GOOD: Final = Subject("it", "worker", 5, ("sha256:d", "ab", "2"), signers=("k1", "k2"))
OPEN: Final = Policy("worker", 5, frozenset({"3"}), frozenset({"k1", "k3"}))
WRONG: Final[Mapping[Question, tuple[Subject, Policy]]] = {
    Question.SIGNATURE: (GOOD, dataclasses.replace(OPEN, threshold=2)),
    Question.COMPATIBLE: (dataclasses.replace(GOOD, compatible="desktop"), OPEN),
    Question.FLOOR: (dataclasses.replace(GOOD, serial=4), OPEN),
    Question.NEWEST: (GOOD, dataclasses.replace(OPEN, newest=6)),
    Question.DENY: (GOOD, dataclasses.replace(OPEN, deny=frozenset({"ab"}))),
    Question.EXPIRY: (dataclasses.replace(GOOD, expires=PAST), OPEN),
}


@pytest.mark.parametrize(("door", "question"), CELLS)
def test_n18_every_cell_of_the_table(door: Door, question: Question) -> None:
    subject, policy = WRONG[question]
    assert list(OPEN.objections(door, GOOD, NOW)) == []
    found = [error.code for error in policy.objections(door, subject, NOW)]
    assert found == ([CODES[question]] if question in ASKED[door] else [])


def test_n18_what_says_that_a_release_must_not_run_is_asked_at_every_door() -> None:
    assert all({Question.FLOOR, Question.DENY} <= ASKED[door] for door in Door)
    assert set(ASKED) == set(Door)


def test_n18_what_is_not_known_of_a_release_is_not_asked() -> None:
    policy = Policy("worker", 0, frozenset({"", "x"}), frozenset({"k1"}), 1)
    assert list(policy.objections(Door.INSTALL, Subject("what the factory wrote"), NOW)) == []


# the same at the real doors


def forbid(node: Node, question: Question, slot: Slot) -> None:
    """Let one question be answered with no for what a slot holds."""
    known = node.record.slots[slot]
    match question:
        case Question.SIGNATURE:
            node.trust(keys=(node.world.stranger.public,))
        case Question.COMPATIBLE:
            node.trust(compatible="other")
        case Question.FLOOR:
            node.trust(floor=known.serial + 1)
        case Question.NEWEST:
            amend(node.context, lambda record: dataclasses.replace(record, committed=known.serial + 1))
        case Question.DENY:
            node.write("etc/proa/trust.json", f'{{"schema": "proa.trust/v1", "deny": ["{known.root_hash}"]}}')
        case Question.EXPIRY:
            old = dataclasses.replace(known, expires=PAST)
            amend(node.context, lambda record: record.with_slot(slot, old))


def paired(trial: Node) -> Node:
    """A node whose trial was committed: slot A is the fallback."""
    watch(trial)
    trial.reboot()
    assert (trial.state.good, trial.state.alt) == (Slot.B, True)
    return trial


def told(work: Callable[[], object]) -> Code | None:
    try:
        work()
    except ProaError as error:
        return error.code
    return None


@pytest.mark.parametrize("question", Question)
def test_n18_install(node: Node, world: World, tmp_path: Path, question: Question) -> None:
    changes: dict[str, Any] = {"expires": PAST} if question is Question.EXPIRY else {}
    reference = world.release(tmp_path / "r", world.recipe("2", **changes))
    match question:
        case Question.SIGNATURE:
            node.trust(keys=(world.stranger.public,))
        case Question.COMPATIBLE:
            node.trust(compatible="other")
        case Question.FLOOR:
            node.trust(floor=3)
        case Question.NEWEST:
            amend(node.context, lambda record: dataclasses.replace(record, committed=3))
        case Question.DENY:
            node.trust(deny=("2",))
    assert told(lambda: node.install(reference)) is CODES[question]


@pytest.mark.parametrize("question", Question)
def test_n18_arm(node: Node, release2: str, question: Question) -> None:
    node.install(release2)
    forbid(node, question, Slot.B)
    assert told(lambda: verbs.activate(node.context)) is CODES[question]
    assert not node.state.on_trial


@pytest.mark.parametrize("question", Question)
def test_n18_a_release_that_was_armed_before_it_was_forbidden(node: Node, release2: str, question: Question) -> None:
    node.install(release2, activate=True)
    forbid(node, question, Slot.B)
    node.reconcile()
    assert node.state.on_trial is (question not in ASKED[Door.COMMIT])
    assert ("disarmed" in warnings(node)) is (question in ASKED[Door.COMMIT])


@pytest.mark.parametrize("question", Question)
@pytest.mark.parametrize("by_order", [True, False])
def test_n18_commit(trial: Node, systemctl: Systemctl, question: Question, by_order: bool) -> None:
    forbid(trial, question, Slot.B)
    if by_order:
        found = told(lambda: verbs.commit(trial.context))
        assert found is (CODES[question] if question in ASKED[Door.COMMIT] else None)
    else:
        watch(trial)
    assert (trial.state.good is Slot.B) is (question not in ASKED[Door.COMMIT])
    if not by_order and question in ASKED[Door.COMMIT]:
        assert trial.reboot() is Slot.A
        assert trial.returned.cause == "denied"


@pytest.mark.parametrize("question", Question)
def test_n18_roll_back(trial: Node, systemctl: Systemctl, question: Question) -> None:
    node = paired(trial)
    forbid(node, question, Slot.A)
    found = told(lambda: verbs.rollback(node.context))
    asked = question in ASKED[Door.ROLL_BACK]
    assert found is (CODES[question] if asked else None)
    assert node.state.good is (Slot.B if asked else Slot.A)


@pytest.mark.parametrize("question", Question)
def test_n18_heal(trial: Node, systemctl: Systemctl, question: Question) -> None:
    node = paired(trial)
    forbid(node, question, Slot.A)
    node.reconcile()
    assert node.state.alt is (question not in ASKED[Door.HEAL])


def test_n18_a_trial_that_raises_the_floor_above_the_slot_before_leaves_no_fallback(
    trial: Node, systemctl: Systemctl
) -> None:
    trial.trust(floor=2)
    watch(trial)
    assert (trial.state.good, trial.state.alt) == (Slot.B, False)
    assert refused(verbs.rollback, trial.context).code is Code.SERIAL


def test_n18_a_denied_slot_does_not_become_a_fallback_after_a_damaged_one_was_healed(
    trial: Node, systemctl: Systemctl
) -> None:
    trial.states.write(dataclasses.replace(trial.state, alt=True))  # the initrd turned away from slot A
    forbid(trial, Question.DENY, Slot.A)
    watch(trial)
    assert (trial.state.good, trial.state.alt) == (Slot.B, False)


def test_n18_a_rollback_out_of_a_trial_asks_nothing(trial: Node, systemctl: Systemctl) -> None:
    forbid(trial, Question.DENY, Slot.A)
    assert verbs.rollback(trial.context).good is Slot.A
