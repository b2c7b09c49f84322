"""The boot state as pure code: codec, choice of the copy, decision and transitions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot import bootstate, envblock
from proa.partition.boot.bootstate import SEQ_MAX, TRANSITIONS, TRIES_MAX, BootState, Slot, decode, encode, pick
from proa.partition.boot.decisions import RULES, Boots, decide
from proa.partition.testing.statecases import DAMAGES, all_cases, states

STATES = list(states())
ARMED = BootState(7, Slot.A, Slot.B, 3, alt=False)
COMMITTED = BootState(7, Slot.A, None, 0, alt=True)

any_state = st.builds(
    BootState,
    seq=st.integers(1, SEQ_MAX),
    good=st.sampled_from(Slot),
    trial=st.sampled_from([*Slot, None]),
    left=st.integers(0, TRIES_MAX),
    alt=st.booleans(),
)


def code_of(call: Callable[[], object]) -> Code:
    with pytest.raises(ProaError) as caught:
        call()
    return caught.value.code


def test_slots() -> None:
    assert (Slot.A.other, Slot.B.other) == (Slot.B, Slot.A)
    assert (Slot.A.root_name, Slot.B.uki_name) == ("ROOT-A", "UKI-B")


@given(any_state)
def test_decodes_what_it_encodes(state: BootState) -> None:
    block = encode(state)
    assert len(block) == envblock.SIZE
    assert decode(block) == state


@given(any_state)
def test_all_that_counts_lies_in_the_first_sector(state: BootState) -> None:
    assert set(encode(state)[512:]) == {ord("#")}
    assert decode(encode(state)[:512] + bytes(512)) == state


@given(st.binary(max_size=200))
@example(b"")
@example(envblock.SIGNATURE)
def test_f51_decodes_any_bytes(data: bytes) -> None:
    assert decode(data) is None
    decode(envblock.SIGNATURE + data)


@pytest.mark.parametrize("numbers", [(0, 0), (SEQ_MAX + 1, 0), (1, -1), (1, TRIES_MAX + 1)])
def test_refuses_numbers_out_of_range(numbers: tuple[int, int]) -> None:
    assert code_of(lambda: BootState(numbers[0], Slot.A, None, numbers[1], alt=False)) is Code.INTERNAL


def test_picks_the_higher_seq_then_the_lower_left_then_copy_1() -> None:
    newer, used = dataclasses.replace(ARMED, seq=8), dataclasses.replace(ARMED, left=2)
    assert pick(encode(ARMED), encode(newer)) == (2, newer)
    assert pick(encode(newer), encode(ARMED)) == (1, newer)
    assert pick(encode(ARMED), encode(used)) == (2, used)
    assert pick(encode(used), encode(ARMED)) == (1, used)
    assert pick(encode(ARMED), encode(ARMED)) == (1, ARMED)
    assert pick(b"", encode(ARMED)) == (2, ARMED)
    assert pick(b"", b"") == (None, None)


def test_compares_seq_as_a_number() -> None:
    nine, ten = (dataclasses.replace(ARMED, seq=seq) for seq in (9, 10))
    assert pick(encode(nine), encode(ten)) == (2, ten)


@pytest.mark.parametrize("default", Slot)
def test_every_state_has_a_rule_and_one_only(default: Slot) -> None:
    for state in STATES:
        fitting = [rule for rule in RULES if rule.fits(state, state.left)]
        assert len(fitting) == 1
    assert [rule.boots for rule in RULES if rule.fits(None, 0)] == [Boots.DEFAULT]
    assert decide(b"", b"x", default).slot is default


def test_after_a_failed_write_a_later_rule_decides() -> None:
    """GRUB's script walks the table once, from the top."""
    for number, rule in enumerate(RULES):
        if rule.spends:
            for state in STATES:
                if rule.fits(state, state.left):
                    later = [index for index, other in enumerate(RULES) if other.fits(state, 0)]
                    assert later
                    assert min(later) > number


