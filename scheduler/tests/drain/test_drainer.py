"""The drainer: whose pods are followed, what is asked for under which conditions, and what it tells.

The reflectors and the pool are real, the API server is one in memory, and the clock stands still unless it is told to
go on.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.drain.budgets import BudgetView
from proa.scheduler.drain.drainer import SETTLE, Drainer, Wanted
from proa.scheduler.drain.evictor import WORKERS
from proa.scheduler.drain.nodedrain import SOON, DrainRequest
from proa.scheduler.kube.apierror import ApiError, Cause
from proa.scheduler.kube.paths import PODS
from proa.scheduler.kube.server import Query
from proa.scheduler.kube.stream import Event
from proa.scheduler.planning.views import DrainView
from proa.scheduler.spec.rollout import DaemonSet, Drain, Selector
from proa.scheduler.testing.server import NoServer

END = {"k8s.io/initial-events-end": "true"}
WISH = Wanted(DrainRequest(Drain()))
NET = DaemonSet("kube-system", "net")
FULL = ApiError(429, "no", reason="TooManyRequests", causes=(Cause("DisruptionBudget", "x"),))


class Watch:
    """A watch of the pods of one node."""

    def __init__(self, first: list[Event]) -> None:
        self.events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        for event in first:
            self.events.put(event)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        """It has ended."""

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events.get, None)

    def stop(self) -> None:
        self.events.put(None)


class Server(NoServer):
    """Pods, and what is asked for them."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.version = 1
        self.watches: dict[str, Watch] = {}
        self.asked: list[tuple[str, str, str, Mapping[str, Any]]] = []
        self.error: ProaError | None = None
        self.held: threading.Event | None = None
        self.volumes: dict[str, str] = {}
        self.unread: ApiError | None = None

    def put(
        self,
        name: str,
        node: str = "n1",
        kind: str = "ReplicaSet",
        ready: bool = True,
        claim: str = "",
        **metadata: Any,
    ) -> None:
        self.version += 1
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}] if claim else []
        owner = {"kind": kind, "name": name.rpartition("-")[0], "controller": True}
        self.pods[name] = {
            "metadata": {
                "namespace": metadata.pop("namespace", "shop"),
                "name": name,
                "uid": f"uid-{name}",
                "resourceVersion": str(self.version),
                "ownerReferences": [owner],
                **metadata,
            },
            "spec": {"nodeName": node, "volumes": volumes},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
        }
        self._tell("MODIFIED", self.pods[name])

    def end(self, name: str) -> None:
        self.version += 1
        pod = self.pods.pop(name)
        self._tell("DELETED", {**pod, "metadata": {**pod["metadata"], "resourceVersion": str(self.version)}})

    def _tell(self, kind: str, pod: dict[str, Any]) -> None:
        watch = self.watches.get(pod["spec"]["nodeName"])
        if watch is not None:
            watch.events.put(Event(kind, pod))

    def _of(self, query: Mapping[str, str] | None) -> tuple[str, list[dict[str, Any]]]:
        selector = (query or {})["fieldSelector"]
        assert selector.startswith("spec.nodeName=")
        node = selector.partition("=")[2]
        return node, [pod for pod in self.pods.values() if pod["spec"]["nodeName"] == node]

    def get(self, path: str, query: Query | None = None) -> dict[str, Any]:
        """A claim, or the volume of its name."""
        self.asked.append(("get", path, "", {}))
        if self.unread is not None:
            raise self.unread
        stem, _, name = path.rpartition("/")
        if stem == "/api/v1/persistentvolumes":
            return {"spec": {"csi": {"driver": "disk", "volumeHandle": self.volumes[name]}}}
        assert stem == "/api/v1/namespaces/shop/persistentvolumeclaims"
        if name not in self.volumes:
            raise ApiError(404, "gone", reason="NotFound")
        return {"spec": {"volumeName": name}}

    def pages(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        assert path == PODS
        for pod in self._of(query)[1]:
            yield {"items": [pod]}

    def stream(self, path: str, query: Mapping[str, str] | None = None) -> Watch:
        assert path == PODS
        node, found = self._of(query)
        metadata = {"resourceVersion": str(self.version), "annotations": END}
        first = [Event("ADDED", pod) for pod in found]
        self.watches[node] = watch = Watch([*first, Event("BOOKMARK", {"metadata": metadata})])
        return watch

    def _ask(self, verb: str, what: str, uid: str, options: Mapping[str, Any]) -> None:
        self.asked.append((verb, what, uid, options))
        if self.held is not None:
            assert self.held.wait(5)
        if self.error is not None:
            raise self.error

    def evict(self, namespace: str, name: str, *, uid: str = "", **options: Any) -> None:
        self._ask("evict", f"{namespace}/{name}", uid, options)

    def delete(self, path: str, *, uid: str = "", **options: Any) -> None:
        self._ask("delete", path, uid, options)


class Case:
    """A drainer whose steps are made by the test."""

    def __init__(self) -> None:
        self.server = Server()
        self.clock = VirtualClock()
        self.changed = ChangeSignal()
        self.leads = True
        self.budgets: dict[str, BudgetView] = {}
        self.drainer = Drainer(self.server, lambda: self.leads, lambda: self.budgets, self.changed, self.clock)

    def until(self, true: Callable[[], bool]) -> float | None:
        """Step, whenever there is news, until something is true; the last pause."""
        news = self.drainer._news
        while True:
            heard = news.count
            pause = self.drainer.step()
            if true():
                return pause
            assert news.wait(heard, 3) != heard, "there is no more news, and it is not true"

    def want(self, **wanted: Wanted) -> None:
        self.drainer.want(wanted)

    def view(self, node: str = "n1") -> DrainView | None:
        return self.drainer.views.get(node)

    def is_done(self, node: str = "n1") -> bool:
        return self.drainer.views.get(node, DrainView(False)).done

    def asks(self, number: int) -> Callable[[], bool]:
        """Whether so many were asked for, and all of them answered."""

        def answered() -> bool:
            tries = [one for node in self.drainer._followed.values() for one in node.drain.tries.values()]
            return len(self.server.asked) >= number and not any(one.under_way for one in tries)

        return answered

    def synced(self, node: str = "n1") -> bool:
        found = self.drainer._followed.get(node)
        return found is not None and found.since is not None


@pytest.fixture
def case() -> Iterator[Case]:
    found = Case()
    yield found
    for followed in found.drainer._followed.values():
        followed.reflector.stop()
        assert followed.reflector.join()
    found.drainer.stop()


def test_an_empty_node_is_looked_at_for_a_moment_before_it_is_done(case: Case) -> None:
    """A pod may have been bound to it just before the cordon."""
    case.want(n1=WISH)
    pause = case.until(case.synced)
    assert (case.view(), pause) == (DrainView(False), SETTLE)
    case.clock.sleep(SETTLE)
    assert case.drainer.step() is None
    assert case.view() == DrainView(True)


def test_a_pod_that_comes_late_is_evicted(case: Case) -> None:
    case.want(n1=WISH)
    case.until(case.synced)
    case.server.put("web-1")
    case.until(case.asks(1))
    case.clock.sleep(SETTLE)
    case.drainer.step()
    assert not case.is_done()
    case.server.end("web-1")
    case.until(case.is_done)


def test_each_pod_is_evicted_once_by_its_uid(case: Case) -> None:
    case.server.put("web-1")
    case.server.put("web-2")
    case.server.put("net-1", kind="DaemonSet")
    case.server.put("else-1", node="n2")
    case.want(n1=Wanted(DrainRequest(Drain(grace_period_seconds=7))))
    case.until(case.asks(2))
    for _ in range(5):
        case.drainer.step()
    grace = {"gracePeriodSeconds": 7}
    assert sorted(case.server.asked, key=str) == [
        ("evict", "shop/web-1", "uid-web-1", grace),
        ("evict", "shop/web-2", "uid-web-2", grace),
    ]
    assert case.drainer.evicted == 2


def test_our_own_pod_stays_and_its_replicas_go(case: Case) -> None:
    """Whoever evicted itself could not order the reboot, and its successor might have no other node to run on."""
    case.drainer.own_pod = "shop/proa-1"
    case.budgets = {"shop/proa": BudgetView("shop/proa", Selector(), never="maxUnavailable is 0")}
    case.server.put("proa-1")
    assert case.drainer.foresee("n1", Drain()) == ()
    case.server.put("proa-2")
    assert [one.pod for one in case.drainer.foresee("n1", Drain())] == ["shop/proa-2"]
    case.want(n1=WISH)
    case.until(case.asks(1))
    case.clock.sleep(SETTLE)
    case.server.end("proa-2")
    case.until(case.is_done)
    assert [what for _, what, _, _ in case.server.asked] == ["shop/proa-2"]


def test_a_pod_is_not_asked_for_twice_at_a_time(case: Case) -> None:
    case.server.held = threading.Event()
    case.server.put("web-1")
    case.want(n1=WISH)
    case.until(lambda: len(case.server.asked) == 1)
    case.clock.sleep(30)
    assert case.drainer.step() is None
    assert len(case.server.asked) == 1
    case.server.held.set()
    case.until(case.asks(1))


def test_who_does_not_lead_evicts_nobody(case: Case) -> None:
    case.leads = False
    case.server.put("web-1")
    case.want(n1=WISH)
    case.until(lambda: any(one.number for one in case.drainer._followed["n1"].drain.tries.values()))
    assert case.server.asked == []
    assert case.drainer.evicted == 0


def test_a_defect_of_the_elector_is_an_answer_too(case: Case) -> None:
    def broken() -> bool:
        raise ProaError(Code.INTERNAL, "nobody renews the lease")

    case.drainer.may_act = broken
    case.server.put("web-1")
    case.want(n1=WISH)
    case.until(lambda: any(one.number for one in case.drainer._followed["n1"].drain.tries.values()))
    assert case.server.asked == []


def test_what_is_in_the_way_is_told(case: Case) -> None:
    case.server.error = FULL
    case.budgets = {"shop/web": BudgetView("shop/web", Selector())}
    case.server.put("web-1")
    case.want(n1=WISH)
    case.until(case.asks(1))
    case.clock.sleep(SOON)
    rings = case.changed.count
    case.until(case.asks(2))
    view = case.view()
    assert view is not None
    assert [(one.pod, one.budget) for one in view.blockers] == [("shop/web-1", "shop/web")]
    assert case.changed.count > rings
    rings = case.changed.count
    case.drainer.step()
    assert case.changed.count == rings  # nothing has changed


def test_force_deletes_by_the_uid(case: Case) -> None:
    case.server.put("web-1")
    case.want(n1=Wanted(DrainRequest(Drain(), forced=True)))
    case.until(case.asks(1))
    assert case.server.asked == [("delete", "/api/v1/namespaces/shop/pods/web-1", "uid-web-1", {})]


def test_the_volumes_of_an_evicted_pod_are_waited_for(case: Case) -> None:
    case.server.volumes = {"mine": "7"}
    case.server.put("web-1", claim="mine")
    case.server.put("web-2", claim="gone")
    attached = dataclasses.replace(WISH, attached=("kubernetes.io/csi/disk^7", "kubernetes.io/csi/disk^8"))
    case.want(n1=attached)
    case.until(case.asks(5))
    verbs = [verb for verb, _, _, _ in case.server.asked]
    assert verbs.count("evict") == 2
    assert case.server.asked[0][0] == "get"  # before the claim can go with its pod
    case.server.end("web-1")
    case.server.end("web-2")
    case.clock.sleep(SETTLE)
    case.until(lambda: bool(case.drainer.views["n1"].blockers))
    assert [one.volume for one in case.drainer.views["n1"].blockers] == ["kubernetes.io/csi/disk^7"]
    assert not case.is_done()
    case.want(n1=WISH)
    case.until(case.is_done)


def test_a_claim_that_may_not_be_read_is_no_reason_to_stop(case: Case) -> None:
    case.server.unread = ApiError(403, "no", reason="Forbidden")
    case.server.put("web-1", claim="mine")
    case.want(n1=dataclasses.replace(WISH, attached=("kubernetes.io/csi/disk^7",)))
    case.until(case.asks(2))
    case.server.end("web-1")
    case.clock.sleep(SETTLE)
    case.until(case.is_done)


def test_nobody_is_evicted_whose_volumes_cannot_be_known_now(case: Case) -> None:
    case.server.unread = ApiError(503, "busy")
    case.server.put("web-1", claim="mine")
    case.want(n1=WISH)
    case.until(case.asks(1))
    assert [verb for verb, _, _, _ in case.server.asked] == ["get"]
    case.server.unread = None
    case.clock.sleep(SOON)
    case.until(case.asks(3))
    assert [verb for verb, _, _, _ in case.server.asked] == ["get", "get", "evict"]


def test_force_asks_for_no_volumes(case: Case) -> None:
    case.server.put("web-1", claim="mine")
    case.want(n1=Wanted(DrainRequest(Drain(), forced=True)))
    case.until(case.asks(1))
    assert [verb for verb, _, _, _ in case.server.asked] == ["delete"]


def test_a_slow_server_is_asked_a_few_at_a_time_and_nodes_have_turns(case: Case) -> None:
    case.server.held = threading.Event()
    for number in range(3 * WORKERS):
        case.server.put(f"web-{number}")
    for number in range(3):
        case.server.put(f"db-{number}", node="n2")
    case.want(n1=WISH, n2=WISH)
    case.until(lambda: case.synced("n1") and case.synced("n2") and len(case.server.asked) >= WORKERS)
    assert len(case.server.asked) == WORKERS
    case.server.held.set()
    case.until(case.asks(2 * WORKERS))
    first = [what for _, what, _, _ in case.server.asked[: 2 * WORKERS]]
    assert {"shop/db-0", "shop/db-1", "shop/db-2"} <= set(first)


def test_what_waits_is_not_asked_for_a_node_that_is_given_back(case: Case) -> None:
    case.server.held = threading.Event()
    for number in range(3 * WORKERS):
        case.server.put(f"web-{number}")
    case.want(n1=WISH)
    case.until(lambda: len(case.server.asked) >= WORKERS)
    case.want()
    case.drainer.step()
    case.server.held.set()
    assert case.drainer.stop()
    case.drainer._evictor._pool.shutdown(wait=True)
    assert len(case.server.asked) == WORKERS


def test_a_pod_that_was_refused_lets_others_go_first(case: Case) -> None:
    case.server.error = FULL
    for number in range(2 * WORKERS):
        case.server.put(f"web-{number}")
    case.want(n1=WISH)
    case.until(case.asks(2 * WORKERS))
    assert len({what for _, what, _, _ in case.server.asked[: 2 * WORKERS]}) == 2 * WORKERS


def test_what_is_known_no_more_is_not_drained(case: Case) -> None:
    case.want(n1=WISH)
    case.until(case.synced)
    case.clock.sleep(SETTLE)
    case.drainer.step()
    assert case.is_done()
    case.clock.sleep(100)  # the watch is silent for that long
    assert case.drainer.step() == 1
    assert case.view() == DrainView(False)


def test_who_is_wanted_no_more_is_not_followed(case: Case) -> None:
    case.want(n1=WISH, n2=WISH)
    case.until(lambda: case.synced("n1") and case.synced("n2"))
    gone = case.drainer._followed["n1"].reflector
    case.want(n2=WISH)
    case.drainer.step()
    assert list(case.drainer.views) == ["n2"]
    assert gone.join()


def test_daemon_sets_are_looked_at_without_a_drain(case: Case) -> None:
    wanted = Wanted(daemon_sets=(NET,))
    case.want(n1=wanted)
    case.until(lambda: case.drainer.daemon_sets == {"n1": "kube-system/net"})
    assert case.drainer.views == {}
    case.server.put("net-1", kind="DaemonSet", namespace="kube-system", ready=False)
    case.server.put("net-2", kind="DaemonSet", namespace="other")
    case.server.put("net-3", kind="ReplicaSet", namespace="kube-system")
    case.until(lambda: len(case.drainer._followed["n1"].reflector.objects) == 3)
    assert case.drainer.daemon_sets == {"n1": "kube-system/net"}
    case.server.put("net-1", kind="DaemonSet", namespace="kube-system")
    case.until(lambda: case.drainer.daemon_sets == {"n1": ""})
    assert case.server.asked == []


def test_a_node_that_was_looked_at_settles_again_before_it_is_drained(case: Case) -> None:
    case.want(n1=dataclasses.replace(WISH, daemon_sets=(NET,)))
    case.until(case.synced)
    case.clock.sleep(SETTLE)
    case.want(n1=Wanted(daemon_sets=(NET,)))
    case.drainer.step()
    case.want(n1=WISH)
    case.drainer.step()
    assert case.view() == DrainView(False)


def test_a_look_ahead_lists_the_pods_of_one_node(case: Case) -> None:
    case.budgets = {"shop/web": BudgetView("shop/web", Selector(), never="maxUnavailable is 0")}
    case.server.put("web-1")
    case.server.put("web-2", node="n2")
    assert [one.pod for one in case.drainer.foresee("n1", Drain())] == ["shop/web-1"]
    assert case.server.watches == {}


def test_a_thread_drains_and_ends(case: Case) -> None:
    drainer = Drainer(case.server, lambda: True, lambda: case.budgets, case.changed)
    case.server.put("web-1")
    heard = case.changed.count
    drainer.start()
    drainer.want({"n1": WISH})
    while "n1" not in drainer.views:
        assert case.changed.wait(heard, 3) != heard
        heard = case.changed.count
    assert drainer.stop()
    assert not [one for one in threading.enumerate() if one.name == "drainer"]


def test_a_defect_is_raised_in_whoever_wants_something(case: Case) -> None:
    def broken() -> Mapping[str, BudgetView]:
        raise ProaError(Code.INTERNAL, "nobody follows budgets")

    drainer = Drainer(case.server, lambda: True, broken, case.changed)
    heard = case.changed.count
    drainer.want({"n1": WISH})
    drainer.start()
    while drainer._thread.is_alive():
        case.changed.wait(heard, 3)
        heard = case.changed.count
        drainer._thread.join(1)
    with pytest.raises(ProaError, match="nobody drains") as raised:
        drainer.want({"n2": WISH})
    assert raised.value.code is Code.INTERNAL
    assert drainer.stop()
