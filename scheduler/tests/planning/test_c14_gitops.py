"""What kstatus, Flux and Argo CD tell of a rollout: a halted one is not healthy."""

from __future__ import annotations

import pytest

from proa.scheduler.planning.planner import Plan
from proa.scheduler.spec.rollout import FailurePolicy, OnFailure
from proa.scheduler.testing.situations import HALTED, change, done, planned, ready, two_of, unfetched

READY, RECONCILING, STALLED = {"Ready"}, {"Reconciling"}, {"Stalled"}
KSTATUS = READY | RECONCILING | STALLED
BACK = change(failure=FailurePolicy(action=OnFailure.ROLLBACK))


def told(made: Plan) -> set[str]:
    """The conditions of the convention that are True, of which exactly one is."""
    conditions = [one for one in made.statuses["workers"].conditions if one.type in KSTATUS]
    assert {one.type for one in conditions} == KSTATUS
    assert {one.observed_generation for one in conditions} == {3}
    return {one.type for one in conditions if one.status == "True"}


@pytest.mark.parametrize(
    ("made", "condition"),
    [
        (planned(done()), READY),
        (planned(unfetched()), RECONCILING),
        (planned(ready()), RECONCILING),
        (planned(ready(), spec=change(paused=True)), RECONCILING),
        (planned(ready(hold="debugging")), RECONCILING),
        (planned(ready(), status=HALTED), STALLED),
        (planned(done(), spec=BACK, status=HALTED), STALLED),
        (planned(ready(), spec=change(max_unavailable="x%", expected_duration="never")), STALLED),
        (planned(ready(), rollouts=two_of(HALTED)), STALLED),
    ],
)
def test_c14_exactly_one_condition_says_how_it_stands(made: Plan, condition: set[str]) -> None:
    assert told(made) == condition


def test_c14_why_it_is_stalled_is_told() -> None:
    conditions = planned(ready(), status=HALTED).statuses["workers"].conditions
    (stalled,) = (one for one in conditions if one.type == "Stalled")
    assert (stalled.reason, stalled.message) == ("Halted", HALTED.halted)
    assert len(conditions) <= 8
