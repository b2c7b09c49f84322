"""A person approves a release before nodes start: the one that was there then, and no later one."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from proa.scheduler.kube.times import text
from proa.scheduler.objects import reading
from proa.scheduler.objects.annotations import approval_text
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import APPROVED, RolloutView, Snapshot
from proa.scheduler.report import patches
from proa.scheduler.report.status_view import status_lines, status_report
from proa.scheduler.spec.rollout import Approval, Canary, FailurePolicy, OnFailure, RolloutSpec
from proa.scheduler.spec.rolloutstatus import CanaryStatus, RolloutStatus
from proa.scheduler.testing.situations import HALTED, NEW, NOW, RELEASE, change, done, planned, ready, unfetched

REQUIRED = change(approval=Approval.REQUIRED)
AFTER = change(approval=Approval.AFTER_CANARY, canary=Canary(1, "1m"))
UNPROVED = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n1",)))
LONG_AGO = text(NOW - timedelta(hours=1))
PROVED = RolloutStatus(release=RELEASE, canary=CanaryStatus(NEW, ("n1",), LONG_AGO, LONG_AGO))
OTHER = "sha256:" + "f" * 64


def rollouts(spec: RolloutSpec, approved: str = "", status: RolloutStatus | None = None) -> dict[str, RolloutView]:
    return {
        "workers": RolloutView("workers", "uid", 3, spec, status or RolloutStatus(release=RELEASE), approved=approved)
    }


def reasons(made: Plan) -> dict[str, Reason]:
    return {name: verdict.reason for name, verdict in made.verdicts.items()}


def test_no_node_starts_before_its_release_is_approved() -> None:
    made = planned(ready("n1"), ready("n2"), rollouts=rollouts(REQUIRED))
    assert made.actions == ()
    assert reasons(made) == {"n1": Reason.AwaitingApproval, "n2": Reason.AwaitingApproval}
    assert made.statuses["workers"].phase == "Waiting"
    assert Reason.Next in reasons(planned(ready("n1"), rollouts=rollouts(REQUIRED, "alice"))).values()


def test_nodes_fetch_the_release_meanwhile() -> None:
    assert reasons(planned(unfetched(), rollouts=rollouts(REQUIRED))) == {"n1": Reason.StageNext}


def test_after_the_canary_the_others_wait_and_the_canary_does_not() -> None:
    made = planned(ready("n1"), ready("n2"), rollouts=rollouts(AFTER, status=UNPROVED))
    assert reasons(made)["n1"] is Reason.Next
    proved = planned(done("n1"), ready("n2"), rollouts=rollouts(AFTER, status=PROVED))
    assert reasons(proved)["n2"] is Reason.AwaitingApproval
    approved = planned(done("n1"), ready("n2"), rollouts=rollouts(AFTER, "alice", PROVED))
    assert reasons(approved)["n2"] is Reason.Next


def test_without_a_canary_all_wait() -> None:
    made = planned(ready(), rollouts=rollouts(change(approval=Approval.AFTER_CANARY)))
    assert reasons(made) == {"n1": Reason.AwaitingApproval}


def test_the_way_back_needs_no_approval() -> None:
    back = dataclasses.replace(REQUIRED, failure=FailurePolicy(0, OnFailure.ROLLBACK))
    made = planned(done(), rollouts=rollouts(back, status=HALTED))
    assert Reason.AwaitingApproval not in reasons(made).values()
    assert made.actions


# what is written, and read


def an_object(approved: object, release: str = RELEASE) -> dict[str, Any]:
    annotations = {APPROVED: approved} if approved is not None else {}
    return {"metadata": {"name": "workers", "annotations": annotations}, "spec": {"release": release}}


def test_who_and_when_are_read() -> None:
    assert reading.rollout(an_object(approval_text(NEW, "alice", NOW))).approved == f"alice at {text(NOW)}"


@pytest.mark.parametrize(
    "said",
    [
        None,
        "true",
        "{",
        "[]",
        "{}",
        '{"release":null}',
        '{"release":["sha256:"]}',
        7,
        approval_text(OTHER, "alice", NOW),
        approval_text("", "alice", NOW),
    ],
)
def test_what_approves_no_release_or_another_one_approves_nothing(said: object) -> None:
    assert reading.rollout(an_object(said)).approved == ""


def test_a_release_that_cannot_be_told_is_not_approved_by_an_empty_approval() -> None:
    assert reading.rollout(an_object(approval_text("", "mallory", NOW), "registry.example/node")).approved == ""


def test_a_name_with_escapes_cannot_paint_a_terminal() -> None:
    said = reading.rollout(an_object(approval_text(NEW, "a\x1b[2Jb\n" + "x" * 500, NOW))).approved
    assert said.isprintable()
    assert len(said) < 300


# the verb


def test_an_approval_names_the_release_who_and_when() -> None:
    before = rollouts(REQUIRED)["workers"]
    change = patches.approve(before, "alice", NOW)
    assert (change.spec, change.notes) == ({}, ())
    said = change.annotations[APPROVED]
    assert reading.rollout(an_object(said)).approved == f"alice at {text(NOW)}"
    assert not patches.approve(rollouts(REQUIRED, "alice")["workers"], "bob", NOW).is_one


def test_what_needs_no_approval_says_so() -> None:
    (note,) = patches.approve(rollouts(change())["workers"], "alice", NOW).notes
    assert "needs no approval" in note


def test_another_release_is_said_to_need_another_approval() -> None:
    before = rollouts(REQUIRED, "alice")["workers"]
    wanted = "registry.example/node@" + OTHER
    assert any("kubectl proa approve" in note for note in patches.start(before, wanted, {}).notes)
    assert not any("approve" in note for note in patches.start(before, RELEASE, {"maxUnavailable": 2}).notes)
    assert any("approve" in note for note in patches.start(None, wanted, {"approval": "Required"}).notes)
    assert any("approve" in note for note in patches.rollback(before, wanted).notes)


def test_status_tells_who_approved_it() -> None:
    snapshot = Snapshot({}, {}, rollouts(REQUIRED, "alice at noon"))
    report = status_report(snapshot, NOW)
    assert report.rollouts[0].approved == "alice at noon"
    assert "workers: approved by alice at noon" in "\n".join(status_lines(report, alone=True))
