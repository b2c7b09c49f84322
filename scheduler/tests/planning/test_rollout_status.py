"""What a plan writes into a rollout's status."""

from __future__ import annotations

import dataclasses

import pytest

from proa.scheduler.kube.times import text
from proa.scheduler.planning.views import (
    ZONE,
)
from proa.scheduler.spec.rollout import (
    Canary,
    FailurePolicy,
)
from proa.scheduler.spec.rolloutstatus import CanaryStatus, RolloutStatus
from proa.scheduler.testing.situations import (
    GIVEN_UP,
    NEW,
    NOW,
    RELEASE,
    SPEC,
    acts,
    change,
    done,
    marked,
    node,
    node_os,
    planned,
    ready,
    trial,
    two_of,
)


def test_all_nodes_that_a_person_holds_are_counted() -> None:
    parts = [
        done("n1", hold="looking"),
        trial("n2", hold="looking"),
        (node("n3", hold="looking"), node_os("n3", record=GIVEN_UP)),
        ready("n4", hold="looking"),
        ready("n5", hold="looking", excluded=True),
        ready("n6"),
    ]
    made = planned(*parts, spec=change(failure=FailurePolicy(1)))
    assert made.statuses["workers"].counts.held == 4
    assert planned(*parts, rollouts=two_of(RolloutStatus())).statuses["others"].counts.held == 4


def test_the_history_is_bounded() -> None:
    status = RolloutStatus(started_at=text(NOW))
    for number in range(30):
        spec = change(release=f"registry.example/node@sha256:{number:064}")
        status = planned(ready(), spec=spec, status=status).statuses["workers"]
    assert len(status.history) == 10


@pytest.mark.parametrize(
    ("status", "wave"),
    [
        (None, "a"),
        (RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n1",), "")), "Canary"),
    ],
)
def test_the_status_names_the_wave(status: RolloutStatus | None, wave: str) -> None:
    spec = change(canary=Canary(1, "1m")) if status else SPEC
    part = marked(labels={ZONE: "a"}), node_os()
    assert planned(part, spec=spec, status=status).statuses["workers"].wave == wave


def test_a_condition_keeps_its_time_as_long_as_its_status() -> None:
    before = planned(ready()).statuses["workers"]
    old = tuple(dataclasses.replace(one, last_transition_time="2025-01-01T00:00:00Z") for one in before.conditions)
    after = planned(done(), status=dataclasses.replace(before, conditions=old)).statuses["workers"]
    times = {one.type: one.last_transition_time for one in after.conditions}
    assert times["Valid"] == "2025-01-01T00:00:00Z"
    assert times["Complete"] == text(NOW)


def test_a_plan_that_was_written_asks_for_nothing_more() -> None:
    made = planned(done())
    again = planned(done(), status=made.statuses["workers"])
    assert again.statuses["workers"] == made.statuses["workers"]
    assert acts(again) == []
