"""How a plan is dealt out over passes: no longer than a while, and with turns for all."""

from __future__ import annotations

from proa.core.runtime.clock import VirtualClock
from proa.scheduler.control.fair_turns import STINT, Stints
from proa.scheduler.planning.actions import Action, Create, Forget

PLAN = (Create("n1"), Create("n2"), Create("n3"))


def deal(stints: Stints, clock: VirtualClock, *actions: Action, seconds: float = STINT) -> list[str]:
    """The nodes that have a turn in a pass whose writes take so many seconds."""
    nodes = []
    for action in stints.deal(actions):
        nodes.append(action.node)
        clock.sleep(seconds)
    return nodes


def test_a_pass_that_is_quick_does_all_in_its_order() -> None:
    stints = Stints(VirtualClock())
    assert list(stints.deal(PLAN)) == list(PLAN)
    assert not stints.cut
    assert list(stints.deal(())) == []
    assert not stints.cut


def test_a_slow_one_leaves_the_rest_to_the_next() -> None:
    clock = VirtualClock()
    stints = Stints(clock)
    assert deal(stints, clock, *PLAN, seconds=3) == ["n1", "n2"]
    assert stints.cut
    assert deal(stints, clock, *PLAN, seconds=3) == ["n3", "n1"]
    assert deal(stints, clock, *PLAN, seconds=0.1) == ["n1", "n2", "n3"]
    assert not stints.cut


def test_who_had_no_turn_is_first_also_after_a_pass_that_was_left() -> None:
    clock = VirtualClock()
    stints = Stints(clock)
    assert next(stints.deal(PLAN)).node == "n1"
    assert stints.cut
    assert next(stints.deal(PLAN)).node == "n2"
    assert next(stints.deal(PLAN)).node == "n3"
    assert next(stints.deal(PLAN)).node == "n1"


def test_what_belongs_to_one_node_is_done_in_one_pass() -> None:
    clock = VirtualClock()
    pair = (Forget("n1", "u"), Create("n1"))
    assert deal(Stints(clock), clock, *pair, Create("n2")) == ["n1", "n1"]


def test_another_term_begins_anew() -> None:
    stints = Stints(VirtualClock())
    assert next(stints.deal(PLAN)).node == "n1"
    stints.clear()
    assert not stints.cut
    assert next(stints.deal(PLAN)).node == "n1"