def test_a_trial_spends_a_try_first() -> None:
    decision = decide(encode(ARMED), encode(ARMED), Slot.A)
    assert (decision.slot, decision.trial, decision.fallback) == (Slot.B, True, None)
    assert decision.write == (1, dataclasses.replace(ARMED, left=2))
    assert decision.unwritten == decide(encode(dataclasses.replace(ARMED, left=0)), b"", Slot.A)


def test_f50_a_trial_ends_after_its_tries() -> None:
    copies = [encode(ARMED), encode(ARMED)]
    booted = []
    for _ in range(6):
        decision = decide(copies[0], copies[1], Slot.A)
        booted.append(decision.slot)
        if decision.write:
            copies[decision.write[0] - 1] = encode(decision.write[1])
    assert booted == [Slot.B] * 3 + [Slot.A] * 3


@pytest.mark.parametrize("state", [state for state in STATES if not state.on_trial])
def test_f49_a_committed_boot_writes_nothing(state: BootState) -> None:
    decision = decide(encode(state), encode(state), Slot.A)
    assert (decision.slot, decision.trial, decision.write, decision.unwritten) == (state.good, False, None, None)
    assert decision.fallback is (state.good.other if state.alt else None)


def test_a_block_that_cannot_be_changed_cannot_try() -> None:
    block = encode(ARMED)[:512] + b"\xff" * 512
    assert decode(block) == ARMED
    decision = decide(block, b"", Slot.B)
    assert (decision.rule, decision.slot, decision.write) == ("tries-used-up", Slot.A, None)


def test_a_try_that_would_not_count_is_not_made() -> None:
    """GRUB changes the first LEFT, and the last one counts."""
    block = DAMAGES["left-twice"](encode(ARMED))
    assert block is not None
    assert decode(block) == ARMED
    assert decide(block, b"", Slot.B).trial is False


TRIED = BootState(5, Slot.A, Slot.B, 1, alt=True)


@pytest.mark.parametrize(
    ("state", "left", "refused"),
    [
        (TRIED, "1", True),
        (TRIED, "2", False),  # the try before
        (TRIED, "", False),
        (BootState(5, Slot.A, None, 1, alt=True), "1", False),
    ],
)
def test_the_last_try_that_never_started_is_told_apart(state: BootState, left: str, refused: bool) -> None:
    block = envblock.assign(encode(state), bootstate.REFUSED, left)
    assert block is not None
    assert bootstate.refused(block) is refused
    assert decode(block) == state, "it decides nothing"
    assert not bootstate.refused(encode(state)), "no change of the state keeps it"


def test_a_copy_that_is_not_valid_tells_of_no_refusal() -> None:
    assert not bootstate.refused(b"")


def test_every_case_is_decided() -> None:
    for case in all_cases():
        decision = decide(case.copy1 or b"", case.copy2 or b"", Slot.B)
        assert decision.slot in Slot
        if decision.trial:
            assert decision.write is not None
            assert decision.unwritten is not None
            assert decision.fallback is None
            assert decision.write[1].trial is decision.slot


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: str(row.name))
def test_every_transition_from_every_state(row: bootstate.Transition, state: BootState) -> None:
    wanted = ((row.on_trial, state.on_trial), (row.pending, state.pending), (row.alt, state.alt))
    if any(want not in (None, has) for want, has in wanted):
        assert code_of(lambda: row.apply(state, tries=1)) is row.refused
    else:
        new = row.apply(state, tries=1)
        assert new.seq == state.seq + 1
        assert decode(encode(new)) == new


def test_the_life_of_an_update() -> None:
    state = bootstate.initial(Slot.A)
    for good in (Slot.B, Slot.A):
        state = bootstate.disarm(state)
        assert (state.trial, state.left, state.alt) == (None, 0, False)
        state = bootstate.arm(state, good, 3)
        assert (state.good, state.trial, state.left) == (good.other, good, 3)
        state = bootstate.commit(dataclasses.replace(state, left=2))
        assert (state.good, state.trial, state.left, state.alt) == (good, None, 0, True)
    assert state.seq == 7


def test_a_failed_update() -> None:
    state = bootstate.retire(dataclasses.replace(ARMED, left=0))
    assert (state.good, state.trial, state.alt) == (Slot.A, None, False)
    assert code_of(lambda: bootstate.rollback(state)) is Code.NOT_GOOD
    assert bootstate.rollback(ARMED) == bootstate.retire(ARMED)


