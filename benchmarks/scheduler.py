"""``make bench-scheduler``: the scheduler on a real API server, with 5,000 nodes and with 50.

5,000 nodes, their NodeOS and 50,000 pods lie in an etcd that is kept; the floor is reading the same by raw LIST pages
in the same run. Of 50 simulated nodes on which nothing takes any time, a whole rollout is watched in the API server's
audit log: what it costs, and where the time goes. The rows go to ``build/bench/scheduler.json`` (``proa.bench/v1``).
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from running import LIMIT, QUICK, Scheduler, quiet, scheduling, start_rollout

from proa.core.runtime.errors import ProaError
from proa.scheduler.kube import access, paths
from proa.scheduler.kube.api import Api
from proa.scheduler.planning.planner import Planner
from proa.scheduler.planning.views import ZONE, RolloutView, Snapshot
from proa.scheduler.report import source
from proa.scheduler.report.simulation import made_up
from proa.scheduler.simulation.behaviour import Behaviour
from proa.scheduler.simulation.simulate import resume, run
from proa.scheduler.spec.crd import NODE_OSES, OS_ROLLOUTS
from proa.scheduler.spec.rollout import (
    Alert,
    Approval,
    Drain,
    Group,
    HealthPolicy,
    RolloutSpec,
    Selector,
    Staging,
    Turns,
    WaitFor,
)
from proa.vm.kube import wipe
from proa.vm.kube.audit import AuditedRequest
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated import simulator
from proa.vm.simulated.fill import Filling, seed
from proa.vm.simulated.installed import USER, install
from proa.vm.simulated.releases import release
from proa.vm.support.figures import Figure, lines, missed, write
from proa.vm.support.waiting import until

OUT: Final = Path("build/bench/scheduler.json")
BIN: Final = Path(sys.executable).parent
MIB: Final = 1 << 20
IDLE: Final = 60.0
SLOTS: Final = 250


# 5,000 nodes


def big(folder: Path, nodes: int) -> list[Figure]:
    """The rows of a big cluster."""
    filling = Filling(nodes=nodes)
    with ControlPlane(folder / "big", seed=seed(filling), controllers=(), before=wipe.definitions()) as plane:
        install(plane)
        spec = RolloutSpec(release("2"), max_unavailable=SLOTS, staging=Staging(nodes), paused=True)
        start_rollout(plane, spec)
        api = Api(access.find(str(plane.kubeconfig)))
        floor = _floor(api)
        rows = _planning(api, nodes)
        with scheduling(plane) as scheduler:
            rows = [*_first_plan(scheduler, floor, nodes), *rows, *_idle(plane, scheduler)]
            words = ("--adopt", "--no-pods", "--heartbeat", "0")
            with simulator.running(plane, *words, *(f"--timing={one}" for one in QUICK)):
                rows += _slots(plane, scheduler, dataclasses.replace(spec, paused=False))
    return rows


def _floor(api: Api) -> float:
    """Seconds of raw LIST pages of what the scheduler follows; nothing of it is kept."""
    started = time.monotonic()
    for path in (paths.NODES, NODE_OSES, OS_ROLLOUTS, paths.BUDGETS):
        for _ in api.pages(path):
            pass
    return time.monotonic() - started


def _first_plan(scheduler: Scheduler, floor: float, nodes: int) -> list[Figure]:
    until(lambda: (scheduler.metric("proa_plan_seconds_count") or 0) >= 1, "the first plan", LIMIT)
    seconds, cpu = time.monotonic() - scheduler.started, scheduler.cpu
    peak = scheduler.memory("VmHWM")
    return [
        Figure(f"first plan on {nodes} nodes after a cold start", seconds, "s", floor, most=5),
        Figure("  of that processor time", cpu, "s"),
        Figure("  peak memory", peak, "MiB", most=100),
    ]


def _planning(api: Api, nodes: int) -> list[Figure]:
    """Passes over the live cluster's state as a rollout goes on: what has changed is worked out again."""
    snapshot = source.snapshot_of(api)
    view = snapshot.rollouts["bench"]
    plain = dataclasses.replace(view, spec=dataclasses.replace(view.spec, paused=False))
    gated = dataclasses.replace(view, spec=every_gate(plain.spec), approved_groups={"group-0": "somebody"})
    took, slower = _passes(snapshot, plain), _passes(snapshot, gated)
    return [
        Figure(f"one planning pass at {nodes} nodes (median of 60)", statistics.median(took), "ms", most=10),
        Figure("  the first one, which knows nothing yet", took[0], "ms"),
        Figure("  with groups, soaks, approvals and alerts (median of 60)", statistics.median(slower), "ms", most=10),
    ]


