"""What budgets seem to forbid is asked of the API server, which knows its own rule."""

from __future__ import annotations

import pytest

from proa.scheduler.drain.pods import BudgetView, budget
from proa.scheduler.drain.undrainable import foresee
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.stream import Object
from proa.scheduler.spec.rollout import Drain, UnmanagedPods
from proa.scheduler.testing.apiserver import ApiServer

SHOP = "/api/v1/namespaces/shop/pods"
GUARD = {
    "metadata": {"namespace": "shop", "name": "web"},
    "spec": {"maxUnavailable": 0, "selector": {}},
    "status": {"disruptionsAllowed": 0},
}


def shop(*names: str, phase: str = "Running", guard: Object | None = GUARD) -> ApiServer:
    """An API server with pods of a shop on one node, under a budget that lets none of them go."""
    server = ApiServer()
    for name in names:
        owner = {"kind": "ReplicaSet", "name": "web", "controller": True}
        metadata = {"namespace": "shop", "name": name, "uid": f"uid-{name}", "ownerReferences": [owner]}
        server.add(f"{SHOP}/{name}", {"metadata": metadata, "spec": {"nodeName": "n1"}, "status": {"phase": phase}})
    if guard is not None:
        server.add("/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web", guard)
    return server


def foreseen(server: ApiServer, view: BudgetView | None = None) -> list[str]:
    return [one.pod for one in foresee(server, "n1", Drain(), [view or budget(GUARD)])]


def test_c12_what_the_server_would_refuse_is_in_the_way_and_nothing_is_evicted() -> None:
    server = shop("web-1", "web-2")
    assert foreseen(server) == ["shop/web-1", "shop/web-2"]
    assert foreseen(server) == ["shop/web-1", "shop/web-2"]
    assert [one.body["dryRun"] for one in server.asked if one.verb == "evict"] == [["All"]] * 4


def test_c12_a_pod_that_is_pending_goes_whatever_its_budget_says() -> None:
    server = shop("web-1", phase="Pending")
    assert foreseen(server) == []
    assert server.get(f"{SHOP}/web-1")


def test_c12_a_pod_is_asked_for_once_whatever_covers_it() -> None:
    server = shop("web-1")
    two = [budget(GUARD), BudgetView("shop/also", budget(GUARD).selector)]
    assert len(foresee(server, "n1", Drain(), two)) == 2
    assert [one.verb for one in server.asked].count("evict") == 1


@pytest.mark.parametrize("status", [0, 403, 429, 500, 503])
def test_c12_where_the_server_cannot_be_asked_what_budgets_say_holds(status: int) -> None:
    server = shop("web-1", guard=None)
    server.fail(lambda verb, _: ApiError(status, "no") if verb == "evict" else None)
    assert foreseen(server) == ["shop/web-1"]


def test_c12_a_pod_that_is_gone_meanwhile_is_in_nobodys_way() -> None:
    server = shop("web-1", guard=None)
    server.fail(lambda verb, _: ApiError(404, "not found") if verb == "evict" else None)
    assert foreseen(server) == []


def test_c12_what_the_policy_leaves_to_a_person_is_not_asked_about() -> None:
    server = ApiServer()
    server.add(f"{SHOP}/bare", {"metadata": {"namespace": "shop", "name": "bare"}, "spec": {"nodeName": "n1"}})
    (blocker,) = foresee(server, "n1", Drain(unmanaged_pods=UnmanagedPods.BLOCK), [])
    assert blocker.pod == "shop/bare"
    assert [one.verb for one in server.asked] == ["list"]


def test_c12_a_budget_whose_pods_nobody_can_count_never_lets_one_go() -> None:
    condition = {
        "type": "DisruptionAllowed",
        "status": "False",
        "reason": "SyncFailed",
        "message": "no controller",
    }
    failed = {**GUARD, "spec": {"maxUnavailable": 1, "selector": {}}, "status": {"conditions": [condition]}}
    server = shop("web-1", guard=failed)
    (blocker,) = foresee(server, "n1", Drain(), [budget(failed)])
    assert "cannot count its pods: no controller" in blocker.reason
