"""What Prometheus is told. Names and labels are a contract: alert rules and dashboards rely on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import Moved, OrderResult
from proa.core.runtime.clock import SYSTEM, Clock
from proa.scheduler.control.controller import Pass
from proa.scheduler.control.sources import Sources
from proa.scheduler.kube.tally import Tally
from proa.scheduler.kube.times import read
from proa.scheduler.planning.actions import Action, Give, Uncordon
from proa.scheduler.planning.views import NodeOSView, Snapshot
from proa.scheduler.spec.rolloutstatus import Blocker, RolloutPhase

PHASES: Final = tuple(value for name, value in vars(RolloutPhase).items() if name.isupper())
_MINUTES: Final = (15, 30, 60, 120, 180, 300, 450, 600, 900, 1200, 1800, 3600)
_PASSES: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Metrics(Collector):
    """Collects them from the last pass.

    Args:
        sources: What is followed.
        tally: The requests to the API server.
        leading: Whether this scheduler leads.
        dropped: How many events were given up.
        clock: The clock.
    """

    def __init__(
        self,
        sources: Sources,
        tally: Tally,
        leading: Callable[[], bool],
        dropped: Callable[[], int],
        clock: Clock = SYSTEM,
    ) -> None:
        self.registry = CollectorRegistry()
        self._sources, self._tally, self._leading, self._dropped, self._clock = sources, tally, leading, dropped, clock
        self._last: Pass | None = None
        self._staging: dict[str, tuple[int, datetime]] = {}
        self._moved: Counter[tuple[str, ...]] = Counter(dict.fromkeys(((one.name,) for one in fields(Moved)), 0))
        self._passes = self._histogram("proa_plan_seconds", "Duration of a planning pass.", _PASSES)
        what = "Duration of one node's turn, from cordon to uncordon."
        self._updates = self._histogram("proa_node_update_seconds", what, _MINUTES)
        what = "Duration of fetching a release on one node, from the order to its end."
        self._stagings = self._histogram("proa_stage_seconds", what, _MINUTES)
        self.registry.register(self)

    def _histogram(self, name: str, what: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, what, buckets=buckets, registry=self.registry)

    def saw(self, last: Pass) -> None:
        """See :class:`proa.scheduler.control.controller.Watcher`."""
        self._last = last
        self._passes.observe(last.seconds)
        for node, (number, since) in list(self._staging.items()):
            os = last.snapshot.oses.get(node)
            observed = os.status.observed_order if os is not None and os.status is not None else None
            ended = observed is not None and observed.id == number and observed.result != OrderResult.RUNNING.value
            if ended:
                self._stagings.observe((self._clock.now() - since).total_seconds())
                self._count_bytes(os)
            if ended or os is None or (observed is not None and observed.id > number):
                del self._staging[node]

    def _count_bytes(self, os: NodeOSView | None) -> None:
        staged = os.status.standby if os is not None and os.status is not None else None
        if staged is not None and staged.complete and staged.bytes is not None:
            for origin, count in vars(staged.bytes).items():
                self._moved[origin,] += count

    def did(self, action: Action, snapshot: Snapshot) -> None:
        """See :class:`proa.scheduler.control.controller.Watcher`."""
        if isinstance(action, Give) and action.verb is Verb.STAGE:
            self._staging[action.node] = action.id, self._clock.now()
        mark = snapshot.nodes[action.node].mark if isinstance(action, Uncordon) and action.reason == "Done" else None
        if mark is not None:
            self._updates.observe(max(0.0, (self._clock.now() - mark.since).total_seconds()))

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """See :class:`prometheus_client.registry.Collector`."""
        leading = self._leading()
        yield GaugeMetricFamily("proa_leader", "Whether this scheduler leads.", value=int(leading))
        now, since = self._clock.monotonic(), {(one.path.rpartition("/")[2],): one.stale_since for one in self._sources}
        stale = {path: 0.0 if when is None else now - when for path, when in since.items()}
        what = "How long ago the state of a collection was last known."
        yield _gauge("proa_reflector_stale_seconds", what, "resource", stale)
        asked = {(one.verb, one.resource, str(one.status)): count for one, count in self._tally.counts().items()}
        yield _told(
            CounterMetricFamily, "proa_api_requests", "Requests to the API server.", "verb resource code", asked
        )
        what = "Bytes of staged releases: fetched, copied, kept, written, avoided."
        yield _told(CounterMetricFamily, "proa_stage_bytes", what, "origin", self._moved)
        yield CounterMetricFamily("proa_events_dropped", "Events that were dropped.", value=self._dropped())
        yield from _rollouts(self._last if leading else None, self._clock.now())


def _rollouts(last: Pass | None, now: datetime) -> Iterator[Metric]:
    """What is told of rollouts and nodes, by the leader alone."""
    verdicts = last.plan.by_rollout if last else {}
    statuses = sorted(last.plan.statuses.items()) if last else []
    blocked = _blocked(last.blockers if last else (), now)
    states: Counter[tuple[str, ...]] = Counter()
    running: Counter[tuple[str, ...]] = Counter()
    for rollout, name, verdict in ((rollout, *pair) for rollout, found in verdicts.items() for pair in found.items()):
        states[rollout, verdict.reason.name] += 1
        os = last.snapshot.oses.get(name) if last else None
        booted = os.status.booted if os is not None and os.status is not None else None
        running[rollout, booted.version if booted else ""] += 1
    yield _gauge("proa_nodes", "Nodes by the reason why they do or do not move.", "rollout state", states)
    yield _gauge("proa_nodes_by_version", "Nodes by the version that runs.", "rollout version", running)
    phases = {(name, phase): phase == status.phase for name, status in statuses for phase in PHASES}
    yield _gauge("proa_rollout_phase", "1 for the current phase of the rollout.", "rollout phase", phases)
    failed = {(name,): status.counts.failed for name, status in statuses}
    yield _gauge("proa_rollout_failed_nodes", "Nodes on which the release failed.", "rollout", failed)
    drifted = {(name,): status.counts.drifted for name, status in statuses}
    yield _gauge("proa_settings_drifted_nodes", "Nodes of which settings are no longer in effect.", "rollout", drifted)
    windows = {(name,): not status.next_window for name, status in statuses}
    yield _gauge("proa_window_open", "Whether nodes may start now.", "rollout", windows)
    what = "How long something has kept a node from being drained."
    yield _gauge("proa_drain_blocked_seconds", what, "node kind", blocked)


def _gauge(name: str, what: str, labels: str, values: Mapping[Any, float]) -> Metric:
    return _told(GaugeMetricFamily, name, what, labels, values)


def _told(
    kind: type[GaugeMetricFamily | CounterMetricFamily], name: str, what: str, labels: str, values: Mapping[Any, float]
) -> Metric:
    found = kind(name, what, labels=labels.split())
    for key, value in sorted(values.items()):
        found.add_metric(key, value)
    return found


def _blocked(blockers: Iterable[Blocker], now: datetime) -> dict[tuple[str, ...], float]:
    """By node and kind of blocker: for how long the oldest has been in the way."""
    found: dict[tuple[str, ...], float] = {}
    for one in blockers:
        kind = "volume" if one.volume else "budget" if one.budget else "pod"
        since = read(one.since)
        seconds = (now - since).total_seconds() if since else 0.0
        found[one.node, kind] = max(seconds, found.get((one.node, kind), 0.0))
    return found