def every_gate(spec: RolloutSpec) -> RolloutSpec:
    """The same with all that a wave can wait for."""
    zones = (f"zone-{number}" for number in range(2))
    groups = tuple(Group(f"group-{place}", Selector({ZONE: zone}), "1m") for place, zone in enumerate(zones))
    return dataclasses.replace(
        spec,
        order=Turns(groups=groups, zone_soak="1m"),
        approval=Approval.EACH_GROUP,
        health=dataclasses.replace(spec.health, alerts=(Alert("critical", "ALERTS"),)),
        drain=dataclasses.replace(spec.drain, wait_for=WaitFor(Selector({"job": "nightly"}), "1h")),
    )


def _passes(snapshot: Snapshot, view: RolloutView) -> list[float]:
    """Milliseconds of each pass over a rollout that goes on."""
    world = resume(dataclasses.replace(snapshot, rollouts={view.name: view}), datetime.now(UTC), Behaviour())
    planner, took = Planner(), []
    for _ in range(60):
        started = time.perf_counter()
        plan = planner.plan(world.snapshot(), world.now)
        took.append((time.perf_counter() - started) * 1000)
        world.carry_out(plan)
        world.advance(world.now + timedelta(seconds=10))
    return took


def _idle(plane: ControlPlane, scheduler: Scheduler) -> list[Figure]:
    """Requests in a minute in which nothing happens, watches and the lease apart."""
    quiet(plane, 5.0)  # what the first pass has written comes back
    mark, cpu = plane.audit_log.mark(), scheduler.cpu
    time.sleep(IDLE)
    found = plane.audit(mark, user=USER)
    others = [one for one in found if one.verb != "watch" and one.resource != "leases"]
    for one in others:
        print(f"  while idle: {one}", file=sys.stderr)
    lease = sum(one.resource == "leases" for one in found)
    return [
        Figure(f"requests in {IDLE:.0f} s of idling", len(others), most=0),
        Figure("  of the lease", lease),
        Figure("  processor time", scheduler.cpu - cpu, "s"),
        Figure("  memory", scheduler.memory("VmRSS"), "MiB"),
    ]


def _slots(plane: ControlPlane, scheduler: Scheduler, spec: RolloutSpec) -> list[Figure]:
    """All nodes of one zone fetch the release; then nodes are started up to the limit."""
    zone = Selector({"topology.kubernetes.io/zone": "zone-0"})
    spec = dataclasses.replace(spec, node_selector=zone, drain=Drain(timeout="1h"))
    mark, path = plane.audit_log.mark(), f"{OS_ROLLOUTS}/bench"
    started = time.monotonic()
    start_rollout(plane, spec)

    def counts() -> dict[str, int]:
        return dict(plane.api.get(path).get("status", {}).get("counts", {}))

    until(lambda: counts().get("staged", 0) >= counts().get("nodes", 1) > 0, "all nodes to have the release", LIMIT)
    staged, nodes = time.monotonic() - started, counts()["nodes"]

    first: dict[str, AuditedRequest] = {}

    def started_nodes() -> int:
        nonlocal mark
        read = (
            plane.audit_log.mark()
        )  # before the reading: what comes meanwhile may be read twice, and never not at all
        for one in plane.audit(mark, user=USER, write=True):
            if one.resource == "nodes" and one.status == 200:
                first.setdefault(one.name, one)
        mark = read
        return len(first)

    until(lambda: started_nodes() >= SLOTS, f"{SLOTS} nodes to be started", LIMIT)
    times = sorted(one.done for one in first.values())[:SLOTS]
    filled = (times[-1] - times[0]).total_seconds()
    return [
        Figure(f"giving the release to {nodes} nodes and hearing back", staged, "s"),
        Figure(f"filling {SLOTS} free places", filled, "s", most=30),
    ]


