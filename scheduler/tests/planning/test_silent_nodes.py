"""Nodes that say nothing, or not what runs on them, while they are marked or ordered to reboot."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import (
    NodeStatus,
    Observed,
    Phase,
    Proof,
)
from proa.core.schema.model import document, parse
from proa.scheduler.planning.actions import Action, Create, Forget, Give, Note, Uncordon
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import (
    Mark,
    NodeOSView,
    NodeRecord,
)
from proa.scheduler.spec.rolloutstatus import RolloutStatus
from proa.scheduler.testing.situations import (
    ANOTHERS,
    BOOT,
    GIVEN_UP,
    HAS_NEW,
    HAS_OLD,
    MARK,
    NEW,
    NOW,
    SILENT,
    TRIES_NEW,
    WELL,
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

OLD_MARK = dataclasses.replace(MARK, since=NOW - timedelta(minutes=35))


def test_a_marked_node_that_says_nothing_is_counted_and_given_back_in_time() -> None:
    """Its object was deleted in the middle, and its agent is silent since."""
    young = dataclasses.replace(MARK, since=OLD_MARK.since + timedelta(seconds=1))
    soon = planned((marked(mark=young), SILENT), ready("n2"))
    assert (acts(soon), soon.wake) == ([], NOW + timedelta(seconds=1))
    (note,) = acts(planned((marked(mark=OLD_MARK), SILENT), ready("n2")))
    assert isinstance(note, Note)
    assert (note.record.reason, note.record.failures, note.record.failed) == ("AgentSilent", 1, False)
    counted = dataclasses.replace(SILENT, record=note.record)
    assert acts(planned((marked(mark=OLD_MARK), counted), ready("n2"))) == [Uncordon("n1", "AgentSilent")]
    assert [action.node for action in planned((node(), counted), ready("n2")).actions] == ["n2"]


NOWHERE = NodeStatus(standby=HAS_NEW, phase=Phase.GOOD)
"""Of a node that runs from no slot."""


def test_an_order_that_a_node_has_not_taken_up_is_taken_back_also_where_it_does_not_say_what_runs() -> None:
    counted = NodeRecord("workers", NEW, failures=1, order=1, mark=OLD_MARK.since, reason="AgentSilent")
    untaken = node_os("n1", NOWHERE, order(Verb.BOOT, 1, OLD_MARK.since), counted)
    made = planned((marked(mark=OLD_MARK), untaken), ready("n2"))
    assert acts(made) == [Give("n1", 2, Verb.NONE, timeout="5m")]
    back = dataclasses.replace(untaken, order=order(Verb.NONE, 2))
    assert acts(planned((marked(mark=OLD_MARK), back), ready("n2"))) == [Uncordon("n1", "AgentSilent")]


@pytest.mark.parametrize("failures", [0, 1], ids=["fetched-long-ago", "counted"])
def test_a_marked_node_that_does_not_say_what_runs_has_its_time_from_the_mark_on(failures: int) -> None:
    """Whatever it was ordered before the mark, and whether that was counted."""
    before = order(Verb.BOOT if failures else Verb.STAGE, 1, NOW - timedelta(days=3))
    record = NodeRecord("workers", NEW, failures=1, order=1) if failures else None
    its = node_os(
        "n1", dataclasses.replace(NOWHERE, observed_order=Observed(1, before.action.value, "Failed")), before, record
    )
    young = dataclasses.replace(MARK, since=OLD_MARK.since + timedelta(seconds=1))
    soon = planned((marked(mark=young), its), ready("n2"))
    assert (acts(soon), soon.wake) == ([], NOW + timedelta(seconds=1))
    (note,) = acts(planned((marked(mark=OLD_MARK), its), ready("n2")))
    assert isinstance(note, Note)
    assert (note.record.reason, note.record.failures, note.record.mark) == ("AgentSilent", 1 + failures, OLD_MARK.since)
    counted = dataclasses.replace(its, record=note.record)
    assert acts(planned((marked(mark=OLD_MARK), counted), ready("n2"))) == [Uncordon("n1", "AgentSilent")]


@pytest.mark.parametrize(("its", "first"), [(None, Create("n1")), (ANOTHERS, Forget("n1", "os-n1"))])
def test_a_marked_node_without_an_object_is_given_back_in_time(its: NodeOSView | None, first: Action) -> None:
    assert acts(planned((marked(), its))) == [first]
    assert acts(planned((marked(mark=OLD_MARK), its))) == [first, Uncordon("n1", "AgentSilent")]


@pytest.mark.parametrize("mark", [MARK, None])
def test_a_trial_whose_order_was_taken_back_too_late_is_brought_to_its_end(mark: Mark | None) -> None:
    back = order(Verb.NONE, 2)
    made = planned(trial(given=back, status=says(TRIES_NEW, HAS_OLD, BOOT, conditions=WELL), mark=mark))
    assert acts(made) == [Give("n1", 3, Verb.COMMIT, "", Proof("boot-2", "2" * 64), "5m")]


def test_a_node_of_the_control_plane_that_is_ordered_to_reboot_is_away_also_without_our_mark() -> None:
    ordered = node("n1", control_plane=True), node_os("n1", given=order(Verb.BOOT))
    made = planned(ordered, ready("n2", control_plane=True), spec=change(max_unavailable=2))
    assert acts(made) == []
    assert made.verdicts["n2"].reason is Reason.ControlPlaneBusy


def test_why_a_rollout_was_halted_fits_into_its_status_whatever_nodes_are_called() -> None:
    names = [f"n{number}.{'x' * 240}" for number in range(6)]
    made = planned(*((node(name), node_os(name, record=GIVEN_UP)) for name in names))
    status = made.statuses["workers"]
    assert status.phase == "Halted"
    assert parse(RolloutStatus, document(status), "status") == status
