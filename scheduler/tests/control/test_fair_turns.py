"""How a plan is dealt out over passes: no longer than a while, and with turns for all."""

from __future__ import annotations

from proa.core.runtime.clock import VirtualClock
from proa.scheduler.control.fair_turns import STINT, Stints
from proa.scheduler.planning.actions import Action, Create, Forget

PLAN = (Create("n1"), Create("n2"), Create("n3"))


def deal(fair_turns: Stints, clock: VirtualClock, *actions: Action, seconds: float = STINT) -> list[str]:
    """The nodes that have a turn in a pass whose writes take so many seconds."""
    nodes = []
    for action in fair_turns.deal(actions):
        nodes.append(action.node)
        clock.sleep(seconds)
    return nodes


def test_a_pass_that_is_quick_does_all_in_its_order() -> None:
    fair_turns = Stints(VirtualClock())
    assert list(fair_turns.deal(PLAN)) == list(PLAN)
    assert not fair_turns.cut
    assert list(fair_turns.deal(())) == []
    assert not fair_turns.cut


def test_a_slow_one_leaves_the_rest_to_the_next() -> None:
    clock = VirtualClock()
    fair_turns = Stints(clock)
    assert deal(fair_turns, clock, *PLAN, seconds=3) == ["n1", "n2"]
    assert fair_turns.cut
    assert deal(fair_turns, clock, *PLAN, seconds=3) == ["n3", "n1"]
    assert deal(fair_turns, clock, *PLAN, seconds=0.1) == ["n1", "n2", "n3"]
    assert not fair_turns.cut


def test_who_had_no_turn_is_first_also_after_a_pass_that_was_left() -> None:
    clock = VirtualClock()
    fair_turns = Stints(clock)
    assert next(fair_turns.deal(PLAN)).node == "n1"
    assert fair_turns.cut
    assert next(fair_turns.deal(PLAN)).node == "n2"
    assert next(fair_turns.deal(PLAN)).node == "n3"
    assert next(fair_turns.deal(PLAN)).node == "n1"


def test_what_belongs_to_one_node_is_done_in_one_pass() -> None:
    clock = VirtualClock()
    pair = (Forget("n1", "u"), Create("n1"))
    assert deal(Stints(clock), clock, *pair, Create("n2")) == ["n1", "n1"]


def test_another_term_begins_anew() -> None:
    fair_turns = Stints(VirtualClock())
    assert next(fair_turns.deal(PLAN)).node == "n1"
    fair_turns.clear()
    assert not fair_turns.cut
    assert next(fair_turns.deal(PLAN)).node == "n1"
