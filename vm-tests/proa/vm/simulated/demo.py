"""``make demo-cluster``: a rollout over twelve nodes, and one that is put back, told while they happen.

The API server, its controllers and the scheduler are real; the nodes are simulated. The report is
``build/demo-cluster/report.json`` (``proa.demo/v1``) and ``report.html``.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from proa.core.runtime import output, process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.renderers import monitor
from proa.scheduler.kube import paths
from proa.scheduler.spec.crd import OS_ROLLOUTS
from proa.vm.kube.api import MERGE
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.faults import Timing
from proa.vm.simulated.nodes import SimNodes
from proa.vm.simulated.nodes import run as run_nodes
from proa.vm.simulated.releases import release
from proa.vm.simulated.scheduler import NAMESPACE, Scheduler
from proa.vm.simulated.view import ClusterSight, ClusterView, look
from proa.vm.support.report import DemoReport, Story

FOLDER: Final = Path("build/demo-cluster")
ACCOUNT: Final = "proa-scheduler"
ROLLOUT: Final = "workers"
SHOP: Final = "shop"
TIMING: Final = Timing(stage=1.5, leave=0.2, boot=2.0, healthy=0.5, commit=0.2, ready=0.3, pod_start=0.4, pod_stop=0.4)
REPLICAS: Final = 9
LEAST: Final = 7
"""Pods of the workload that its disruption budget wants Ready."""
AWAY: Final = 3
"""Nodes that may be away at a time."""
SPEC: Final[dict[str, Any]] = {
    "maxUnavailable": AWAY,
    "order": {"zones": "OneAtATime"},
    "canary": {"nodes": 1, "soak": "3s"},
    "drain": {"timeout": "60s"},
    "health": {"readySeconds": 1, "timeout": "60s"},
    "failure": {"max": 1, "action": "Rollback"},
    "expectedDuration": "10s",
}
BAD: Final[dict[str, Any]] = {"returns_in_old_slot": True}
_LIMIT: Final = 180.0


@dataclass
class ClusterDemo:
    """The story and what its steps share."""

    folder: Path
    story: Story = field(default_factory=lambda: Story(DemoReport, "Proa: a cluster of twelve nodes"))
    view: ClusterView = field(default_factory=ClusterView)
    most_away: int = 0
    least_ready: int = REPLICAS

    def run(self) -> None:
        """Tell the whole story; the report is written however it ends.

        Raises:
            ProaError: What went wrong.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        with self.story.written(self.folder, {}, say), contextlib.ExitStack() as stack:
            self._live(stack)

    def _live(self, stack: contextlib.ExitStack) -> None:
        say("1. A control plane: etcd, API server and controllers. They are built from source once (10 minutes).")
        with self.story.step("control plane"):
            plane = stack.enter_context(ControlPlane(self.folder / "cluster", monitor=monitor("auto")))
        say("2. Proa's objects, roles and admission policies: proa-scheduler manifests | kubectl apply -f -")
        with self.story.step("install"):
            install(plane)
        say(f"3. Twelve nodes in three zones, and {REPLICAS} pods of which {LEAST} must be Ready at any time.")
        with self.story.step("nodes and workload"):
            nodes = stack.enter_context(run_nodes(plane, 12, zones=3, timing=TIMING))
            plane.apply(workload(plane))
            self._wait(plane, lambda sight: sight.available == REPLICAS, "the pods of the workload")
        say("4. Two schedulers: one leads, the other waits.")
        with self.story.step("schedulers") as record:
            access = plane.kubeconfig_for(ACCOUNT, NAMESPACE)
            leader, other = (Scheduler(plane, kubeconfig=access) for _ in range(2))
            for one in (leader, other):
                stack.callback(one.stop)
            leader.start()
            leader.wait_leading()
            other.start()
            record.details["leader"] = leader.name
        say(
            "5. Release v2: all nodes fetch it first; one tries it, then the others follow zone by zone, "
            "three at a time."
        )
        with self._step("v2 everywhere", nodes):
            start(plane, "v2")
            self._wait(plane, lambda sight: sight.status.get("counts", {}).get("upToDate", 0) >= 4, "the first nodes")
            say("   The leader is killed in the middle. The other scheduler takes over when the lease expires.")
            leader.kill()
            self._wait(plane, lambda sight: is_done(sight, "Complete"), "v2 on all nodes")
        say("6. Release v3 fails on the nodes of zone-1: more than one failure is too many, so every node rolls back.")
        with self._step("v3 halts and is rolled back", nodes) as record:
            nodes.fault(*(name for name, one in nodes.machines.items() if one.shape.zone == "zone-1"), **BAD)
            start(plane, "v3")
            self._wait(plane, lambda sight: is_done(sight, "RolledBack"), "everything on v2 again")
            record.details["why"] = self._look(plane).status.get("halted", "")
        self._check(self._look(plane))

    @contextlib.contextmanager
    def _step(self, name: str, nodes: SimNodes) -> Iterator[Any]:
        """A step of which is told how many reboots it took, and how much was away."""
        before, self.most_away, self.least_ready = sum(nodes.boots().values()), 0, REPLICAS
        with self.story.step(name) as record:
            try:
                yield record
            finally:
                reboots = sum(nodes.boots().values()) - before
                record.details |= {"reboots": reboots, "most_away": self.most_away, "least_ready": self.least_ready}

    # looking

    def _look(self, plane: ControlPlane) -> ClusterSight:
        sight = look(plane.api, ROLLOUT, SHOP)
        self.most_away = max(self.most_away, sight.away)
        self.least_ready = min(self.least_ready, sight.available)
        self.view.show(sight)
        return sight

    def _wait(self, plane: ControlPlane, done: Callable[[ClusterSight], bool], what: str) -> None:
        end = time.monotonic() + _LIMIT
        while not done(self._look(plane)):
            if time.monotonic() > end:
                raise ProaError(Code.TIMEOUT, f"{what}: not within {_LIMIT:.0f} s", at=str(plane.folder))
            time.sleep(0.25)
        self.view.end()

    def _check(self, sight: ClusterSight) -> None:
        """All came out as promised.

        Raises:
            ProaError: ``TOOL`` when not.
        """
        wrong = [row.text for row in sight.rows if row.runs != "v2" or row.cordoned or not row.ready]
        if wrong:
            raise ProaError(Code.TOOL, "these nodes are in the wrong state:\n  " + "\n  ".join(wrong), at="cluster")


