"""The scheduler is killed at every write of a whole rollout: once before the write is made, once right after.

Each write has its number and is two cases: the scheduler dies before the API server hears of it, and, when the next
one makes that write again, it dies before it hears that it was made. So every state in which a rollout can be left
behind is one that a new scheduler has gone on from.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from proa.scheduler.kube import paths
from proa.vm.kube.api import MERGE
from proa.vm.kube.apifate import LOST, Ask, RequestFate
from proa.vm.kube.apiproxy import ApiProxy
from proa.vm.kube.control_flags import ADMINS
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.nodes import SimNodes
from proa.vm.simulated.releases import FACTORY, digest_of
from proa.vm.simulated.rollouts import Witness, start, status, traces
from proa.vm.simulated.scheduler import NAMESPACE, Scheduler
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
Nodes = Callable[..., SimNodes]
Record = Callable[[str, object], None]
LEASE: Final = f"{paths.leases(NAMESPACE)}/proa-scheduler"
QUIET: Final = 1.0
"""Seconds without a write after which there is nothing left to do."""
MARKS: Final = 2
"""A node is marked, and its mark made the new leader's own before it goes: by every leader, so that one must be let."""


def web(cluster: ControlPlane) -> None:
    """Pods that have to be moved away, guarded by a budget."""
    namespace = cluster.namespace("web")
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "registry.test/x"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    metadata = {"name": "web", "namespace": namespace}
    cluster.apply(
        [
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec},
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": budget},
        ]
    )
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    until(lambda: cluster.api.get(path)["status"].get("readyReplicas") == 1, "the pods to be Ready")


def name_of(ask: Ask) -> str:
    """A write in a few words; the same one made again has the same name."""
    *_, kind, name = ask.path.removesuffix("/status").removesuffix("/eviction").split("/")
    annotations = ask.body.get("metadata", {}).get("annotations") or {}
    if ask.path.endswith("/status"):
        told = {key: ask.body["status"].get(key) for key in ("phase", "progress", "halted", "counts")}
        return f"status {json.dumps(told, sort_keys=True)}"
    if ask.path.endswith("/eviction"):
        return f"evict {name}"
    if kind == "nodes":
        cordons = "proa.dev/mark" in annotations
        return f"{'mark' if cordons else 'uncordon'} {name}"
    if ask.method == "POST":
        return f"create {ask.body['metadata']['name']}"
    order = ask.body.get("spec", {}).get("order")
    return f"order {name} {order['action']}" if order else f"note {name}"


class Reaper:
    """Decides who is killed: at each write once before it is made, and once after.

    Args:
        first: The first write that it kills at; all if empty.
    """

    def __init__(self, first: str = "") -> None:
        self.cases: list[str] = []
        """What was done, in order."""
        self.made: list[str] = []
        """The writes that were made."""
        self._armed, self._first = not first, first
        self._spared: set[tuple[str, int]] = set()

    def judge(self, ask: Ask, life: Life) -> RequestFate | None:
        """What becomes of a write, and of whoever asks for it."""
        name = name_of(ask)
        self._armed = self._armed or name == self._first
        again = self.made.count(name)
        if not self._armed or (name.startswith("mark") and again >= MARKS):
            return None
        life.doomed = True
        if (name, again) not in self._spared:
            self._spared.add((name, again))
            self.cases.append(f"{len(self.made) + 1}a before: {name}")
            life.end()
            return LOST
        self.made.append(name)
        self.cases.append(f"{len(self.made)}b after: {name}")
        return RequestFate(after=life.end, reply=False)


class Life:
    """One of two schedulers that take turns: while one leads, the other has started, and waits to see the lease.

    Args:
        cluster: The control plane.
        proxy: What it speaks through.
        reaper: Who decides when it ends.
        number: Its number.
    """

    def __init__(self, cluster: ControlPlane, proxy: ApiProxy, reaper: Reaper, number: int) -> None:
        self.proxy, self.doomed = proxy, False
        self.turn, self.dead = threading.Event(), threading.Event()
        kubeconfig = proxy.kubeconfig(cluster.folder / f"mortal-{number}.conf")
        self.scheduler = Scheduler(cluster, kubeconfig=kubeconfig, quick=True)
        self._reaper = reaper
        proxy.rule = self._rule

    def begin(self) -> None:
        """Start it."""
        self.proxy.cut()
        self.turn.clear()
        self.dead.clear()
        self.doomed = False
        self.scheduler.start()

    def end(self) -> None:
        """Kill it."""
        self.scheduler.kill()
        self.dead.set()

    def _rule(self, ask: Ask) -> RequestFate | None:
        if self.doomed:
            return LOST
        if ask.path == LEASE and not self.turn.is_set():
            return RequestFate(hold=self.turn)
        return self._reaper.judge(ask, self) if ask.is_write else None


