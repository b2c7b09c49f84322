"""The simulated API server does what the real one does, in memory and over HTTP; and what a test wants to go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proa.scheduler.kube.api import Api
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.paths import NODES
from proa.scheduler.kube.server import Server
from proa.scheduler.testing import behaviours
from proa.scheduler.testing.apiserver import ApiServer, Asked
from proa.scheduler.testing.behaviours import BEHAVIOURS, told
from proa.scheduler.testing.objects import DEFINITIONS
from proa.scheduler.testing.served import HttpServer, behind

BUDGET = {
    "metadata": {"name": "web"},
    "spec": {"selector": {"matchLabels": {"app": "web"}}},
    "status": {"disruptionsAllowed": 1},
}


@pytest.fixture
def api() -> ApiServer:
    return ApiServer()


@pytest.fixture(params=["memory", "http"])
def client(request: pytest.FixtureRequest, api: ApiServer) -> Iterator[Server]:
    if request.param == "memory":
        yield api
        return
    served = HttpServer(behind(api))
    found = Api(served.access)
    yield found
    found.close()
    api.cut()
    served.close()


@pytest.mark.parametrize("check", BEHAVIOURS, ids=lambda one: one.__name__)
def test_it_behaves_as_the_real_one(client: Server, check: Callable[[Server, str], None]) -> None:
    check(client, "space")


def pod(name: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"nodeName": "n1"}, "status": status}


def test_a_budget_pays_for_evictions_until_it_is_empty(client: Server, api: ApiServer) -> None:
    api.add("/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web", BUDGET)
    for name in ("web-1", "web-2"):
        api.add(f"/api/v1/namespaces/shop/pods/{name}", pod(name, phase="Running"))
    api.add("/api/v1/namespaces/shop/pods/web-3", pod("web-3", phase="Pending"))
    client.evict("shop", "web-1")
    client.evict("shop", "web-1")
    assert api.items["/api/v1/namespaces/shop/pods/web-1"]["metadata"]["deletionTimestamp"]
    behaviours.a_full_budget_refuses_an_eviction(client, "shop", "web-2")
    client.evict("shop", "web-3")


def test_of_two_budgets_for_a_pod_the_server_makes_nothing(client: Server, api: ApiServer) -> None:
    for name in ("one", "two"):
        api.add(f"/apis/policy/v1/namespaces/shop/poddisruptionbudgets/{name}", {**BUDGET, "metadata": {}})
    api.add("/api/v1/namespaces/shop/pods/web-1", pod("web-1", phase="Running"))
    behaviours.refused(lambda: client.evict("shop", "web-1"), 500, "InternalError")


def test_a_version_that_is_forgotten_has_to_be_listed_again(client: Server, api: ApiServer) -> None:
    since = api.add(f"{NODES}/n1", {})["metadata"]["resourceVersion"]
    api.change(f"{NODES}/n1", metadata={"labels": {"a": "b"}})
    api.compact()
    with (
        client.stream(NODES, {"resourceVersion": since}) as watch,
        pytest.raises(ApiError, match="too old resource version") as caught,
    ):
        list(watch)
    assert caught.value.status == 410


def test_a_watch_ends_as_a_test_wants(client: Server, api: ApiServer) -> None:
    with client.stream(NODES, {"sendInitialEvents": "true"}) as watch:
        api.add(f"{NODES}/n1", {})
        events = iter(watch)
        assert told(events, 1) == [("ADDED", "n1")]
        api.bookmark()
        assert next(events).object["metadata"]["resourceVersion"] == str(api.version)
        api.cut(ApiError(500, "etcd is gone", reason="InternalError"))
        with pytest.raises(ApiError, match="etcd is gone"):
            next(events)
    with client.stream(NODES, {"sendInitialEvents": "true"}) as watch:
        api.cut()
        assert [event.type for event in watch] == ["ADDED", "BOOKMARK"]


def test_what_a_definition_made_goes_with_it(client: Server, api: ApiServer) -> None:
    names = {"group": "x.test", "names": {"plural": "things"}, "versions": [{"name": "v1"}]}
    api.add(f"{DEFINITIONS}/things.x.test", {"spec": names})
    api.add("/apis/x.test/v1/things/a", {})
    client.delete(f"{DEFINITIONS}/things.x.test")
    behaviours.refused(lambda: client.get("/apis/x.test/v1/things/a"), 404, "NotFound")
    behaviours.refused(lambda: list(client.pages("/apis/x.test/v1/things")), 404, "NotFound")


def test_what_is_in_a_namespace_goes_with_it(client: Server, api: ApiServer) -> None:
    api.add("/api/v1/namespaces/shop", {})
    api.add("/api/v1/namespaces/shop/configmaps/a", {})
    api.add("/api/v1/namespaces/other/configmaps/a", {})
    client.delete("/api/v1/namespaces/shop")
    assert list(api.items) == ["/api/v1/namespaces/other/configmaps/a"]


def test_faults_come_before_the_work_or_ahead_of_its_answer(client: Server, api: ApiServer) -> None:
    def refuse(asked: Asked) -> None:
        if asked.is_write:
            raise ApiError(503, "busy", reason="ServiceUnavailable")

    api.before = refuse
    body = behaviours.a_map("a")
    behaviours.refused(lambda: client.create(behaviours.maps("x"), body), 503, "ServiceUnavailable")
    assert api.items == {}
    api.before, api.after = lambda asked: None, refuse
    behaviours.refused(lambda: client.create(behaviours.maps("x"), body), 503, "ServiceUnavailable")
    assert list(api.items) == [f"{behaviours.maps('x')}/a"]
    assert [one.verb for one in api.writes] == ["create", "create"]
