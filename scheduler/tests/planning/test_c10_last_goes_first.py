"""What others took out of service, or remove, is not started; the nodes that use up a budget are named."""

from __future__ import annotations

from typing import Any

import pytest

from proa.scheduler.objects import reading
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.spec.rollout import Canary, Cordoned
from proa.scheduler.testing.situations import change, done, node, node_os, planned, ready, unfetched

SPEC = change(max_unavailable=2)
INCLUDE = change(max_unavailable=2, cordoned=Cordoned.INCLUDE)


def test_c10_a_node_that_a_person_has_cordoned_is_not_started_but_fetches_the_release() -> None:
    made = planned(ready("n1", unschedulable=True), ready("n2"), spec=SPEC)
    assert [one.node for one in made.actions] == ["n2"]
    assert made.verdicts["n1"].reason is Reason.Cordoned
    assert [one.node for one in planned(unfetched("n1", unschedulable=True)).actions] == ["n1"]


def test_c10_with_include_it_has_its_turn_at_no_charge() -> None:
    made = planned(ready("n1", unschedulable=True), ready("n2"), spec=change(cordoned=Cordoned.INCLUDE))
    assert [one.node for one in made.actions] == ["n1"]


@pytest.mark.parametrize("spec", [SPEC, INCLUDE])
def test_c10_a_node_that_is_about_to_go_is_neither_started_nor_fetches(spec: Any) -> None:
    made = planned(ready("n1", leaving="it is being deleted"), ready("n2"), spec=spec)
    assert [one.node for one in made.actions] == ["n2"]
    assert str(made.verdicts["n1"]) == "Leaving: it is being deleted"
    assert planned(unfetched("n1", leaving="it is being deleted"), spec=spec).actions == ()


def test_c10_nobody_waits_for_a_node_that_is_about_to_go_to_fetch_the_release() -> None:
    made = planned(unfetched("n1", leaving="it is being deleted"), ready("n2"), spec=SPEC)
    assert [one.node for one in made.actions] == ["n2"]


@pytest.mark.parametrize("aside", [{"unschedulable": True}, {"leaving": "it is being deleted"}])
def test_c10_another_node_is_the_canary(aside: dict[str, Any]) -> None:
    made = planned(ready("n1", **aside), ready("n2"), spec=change(max_unavailable=2, canary=Canary(1)))
    assert [one.node for one in made.actions] == ["n2"]


@pytest.mark.parametrize("aside", [{"unschedulable": True}, {"leaving": "it is being deleted"}])
def test_c10_the_zone_of_such_a_node_is_not_waited_for(aside: dict[str, Any]) -> None:
    made = planned(ready("n1", zone="a", **aside), ready("n2", zone="b"), spec=SPEC)
    assert [one.node for one in made.actions] == ["n2"]


def test_c10_the_schedulers_own_node_does_not_wait_for_it() -> None:
    made = planned(ready("n1", unschedulable=True), ready("n2"), spec=SPEC, own_node="n2")
    assert [one.node for one in made.actions] == ["n2"]


def test_c10_the_nodes_that_use_up_a_budget_are_named() -> None:
    away = (node("n1", unschedulable=True), node_os("n1")), (node("n2", ready=False), node_os("n2"))
    made = planned(*away, done("n3"), ready("n4"), spec=SPEC)
    assert made.actions == ()
    assert "2 of at most 2 are unavailable: n1 (cordoned), n2 (not Ready)" in str(made.verdicts["n4"])
    assert "proa.dev/exclude" in made.verdicts["n4"].reason.who


@pytest.mark.parametrize(
    ("metadata", "spec", "why"),
    [
        ({"deletionTimestamp": "2026-01-31T12:00:00Z"}, {}, "it is being deleted"),
        ({}, {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}, "the cluster autoscaler"),
        ({}, {"taints": [{"key": "other"}, {"key": "karpenter.sh/disrupted"}]}, "Karpenter"),
        ({}, {"taints": [{"key": "node.kubernetes.io/unschedulable"}, {"key": 7}, "none"]}, ""),
        ({}, {"taints": "none"}, ""),
    ],
)
def test_c10_what_the_cluster_says_of_a_node_that_goes_is_read(
    metadata: dict[str, str], spec: dict[str, Any], why: str
) -> None:
    found = reading.node({"metadata": {"name": "n1", **metadata}, "spec": spec}).leaving
    assert found.startswith(why) if why else found == ""
