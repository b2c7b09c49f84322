"""Nodes that could never be drained: looked at before the cordon, and again after a while."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from proa.core.orders.messages import FIRST
from proa.core.runtime.clock import VirtualClock
from proa.scheduler.drain.undrainable import AGAIN, MOST_AGAIN, DrainPrecheck
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Cordon
from proa.scheduler.planning.views import Mark
from proa.scheduler.spec.rollout import Drain, OnTimeout
from proa.scheduler.spec.rolloutstatus import Blocker

CORDON = Cordon("n1", Mark("workers", "d", FIRST, True, "b"))
BLOCKED = (Blocker("n1", "ns/pod", reason="never"),)


def told(seconds: float) -> tuple[Blocker, ...]:
    """What is told of it that was found so many seconds after the beginning."""
    since = text(VirtualClock().now() + timedelta(seconds=seconds))
    return tuple(dataclasses.replace(one, since=since) for one in BLOCKED)


@dataclass
class Eyes:
    """What is seen on each node."""

    found: dict[str, tuple[Blocker, ...]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def look(self, node: str, _: Drain) -> tuple[Blocker, ...]:
        self.asked.append(node)
        return self.found.get(node, ())


def test_a_node_that_can_be_drained_is_allowed() -> None:
    precheck = DrainPrecheck(Eyes().look)
    assert precheck.allows(CORDON, Drain(), 0)
    assert precheck.undrainable == {}
    assert precheck.due(0) is None


def test_one_that_cannot_is_told_until_it_is_looked_at_again() -> None:
    precheck = DrainPrecheck(Eyes({"n1": BLOCKED}).look, VirtualClock())
    assert not precheck.allows(CORDON, Drain(), 10)
    assert precheck.undrainable == {"n1": told(0)}
    assert precheck.due(110) == AGAIN - 100
    assert precheck.due(20 + AGAIN) == 0


def test_what_is_found_again_is_told_on_since_it_was_found_first() -> None:
    clock = VirtualClock()
    eyes = Eyes({"n1": BLOCKED})
    precheck = DrainPrecheck(eyes.look, clock)
    precheck.allows(CORDON, Drain(), 0)
    clock.sleep(AGAIN)
    eyes.found = {"n1": (*BLOCKED, Blocker("n1", "ns/more"))}
    precheck.look_again(lambda: {"n1": Drain()}, AGAIN)
    assert precheck.undrainable == {"n1": (*told(0), Blocker("n1", "ns/more", since=text(clock.now())))}
    assert precheck.due(AGAIN + 1) == AGAIN - 1


@pytest.mark.parametrize("policy", [Drain(), Drain(on_timeout=OnTimeout.FORCE)])
def test_what_is_in_the_way_no_more_is_told_no_more(policy: Drain) -> None:
    eyes = Eyes({"n1": BLOCKED})
    precheck = DrainPrecheck(eyes.look, VirtualClock())
    precheck.allows(CORDON, Drain(), 0)
    eyes.found = {}
    precheck.look_again(lambda: {"n1": policy}, AGAIN - 1)
    assert precheck.undrainable == {"n1": told(0)}
    precheck.look_again(lambda: {"n1": policy}, AGAIN)
    assert precheck.undrainable == {}


def test_a_node_that_does_not_wait_for_that_any_more_is_forgotten() -> None:
    eyes = Eyes({"n1": BLOCKED})
    precheck = DrainPrecheck(eyes.look, VirtualClock())
    precheck.allows(CORDON, Drain(), 0)
    precheck.look_again(dict, AGAIN)
    assert (precheck.undrainable, eyes.asked) == ({}, ["n1"])


@pytest.mark.parametrize(("status", "due"), [(0, 0.0), (403, AGAIN)], ids=["away", "not-allowed"])
def test_what_cannot_be_looked_at_again_is_told_on(status: int, due: float) -> None:
    def blind(node: str, policy: Drain) -> tuple[Blocker, ...]:
        raise ApiError(status, "no")

    precheck = DrainPrecheck(Eyes({"n1": BLOCKED}).look, VirtualClock())
    precheck.allows(CORDON, Drain(), 0)
    precheck.look = blind
    with nullcontext() if status else pytest.raises(ApiError):
        precheck.look_again(lambda: {"n1": Drain()}, AGAIN)
    assert precheck.undrainable == {"n1": told(0)}
    assert precheck.due(AGAIN) == due


def test_many_nodes_are_looked_at_again_by_and_by() -> None:
    names = [f"n{number}" for number in range(MOST_AGAIN + 1)]
    eyes = Eyes(dict.fromkeys(names, BLOCKED))
    precheck = DrainPrecheck(eyes.look, VirtualClock())
    for name in names:
        precheck.allows(dataclasses.replace(CORDON, node=name), Drain(), 0)
    for looked in (MOST_AGAIN, MOST_AGAIN + 1, MOST_AGAIN + 1):
        precheck.look_again(lambda: dict.fromkeys(names, Drain()), AGAIN)
        assert len(eyes.asked) == len(names) + looked
        assert precheck.undrainable.keys() == set(names)


def test_who_forces_does_not_look() -> None:
    eyes = Eyes({"n1": BLOCKED})
    assert DrainPrecheck(eyes.look).allows(CORDON, Drain(on_timeout=OnTimeout.FORCE), 0)
    assert eyes.asked == []


def test_who_cannot_look_says_so() -> None:
    def blind(node: str, policy: Drain) -> tuple[Blocker, ...]:
        raise ApiError(0, "refused")

    precheck = DrainPrecheck(blind)
    with pytest.raises(ApiError):
        precheck.allows(CORDON, Drain(), 0)
    assert precheck.undrainable == {}


def test_another_term_looks_anew() -> None:
    precheck = DrainPrecheck(Eyes({"n1": BLOCKED}).look)
    precheck.allows(CORDON, Drain(), 0)
    precheck.clear()
    assert precheck.undrainable == {}
