"""What kstatus, Flux and Argo CD tell of a rollout: a halted one is not healthy."""

from __future__ import annotations

from typing import Any

import pytest

from proa.scheduler.cli import rollouts
from proa.scheduler.objects import reading
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.views import PAUSED
from proa.scheduler.report import patches
from proa.scheduler.spec.rollout import FailurePolicy, OnFailure
from proa.scheduler.testing.fields import merged
from proa.scheduler.testing.situations import HALTED, RELEASE, change, done, planned, ready, two_of, unfetched

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


# what commands write


def an_object(spec: dict[str, Any], **annotations: str) -> dict[str, Any]:
    said = {f"proa.dev/{key}": value for key, value in annotations.items()}
    return {"metadata": {"name": "workers", "annotations": said}, "spec": {"release": RELEASE, **spec}}


@pytest.mark.parametrize(
    ("item", "paused", "attempt"),
    [
        (an_object({}), False, 0),
        (an_object({"paused": False, "attempt": 0}, paused="true", attempt="3"), True, 3),
        (an_object({"paused": True, "attempt": 4}, paused="false", attempt="3"), True, 4),
        (an_object({}, paused="false", attempt="many"), False, 0),
        (an_object({}, attempt="-1"), False, 0),
    ],
)
def test_c14_what_is_applied_from_git_undoes_no_pause_and_no_attempt(
    item: dict[str, Any], paused: bool, attempt: int
) -> None:
    view = reading.rollout(item)
    assert (view.problem, view.spec.paused, view.spec.attempt) == ("", paused, attempt)
    assert reading.rollout(item, view).spec is view.spec


def test_c14_commands_leave_the_spec_alone() -> None:
    item = an_object({"paused": False, "attempt": 0})
    spec = dict(item["spec"])
    for verb in (patches.pause, lambda view: patches.resume(view, attempt=True), None):
        view = reading.rollout(item)
        if verb is not None:
            body = rollouts.body_of("workers", verb(view), view)
            assert not {"attempt"} & body.get("spec", {}).keys()
            item = merged(item, {"metadata": {"annotations": body["metadata"]["annotations"]}})
            item["spec"] = spec  # git applies what it has
    assert (view.spec.paused, view.spec.attempt) == (False, 1)


def test_c14_a_start_that_is_not_paused_ends_a_pause() -> None:
    view = reading.rollout(an_object({}, paused="true"))
    change = patches.start(view, RELEASE, {"paused": False})
    assert change.annotations == {PAUSED: None}
