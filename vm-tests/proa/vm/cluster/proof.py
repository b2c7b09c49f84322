"""The proof: a cluster of real nodes rolls to a new release, back, forward again, and undoes two bad ones.

Every node boots an image that Proa built and runs a real kubelet; Proa's scheduler and proxies run in that cluster,
from their image. ``make proof`` and ``proa-vm cluster`` tell this story; the report is ``report.json``
(``proa.proof/v1``) and ``report.html``.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from proa.core.runtime import output, process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import human_bytes
from proa.scheduler.kube import paths
from proa.scheduler.spec.crd import OS_ROLLOUTS
from proa.vm.cluster import workloads
from proa.vm.cluster.cast import Cast, ProofRelease, check_return
from proa.vm.cluster.machines import PORT, REGISTRY, ClusterPlan, MachineCluster
from proa.vm.cluster.prober import Prober
from proa.vm.cluster.story import ProofReport, ProofStory
from proa.vm.cluster.timeline import Sight, Timeline, look, turns
from proa.vm.kube.api import Object
from proa.vm.machine import calibration
from proa.vm.node.rehearse import push
from proa.vm.support.report import StepRecord, Story

ROLLOUT: Final = "workers"
CLUSTER: Final = "cluster"
"""The folder of all that belongs to the cluster, in that of the report."""
REPOSITORY: Final = "node"
"""Of the releases, in the cluster's registry."""
_PATH: Final = paths.named(OS_ROLLOUTS, ROLLOUT)
_POLL: Final = 1.0
_ENDS: Final = frozenset({"Complete", "Halted", "RolledBack", "Invalid", "Conflict"})
"""Phases that a rollout does not leave by itself."""
_HOST: Final = "kubernetes.io/hostname"
_SMALL: Final = 128 << 10
"""Bytes of a release's documents: what a node may fetch to know what it holds."""
_SPEC: Final[Object] = {
    "maxUnavailable": 1,
    "drain": {"timeout": "10m"},
    "health": {"readySeconds": 10, "timeout": "20m"},
}