# 50 nodes


def small(folder: Path, nodes: int) -> list[Figure]:
    """The rows of a whole rollout."""
    with ControlPlane(folder / "small", before=wipe.definitions()) as plane:
        install(plane)
        words = ["--nodes", str(nodes), *(f"--timing={one}" for one in QUICK)]
        with simulator.running(plane, *words), scheduling(plane) as scheduler:
            _workload(plane, 2 * nodes)
            spec = RolloutSpec(
                release("2"), max_unavailable=5, health=HealthPolicy(ready_seconds=0), staging=Staging(50)
            )
            start_rollout(plane, dataclasses.replace(spec, paused=True))
            until(lambda: len(list(plane.api.items(NODE_OSES))) == nodes, "a NodeOS for each node", LIMIT)
            quiet(plane, 2.0)
            mark, path = plane.audit_log.mark(), f"{OS_ROLLOUTS}/bench"
            start_rollout(plane, spec)
            started = time.monotonic()

            def complete() -> bool:
                return bool(plane.api.get(path).get("status", {}).get("phase") == "Complete")

            until(complete, "the rollout to be complete", LIMIT)
            seconds, cpu = time.monotonic() - started, scheduler.cpu
            quiet(plane, 3.0)
            found = plane.audit(mark, user=USER)
    return [*_course(found, nodes, seconds, cpu), *_requests(found, nodes)]


def _workload(plane: ControlPlane, replicas: int) -> None:
    """Something to drain, guarded by a budget."""
    plane.namespace("shop")
    labels = {"app": "web"}
    pod = {"containers": [{"name": "web", "image": "registry.test/web:1"}], "terminationGracePeriodSeconds": 5}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}}
    template = {"metadata": {"labels": labels}, "spec": pod}
    metadata = {"name": "web", "namespace": "shop"}
    budget = {"maxUnavailable": "20%", "selector": {"matchLabels": labels}}
    plane.apply(
        [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {**spec, "template": template},
            },
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": budget},
        ]
    )
    path = "/apis/apps/v1/namespaces/shop/deployments/web"
    until(lambda: plane.api.get(path)["status"].get("readyReplicas", 0) >= replicas, "the workload to be ready", LIMIT)


def _course(found: Sequence[AuditedRequest], nodes: int, seconds: float, cpu: float) -> list[Figure]:
    """How fast it went, and where the time of one node went (medians)."""
    orders: dict[str, list[datetime]] = {}
    marks: dict[str, list[datetime]] = {}
    for one in found:
        if one.is_write and one.status == 200 and not one.subresource:
            if one.resource == "nodeoses":
                orders.setdefault(one.name, []).append(one.done)
            elif one.resource == "nodes":
                marks.setdefault(one.name, []).append(one.done)
    whole = {name: (orders[name], marks[name]) for name in orders if len(orders[name]) >= 3 and name in marks}
    begun = min(times[0] for times in marks.values())
    parts: tuple[tuple[str, Callable[[list[datetime], list[datetime]], timedelta]], ...] = (
        ("from cordon to uncordon", lambda given, marked: marked[-1] - marked[0]),
        ("drain: until the order to reboot", lambda given, marked: given[-2] - marked[0]),
        ("reboot and proof: until the order to commit", lambda given, marked: given[-1] - given[-2]),
        ("commit: until the uncordon", lambda given, marked: marked[-1] - given[-1]),
    )
    ends = max(times[-1] for times in marks.values())
    rows = [
        Figure(f"{nodes} nodes end to end, 5 at a time", seconds, "s"),
        Figure("  nodes an hour, staging included", nodes / seconds * 3600),
        Figure("  from the first cordon to the last uncordon", (ends - begun).total_seconds(), "s"),
        Figure("  processor time of the scheduler", cpu, "s"),
    ]
    for name, took in parts:
        times = [took(*both).total_seconds() for both in whole.values()]
        rows.append(Figure(f"  one node, {name}", statistics.median(times), "s"))
    return rows


