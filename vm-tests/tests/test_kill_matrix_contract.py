"""The scheduler is killed at every write of a whole rollout: once before the write is made, once right after.

Each write has its number and is two cases: the scheduler dies before the API server hears of it, and, when the next
one makes that write again, it dies before it hears that it was made. So every state in which a rollout can be left
behind is one that a new scheduler has gone on from.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from proa.scheduler.kube import paths
from proa.vm.apiproxy import LOST, ApiProxy, Ask, Fate
from proa.vm.controlflags import ADMINS
from proa.vm.controlplane import ControlPlane
from proa.vm.kubeapi import MERGE
from proa.vm.simnodes import SimNodes
from proa.vm.simreleases import FACTORY, digest_of
from proa.vm.simrollouts import Witness, start, status, traces
from proa.vm.simscheduler import NAMESPACE, Scheduler
from proa.vm.waiting import until

pytestmark = pytest.mark.contract
Nodes = Callable[..., SimNodes]
LEASE: Final = f"{paths.leases(NAMESPACE)}/proa-scheduler"
QUIET: Final = 1.0
"""Seconds without a write after which there is nothing left to do."""
MARKS: Final = 2
"""A node is marked, and its mark made the new leader's own before it goes: by every leader, so that one must be let."""


@contextmanager
def mortal(cluster: ControlPlane, first: str = "") -> Iterator[tuple[ApiProxy, Reaper]]:
    """A scheduler that does not run yet, behind a proxy that kills it."""
    cluster.namespace(NAMESPACE)
    with ApiProxy(cluster.user("proa-mortal", [ADMINS])) as proxy:
        reaper = Reaper(Scheduler(cluster, kubeconfig=proxy.kubeconfig(cluster.folder / "mortal.conf")), first)
        proxy.rule = reaper
        try:
            yield proxy, reaper
        finally:
            reaper.scheduler.kill()


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
    """The rule that kills: each write once before it is made, and once after.

    Args:
        scheduler: Who is killed.
        first: The first write that it is killed at; all if empty.
    """

    def __init__(self, scheduler: Scheduler, first: str = "") -> None:
        self.scheduler = scheduler
        self.cases: list[str] = []
        """What was done, in order."""
        self.made: list[str] = []
        """The writes that were made."""
        self.dead = threading.Event()
        self._armed, self._first = not first, first
        self._doomed = False
        self._spared: set[tuple[str, int]] = set()

    def __call__(self, ask: Ask) -> Fate | None:
        if self._doomed:
            return LOST
        if not ask.is_write:
            return None
        name = name_of(ask)
        self._armed = self._armed or name == self._first
        again = self.made.count(name)
        if not self._armed or (name.startswith("mark") and again >= MARKS):
            return None
        self._doomed = True
        if (name, again) not in self._spared:
            self._spared.add((name, again))
            self.cases.append(f"{len(self.made) + 1}a before: {name}")
            self._kill()
            return LOST
        self.made.append(name)
        self.cases.append(f"{len(self.made)}b after: {name}")
        return Fate(after=self._kill, reply=False)

    def live(self) -> None:
        """The next life begins."""
        self.dead.clear()
        self._doomed = False
        self.scheduler.start()

    def _kill(self) -> None:
        self.scheduler.kill()
        self.dead.set()


def live_and_die(cluster: ControlPlane, proxy: ApiProxy, reaper: Reaper, end: str) -> None:
    """Start schedulers, one after the other has died, until one comes to the end and finds nothing left to write."""
    while True:
        reaper.live()
        what = f"a death, or the end, after {reaper.cases[-1:]}"
        until(lambda: reaper.dead.is_set() or idle(cluster, reaper.scheduler, end), what)
        proxy.cut()
        if not reaper.dead.is_set():
            return
        cluster.api.patch(LEASE, {"spec": {"holderIdentity": None}}, MERGE)  # it need not be waited for


def idle(cluster: ControlPlane, scheduler: Scheduler, end: str) -> bool:
    """Whether the end is reached, and whoever leads now has nothing to do for a while."""
    if status(cluster).get("phase") != end or not scheduler.leading:
        return False
    time.sleep(QUIET)
    return scheduler.leading


def test_every_write_of_a_good_rollout(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(2)
    web(cluster)
    with Witness(cluster) as witness, mortal(cluster) as (proxy, reaper):
        start(cluster, canary={"nodes": 1, "soak": "0s"})
        live_and_die(cluster, proxy, reaper, "Complete")
        assert status(cluster)["counts"]["upToDate"] == 2
        check(cluster, witness, reaper)
        for name in ("node-0000", "node-0001"):
            assert witness.orders(name) == ["Stage", "Boot", "Commit"]
            assert witness.seen(name).cordons == witness.seen(name).marks == 1
            assert witness.seen(name).notes == []
    assert fleet.boots() == {"node-0000": 1, "node-0001": 1}
    assert fleet.problems == []


def test_every_write_of_a_rollout_that_is_put_back(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(2)
    fleet.fault("node-0001", returns_in_old_slot=True)
    with Witness(cluster) as witness, mortal(cluster, "order node-0001 Boot") as (proxy, reaper):
        start(cluster, failure={"action": "Rollback"})
        live_and_die(cluster, proxy, reaper, "RolledBack")
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
    assert len(reaper.cases) == 2 * len(reaper.made)
