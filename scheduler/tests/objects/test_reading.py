"""What the planner sees of objects, and that nothing that anybody writes into one stops the scheduler."""

from __future__ import annotations

import json
import string
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.core.orders.messages import Action, Booted, NodeStatus, Order, Phase, Proof
from proa.core.schema.model import document
from proa.scheduler.kube.times import text
from proa.scheduler.objects import reading
from proa.scheduler.objects.annotations import MAX_MESSAGE, UNREADABLE, mark_text, read_mark, read_record, record_text
from proa.scheduler.planning.planner import plan
from proa.scheduler.planning.views import (
    EXCLUDE,
    FENCE,
    HOLD,
    MARK,
    RECORD,
    Mark,
    NodeOSView,
    NodeRecord,
    NodeView,
    Snapshot,
)
from proa.scheduler.spec.rollout import RolloutSpec
from proa.scheduler.spec.rolloutstatus import Counts, RolloutStatus

SINCE = datetime(2026, 1, 31, 12, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
RELEASE = f"registry.example/node:1@{DIGEST}"
A_MARK = Mark("workers", DIGEST, SINCE, True, "boot-1", "2" * 64)
A_RECORD = NodeRecord("workers", DIGEST, 2, 1, 1, SINCE, True, 7, SINCE, "DrainTimeout", "not drained", True)


def a_node(**notes: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "n1", "uid": "u1", "labels": {"zone": "a"}, "annotations": notes},
        "spec": {"unschedulable": True},
        "status": {
            "nodeInfo": {"bootID": "boot-1"},
            "conditions": [
                {"type": "DiskPressure", "status": "False"},
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-31T12:00:00Z"},
            ],
        },
    }


def an_os(order: object = None, status: object = None, **notes: str) -> dict[str, Any]:
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1"}
    return {
        "metadata": {"name": "n1", "uid": "o1", "annotations": notes, "ownerReferences": [owner]},
        "spec": {"order": order} if order is not None else {},
        "status": status,
    }


# nodes


def test_a_node_is_what_it_says() -> None:
    mark = {MARK: mark_text(A_MARK), FENCE: "7", HOLD: " disk is replaced ", EXCLUDE: ""}
    assert reading.node(a_node(**mark)) == NodeView(
        "n1", "u1", {"zone": "a"}, True, SINCE, True, "boot-1", A_MARK, 7, "disk is replaced", True
    )


def test_a_bare_node_is_not_ready() -> None:
    assert reading.node({"metadata": {"name": "n1"}}) == NodeView("n1", "", {}, ready=False)


@pytest.mark.parametrize(("hours", "known"), [(1, 0), (-1, -3600)])
def test_since_when_a_node_is_ready_is_told_by_our_clock(hours: int, known: int) -> None:
    """Of what was so before we looked, its own clock tells, unless it tells of what is still to come."""
    item, second = a_node(), timedelta(seconds=1)
    ready = item["status"]["conditions"][1]
    ready["lastTransitionTime"] = text(SINCE + timedelta(hours=hours))
    first = reading.node(item, None, SINCE)
    assert first.ready_since == SINCE + known * second
    assert reading.node(item, first, SINCE + 5 * second).ready_since == first.ready_since
    ready["lastTransitionTime"] = text(SINCE + timedelta(hours=hours) + second)
    changed = reading.node(item, first, SINCE + 6 * second)
    assert changed.ready_since == SINCE + 6 * second
    item["status"]["nodeInfo"]["bootID"] = "boot-2"
    assert reading.node(item, changed, SINCE + 7 * second).ready_since == SINCE + 7 * second


@pytest.mark.parametrize("said", ["false", "False", " FALSE "])
def test_a_wish_may_be_taken_back_in_words(said: str) -> None:
    view = reading.node(a_node(**{HOLD: said, EXCLUDE: said}))
    assert (view.hold, view.excluded) == (None, False)