@dataclass
class ClusterProof:
    """The story and what its steps share.

    Attributes:
        folder: Of the report; the cluster's files are in :data:`CLUSTER` below it, which must be new.
        cast: Who plays.
    """

    folder: Path
    cast: Cast
    during: Callable[[ClusterProof, str], None] = lambda proof, step: None
    """Called in every step once it is under way, with its name: where faults come in."""
    story: Story = field(default_factory=lambda: ProofStory(ProofReport, "Proa: a cluster of real nodes"))
    references: dict[str, str] = field(default_factory=dict, init=False)
    memory: workloads.Memory = field(default_factory=workloads.Memory, init=False)
    prober: Prober | None = field(default=None, init=False)
    timeline: Timeline | None = field(default=None, init=False)

    def run(self) -> None:
        """Tell the whole story; the report is written however it ends.

        Raises:
            ProaError: What went wrong.
        """
        consoles: dict[str, str] = {}
        plan = ClusterPlan(self.cast.first.out / "disk.raw", self.cast.keys, self.cast.names, self.cast.memory)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            self.story.written(self.folder, consoles, say, self._facts),
            MachineCluster(self.folder / CLUSTER, plan) as self.cluster,
        ):
            try:
                self._live()
            finally:
                consoles |= {name: machine.console.text for name, machine in self.cluster.machines.items()}

    def document(self) -> dict[str, Any]:
        """``proa.proof/v1``, as far as the story has come."""
        return self.story.document(**self._facts())

    def _facts(self) -> dict[str, Any]:
        prober, timeline = self.prober, self.timeline
        probes: dict[str, Any] = {"answers": 0, "failures": 0, "slowest": 0.0, "by_node": {}, "failed": []}
        if prober is not None and timeline is not None:
            probes = prober.document(timeline.began)
        return {
            "nodes": len(self.cast.names),
            "memory": self.cast.memory,
            "memory_of_kernel": dict(self.memory.total),
            "memory_used": dict(self.memory.used),
            "probes": probes,
            "timeline": timeline.document() if timeline is not None else {},
        }

    # the story

    def _live(self) -> None:
        cluster = self.cluster
        with self._step("pod images, and releases") as record:
            workloads.deliver(cluster)
            for one in (self.cast.first, self.cast.good, *self.cast.broken):
                pushed = push(one.out, cluster.registry, REPOSITORY)
                self.references[one.name] = f"{REGISTRY}/{REPOSITORY}@{pushed.rpartition('@')[2]}"
            record.details["releases"] = self.references
        with contextlib.ExitStack() as stack:
            self.timeline = stack.enter_context(Timeline(cluster.plane.api))
            with self._step(f"{len(self.cast.names)} nodes boot {self.cast.first.version} and join"):
                for machine in cluster.machines.values():
                    machine.start()
                self._until(self._joined, "all nodes to be Ready", 900)
            with self._step("Proa starts from its image"):
                self._install()
            with self._step("a web service with a disruption budget"):
                cluster.plane.apply(workloads.workload(len(self.cast.names)))
                self._until(lambda: len(self._serving()) == len(self.cast.names), "its pods", 600)
            self.prober = stack.enter_context(
                Prober(self._serving, lambda name: cluster.machines[name].port(PORT), heard=self.memory.hear)
            )
            self._rollouts()

    def _rollouts(self) -> None:
        first, good = self.cast.first, self.cast.good
        with self._told(f"to {good.version}") as record:
            self._create(good)
            self._finish(good, record)
        if self.cast.returns:
            for release, how in ((first, f"back to {first.version}"), (good, f"forward to {good.version} again")):
                with self._told(how, fetches=False) as record:
                    self._target(release)
                    self._finish(release, record)
        for broken in self.cast.broken:
            with self._told(f"to {broken.version}, which is broken ({broken.name})") as record:
                self._broken(broken, record)

    def _finish(self, release: ProofRelease, record: StepRecord) -> None:
        """The rollout comes to its end, and every node that follows it runs the release in its other slot."""
        before = {name: sight.slot for name, sight in self._followers().items()}
        self.during(self, record.name)
        self._until(lambda: self._ends("Complete"), f"{release.version} everywhere", 3600)
        self._until(
            lambda: not self._wrong(release, before), f"{release.version} on all nodes, and nothing under way", 180
        )

    def _broken(self, broken: ProofRelease, record: StepRecord) -> None:
        """The rollout halts at one node, which comes back by itself; the others are as they were."""
        before = look(self.cluster.plane.api)
        canary: Object = {"nodes": 1, "soak": "10s"}
        self.cluster.plane.api.patch(_PATH, {"spec": {"canary": canary}})
        self._target(broken)
        self.during(self, record.name)
        self._until(lambda: self._ends("Halted"), f"{broken.version} to halt", 3600)
        self._until(lambda: all(one.ready and not one.cordoned for one in self.sights().values()), "rest", 600)
        after, good = look(self.cluster.plane.api), self.cast.good
        moved = {name for name in after if after[name].boot_id != before[name].boot_id}
        wrong = [f"{name}: {one.text}" for name, one in after.items() if one.version != before[name].version]
        wrong += [f"{name}: fetched it" for name in set(after) - moved if after[name].standby != before[name].standby]
        if len(moved) != 1 or wrong:
            raise ProaError(Code.REHEARSAL, f"moved: {sorted(moved)}\n  " + "\n  ".join(wrong), at=record.name)
        status = self.cluster.plane.api.get(_PATH)["status"]
        (canary_node,) = moved
        said = after[canary_node].error
        record.details |= {"canary": canary_node, "halted": status["halted"], "node_says": said}
        check_return(broken, said)
        self._target(good)
        self._until(lambda: self._ends("Complete"), "the rollback to the good release", 600)

    # acting

    def _install(self) -> None:
        workloads.install(self.cluster)
        wanted = len(self.cast.names)

        def there() -> bool:
            api = self.cluster.plane.api
            schedulers = api.get("/apis/apps/v1/namespaces/proa-system/deployments/proa-scheduler").get("status", {})
            proxies = api.get("/apis/apps/v1/namespaces/proa-proxy/daemonsets/proa-proxy").get("status", {})
            return (schedulers.get("readyReplicas"), proxies.get("numberReady")) == (2, wanted)

        self._until(there, "two schedulers, and a proxy on every node", 900)

    def _create(self, release: ProofRelease) -> None:
        kind = {"apiVersion": "proa.dev/v1alpha1", "kind": "OSRollout", "metadata": {"name": ROLLOUT}}
        names = list(self.cast.following)
        spec = {
            **_SPEC,
            "release": self.references[release.name],
            "retry": {"limit": self.cast.retries, "backoff": "10s"},
            "failure": {"max": self.cast.borne, "action": "Halt"},
            "nodeSelector": {"matchExpressions": [{"key": _HOST, "operator": "In", "values": names}]},
        }
        self.cluster.plane.apply([{**kind, "spec": spec}])

    def _target(self, release: ProofRelease) -> None:
        """As a person does it: ``kubectl proa start``."""
        words = ["start", ROLLOUT, self.references[release.name], "--offline", "--allow-downgrade"]  # there and back
        env = {"KUBECONFIG": str(self.cluster.plane.kubeconfig)}
        process.run([Path(sys.executable).with_name("kubectl-proa"), *words], env=env)

    # looking

    def _ends(self, wanted: str) -> bool:
        """Whether the rollout has come to this end; another one will not become it."""
        rollout = self.cluster.plane.api.get(_PATH)
        status: Object = rollout.get("status") or {}
        if status.get("observedGeneration") != rollout["metadata"]["generation"]:
            return False
        phase = str(status.get("phase", ""))
        if phase != wanted and phase in _ENDS:
            raise ProaError(Code.REHEARSAL, f"the rollout is {phase}: {status.get('halted', '')}", at=self.folder)
        return phase == wanted

    def sights(self) -> dict[str, Sight]:
        """All nodes as they are now.

        Raises:
            ProaError: while the API server is away.
        """
        return look(self.cluster.plane.api)

    def _followers(self) -> dict[str, Sight]:
        return {name: sight for name, sight in self.sights().items() if name in self.cast.following}

    def _wrong(self, release: ProofRelease, before: Mapping[str, str]) -> list[str]:
        return [
            f"{name}: {one.text}"
            for name, one in self._followers().items()
            if (one.version, one.committed, one.ready, one.cordoned) != (release.version, True, True, False)
            or one.slot == before[name]
        ]

    def _joined(self) -> bool:
        sights = self.sights()
        return sorted(sights) == sorted(self.cast.names) and all(one.ready for one in sights.values())

    def _serving(self) -> list[str]:
        return workloads.ready(self.cluster.plane.api)

    def _until(self, done: Callable[[], bool], what: str, seconds: float) -> None:
        end = time.monotonic() + seconds * max(1.0, calibration.factor())
        while True:
            try:
                if done():
                    return
            except ProaError as error:  # the API server is away: some stories want that
                if error.code is Code.REHEARSAL:
                    raise
                if time.monotonic() > end:
                    raise ProaError(Code.TIMEOUT, f"{what}: {error.message}", at=str(self.folder)) from error
            if time.monotonic() > end:
                raise ProaError(Code.TIMEOUT, f"{what}: not in {seconds:.0f} s\n  {self._now()}", at=str(self.folder))
            time.sleep(_POLL)

    def _now(self) -> str:
        try:
            return "\n  ".join(f"{name}: {sight.text}" for name, sight in self.sights().items())
        except ProaError as error:
            return str(error)

    # telling

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[StepRecord]:
        say(f"{self.story.seconds:5.0f} s  {name}")
        with self.story.step(name) as record:
            yield record

    @contextlib.contextmanager
    def _told(self, name: str, *, fetches: bool = True) -> Iterator[StepRecord]:
        """A step of which the turns of the nodes, the answers of the service, and the bytes of releases are told.

        It fails when the service did not answer although it must, and when one that may not fetch a release did.
        """
        prober, timeline, cluster = self.prober, self.timeline, self.cluster
        if prober is None or timeline is None:
            raise AssertionError("the watch has not started")
        began, probes, (_, log) = timeline.now, prober.mark(), cluster.fetched([])
        with self._step(name) as record:
            try:
                yield record
            finally:
                record.details["turns"] = turns(timeline.seen, began, timeline.now)
                record.details["probes"] = prober.since(probes)
                record.details["bytes_fetched"], _ = cluster.fetched([REPOSITORY], log)
                record.details["bytes_of_pods"], _ = cluster.fetched(workloads.REPOSITORIES, log)
            missed = record.details["probes"]
            if self.cast.answers and missed["failures"]:
                told = f"{name}: the service failed to answer {missed['failures']} times: {'; '.join(missed['why'])}"
                raise ProaError(Code.REHEARSAL, told, at=self.folder)
            if not fetches and max(record.details["bytes_fetched"].values()) > _SMALL:
                raise ProaError(Code.REHEARSAL, f"{name}: something was fetched", at=self.folder)


def table(story: Story) -> str:
    """The final table: step, seconds, what the service's users saw, what was fetched."""
    rows = [f"{'step':<44} {'seconds':>8}  what"]
    for record in story.steps:
        details, what = record.details, ""
        if probes := details.get("probes"):
            what = f"{probes['answers']} answers, {probes['failures']} failures"
            what += f"; {human_bytes(sum(details['bytes_fetched'].values()))} fetched"
        rows.append(f"{record.name:<44} {record.seconds:>8.1f}  {what if record.ok else 'FAILED'}".rstrip())
    return "\n".join([*rows, f"{'in all':<44} {story.seconds:>8.1f}"])


def say(text: str) -> None:
    """One line of commentary; standard output is for documents."""
    output.say(text, err=True)
