"""A person approves a release before nodes start: the one that was there then, and no later one."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from proa.core.runtime.errors import Exit, ProaError
from proa.core.schema.model import document
from proa.scheduler.kube.times import text
from proa.scheduler.objects import reading
from proa.scheduler.objects.annotations import approval_text
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import APPROVED, APPROVED_GROUPS, IN_NO_GROUP, RolloutView, Snapshot
from proa.scheduler.report import document as snapshots
from proa.scheduler.report import patches
from proa.scheduler.report.status_view import Look, status_lines, status_report
from proa.scheduler.spec.rollout import (
    Approval,
    Canary,
    FailurePolicy,
    Group,
    OnFailure,
    RolloutSpec,
    Selector,
    Turns,
)
from proa.scheduler.spec.rolloutstatus import CanaryStatus, GroupStatus, RolloutStatus
from proa.scheduler.testing.situations import HALTED, NEW, NOW, RELEASE, Part, change, done, planned, ready, unfetched

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


# group by group

GROUPS = (Group("test", Selector({"stage": "test"})), Group("stores", Selector({"stage": "stores"}), "10m"))
EACH = change(approval=Approval.EACH_GROUP, order=Turns(groups=GROUPS))
BY_ALICE = "alice at noon"


def of_group(name: str, stage: str, *, updated: bool = False) -> Part:
    return (done if updated else ready)(name, labels={"stage": stage}, zone="")


def each(*approved: str, **status: Any) -> dict[str, RolloutView]:
    view = rollouts(EACH, status=RolloutStatus(release=RELEASE, **status))["workers"]
    return {"workers": dataclasses.replace(view, approved_groups=dict.fromkeys(approved, BY_ALICE))}


def verdict(made: Plan, name: str) -> tuple[Reason, str]:
    return made.verdicts[name].reason, made.verdicts[name].detail


def test_each_group_waits_for_an_approval_of_its_own() -> None:
    nodes = of_group("n1", "test"), of_group("n2", "stores"), of_group("n3", "")
    made = planned(*nodes, rollouts=each())
    assert verdict(made, "n1") == (Reason.AwaitingApproval, "group test")
    assert reasons(made)["n2"] is Reason.EarlierGroup
    assert reasons(planned(*nodes, rollouts=each("test")))["n1"] is Reason.Next
    ahead_of_time = reasons(planned(*nodes, rollouts=each("stores", IN_NO_GROUP)))
    assert (ahead_of_time["n1"], ahead_of_time["n2"]) == (Reason.AwaitingApproval, Reason.EarlierGroup)


def test_the_next_group_waits_once_the_one_before_is_done_and_has_soaked() -> None:
    test, stores, other = of_group("n1", "test", updated=True), of_group("n2", "stores"), of_group("n3", "")
    made = planned(test, stores, other, rollouts=each("test"))
    assert verdict(made, "n2") == (Reason.AwaitingApproval, "group stores")
    soaked = tuple(GroupStatus(one.name, LONG_AGO, LONG_AGO) for one in GROUPS)
    done_stores = of_group("n2", "stores", updated=True)
    made = planned(test, done_stores, other, rollouts=each("test", "stores", groups=soaked))
    assert verdict(made, "n3") == (Reason.AwaitingApproval, "nodes in no group")
    made = planned(test, done_stores, other, rollouts=each("test", "stores", IN_NO_GROUP, groups=soaked))
    assert reasons(made)["n3"] is Reason.Next


def test_a_canary_waits_for_the_approval_of_its_group() -> None:
    spec = dataclasses.replace(EACH, canary=Canary(1, "1m"))
    made = planned(of_group("n1", "test"), of_group("n2", "stores"), rollouts=rollouts(spec, status=UNPROVED))
    assert verdict(made, "n1") == (Reason.AwaitingApproval, "group test")


def test_an_approval_of_the_whole_release_is_none_of_a_group() -> None:
    """Or one that was given under another rule would open all of them."""
    made = planned(of_group("n1", "test"), rollouts=rollouts(EACH, "alice"))
    assert reasons(made)["n1"] is Reason.AwaitingApproval


def test_the_way_back_asks_for_no_group() -> None:
    back = dataclasses.replace(EACH, failure=FailurePolicy(0, OnFailure.ROLLBACK))
    made = planned(of_group("n1", "test", updated=True), rollouts=rollouts(back, status=HALTED))
    assert made.actions
    assert Reason.AwaitingApproval not in reasons(made).values()


def test_groups_are_approved_by_an_annotation_each() -> None:
    change = patches.approve(each("test")["workers"], "bob", NOW, ("test", "stores", IN_NO_GROUP))
    assert set(change.annotations) == {f"{APPROVED_GROUPS}stores", f"{APPROVED_GROUPS}in_no_group"}
    assert (change.spec, change.said) == ({}, f"approved for group stores, nodes in no group: {RELEASE}")
    found = {"metadata": {"name": "workers", "annotations": change.annotations}, "spec": document(EACH)}
    assert reading.rollout(found).approved_groups == dict.fromkeys(("stores", IN_NO_GROUP), f"bob at {text(NOW)}")
    again = patches.approve(each("test")["workers"], "bob", NOW, ("test",))
    assert (again.is_one, again.said) == (False, f"approved already, by {BY_ALICE}")


def test_what_approves_a_group_for_another_release_or_of_another_name_approves_nothing() -> None:
    said = {f"{APPROVED_GROUPS}test": approval_text(OTHER, "alice", NOW)}
    said |= {f"{APPROVED_GROUPS}gone": approval_text(NEW, "alice", NOW)}
    found = {"metadata": {"name": "workers", "annotations": said}, "spec": document(EACH)}
    assert reading.rollout(found).approved_groups == {}


@pytest.mark.parametrize(
    ("before", "groups", "what"),
    [
        (each("test"), (), "each group is approved by itself"),
        (each(), ("nobody",), "has no group 'nobody'"),
        (rollouts(REQUIRED), ("test",), "approval is Required"),
        (rollouts(change()), (IN_NO_GROUP,), "approval is NotRequired"),
    ],
)
def test_an_approval_that_would_mean_nothing_is_refused(
    before: dict[str, RolloutView], groups: tuple[str, ...], what: str
) -> None:
    with pytest.raises(ProaError, match=what) as caught:
        patches.approve(before["workers"], "alice", NOW, groups)
    assert caught.value.exit is Exit.USAGE


def test_who_asks_for_no_group_hears_which_ones_are_left() -> None:
    with pytest.raises(ProaError) as caught:
        patches.approve(each("test")["workers"], "alice", NOW)
    assert "stores, in_no_group" in caught.value.hint


def test_status_tells_who_approved_which_group() -> None:
    report = status_report(Snapshot({}, {}, each("test", IN_NO_GROUP)), NOW)
    assert report.rollouts[0].approved_groups == {"test": BY_ALICE, IN_NO_GROUP: BY_ALICE}
    lines = "\n".join(status_lines(report))
    assert "workers: group test approved by alice at noon" in lines
    assert "workers: nodes in no group approved by alice at noon" in lines


def test_a_snapshot_keeps_the_approvals_of_groups() -> None:
    kept, _ = snapshots.read(snapshots.write(Snapshot({}, {}, each("test")), NOW))
    assert kept.rollouts["workers"].approved_groups == {"test": BY_ALICE}
    hidden = snapshots.hashed(kept).rollouts["workers"]
    assert hidden.approved_groups == {"test": "hidden"}


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
    assert "workers: approved by alice at noon" in "\n".join(status_lines(report, Look(alone=True)))