def is_done(sight: ClusterSight, phase: str) -> bool:
    """Whether the rollout has come to an end, and every node takes pods."""
    return sight.status.get("phase") == phase and not sight.away and sight.available == REPLICAS


def install(plane: ControlPlane) -> None:
    """Apply what ``proa-scheduler manifests`` prints.

    Raises:
        ProaError: What went wrong.
    """
    printed = process.run([Path(sys.executable).with_name("proa-scheduler"), "manifests"])
    plane.kubectl("apply", "-f", "-", stdin=printed.stdout)


def workload(plane: ControlPlane) -> list[dict[str, Any]]:
    """A deployment, and the disruption budget that guards it."""
    plane.namespace(SHOP)
    labels = {"app": "web"}
    pod = {"terminationGracePeriodSeconds": 5, "containers": [{"name": "web", "image": "registry.test/web"}]}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": SHOP},
            "spec": {
                "replicas": REPLICAS,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": SHOP},
            "spec": {"minAvailable": LEAST, "selector": {"matchLabels": labels}},
        },
    ]


def start(plane: ControlPlane, version: str) -> None:
    """Make the rollout, or give it another release."""
    path = paths.named(OS_ROLLOUTS, ROLLOUT)
    if plane.api.find(path) is None:
        metadata = {"name": ROLLOUT}
        body = {"apiVersion": "proa.dev/v1alpha1", "kind": "OSRollout", "metadata": metadata}
        plane.api.post(OS_ROLLOUTS, {**body, "spec": {**SPEC, "release": release(version)}})
    else:
        plane.api.patch(path, {"spec": {"release": release(version)}}, MERGE)


def table(story: Story) -> str:
    """The final table: step, seconds, what it came to."""
    rows = [f"{'step':<28} {'seconds':>8}  what"]
    for record in story.steps:
        details = record.details
        what = ""
        if "reboots" in details:
            what = f"{details['reboots']} reboots, at most {details['most_away']} nodes unavailable, "
            what += f"at least {details['least_ready']} of {REPLICAS} pods Ready"
        rows.append(f"{record.name:<28} {record.seconds:>8.1f}  {what if record.ok else 'FAILED'}".rstrip())
    return "\n".join([*rows, f"{'in all':<28} {story.seconds:>8.1f}"])


def say(text: str) -> None:
    """One line of commentary."""
    output.say(text, bold=not text.startswith(" "))


def main() -> None:
    """Run the demo; exit status 0 when all came out as promised."""
    demo = ClusterDemo(FOLDER.resolve())
    try:
        demo.run()
    except ProaError as error:
        output.say(error.text("demo-cluster"), err=True)
        sys.exit(int(error.exit))
    finally:
        output.say("\n" + table(demo.story))
        output.say(f"\nreport: {FOLDER / 'report.json'}, {FOLDER / 'report.html'}")


if __name__ == "__main__":
    main()