@contextmanager
def mortals(cluster: ControlPlane, reaper: Reaper) -> Iterator[list[Life]]:
    """Two lives, of which none has begun."""
    cluster.namespace(NAMESPACE)
    access = cluster.user("proa-mortal", [ADMINS])
    with ApiProxy(access) as one, ApiProxy(access) as other:
        lives = [Life(cluster, one, reaper, 1), Life(cluster, other, reaper, 2)]
        try:
            yield lives
        finally:
            for life in lives:
                life.scheduler.kill()
                life.turn.set()


def live_and_die(cluster: ControlPlane, reaper: Reaper, end: str) -> None:
    """One scheduler after the other leads, and dies, until one comes to the end and finds nothing left to write."""
    with mortals(cluster, reaper) as lives:
        lives[0].begin()
        while True:
            leader, successor = lives
            leader.turn.set()
            successor.begin()
            what = f"a death, or the end, after {reaper.cases[-1:]}"
            until(lambda: leader.dead.is_set() or idle(cluster, leader.scheduler, end), what)  # noqa: B023 -- at once
            if not leader.dead.is_set():
                return
            cluster.api.patch(LEASE, {"spec": {"holderIdentity": None}}, MERGE)  # it need not be waited for
            lives.reverse()


def idle(cluster: ControlPlane, scheduler: Scheduler, end: str) -> bool:
    """Whether the end is reached, and whoever leads now has nothing to do for a while."""
    if status(cluster).get("phase") != end or not scheduler.leading:
        return False
    time.sleep(QUIET)
    return scheduler.leading


def test_every_write_of_a_good_rollout(cluster: ControlPlane, nodes: Nodes, record_property: Record) -> None:
    fleet, reaper = nodes(2), Reaper()
    web(cluster)
    with Witness(cluster) as witness:
        start(cluster, canary={"nodes": 1, "soak": "0s"})
        live_and_die(cluster, reaper, "Complete")
        record_property("cases", reaper.cases)
        assert status(cluster)["counts"]["upToDate"] == 2
        check(cluster, witness, reaper)
        for name in ("node-0000", "node-0001"):
            assert witness.orders(name) == ["Stage", "Boot", "Commit"]
            assert witness.seen(name).cordons == witness.seen(name).marks == 1
            assert witness.seen(name).notes == []
    assert fleet.boots() == {"node-0000": 1, "node-0001": 1}
    assert fleet.problems == []


def test_every_write_of_a_rollout_that_is_put_back(
    cluster: ControlPlane, nodes: Nodes, record_property: Record
) -> None:
    fleet, reaper = nodes(2), Reaper("order node-0001 Boot")
    fleet.fault("node-0001", returns_in_old_slot=True)
    with Witness(cluster) as witness:
        start(cluster, failure={"action": "Rollback"})
        live_and_die(cluster, reaper, "RolledBack")
        record_property("cases", reaper.cases)
        check(cluster, witness, reaper)
        assert witness.orders("node-0000") == ["Stage", "Boot", "Commit", "Rollback"]
        assert witness.orders("node-0001") == ["Stage", "Boot"]
        assert [witness.seen(name).cordons for name in ("node-0000", "node-0001")] == [2, 1]
        assert witness.seen("node-0000").notes == []
        (note,) = witness.seen("node-0001").notes
        assert json.loads(note)["reason"] == "RolledBack"
    assert fleet.boots() == {"node-0000": 2, "node-0001": 1}
    booted = [fleet.status(name).booted for name in fleet.machines]
    assert [one.release for one in booted if one] == [digest_of(FACTORY)] * 2
    assert fleet.problems == []


def check(cluster: ControlPlane, witness: Witness, reaper: Reaper) -> None:
    """What holds however often it died."""
    assert witness.wrong == []
    assert witness.most_away == 1
    assert traces(cluster) == []
    once = [name for name in reaper.made if not name.startswith(("status", "mark", "evict"))]
    assert len(once) == len(set(once)), reaper.made
    before = Counter(case.partition(" before: ")[2] for case in reaper.cases if " before: " in case)
    assert len(reaper.cases) - before.total() == len(reaper.made)
    assert Counter(reaper.made) <= before
    # A status tells of a moment, an eviction may not be needed any more when the next leader comes.
    assert all(name.startswith(("status", "evict")) for name in before - Counter(reaper.made)), reaper.cases
