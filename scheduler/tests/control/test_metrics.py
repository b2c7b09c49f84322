"""What Prometheus is told: names, kinds and labels are a contract, and the values are those of the last pass."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import Booted, Moved, NodeStatus, Observed, OrderResult, Standby
from proa.core.runtime.clock import VirtualClock
from proa.scheduler.control.controller import Pass
from proa.scheduler.control.metrics import PHASES, Metrics
from proa.scheduler.kube.tally import Tally
from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Give, Uncordon
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.reasons import Reason, Verdict
from proa.scheduler.planning.views import Mark, NodeOSView, NodeView, Snapshot
from proa.scheduler.spec.rolloutstatus import Blocker, Counts, RolloutStatus

NAMES = {
    "proa_leader": ("gauge", ()),
    "proa_reflector_stale_seconds": ("gauge", ("resource",)),
    "proa_api_requests": ("counter", ("code", "resource", "verb")),
    "proa_events_dropped": ("counter", ()),
    "proa_plan_seconds": ("histogram", ()),
    "proa_node_update_seconds": ("histogram", ()),
    "proa_stage_seconds": ("histogram", ()),
    "proa_stage_bytes": ("counter", ("origin",)),
    "proa_nodes": ("gauge", ("rollout", "state")),
    "proa_nodes_by_version": ("gauge", ("rollout", "version")),
    "proa_rollout_phase": ("gauge", ("phase", "rollout")),
    "proa_rollout_failed_nodes": ("gauge", ("rollout",)),
    "proa_settings_drifted_nodes": ("gauge", ("rollout",)),
    "proa_window_open": ("gauge", ("rollout",)),
    "proa_drain_blocked_seconds": ("gauge", ("kind", "node")),
}


@dataclass
class Followed:
    """What is asked of a reflector."""

    path: str
    stale_since: float | None = None


class Case:
    """Metrics of a scheduler that leads."""

    def __init__(self) -> None:
        self.clock = VirtualClock(at=1000)
        self.tally = Tally()
        self.tally.add("patch", "nodes", 200)
        self.tally.add("patch", "nodes", 200)
        self.tally.add("create", "pods/eviction", 429)
        self.leading = True
        self.sources = [Followed("/api/v1/nodes"), Followed("/apis/proa.dev/v1alpha1/nodeoses", 990)]
        self.metrics = Metrics(self.sources, self.tally, lambda: self.leading, lambda: 3, self.clock)  # type: ignore[arg-type]  # it is only gone through
        mark = Mark("workers", "d", self.clock.now() - timedelta(seconds=200), True, "b")
        self.nodes = {name: NodeView(name, f"u-{name}", {}) for name in ("n1", "n2")}
        self.nodes["n1"] = dataclasses.replace(self.nodes["n1"], mark=mark)
        self.oses = {"n1": NodeOSView("n1", "o1", "u-n1", status=NodeStatus(booted=Booted("a", "1.2")))}

    def saw(self) -> None:
        since = text(self.clock.now() - timedelta(seconds=90))
        blockers = (
            Blocker("n1", "ns/a", since=since),
            Blocker("n1", "ns/b", since=text(self.clock.now())),
            Blocker("n1", "ns/c", "ns/budget", since=since),
            Blocker("n1", volume="v", since=""),
        )
        verdicts = {"n1": Verdict(Reason.Draining), "n2": Verdict(Reason.New)}
        status = RolloutStatus(phase="Progressing", counts=Counts(failed=2), next_window="2026-01-02T00:00:00Z")
        snapshot = Snapshot(self.nodes, self.oses, {})
        plan = Plan(verdicts=verdicts, by_rollout={"workers": verdicts}, statuses={"workers": status})
        self.metrics.saw(Pass(snapshot, plan, 0.003, blockers))

    def did(self, action: Give | Uncordon) -> None:
        self.metrics.did(action, Snapshot(self.nodes, self.oses, {}))

    def observed(self, number: int, result: str, standby: Standby | None = None) -> None:
        status = NodeStatus(observed_order=Observed(number, "Stage", result), standby=standby)
        self.oses["n1"] = dataclasses.replace(self.oses["n1"], status=status)
        self.saw()

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def case() -> Case:
    return Case()


def test_names_kinds_and_labels(case: Case) -> None:
    case.saw()
    found = {}
    for family in text_string_to_metric_families(case.metrics.text().decode()):
        labels = {label for sample in family.samples for label in sample.labels if label != "le"}
        if not family.name.endswith("_created"):
            found[family.name] = (family.type, tuple(sorted(labels)))
            assert family.documentation
    assert found == NAMES


def test_all_is_named_from_the_start(case: Case) -> None:
    """An alert on what has not happened yet must find its metric; what has labels has no sample."""
    families = {family.name for family in text_string_to_metric_families(case.metrics.text().decode())}
    assert set(NAMES) <= families


def test_what_is_counted(case: Case) -> None:
    assert case.value("proa_leader") == 1
    assert case.value("proa_reflector_stale_seconds", resource="nodes") == 0
    assert case.value("proa_reflector_stale_seconds", resource="nodeoses") == 10
    assert case.value("proa_api_requests_total", verb="patch", resource="nodes", code="200") == 2
    assert case.value("proa_api_requests_total", verb="create", resource="pods/eviction", code="429") == 1
    assert case.value("proa_events_dropped_total") == 3


def test_what_the_leader_says_of_rollouts(case: Case) -> None:
    case.saw()
    assert case.value("proa_nodes", rollout="workers", state="Draining") == 1
    assert case.value("proa_nodes_by_version", rollout="workers", version="1.2") == 1
    assert case.value("proa_nodes_by_version", rollout="workers", version="") == 1
    phases = {phase: case.value("proa_rollout_phase", rollout="workers", phase=phase) for phase in PHASES}
    assert phases == {phase: float(phase == "Progressing") for phase in PHASES}
    assert case.value("proa_rollout_failed_nodes", rollout="workers") == 2
    assert case.value("proa_window_open", rollout="workers") == 0
    assert case.value("proa_plan_seconds_count") == 1


def test_the_oldest_of_each_kind_of_blocker_counts(case: Case) -> None:
    case.saw()
    found = {
        kind: case.value("proa_drain_blocked_seconds", node="n1", kind=kind) for kind in ("pod", "budget", "volume")
    }
    assert found == {"pod": 90, "budget": 90, "volume": 0}


def test_who_does_not_lead_says_nothing_of_rollouts(case: Case) -> None:
    case.saw()
    case.leading = False
    assert case.value("proa_leader") == 0
    assert case.value("proa_nodes", rollout="workers", state="Draining") is None
    assert case.value("proa_drain_blocked_seconds", node="n1", kind="pod") is None


def test_an_update_is_measured_from_cordon_to_uncordon(case: Case) -> None:
    case.did(Uncordon("n1", "Held"))
    case.did(Uncordon("n2", "Done"))
    assert case.value("proa_node_update_seconds_count") == 0
    case.did(Uncordon("n1", "Done"))
    assert (case.value("proa_node_update_seconds_count"), case.value("proa_node_update_seconds_sum")) == (1, 200)


@pytest.mark.parametrize("result", [OrderResult.DONE, OrderResult.FAILED])
def test_a_staging_is_measured_from_its_order_to_its_end(case: Case, result: OrderResult) -> None:
    case.did(Give("n1", 4, Verb.STAGE, "r"))
    case.observed(3, "Done")
    case.observed(4, OrderResult.RUNNING.value)
    assert case.value("proa_stage_seconds_count") == 0
    case.clock.sleep(60)
    case.observed(4, result.value)
    case.observed(4, result.value)
    assert (case.value("proa_stage_seconds_count"), case.value("proa_stage_seconds_sum")) == (1, 60)


def test_bytes_of_a_staging_are_counted_once(case: Case) -> None:
    assert case.value("proa_stage_bytes_total", origin="fetch") == 0
    for number in (4, 5):
        case.did(Give("n1", number, Verb.STAGE, "r"))
        for _ in range(2):
            case.observed(number, OrderResult.DONE.value, Standby(complete=True, bytes=Moved(7, 20, 3, 27, 1)))
    values = [case.value("proa_stage_bytes_total", origin=one) for one in ("fetch", "copy", "keep", "write", "avoid")]
    assert values == [14, 40, 6, 54, 2]


@pytest.mark.parametrize("standby", [None, Standby(), Standby(bytes=Moved(7)), Standby(complete=True)])
def test_bytes_that_nobody_told_are_not_counted(case: Case, standby: Standby | None) -> None:
    case.did(Give("n1", 4, Verb.STAGE, "r"))
    case.observed(4, OrderResult.DONE.value, standby)
    assert case.value("proa_stage_bytes_total", origin="fetch") == 0


def test_a_staging_that_another_order_took_the_place_of_is_not_measured(case: Case) -> None:
    case.did(Give("n1", 4, Verb.STAGE, "r"))
    case.did(Give("n1", 5, Verb.BOOT, "r"))
    case.observed(5, "Done")
    case.observed(4, "Done")
    assert case.value("proa_stage_seconds_count") == 0
