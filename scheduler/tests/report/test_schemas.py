"""What the cluster's commands print is what their schemas say: no key missing, none too many."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from click.testing import CliRunner

from proa.core.orders.messages import (
    Action,
    Booted,
    Condition,
    LastError,
    NodeStatus,
    Observed,
    Order,
    Progress,
    Standby,
)
from proa.core.schema import model
from proa.core.schema.json_schema import closed
from proa.scheduler.cli.main import cli
from proa.scheduler.planning.views import NodeOSView, NodeView, RolloutView, Snapshot
from proa.scheduler.report import document, status_view
from proa.scheduler.report.reports import SCHEMAS, Changed
from proa.scheduler.spec.rollout import RolloutSpec
from proa.scheduler.spec.rolloutstatus import Blocker, Counts, PastRollout, RolloutStatus

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
OLD, NEW = (f"registry.example/os:{name}@sha256:{name * 64}" for name in "ab")


def validate(found: dict[str, Any]) -> dict[str, Any]:
    jsonschema.Draft202012Validator(closed(dict(SCHEMAS[found["schema"]]))).validate(found)
    return found


def a_cluster() -> Snapshot:
    """With all that a document can hold somewhere."""
    status = NodeStatus(
        observed_order=Observed(4, "Stage", "Failed"),
        phase="Failed",
        booted=Booted("a", "1", OLD.partition("@")[2], "0" * 64, "boot-1", committed=True),
        standby=Standby("b", "2", NEW.partition("@")[2], "1" * 64, "staged"),
        progress=Progress("write", 40),
        last_error=LastError("NETWORK", "no answer"),
        agent="0.1.0",
        conditions=(Condition("Consistent", "True", "Agreed", "all is well", "2026-01-31T11:00:00Z"),),
    )
    nodes = {name: NodeView(name, f"uid-{name}", {"pool": "a"}) for name in ("n1", "n2", "n3")}
    oses = {"n1": NodeOSView("n1", "os-1", "uid-n1", Order(4, Action.STAGE, 1, NEW), status)}
    told = RolloutStatus(
        observed_generation=1,
        phase="Staging",
        progress="0/3",
        counts=Counts(nodes=3, failed=1),
        blockers=(Blocker("n1", "shop/web", "shop/web", "", "no disruption", "2026-01-31T11:00:00Z"),),
        conditions=(Condition("Valid", "True", "Accepted"),),
        history=(PastRollout(OLD, 0, "Complete", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", 3),),
    )
    rollouts = {"workers": RolloutView("workers", "uid", 1, RolloutSpec(NEW), told)}
    return Snapshot(nodes, oses, rollouts)


@pytest.fixture
def say(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What a verb prints about that cluster."""
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(document.write(a_cluster(), NOW)))

    def run(*words: str) -> dict[str, Any]:
        command: click.Command = cli
        done = CliRunner().invoke(command, [*words, "--from", str(path), "--json"], standalone_mode=False)
        assert done.exit_code == 0, done.output
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(dict(SCHEMAS[name]))
    assert SCHEMAS[name]["properties"]["schema"] == {"const": name, "description": "The name of this schema."}


def test_plan_explain_and_simulate(say: Callable[..., dict[str, Any]]) -> None:
    assert validate(say("plan", "workers"))["nodes"]
    for node in ("n1", "n2"):
        assert validate(say("explain", node))["gates"]
    assert validate(say("simulate", "--returns", "100"))["troubles"]


def test_status_and_changes() -> None:
    snapshot = a_cluster()
    views = list(snapshot.rollouts.values())
    found = validate(model.document(status_view.status_report(snapshot, NOW)))
    assert set(found["rollouts"][0]["counts"]) == set(SCHEMAS["proa.plan/v1"]["properties"]["counts"]["properties"])
    for request, rollout in (({"spec": {}}, status_view.rollout_report(views[0])), (None, None)):
        validate(model.document(Changed("workers", True, "paused", ("It is paused.",), request, rollout)))
