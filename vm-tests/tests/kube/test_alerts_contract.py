"""Metrics and alert rules, as Prometheus' own tool judges them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proa.core.runtime import process
from proa.core.runtime.change_signal import ChangeSignal
from proa.scheduler.control.controller import Pass
from proa.scheduler.control.metrics import PHASES, Metrics
from proa.scheduler.control.sources import Sources
from proa.scheduler.drain.drainer import blockers_of
from proa.scheduler.kube.tally import Tally
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import RolloutView
from proa.scheduler.simulation.behaviour import Behaviour, NodeFate
from proa.scheduler.simulation.simulate import Run
from proa.scheduler.simulation.world import World, make_nodes
from proa.scheduler.spec.rollout import FailurePolicy, RolloutSpec
from proa.scheduler.testing.server import NoServer
from proa.vm.support.promtool import promtool

pytestmark = pytest.mark.contract
FOLDER = Path(__file__).parents[3] / "scheduler/monitoring"
RULES = (FOLDER / "alerts.yaml").read_text()
CASES = (FOLDER / "alerts.test.yaml").read_text()
ALERTS = re.findall(r"- alert: (\w+)", RULES)
RELEASE = f"registry.example/node@sha256:{'2' * 64}"


def metrics(fate: NodeFate, tally: Tally | None = None) -> Metrics:
    """What is told after a rollout over six nodes, each of which had the same fate."""
    told = Metrics(Sources.of(NoServer(), ChangeSignal()), tally or Tally(), lambda: True, lambda: 3)
    spec = RolloutSpec(RELEASE, max_unavailable=2, failure=FailurePolicy(max=1))
    now = datetime(2026, 1, 5, 12, tzinfo=UTC)
    world = World(
        now, make_nodes(6), {"workers": RolloutView("workers", "uid", 1, spec)}, Behaviour(fate=lambda *_: fate)
    )
    run, latest = Run(world), now + timedelta(days=2)
    while world.now < latest:
        snapshot, plan = world.snapshot(), run.planner.plan(world.snapshot(), world.now)
        told.saw(Pass(snapshot, plan, 0.002, blockers_of(snapshot, plan)))
        for action in plan.actions:
            told.did(action, snapshot)
        if not run.step():
            break
    return told


def judge(*words: str | Path, text: bytes | None = None) -> process.ProcessResult:
    return process.run([promtool(), *words], stdin=text, check=False)


@pytest.mark.parametrize("fate", NodeFate)
def test_what_is_told_is_as_prometheus_wants_it(fate: NodeFate) -> None:
    tally = Tally()
    tally.add("patch", "nodes", 200)
    text = metrics(fate, tally).text()
    judged = judge("check", "metrics", text=text)
    assert (judged.status, judged.stdout, judged.stderr) == (0, b"", b"")


def test_a_metric_that_it_does_not_want_is_refused() -> None:
    assert judge("check", "metrics", text=b"# TYPE proa_things_total gauge\nproa_things_total 1\n").status != 0


def test_the_rules_are_rules() -> None:
    judged = judge("check", "rules", FOLDER / "alerts.yaml")
    assert judged.status == 0, judged.stderr
    assert f"{len(ALERTS)} rules found" in judged.text


def test_the_rules_fire_when_they_must_and_only_then() -> None:
    judged = judge("test", "rules", FOLDER / "alerts.test.yaml")
    assert judged.status == 0, judged.text


PAGE = FOLDER.parents[1] / "docs/how-to/read-the-metrics.md"
SEVERITIES = dict(re.findall(r"- alert: (\w+)\n.*?labels: {severity: (\w+)}", RULES, flags=re.DOTALL))
RECEIVERS = {"critical": "on-call", "warning": "team"}


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of Alertmanager that the how-to shows."""
    path = tmp_path_factory.mktemp("alertmanager") / "alertmanager.yaml"
    block = PAGE.read_text().partition("```yaml file=alertmanager.yaml\n")[2].partition("```")[0]
    path.write_text(block)
    return path


def test_alertmanager_takes_the_routes_of_the_how_to(routes: Path) -> None:
    judged = process.run([promtool("amtool"), "check-config", routes], check=False)
    assert judged.status == 0, judged.stderr
    assert "3 receivers" in judged.text


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_goes_to_whom_the_how_to_says(alert: str, routes: Path) -> None:
    severity = SEVERITIES[alert]
    labels = (f"alertname={alert}", f"severity={severity}", "rollout=workers")
    judged = process.run([promtool("amtool"), "config", "routes", "test", f"--config.file={routes}", *labels])
    expected = "approvers" if alert == "ProaAwaitsApproval" else RECEIVERS[severity]
    assert judged.text.strip() == expected


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_tried_both_ways(alert: str) -> None:
    assert re.search(rf"alertname: {alert}\n\s+exp_alerts:", CASES)
    assert re.search(rf"alertname: {alert}}}", CASES)


def test_an_alert_that_can_never_fire_is_found(tmp_path: Path) -> None:
    """The cases notice when a rule asks for a metric of another name."""
    (tmp_path / "alerts.yaml").write_text(RULES.replace("proa_rollout_failed_nodes", "proa_rollout_failed"))
    (tmp_path / "alerts.test.yaml").write_text(CASES)
    assert judge("test", "rules", tmp_path / "alerts.test.yaml").status != 0


def test_the_rules_ask_for_what_is_told() -> None:
    """Names of metrics, and the words of their labels."""
    text = "".join(metrics(fate).text().decode() for fate in NodeFate)
    told = set(re.findall(r"^# TYPE (\w+)", text, flags=re.MULTILINE))
    assert set(re.findall(r"\bproa_\w+", RULES)) <= told
    words = {word for said in re.findall(r'(?:phase|state)=~?"([^"]*)"', RULES) for word in said.split("|")}
    assert words <= {*PHASES, *Reason.__members__}


def test_a_rollout_that_ends_badly_is_told_as_such() -> None:
    text = metrics(NodeFate.RETURNS).text().decode()
    assert 'proa_rollout_phase{phase="Halted",rollout="workers"} 1.0' in text
    assert re.search(r'proa_rollout_failed_nodes\{rollout="workers"\} [1-6]\.0', text)
    assert 'proa_rollout_phase{phase="Complete",rollout="workers"} 1.0' in metrics(NodeFate.WELL).text().decode()
