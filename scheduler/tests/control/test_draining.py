"""The controller and its drains: nodes that could never be drained, and what is given back."""

from __future__ import annotations

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.times import text
from proa.scheduler.spec.crd import NODE_OSES
from proa.scheduler.spec.rolloutstatus import Blocker
from proa.scheduler.testing.controlled import Case, assert_all_is_well


def test_a_node_that_could_never_be_drained_is_not_even_cordoned(case: Case) -> None:
    case.drains.undrainable = {"n0": (Blocker("n0", "shop/web-1", reason="never allows an eviction"),)}
    case.until(lambda: case.boots.keys() == {"n1", "n2"})
    assert ("apply", case.node("n0")) not in case.server.log
    assert case.changed.count  # another one had its turn at once
    case.until(lambda: "never allows an eviction" in str(case.status.get("blockers")))
    case.drains.undrainable = {}
    case.until(lambda: case.phase == "Complete")
    assert_all_is_well(case)


def test_a_rollout_that_waits_for_nodes_that_could_never_be_drained_does_not_seem_to_go_on() -> None:
    case = Case(drain={"undrainable": "Skip"})
    case.drains.undrainable = {
        name: (Blocker(name, "shop/web-1", reason="never allows an eviction"),) for name in ("n0", "n1", "n2")
    }
    case.until(lambda: case.phase == "Waiting" and len(case.status.get("blockers", ())) == 3)
    heard, since = len(case.ears.heard), case.status
    looked = case.drains.looked.count("n0")
    case.until(lambda: case.drains.looked.count("n0") == looked + 2, turns=600)
    assert case.ears.heard[heard:] in ([], [("workers", "WaitingUndrainable")])
    assert case.status == since


def test_a_node_that_could_never_be_drained_is_told_once_and_for_how_long() -> None:
    case = Case(drain={"undrainable": "Skip"})
    case.drains.undrainable = {
        name: (Blocker(name, "shop/web-1", reason="never allows an eviction"),) for name in ("n0", "n1")
    }
    case.until(lambda: ("n0", "DrainBlocked") in case.ears.heard)
    began = case.clock.now()
    case.until(lambda: case.drains.looked.count("n0") == 3, turns=600)
    assert [one for one in case.ears.heard if one[1] == "DrainBlocked"] == [
        ("n0", "DrainBlocked"),
        ("n1", "DrainBlocked"),
    ]
    last = case.eyes.passes[-1]
    assert [one.node for one in last.blockers] == ["n0", "n1"]
    assert all(one.since <= text(began) for one in last.blockers)
    case.until(lambda: [one["since"] for one in case.status["blockers"]] == [one.since for one in last.blockers])
    case.server.remove(case.rollout)
    case.step()
    assert case.eyes.passes[-1].blockers == ()


@pytest.mark.parametrize("problem", [ApiError(0, "refused"), ProaError(Code.KUBECONFIG, "the token cannot be read")])
def test_without_a_look_ahead_no_node_is_begun(case: Case, problem: ProaError) -> None:
    case.drains.problem = problem
    case.until(lambda: case.drains.looked != [])
    for _ in range(3):
        assert case.turn() > 0
    assert case.cordoned == []
    case.drains.problem = None
    case.until(lambda: case.phase == "Complete")


def test_a_defect_of_a_part_ends_the_controller(case: Case) -> None:
    case.drains.problem = ProaError(Code.INTERNAL, "the watch of budgets has stopped")
    with pytest.raises(ProaError, match="the watch of budgets"):
        case.until(lambda: False)


def test_a_node_is_drained_on_while_a_write_of_ours_does_not_show() -> None:
    """What is under way for a node in the drainer is not dropped because a write about it is under way, too."""
    case = Case()
    case.drains.seconds = 1000
    case.until(lambda: case.wanted_nodes() != [])
    (name,) = case.wanted_nodes()
    case.controller.pending._versions[NODE_OSES, name] = 10**9
    case.step()
    assert case.controller.last is not None
    assert name in case.controller.last.snapshot.pending
    assert name not in case.controller.last.plan.drains
    assert case.wanted_nodes() == [name]


def test_a_node_that_is_given_back_is_drained_no_more_from_that_moment() -> None:
    """Also while its uncordon does not show: nothing is evicted for a node that takes pods again."""
    case = Case()
    case.drains.seconds = 1000
    case.until(lambda: case.wanted_nodes() != [])
    (name,) = case.wanted_nodes()
    case.server.change(case.node(name), metadata={"annotations": {"proa.dev/hold": "wait"}})
    case.step()
    assert case.cordoned == []
    assert case.wanted_nodes() == []
    case.controller.step()
    assert case.wanted_nodes() == []