@pytest.mark.parametrize("said", ["", "true", "until Monday"])
def test_any_other_word_is_a_wish(said: str) -> None:
    view = reading.node(a_node(**{HOLD: said, EXCLUDE: said}))
    assert (view.hold, view.excluded) == (said, True)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "yes",
        "null",
        "[]",
        "{}",
        "[" * 50_000,
        '{"rollout": "workers"}',
        mark_text(A_MARK).replace('"workers"', '""'),
        mark_text(A_MARK).replace('"workers"', "7"),
        mark_text(A_MARK).replace("2026", "9999"),
        mark_text(A_MARK).replace("2026", "0001"),
        mark_text(A_MARK).replace("12:00:00Z", "12:00:00"),
        mark_text(A_MARK).replace("true", '"true"'),
    ],
)
def test_a_mark_that_cannot_be_read_keeps_the_node_away(said: str) -> None:
    """It counts as one of a rollout that there is not; were it none, the node would count as free."""
    view = reading.node(a_node(**{MARK: said}))
    assert view.mark is UNREADABLE


@pytest.mark.parametrize("said", ["", "x", "-1", "1.5", "²", "9" * 30, "0x1"])
def test_a_fence_that_is_none_is_none(said: str) -> None:
    assert reading.node(a_node(**{FENCE: said})).fence == -1


def test_labels_that_stay_are_kept_once() -> None:
    first = reading.node(a_node())
    again = reading.node(a_node(**{HOLD: "x"}), first)
    assert again.labels is first.labels
    other = reading.node(json.loads(json.dumps(a_node())))
    assert next(iter(other.labels)) is next(iter(first.labels))


# NodeOS


def test_an_object_is_what_it_says() -> None:
    order = Order(3, Action.COMMIT, 5, trial=Proof("b", "c" * 64))
    status = NodeStatus(phase=Phase.TRIAL, booted=Booted("a", release=DIGEST))
    found = reading.node_os(an_os(document(order), document(status), **{RECORD: record_text(A_RECORD), FENCE: "6"}))
    assert found == NodeOSView("n1", "o1", "u1", order, status, A_RECORD, 6)


def test_a_fence_is_the_highest_that_was_seen() -> None:
    order = document(Order(3, Action.STAGE, 5, RELEASE))
    assert reading.node_os(an_os(order)).fence == 5
    assert reading.node_os(an_os(order, **{FENCE: "4"})).fence == 5
    assert reading.node_os(an_os()).fence == -1


def test_a_newer_order_keeps_its_number_and_its_fence() -> None:
    """Else the next order would have a number that is taken, and could never be given."""
    found = reading.node_os(an_os({"id": 8, "action": "Defrost", "fence": 9}))
    assert found.order == Order(8, Action.NONE, 9)
    assert (found.next_id(SINCE), found.fence) == (9, 9)


@pytest.mark.parametrize("order", [1, "x", [], {"id": "8"}, {"id": True, "fence": 1, "action": "x"}, {"id": -1}])
def test_an_order_that_is_none_is_none(order: object) -> None:
    assert reading.node_os(an_os(order)).order is None


@pytest.mark.parametrize("status", [None, {}, "x", [1], {"phase": 1}, {"booted": {"release": "none"}}])
def test_a_status_that_is_none_is_none(status: object) -> None:
    assert reading.node_os(an_os(status=status)).status is None


def test_what_a_newer_agent_says_more_is_passed_over() -> None:
    found = reading.node_os(an_os(status={"phase": "Defrosting", "booted": {"slot": "a", "heat": 3}, "heat": 3}))
    assert found.status == NodeStatus(phase="Defrosting", booted=Booted("a"))


@pytest.mark.parametrize("owners", [None, "x", [1], [{"kind": "Pod", "apiVersion": "v1", "uid": "u1"}]])
def test_who_has_no_node_has_no_owner(owners: object) -> None:
    item = an_os()
    item["metadata"]["ownerReferences"] = owners
    assert reading.node_os(item).owner == ""


def test_parts_that_stay_are_kept_once() -> None:
    order, status = document(Order(3, Action.STAGE, 5, RELEASE)), {"phase": "Idle"}
    first = reading.node_os(an_os(order, status))
    again = reading.node_os(an_os(order, {"phase": "Staging"}), first)
    assert again.order is first.order
    last = reading.node_os(an_os(None, status), first)
    assert last.status is first.status


# rollouts


def an_osrollout(spec: object, status: object = None, version: str = "7") -> dict[str, Any]:
    metadata = {"name": "workers", "uid": "r1", "generation": 4, "resourceVersion": version}
    return {"metadata": metadata, "spec": spec, "status": status}