def _requests(found: Sequence[AuditedRequest], nodes: int) -> list[Figure]:
    """Requests per node, those of the lease apart; evictions and others have rows of their own."""
    asked: Counter[str] = Counter()
    for one in found:
        if one.resource == "leases" or not one.is_complete:
            continue
        pods = one.resource == "pods" and not one.subresource
        if one.subresource == "eviction":
            asked["evictions"] += 1
        elif one.is_write:
            kind = "events" if one.resource == "events" else "statuses" if one.subresource == "status" else "objects"
            asked["writes"] += 1
            asked[f"  of that {kind}"] += 1
        elif one.verb == "list" or (one.verb == "watch" and "sendInitialEvents=true" not in one.path and not pods):
            asked["lists of pods" if pods else "other lists and watches"] += 1
        elif one.verb == "watch":
            asked["watches of pods" if pods else "other lists and watches"] += 1
        else:
            asked["reads of one object"] += 1
    each = {name: count / nodes for name, count in asked.items()}
    writes, watches, lists = (each.get(name, 0.0) for name in ("writes", "watches of pods", "lists of pods"))
    rows = [Figure("writes per node updated", writes, most=8)]
    rows += [Figure(name, count) for name, count in sorted(each.items()) if name.startswith("  of that")]
    rows.append(Figure("lists of pods per node updated", lists, most=1))
    rows.append(Figure("watches of pods per node updated", watches, most=1))
    for name in ("evictions", "reads of one object", "other lists and watches"):
        rows.append(Figure(f"{name} per node updated", each.get(name, 0.0)))
    return rows


def simulated(nodes: int) -> list[Figure]:
    """A whole rollout in virtual time."""
    rows = []
    for away, most in (("5%", 60), (10, None)):
        snapshot, now = made_up(nodes, max_unavailable=away)
        world = resume(snapshot, now, Behaviour())
        started = time.monotonic()
        course = run(world)
        seconds = time.monotonic() - started
        whole = course.came_to_an_end and len(course.done) == nodes
        rows.append(
            Figure(f"simulate {nodes} nodes to the end, {away} at a time", seconds, "s", most=most, whole=whole)
        )
    return rows


def main() -> None:
    """Measure, print the table, write the JSON; with ``--check``, fail when a goal is missed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nodes", type=int, default=5000, help="of the big cluster (default: 5000)")
    options.add_argument("--rollout", type=int, default=50, help="nodes of the whole rollout (default: 50)")
    options.add_argument("--only", choices=["big", "small", "simulate"], help="only this part; nothing is written")
    options.add_argument("--check", action="store_true", help="fail when a goal is missed")
    given = options.parse_args()
    parts: dict[str, Callable[[Path], list[Figure]]] = {
        "big": lambda folder: big(folder, given.nodes),
        "small": lambda folder: small(folder, given.rollout),
        "simulate": lambda folder: simulated(given.nodes),
    }
    rows = []
    with tempfile.TemporaryDirectory(prefix="proa-bench-", dir="/var/tmp") as name:
        for part, measure in parts.items():
            if given.only in (None, part):
                rows += measure(Path(name))
    print("\n".join(lines(rows)))
    if not given.only:
        write(OUT, (one.row for one in rows))
        print(f"written: {OUT}")
    if given.check and (bad := missed(rows)):
        sys.exit("missed goals:\n  " + "\n  ".join(bad))


if __name__ == "__main__":
    try:
        main()
    except ProaError as error:
        sys.exit(error.text("bench-scheduler"))
