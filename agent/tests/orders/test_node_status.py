"""What a node says of itself: never anything that the API server would not take."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from proa.agent.node import reports
from proa.agent.node.failure import HealthFailure
from proa.agent.node.order_book import Moment, take
from proa.agent.node.record import Returned, SlotRecord
from proa.agent.orders.node_status import node_status, since
from proa.agent.testing.node import Node
from proa.agent.trial.health import HealthReport
from proa.core.orders.messages import Action, Condition, NodeStatus, Order, OrderResult, Progress, Proof
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document, parse
from proa.partition.boot.bootstate import Slot

NOW = "2026-01-01T00:00:00+00:00"


def told(view: Any, *arguments: Any) -> NodeStatus:
    """The status, which reads back as what it was."""
    found = node_status(view, *arguments)
    assert parse(NodeStatus, document(found)) == found
    return found


def test_of_a_node_as_it_left_the_factory(node: Node) -> None:
    node.reconcile()
    found = told(node.view)
    assert (found.phase, found.observed_order, found.last_error, found.progress) == ("Good", None, None, None)
    assert found.booted
    assert (found.booted.slot, found.booted.version, found.booted.committed) == ("a", "1", True)
    assert found.booted.boot_id == "boot-1"
    assert len(found.booted.root_hash) == 64
    assert found.standby
    assert (found.standby.slot, found.standby.state, found.standby.complete) == ("b", "empty", False)


def test_of_a_disk_that_nothing_runs_from(node: Node) -> None:
    view = dataclasses.replace(node.view, node=dataclasses.replace(node.view.node, booted=None))
    assert (told(view).phase, told(view).booted) == ("Idle", None)


def test_of_a_node_that_cannot_be_understood(node: Node) -> None:
    view = dataclasses.replace(node.view, problem=ProaError(Code.HANDSHAKE, "x" * 5000))
    found = told(view)
    assert found.phase == "Failed"
    condition = found.conditions[0]
    assert (condition.type, condition.status, condition.reason) == ("Consistent", "False", "HANDSHAKE")
    assert len(condition.message) == 1024


def test_of_a_trial(trial: Node) -> None:
    view = trial.view
    states = [
        told(view, None, health).conditions[0].status
        for health in (None, HealthReport(()), HealthReport((HealthFailure("unit bad.service", "failed"),)))
    ]
    assert states == ["Unknown", "True", "False"]
    long = HealthReport(tuple(HealthFailure(f"unit {number}.service", "failed") for number in range(50)))
    assert told(view, None, long).conditions[0].message.startswith("unit 0.service: failed; ")


def test_texts_are_cut_and_what_is_no_hash_is_left_out(node: Node) -> None:
    node.reconcile()
    view = node.view
    slots = {Slot.B: SlotRecord("v" * 500, "AB" * 10, "5a", 4096, manifest="md5:1", complete=True)}
    returned = Returned("b", "2", "AB" * 10, NOW, "r" * 5000, 1, 1)
    record = dataclasses.replace(view.record, slots={**view.record.slots, **slots}, returned=returned)
    found = told(dataclasses.replace(view, record=record))
    assert found.standby
    assert (found.standby.release, found.standby.root_hash, len(found.standby.version)) == ("", "", 128)
    failed = {Slot.B: dataclasses.replace(slots[Slot.B], failed=True)}
    found = told(dataclasses.replace(view, record=dataclasses.replace(record, slots={**view.record.slots, **failed})))
    assert found.last_error
    assert (found.phase, len(found.last_error.message)) == ("RolledBack", 2048)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (("root -> b", 0, 100), Progress("root -> b", 0)),
        (("root -> b", 79, 100), Progress("root -> b", 75)),
        (("root -> b", 100, 100), Progress("root -> b", 100)),
        (("s" * 100, 5, 0), Progress("s" * 63 + "…", 0)),
    ],
)
def test_progress_of_an_install(node: Node, progress: tuple[str, int, int], expected: Progress) -> None:
    step, done, total = progress
    under_way = reports.Progress("install", 1, "b", step, done, total)
    found = told(node.view, under_way)
    assert (found.phase, found.progress) == ("Staging", expected)
    assert told(node.view, dataclasses.replace(under_way, verb="scrub", slot="")).progress is None


@pytest.mark.parametrize("result", OrderResult)
@pytest.mark.parametrize("action", Action)
def test_of_every_order(node: Node, action: Action, result: OrderResult) -> None:
    release = "registry.example/os@sha256:" + "1" * 64
    order = Order(1, action, 0, release, trial=Proof("boot-1", "a" * 64))
    accepted = dataclasses.replace(take(None, order, Moment(NOW, "boot-1", 0)), result=result, code="NETWORK")
    found = told(dataclasses.replace(node.view, record=dataclasses.replace(node.record, order=accepted)))
    assert found.observed_order
    assert (found.observed_order.action, found.observed_order.result) == (action.value, result.value)
    assert (found.last_error is not None) is (result in (OrderResult.REFUSED, OrderResult.FAILED))
    if result is OrderResult.RUNNING:
        booting = (Action.BOOT, Action.ROLLBACK)
        assert found.phase == ("Staging" if action is Action.STAGE else "Booting" if action in booting else "Good")
    else:
        assert found.phase == ("Failed" if result is OrderResult.FAILED else "Good")


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    before = (Condition("A", "True", last_transition_time="1"), Condition("B", "True", last_transition_time="2"))
    found = since(
        (Condition("A", "True", message="other"), Condition("B", "False"), Condition("C", "True")), before, "3"
    )
    assert [(one.type, one.last_transition_time) for one in found] == [("A", "1"), ("B", "3"), ("C", "3")]