def test_rollback_by_order() -> None:
    state = bootstate.rollback(COMMITTED)
    assert (state.good, state.trial, state.alt, state.seq) == (Slot.B, None, True, 8)


def test_heals() -> None:
    armed = bootstate.heal(COMMITTED)
    assert (armed.good, armed.trial, armed.left, armed.alt) == (Slot.A, Slot.B, 1, True)
    assert code_of(lambda: bootstate.heal(armed)) is Code.NOT_GOOD, "GRUB has not tried it yet"
    tried = dataclasses.replace(armed, left=0)
    assert bootstate.commit(tried, alt=False).alt is False
    assert code_of(lambda: bootstate.heal(dataclasses.replace(COMMITTED, alt=False))) is Code.NOT_GOOD


def test_heals_again_after_the_other_slots_boot_was_cut_off() -> None:
    """GRUB boots the good slot, which cannot be opened, whenever no try is left: somebody must arm the other one."""
    state = COMMITTED
    for _ in range(3):
        state = bootstate.heal(state)
        decision = decide(encode(state), encode(state), Slot.A)
        assert (decision.slot, decision.trial) == (Slot.B, True)
        assert decision.write is not None
        state = decision.write[1]
        assert decide(encode(state), encode(state), Slot.A).slot is Slot.A
    refused = dataclasses.replace(state, alt=False)
    assert code_of(lambda: bootstate.heal(refused)) is Code.NOT_GOOD, "a trial that nobody committed heals nothing"


def test_a_slot_is_vouched_for_after_the_commit() -> None:
    committed = bootstate.commit(dataclasses.replace(ARMED, alt=True), alt=False)
    vouched = bootstate.vouch(committed)
    assert (vouched.good, vouched.trial, vouched.alt, vouched.seq) == (Slot.B, None, True, committed.seq + 1)
    assert code_of(lambda: bootstate.vouch(ARMED)) is Code.IN_TRIAL


@given(st.integers(1, SEQ_MAX), st.integers(1, 1000))
def test_an_earlier_seq_is_before_a_later_one(seq: int, changes: int) -> None:
    later = (seq + changes - 1) % SEQ_MAX + 1
    assert bootstate.is_before(seq, later)
    assert not bootstate.is_before(later, seq)
    assert not bootstate.is_before(seq, seq)


def test_the_last_seq_is_before_the_first() -> None:
    assert bootstate.is_before(SEQ_MAX, bootstate.next_seq(SEQ_MAX))


def test_refusals() -> None:
    assert code_of(lambda: bootstate.arm(COMMITTED, Slot.A, 1)) is Code.SLOT_IN_USE
    assert code_of(lambda: bootstate.arm(COMMITTED, Slot.B, 0)) is Code.USAGE
    assert code_of(lambda: bootstate.arm(COMMITTED, Slot.B, TRIES_MAX + 1)) is Code.USAGE
    assert code_of(lambda: bootstate.commit(COMMITTED)) is Code.NO_TRIAL
    assert code_of(lambda: bootstate.retire(COMMITTED)) is Code.NO_TRIAL


@given(any_state, st.sampled_from([1, 2]))
def test_the_old_or_the_new_state_counts_between_the_two_writes(state: BootState, counted: int) -> None:
    """Also where SEQ begins again at 1: the copy that counts is written last."""
    new = bootstate.disarm(state)
    copies = [encode(state), encode(state)]
    if counted == 2:
        copies[0] = b""
    for index in (0, 1) if pick(*copies)[0] == 2 else (1, 0):
        assert pick(*copies)[1] in (state, new)
        torn = list(copies)
        torn[index] = bytes(envblock.SIZE)
        assert pick(torn[0], torn[1])[1] in (state, new)
        copies[index] = encode(new)
    assert pick(*copies) == (1, new)


def test_no_two_rules_or_transitions_share_a_name() -> None:
    for table in (RULES, TRANSITIONS):
        names = [row.name for row in table]
        assert len(set(names)) == len(names)
