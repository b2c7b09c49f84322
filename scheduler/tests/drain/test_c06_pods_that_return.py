"""A pod that comes back as fast as it is evicted is a blocker, and is not evicted without end."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from proa.scheduler.drain.nodedrain import RETURNS, DrainRequest, Look, NodeDrain
from proa.scheduler.drain.pods import PodView
from proa.scheduler.spec.rollout import Drain, OnTimeout

START = datetime(2026, 1, 1, tzinfo=UTC)
OWNER = ("ReplicaSet", "web")
GOES = DrainRequest(Drain())
FORCED = DrainRequest(Drain(on_timeout=OnTimeout.FORCE), forced=True)


def pod(number: int, name: str = "", owner: tuple[str, str] = OWNER) -> PodView:
    return PodView(f"shop/{name or f'web-{number}'}", f"uid-{number}", {}, owner)


def looks(drain: NodeDrain, request: DrainRequest, pods: list[PodView]) -> Look:
    return drain.look({one.key: one for one in pods}, (), request, (), START + timedelta(seconds=1), 0.0)


def chase(request: DrainRequest, times: int, name: str = "", others: tuple[PodView, ...] = ()) -> tuple[int, Look]:
    """A binder that seats a new pod on the node for each one that is evicted; how many were, and the last look."""
    drain, evicted, number = NodeDrain("n1"), 0, 0
    look = Look()
    for _ in range(times):
        look = looks(drain, request, [pod(number, name), *others])
        gone = [one for one in (*look.evict, *look.delete) if one.owner == OWNER]
        evicted += len(gone)
        number += bool(gone)
    return evicted, look


@pytest.mark.parametrize("name", ["", "web-0"], ids=["replica-set", "stateful-set"])
@pytest.mark.parametrize("request_", [GOES, FORCED], ids=["goes", "forced"])
def test_c06_it_is_evicted_a_few_times_only(request_: DrainRequest, name: str) -> None:
    evicted, look = chase(request_, 50, name)
    assert evicted == RETURNS
    (blocker,) = look.blockers
    assert blocker.pod.startswith("shop/web-")
    assert "come back as fast as they are evicted" in blocker.reason


def test_c06_the_drain_ends_by_policy() -> None:
    assert not chase(GOES, 50)[1].done
    assert chase(FORCED, 50)[1].done


def test_c06_pods_that_do_not_come_back_are_evicted_on() -> None:
    other = dataclasses.replace(pod(100, "db-0"), owner=("StatefulSet", "db"))
    _, look = chase(GOES, 50, others=(other,))
    assert [one.key for one in look.evict] == ["shop/db-0"]


def test_c06_many_pods_of_one_owner_that_were_there_before_are_no_arrivals() -> None:
    drain = NodeDrain("n1")
    pods = [pod(number) for number in range(10)]
    for left in range(10, 0, -1):
        assert looks(drain, GOES, pods[:left]).blockers == ()
    assert looks(drain, GOES, []).done
