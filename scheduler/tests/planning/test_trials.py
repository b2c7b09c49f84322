"""A node on trial: what is looked at before the commit, and what follows it."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import (
    Condition,
    LastError,
    OrderResult,
    Phase,
    Proof,
)
from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Give, Note, Uncordon
from proa.scheduler.planning.views import (
    NodeRecord,
)
from proa.scheduler.spec.rollout import (
    DaemonSet,
    FailurePolicy,
    HealthPolicy,
    OnFailure,
)
from proa.scheduler.testing.situations import (
    BOOT,
    COMMIT,
    EMPTY,
    HALTED,
    HAS_NEW,
    HAS_OLD,
    MARK,
    NEW,
    NOW,
    RELEASE,
    RUNS_NEW,
    RUNS_OLD,
    TRIES_NEW,
    WELL,
    Part,
    acts,
    change,
    marked,
    node,
    node_os,
    order,
    planned,
    ready,
    says,
    trial,
)


def test_a_trial_without_our_mark_is_not_ordered_back() -> None:
    spec = change(failure=FailurePolicy(0, OnFailure.ROLLBACK))
    assert acts(planned(trial(), spec=spec, status=HALTED)) == [Give("n1", 2, Verb.ROLLBACK, RELEASE, None, "20m")]
    assert acts(planned(trial(mark=None, unschedulable=False), spec=spec, status=HALTED)) == []


@pytest.mark.parametrize(
    ("part", "missing"),
    [
        (trial(ready=False), "not Ready"),
        (trial(ready_since=NOW - timedelta(seconds=10)), "Ready for 10 s"),
        (trial(boot_id="boot-1"), "kubelet still reports another boot"),
        (trial(mark=dataclasses.replace(MARK, boot_id="boot-2")), "has not rebooted"),
        (
            trial(mark=dataclasses.replace(MARK, root_hash="9" * 64)),
            "the running root hash differs from the staged one",
        ),
        (trial(status=says(TRIES_NEW, HAS_OLD, BOOT)), "not reported its health checks"),
        (
            trial(status=says(TRIES_NEW, HAS_OLD, BOOT, conditions=(Condition("Healthy", "False", message="disk"),))),
            "health checks: disk",
        ),
    ],
)
def test_a_trial_is_not_committed_before_everything_is_seen(part: Part, missing: str) -> None:
    made = planned(part)
    assert acts(made) == []
    assert missing in made.verdicts["n1"].detail


def test_a_trial_that_is_well_is_committed_by_its_boot_id_and_root_hash() -> None:
    proof = Proof("boot-2", "2" * 64)
    assert acts(planned(trial())) == [Give("n1", 2, Verb.COMMIT, "", proof, "5m")]


def test_daemon_sets_are_looked_at_and_waited_for() -> None:
    spec = change(health=HealthPolicy(daemon_sets=(DaemonSet("kube-system", "cni"),)))
    made = planned(trial(), spec=spec)
    assert acts(made) == []
    waiting = planned(trial(), spec=spec, daemon_sets={"n1": "kube-system/cni"})
    assert "kube-system/cni" in waiting.verdicts["n1"].detail
    assert len(planned(trial(), spec=spec, daemon_sets={"n1": ""}).actions) == 1


def test_a_commit_is_ordered_once() -> None:
    assert acts(planned(trial(given=COMMIT, status=says(TRIES_NEW, HAS_OLD, BOOT, conditions=WELL)))) == []


def test_a_commit_that_nobody_answers_counts_once() -> None:
    late = dataclasses.replace(COMMIT, issued=text(NOW - timedelta(minutes=20)))
    part = trial(given=late, status=says(TRIES_NEW, HAS_OLD, BOOT, conditions=WELL))
    (note,) = acts(planned(part))
    assert isinstance(note, Note)
    assert (note.record.reason, note.record.failed) == ("CommitTimeout", True)
    counted = (part[0], dataclasses.replace(part[1] or node_os(), record=note.record))
    assert acts(planned(counted, spec=change(failure=FailurePolicy(1)))) == []


def test_a_committed_node_is_uncordoned_and_its_time_is_kept() -> None:
    part = marked(boot_id="boot-2"), node_os(status=says(RUNS_NEW, HAS_OLD, COMMIT), given=COMMIT)
    made = planned(part)
    assert acts(made) == [Uncordon("n1", "Done")]
    assert made.statuses["workers"].recent_seconds == (300,)


def test_the_time_of_a_node_that_was_not_watched_all_the_time_is_not_kept() -> None:
    part = marked(boot_id="boot-2"), node_os(status=says(RUNS_NEW, HAS_OLD, COMMIT), given=COMMIT)
    assert planned(part, since=NOW - timedelta(minutes=1)).statuses["workers"].recent_seconds == ()


def test_a_node_that_comes_back_counts_against_the_release() -> None:
    status = says(
        dataclasses.replace(RUNS_OLD, boot_id="boot-3"),
        HAS_NEW,
        BOOT,
        OrderResult.FAILED,
        phase=Phase.ROLLED_BACK,
        last_error=LastError("TRIAL_RETURNED", "unit web.service failed"),
    )
    (note,) = acts(planned((marked(boot_id="boot-3"), node_os(status=status, given=BOOT))))
    assert isinstance(note, Note)
    assert (note.record.reason, note.record.message, note.record.failed) == (
        "RolledBack",
        "unit web.service failed",
        True,
    )


def test_a_node_that_nobody_ordered_to_commit_does_not() -> None:
    status = says(
        dataclasses.replace(RUNS_OLD, boot_id="boot-3"),
        HAS_NEW,
        BOOT,
        OrderResult.FAILED,
        phase=Phase.ROLLED_BACK,
        last_error=LastError("NO_COMMIT_ORDER", "healthy, and never ordered to commit"),
    )
    (note,) = acts(planned((marked(boot_id="boot-3"), node_os(status=status, given=BOOT))))
    assert isinstance(note, Note)
    assert (note.record.failures, note.record.failed) == (1, False)


def test_a_release_that_cannot_be_fetched_has_other_turns_and_then_counts() -> None:
    given = order(Verb.STAGE)
    status = says(
        standby=EMPTY, seen=given, result=OrderResult.FAILED, last_error=LastError("NOT_FOUND", "no such tag")
    )
    (first,) = acts(planned((node(), node_os(status=status, given=given))))
    assert isinstance(first, Note)
    assert (first.record.reason, first.record.failures, first.record.failed) == ("NOT_FOUND", 1, False)
    before = NodeRecord("workers", NEW, failures=2, order=0)
    (last,) = acts(planned((node(), node_os(status=status, given=given, record=before))))
    assert isinstance(last, Note)
    assert (last.record.failures, last.record.failed) == (3, True)


def test_a_node_that_is_silent_about_its_fetching_stops_holding_up_the_others() -> None:
    given = order(Verb.STAGE, issued=NOW - timedelta(minutes=65))
    silent = node("n2"), node_os("n2", says(standby=EMPTY), given)
    made = planned(ready(), silent)
    (note,) = acts(made)
    assert isinstance(note, Note)
    assert (note.node, note.record.reason) == ("n2", "StageTimeout")
    counted = silent[0], dataclasses.replace(silent[1], record=note.record)
    assert [action.node for action in planned(ready(), counted).actions] == ["n1"]