def test_a_rollout_is_what_it_says() -> None:
    spec, status = RolloutSpec(RELEASE, max_unavailable="10%"), RolloutStatus(phase="Staging", counts=Counts(3))
    view = reading.rollout(an_osrollout(document(spec), document(status)))
    assert (view.name, view.uid, view.generation, view.version, view.problem) == ("workers", "r1", 4, "7", "")
    assert (view.spec, view.status) == (spec, status)
    again = reading.rollout(an_osrollout(document(spec), {}, "8"), view)
    assert again.spec is view.spec
    assert again != view


@pytest.mark.parametrize("spec", [None, 1, {}, {"release": 7}, {"release": RELEASE, "maxUnavailable": "many"}])
def test_a_spec_that_cannot_be_read_is_a_problem(spec: object) -> None:
    view = reading.rollout(an_osrollout(spec))
    assert view.problem
    assert plan(Snapshot({}, {}, {"workers": view}), SINCE).statuses["workers"].phase == "Invalid"


def test_a_status_that_cannot_be_read_is_a_problem_too() -> None:
    """It might say that the rollout was halted."""
    view = reading.rollout(an_osrollout(document(RolloutSpec(RELEASE)), {"halted": 7}))
    assert "status.halted" in view.problem


# whatever anybody writes


TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2999, 1, 1)).map(
    lambda when: when.replace(microsecond=0, tzinfo=UTC)
)
NAMES = st.text(min_size=1, max_size=30)
COUNTS = st.integers(0, 10**6)


@given(st.builds(Mark, NAMES, NAMES, TIMES, st.booleans(), st.text(max_size=30)))
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert read_mark(mark_text(mark)) == mark


@given(
    st.builds(
        NodeRecord,
        NAMES,
        NAMES,
        COUNTS,
        COUNTS,
        COUNTS,
        st.none() | TIMES,
        st.booleans(),
        COUNTS,
        st.none() | TIMES,
        st.text(max_size=30),
        st.text(max_size=MAX_MESSAGE),
        st.booleans(),
    )
)
def test_a_record_is_read_as_it_was_written(record: NodeRecord) -> None:
    assert read_record(record_text(record)) == record


def test_a_long_message_is_cut() -> None:
    record = read_record(record_text(NodeRecord("w", DIGEST, message="x" * 10_000)))
    assert record is not None
    assert len(record.message) == MAX_MESSAGE


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("9999-12-31T23:59:59Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from([*json.loads(mark_text(A_MARK)), *json.loads(record_text(A_RECORD))])
OBJECTS = st.dictionaries(KEYS, VALUES)
NOTES = st.dictionaries(
    st.sampled_from([MARK, FENCE, HOLD, EXCLUDE, RECORD]),
    st.text(string.printable, max_size=40) | OBJECTS.map(json.dumps) | VALUES,
)
DEEPER = st.dictionaries(st.sampled_from(["id", "action", "fence", "bootID", "type", "status"]), VALUES)
FIELDS = ["order", "id", "action", "fence", "status", "phase", "booted", "standby", "conditions", "nodeInfo", "release"]
PARTS = st.dictionaries(st.sampled_from(FIELDS), VALUES | DEEPER)
METADATA = st.fixed_dictionaries(
    {"name": st.just("n1")},
    optional={
        "annotations": VALUES | NOTES,
        "labels": VALUES,
        "ownerReferences": VALUES,
        "uid": VALUES,
        "generation": VALUES,
    },
)
ITEMS = st.fixed_dictionaries({"metadata": METADATA}, optional={"spec": VALUES | PARTS, "status": VALUES | PARTS})


@settings(max_examples=40)
@given(ITEMS, ITEMS, ITEMS)
def test_nothing_that_stands_in_objects_stops_the_scheduler(node: Any, os: Any, rollout: Any) -> None:
    """They are read, and planned from."""
    views = reading.node(node), reading.node_os(os), reading.rollout(rollout)
    assert (reading.node(node, views[0]), reading.node_os(os, views[1])) == views[:2]
    everywhere = reading.rollout(an_osrollout(document(RolloutSpec(RELEASE))))
    snapshot = Snapshot({"n1": views[0]}, {"n1": views[1]}, {"n1": views[2], "workers": everywhere})
    plan(snapshot, SINCE)
    plan(snapshot, SINCE + timedelta(days=1))
