from __future__ import annotations

import itertools

import pytest

from proa.agent.node.states import RULES, NodeState, SlotState, StateFacts, Trigger, follow, node_state, slot_state
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.partition.boot.bootstate import BootState, Slot, arm, commit, disarm, initial, retire, rollback


@pytest.mark.parametrize("state", NodeState)
def test_every_verb_is_decided_in_every_state(state: NodeState) -> None:
    verbs = {trigger for trigger in Trigger if trigger.is_verb}
    assert verbs <= set(RULES[state])


@pytest.mark.parametrize("state", [*NodeState, *SlotState])
def test_every_state_has_a_meaning(state: NodeState | SlotState) -> None:
    assert state.meaning.endswith(".")


@pytest.mark.parametrize("state", NodeState)
def test_every_state_can_be_reached_and_left_by_a_boot(state: NodeState) -> None:
    reached = {after for row in RULES.values() for after in row.values() if isinstance(after, NodeState)}
    assert state in reached | {NodeState.INCONSISTENT}
    assert Trigger.BOOT_GOOD in RULES[state]


@pytest.mark.parametrize(("state", "trigger"), [(s, t) for s in NodeState for t in Trigger if t.is_verb])
def test_refusals_have_a_code_that_says_refused_busy_or_state(state: NodeState, trigger: Trigger) -> None:
    outcome = RULES[state][trigger]
    if isinstance(outcome, Code):
        with pytest.raises(ProaError) as caught:
            follow(state, trigger)
        assert caught.value.code is outcome
        assert outcome.value.exit in (Exit.REFUSED, Exit.BUSY, Exit.STATE)
    else:
        assert follow(state, trigger) is outcome


def all_seen() -> list[StateFacts]:
    states = [
        BootState(1, good, trial, left, alt)
        for good, trial, left, alt in itertools.product(Slot, [None, *Slot], range(4), (True, False))
    ]
    sets = [frozenset[Slot](), frozenset({Slot.B}), frozenset(Slot)]
    return [
        StateFacts(state, booted, complete, partial, failed, writing, consistent)
        for state, booted, complete, partial, failed, writing, consistent in itertools.product(
            states, [None, *Slot], sets, sets[:2], sets[:2], [None, Slot.B], (True, False)
        )
    ]


def test_every_combination_has_one_state() -> None:
    for seen in all_seen():
        assert node_state(seen) in NodeState
        good, other = slot_state(seen, seen.state.good), slot_state(seen, seen.state.good.other)
        known = seen.consistent or seen.booted is not None
        assert good in (SlotState.GOOD if known else SlotState.UNKNOWN, SlotState.WRITING)
        assert other is not SlotState.GOOD


def seen(state: BootState, booted: Slot = Slot.A, complete: frozenset[Slot] = frozenset({Slot.B})) -> StateFacts:
    return StateFacts(state, booted, complete)


def test_the_table_says_what_the_boot_state_does() -> None:
    """Each verb, applied to the boot state, leads where the table says."""
    factory = initial()
    armed = arm(factory, Slot.B, 2)
    committed = commit(armed)
    rows = [
        (seen(factory), Trigger.ACTIVATE, seen(armed)),
        (seen(armed), Trigger.DEACTIVATE, seen(retire(armed))),
        (seen(armed, Slot.B), Trigger.COMMIT, seen(committed, Slot.B)),
        (seen(armed, Slot.B), Trigger.ROLLBACK, seen(rollback(armed), Slot.B)),
        (seen(committed, Slot.B), Trigger.ROLLBACK, seen(rollback(committed), Slot.B)),
        (seen(disarm(committed), Slot.B, frozenset()), Trigger.INSTALL, None),
    ]
    for before, trigger, after in rows:
        expected = node_state(after) if after else NodeState.STAGING
        assert follow(node_state(before), trigger) is expected


@pytest.mark.parametrize(
    ("state", "booted", "expected"),
    [
        (initial(), Slot.A, SlotState.STAGED),
        (BootState(1, Slot.A, Slot.B, 1, False), Slot.A, SlotState.ARMED),
        (BootState(1, Slot.A, Slot.B, 0, False), Slot.A, SlotState.FAILED),
        (BootState(1, Slot.A, Slot.B, 0, False), Slot.B, SlotState.TRIAL),
        (BootState(1, Slot.A, None, 0, False), Slot.B, SlotState.LEAVING),
        (BootState(1, Slot.A, None, 0, True), Slot.A, SlotState.FALLBACK),
    ],
)
def test_what_slot_b_is(state: BootState, booted: Slot, expected: SlotState) -> None:
    assert slot_state(seen(state, booted), Slot.B) is expected
