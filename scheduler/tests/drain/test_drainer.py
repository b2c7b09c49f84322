"""The drainer: whose pods are followed, what is asked for under which conditions, and what it tells.

The reflectors and the pool are real, the API server is one in memory, and the clock stands still unless it is told to
go on.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest

from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.drain.drainer import SETTLE, Drainer, Wanted
from proa.scheduler.drain.evictor import WORKERS
from proa.scheduler.drain.nodedrain import SOON, DrainRequest
from proa.scheduler.drain.pods import BudgetView
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.planning.views import DrainView
from proa.scheduler.spec.rollout import DaemonSet, Drain, Selector
from proa.scheduler.testing.apiserver import ApiServer, Asked

WISH = Wanted(DrainRequest(Drain()))
SHOP = "/api/v1/namespaces/shop/pods"
NET = DaemonSet("kube-system", "net")


class Shop(ApiServer):
    """An API server with pods of a shop, their claims and their budget."""

    def put(
        self,
        name: str,
        node: str = "n1",
        kind: str = "ReplicaSet",
        ready: bool = True,
        claim: str = "",
        namespace: str = "shop",
    ) -> None:
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}] if claim else []
        owner = {"kind": kind, "name": name.rpartition("-")[0], "controller": True}
        pod = {
            "metadata": {"namespace": namespace, "name": name, "uid": f"uid-{name}", "ownerReferences": [owner]},
            "spec": {"nodeName": node, "volumes": volumes},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
        }
        self.add(f"/api/v1/namespaces/{namespace}/pods/{name}", pod)

    def end(self, name: str) -> None:
        self.remove(f"/api/v1/namespaces/shop/pods/{name}")

    def guard(self) -> None:
        """No pod may go."""
        self.add("/apis/policy/v1/namespaces/shop/poddisruptionbudgets/all", {"spec": {"selector": {}}})

    def claim(self, name: str, volume: str) -> None:
        claim = {"spec": {"volumeName": name}}
        self.add(f"/api/v1/namespaces/shop/persistentvolumeclaims/{name}", claim)
        self.add(f"/api/v1/persistentvolumes/{name}", {"spec": {"csi": {"driver": "disk", "volumeHandle": volume}}})

    def let_none_go(self) -> None:
        """A disruption budget about all pods is used up."""
        budget = {"spec": {"selector": {}}, "status": {"disruptionsAllowed": 0}}
        self.add("/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web", budget)

    @property
    def calls(self) -> list[Asked]:
        """What was asked but for lists and watches."""
        return [one for one in self.asked if one.verb not in ("list", "watch")]

    @property
    def verbs(self) -> list[str]:
        return [one.verb for one in self.calls]


class Case:
    """A drainer whose steps are made by the test."""

    def __init__(self) -> None:
        self.server = Shop()
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
            assert news.wait(heard, 300) != heard, "there is no more news, and it is not true"

    def hold(self) -> threading.Event:
        """Keep the answers to writes back until the event comes. That one has arrived is news: no answer tells it."""
        held = threading.Event()

        def hold_back(asked: Asked) -> None:
            if asked.is_write:
                self.drainer._news.notify()
                held.wait(300)

        self.server.before = hold_back
        return held

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
            return len(self.server.calls) >= number and not any(one.under_way for one in tries)

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
    assert sorted(case.server.calls, key=str) == [
        Asked("evict", f"{SHOP}/web-{number}", {"gracePeriodSeconds": 7, "uid": f"uid-web-{number}"})
        for number in (1, 2)
    ]


def test_our_own_pod_stays_and_its_replicas_go(case: Case) -> None:
    """Whoever evicted itself could not order the reboot, and its successor might have no other node to run on."""
    case.drainer.own_pod = "shop/proa-1"
    case.budgets = {"shop/proa": BudgetView("shop/proa", Selector(), never="maxUnavailable is 0")}
    case.server.put("proa-1")
    assert case.drainer.foresee("n1", Drain()) == ()
    case.server.put("proa-2")
    case.server.guard()
    assert [one.pod for one in case.drainer.foresee("n1", Drain())] == ["shop/proa-2"]
    case.server.asked.clear()
    case.want(n1=WISH)
    case.until(case.asks(1))
    case.clock.sleep(SETTLE)
    case.server.end("proa-2")
    case.until(case.is_done)
    assert [one.path for one in case.server.calls] == [f"{SHOP}/proa-2"]


def test_a_pod_is_not_asked_for_twice_at_a_time(case: Case) -> None:
    held = case.hold()
    case.server.put("web-1")
    case.want(n1=WISH)
    case.until(lambda: len(case.server.calls) == 1)
    case.clock.sleep(30)
    assert case.drainer.step() is None
    assert len(case.server.calls) == 1
    held.set()
    case.until(case.asks(1))


def test_who_does_not_lead_evicts_nobody(case: Case) -> None:
    case.leads = False
    case.server.put("web-1")
    case.want(n1=WISH)
    case.until(lambda: any(one.number for one in case.drainer._followed["n1"].drain.tries.values()))
    assert case.server.calls == []


def test_a_defect_of_the_elector_is_an_answer_too(case: Case) -> None:
    def broken() -> bool:
        raise ProaError(Code.INTERNAL, "the elector has stopped renewing the lease")

    case.drainer.may_act = broken
    case.server.put("web-1")
    case.want(n1=WISH)
    case.until(lambda: any(one.number for one in case.drainer._followed["n1"].drain.tries.values()))
    assert case.server.calls == []


def test_what_is_in_the_way_is_told(case: Case) -> None:
    case.server.let_none_go()
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
    assert case.server.calls == [Asked("delete", f"{SHOP}/web-1", {"uid": "uid-web-1"})]


def test_the_volumes_of_an_evicted_pod_are_waited_for(case: Case) -> None:
    case.server.claim("mine", "7")
    case.server.put("web-1", claim="mine")
    case.server.put("web-2", claim="gone")
    attached = dataclasses.replace(WISH, attached=("kubernetes.io/csi/disk^7", "kubernetes.io/csi/disk^8"))
    case.want(n1=attached)
    case.until(case.asks(5))
    assert case.server.verbs.count("evict") == 2
    assert case.server.verbs[0] == "get"  # before the claim can go with its pod
    case.server.end("web-1")
    case.server.end("web-2")
    case.clock.sleep(SETTLE)
    case.until(lambda: bool(case.drainer.views["n1"].blockers))
    assert [one.volume for one in case.drainer.views["n1"].blockers] == ["kubernetes.io/csi/disk^7"]
    assert not case.is_done()
    case.want(n1=WISH)
    case.until(case.is_done)


def test_a_claim_that_may_not_be_read_is_no_reason_to_stop(case: Case) -> None:
    case.server.fail(lambda verb, path: ApiError(403, "no", reason="Forbidden") if verb == "get" else None)
    case.server.put("web-1", claim="mine")
    case.want(n1=dataclasses.replace(WISH, attached=("kubernetes.io/csi/disk^7",)))
    case.until(case.asks(2))
    assert case.server.verbs == ["get", "evict"]
    case.server.end("web-1")
    case.clock.sleep(SETTLE)
    case.until(case.is_done)


def test_nobody_is_evicted_whose_volumes_cannot_be_known_now(case: Case) -> None:
    case.server.fail(lambda verb, path: ApiError(503, "busy") if verb == "get" else None)
    case.server.put("web-1", claim="mine")
    case.want(n1=WISH)
    case.until(case.asks(1))
    assert case.server.verbs == ["get"]
    case.server.mend()
    case.clock.sleep(SOON)
    case.until(case.asks(3))
    assert case.server.verbs == ["get", "get", "evict"]


def test_force_asks_for_no_volumes(case: Case) -> None:
    case.server.put("web-1", claim="mine")
    case.want(n1=Wanted(DrainRequest(Drain(), forced=True)))
    case.until(case.asks(1))
    assert case.server.verbs == ["delete"]


def test_a_slow_server_is_asked_a_few_at_a_time_and_nodes_have_turns(case: Case) -> None:
    held = case.hold()
    for number in range(3 * WORKERS):
        case.server.put(f"web-{number}")
    for number in range(3):
        case.server.put(f"db-{number}", node="n2")
    case.want(n1=WISH, n2=WISH)
    case.until(lambda: case.synced("n1") and case.synced("n2") and len(case.server.calls) >= WORKERS)
    assert len(case.server.calls) == WORKERS
    held.set()
    case.until(case.asks(2 * WORKERS))
    first = [one.path for one in case.server.calls[: 2 * WORKERS]]
    assert {f"{SHOP}/db-{number}" for number in range(3)} <= set(first)


def test_what_waits_is_not_asked_for_a_node_that_is_given_back(case: Case) -> None:
    held = case.hold()
    for number in range(3 * WORKERS):
        case.server.put(f"web-{number}")
    case.want(n1=WISH)
    case.until(lambda: len(case.server.calls) >= WORKERS)
    case.want()
    case.drainer.step()
    held.set()
    case.until(lambda: not case.drainer._evictor._under_way)
    assert len(case.server.calls) == WORKERS


def test_a_pod_that_was_refused_lets_others_go_first(case: Case) -> None:
    case.server.let_none_go()
    for number in range(2 * WORKERS):
        case.server.put(f"web-{number}")
    case.want(n1=WISH)
    case.until(case.asks(2 * WORKERS))
    assert len({one.path for one in case.server.calls[: 2 * WORKERS]}) == 2 * WORKERS


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
    assert case.server.calls == []


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
    case.server.guard()
    assert [one.pod for one in case.drainer.foresee("n1", Drain())] == ["shop/web-1"]
    assert case.server.watches == []


def test_a_thread_drains_and_ends(case: Case) -> None:
    drainer = Drainer(case.server, lambda: True, lambda: case.budgets, case.changed)
    case.server.put("web-1")
    heard = case.changed.count
    drainer.start()
    drainer.want({"n1": WISH})
    while "n1" not in drainer.views:
        assert case.changed.wait(heard, 300) != heard
        heard = case.changed.count
    assert drainer.stop()
    assert not [one for one in threading.enumerate() if one.name == "drainer"]


def test_a_defect_is_raised_in_whoever_wants_something(case: Case) -> None:
    def broken() -> Mapping[str, BudgetView]:
        raise ProaError(Code.INTERNAL, "the watch of budgets has stopped")

    drainer = Drainer(case.server, lambda: True, broken, case.changed)
    heard = case.changed.count
    drainer.want({"n1": WISH})
    drainer.start()
    while drainer._thread.is_alive():
        case.changed.wait(heard, 300)
        heard = case.changed.count
        drainer._thread.join(300)
    with pytest.raises(ProaError, match="the drainer has stopped") as raised:
        drainer.want({"n2": WISH})
    assert raised.value.code is Code.INTERNAL
    assert drainer.stop()
