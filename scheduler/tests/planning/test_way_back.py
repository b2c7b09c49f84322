"""Failed nodes, the halt of a rollout, the way back to the release before, and another attempt."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import (
    OrderResult,
)
from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Cordon, Give, Note, Uncordon
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import (
    DrainView,
    NodeRecord,
)
from proa.scheduler.spec.rollout import (
    Drain,
    FailurePolicy,
    OnFailure,
    RolloutSpec,
)
from proa.scheduler.spec.rolloutstatus import RolloutStatus
from proa.scheduler.testing.situations import (
    COMMIT,
    FIRST_ID,
    HALTED,
    HAS_NEW,
    HAS_OLD,
    MARK,
    NEW,
    NOW,
    OLD,
    RELEASE,
    RUNS_NEW,
    RUNS_OLD,
    SPEC,
    STUCK,
    acts,
    change,
    done,
    marked,
    node,
    node_os,
    order,
    planned,
    ready,
    says,
    trial,
)


def test_too_many_failed_nodes_halt_the_rollout_and_those_under_way_finish() -> None:
    failed = node("n2"), node_os("n2", record=NodeRecord("workers", NEW, failures=1, failed=True, reason="RolledBack"))
    made = planned(ready(), failed, trial("n3"))
    status = made.statuses["workers"]
    assert status.phase == "Halted"
    assert "n2 (RolledBack)" in status.halted
    assert status.failed_digests == (NEW,)
    assert [action.node for action in made.actions] == ["n3"]


def test_a_halted_rollout_gives_back_a_node_that_is_being_drained() -> None:
    assert acts(planned((marked(), node_os()), status=HALTED)) == [Uncordon("n1", "Halted")]


def test_as_many_failed_nodes_as_are_borne_do_not_halt_it() -> None:
    failed = node("n2"), node_os("n2", record=NodeRecord("workers", NEW, failures=3, failed=True))
    made = planned(ready(), failed, spec=change(failure=FailurePolicy(1)))
    assert [action.node for action in made.actions] == ["n1"]


def test_a_rollback_takes_updated_nodes_back_with_one_reboot_and_no_download() -> None:
    spec = change(failure=FailurePolicy(0, OnFailure.ROLLBACK))
    first = planned(done(), ready("n2"), spec=spec, status=HALTED)
    (cordon,) = acts(first)
    assert isinstance(cordon, Cordon)
    assert cordon.node == "n1"
    assert first.statuses["workers"].phase == "RollingBack"
    mark = dataclasses.replace(cordon.mark, boot_id="boot-2")
    draining = marked(boot_id="boot-2", mark=mark), node_os(status=says(RUNS_NEW, HAS_OLD))
    made = planned(draining, ready("n2"), spec=spec, status=HALTED, drains={"n1": DrainView(True)})
    assert acts(made) == [Give("n1", FIRST_ID, Verb.ROLLBACK, RELEASE, None, "20m")]


BACK = change(failure=FailurePolicy(0, OnFailure.ROLLBACK))


@pytest.mark.parametrize("ready", [True, False])
def test_a_way_back_reaches_nodes_that_are_not_ready_or_given_up(ready: bool) -> None:
    record = NodeRecord("workers", NEW, failures=9, failed=True, not_before=NOW + timedelta(hours=1), reason="Unwell")
    lost = node(ready=ready), node_os(status=says(RUNS_NEW, HAS_OLD), record=record)
    made = planned(lost, done("n2"), spec=BACK, status=HALTED)
    assert [(type(action), action.node) for action in made.actions] == [(Cordon, "n1")]


def test_a_way_back_of_nodes_that_are_not_ready_takes_no_more_at_a_time_than_may_be_away() -> None:
    ill = [(node(f"n{number}", ready=False), node_os(f"n{number}", says(RUNS_NEW, HAS_OLD))) for number in range(3)]
    assert [action.node for action in planned(*ill, spec=BACK, status=HALTED).actions] == ["n0"]
    assert acts(planned(*ill, spec=BACK, status=HALTED, pending=frozenset({"n0"}))) == []
    assert acts(planned((marked("n0", ready=False), ill[0][1]), *ill[1:], spec=BACK, status=HALTED)) == []


@pytest.mark.parametrize(
    ("ill_since", "spec", "status", "goes_on"),
    [
        (timedelta(minutes=6), BACK, HALTED, True),
        (timedelta(minutes=4), BACK, HALTED, False),
        (timedelta(minutes=6), SPEC, None, False),
    ],
    ids=["the-way-back", "ill-for-a-moment", "the-way-there"],
)
def test_a_node_that_is_ill_goes_back_although_its_kubelet_ends_no_pod(
    ill_since: timedelta, spec: RolloutSpec, status: RolloutStatus | None, goes_on: bool
) -> None:
    spec = dataclasses.replace(spec, drain=Drain(timeout="5m"))
    runs = says(RUNS_NEW, HAS_OLD) if status else says()
    mark = dataclasses.replace(MARK, boot_id=runs.booted.boot_id if runs.booted else "")
    ill = marked(mark=mark, ready=False, ready_since=NOW - ill_since), node_os(status=runs)
    made = planned(ill, spec=spec, status=status, drains={"n1": DrainView(False, (STUCK,))})
    rollback = [Give("n1", FIRST_ID, Verb.ROLLBACK, RELEASE, None, "20m")]
    assert acts(made) == rollback if goes_on else isinstance(acts(made)[0], Note)


def test_a_node_whose_way_back_fails_too_often_is_given_up() -> None:
    refused = order(Verb.ROLLBACK, 4)
    record = NodeRecord("workers", NEW, failures=9, failed=True, order=3)
    status = says(RUNS_NEW, HAS_OLD, refused, OrderResult.REFUSED)
    mark = dataclasses.replace(MARK, boot_id="boot-2")
    for failures in (1, 2, 3):
        (note,) = acts(planned((marked(mark=mark), node_os("n1", status, refused, record)), spec=BACK, status=HALTED))
        assert isinstance(note, Note)
        assert (note.record.failures, note.record.failed, note.record.back) == (failures, True, True)
        record = dataclasses.replace(note.record, order=3)
    record = dataclasses.replace(record, order=4)
    resting = node(), node_os("n1", says(RUNS_NEW, HAS_OLD), record=record)
    given_up = planned(resting, done("n2"), spec=BACK, status=HALTED)
    assert given_up.verdicts["n1"].reason is Reason.GivenUp
    assert [action.node for action in given_up.actions] == ["n2"]


def test_a_way_back_begins_where_the_commit_has_ended() -> None:
    """The last order is the commit that brought the node here, of before the mark."""
    spec = change(failure=FailurePolicy(0, OnFailure.ROLLBACK))
    mark = dataclasses.replace(MARK, boot_id="boot-2")
    after_commit = marked(mark=mark, boot_id="boot-2"), node_os(status=says(RUNS_NEW, HAS_OLD, COMMIT), given=COMMIT)
    made = planned(after_commit, spec=spec, status=HALTED, drains={"n1": DrainView(done=True)})
    assert acts(made) == [Give("n1", 3, Verb.ROLLBACK, RELEASE, None, "20m")]


def test_a_way_forward_begins_where_the_way_back_has_ended() -> None:
    back = order(Verb.ROLLBACK, 3)
    after_return = marked(), node_os(status=says(RUNS_OLD, HAS_NEW, back), given=back)
    made = planned(after_return, drains={"n1": DrainView(done=True)})
    assert acts(made) == [Give("n1", 4, Verb.BOOT, RELEASE, None, "20m")]


def test_a_rollback_is_over_when_all_run_the_release_before() -> None:
    spec = change(failure=FailurePolicy(0, OnFailure.ROLLBACK))
    assert planned(ready(), ready("n2"), spec=spec, status=HALTED).statuses["workers"].phase == "RolledBack"


def test_another_attempt_resumes_and_forgets_what_failed_before() -> None:
    before = RolloutStatus(
        release=RELEASE, attempt=0, phase="Halted", halted="failed", failed_digests=(NEW,), started_at=text(NOW)
    )
    record = NodeRecord("workers", NEW, attempt=0, failures=3, failed=True)
    made = planned((node(), node_os(record=record)), spec=change(attempt=1), status=before)
    assert [type(action) for action in made.actions] == [Cordon]
    status = made.statuses["workers"]
    assert (status.halted, status.failed_digests, status.attempt) == ("", (), 1)
    assert [(past.phase, past.release) for past in status.history] == [("Halted", RELEASE)]


def test_a_release_that_failed_is_not_tried_again_under_the_same_attempt() -> None:
    other = f"registry.example/node@{OLD}"
    before = RolloutStatus(release=other, failed_digests=(NEW,), started_at=text(NOW))
    made = planned(ready(), status=before)
    assert acts(made) == []
    assert "raise 'attempt'" in made.statuses["workers"].halted
