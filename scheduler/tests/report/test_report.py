"""Plans, explanations, snapshots as files, and rollouts in virtual time."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from click.testing import CliRunner

from proa.core.orders.messages import LastError
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.json_schema import closed
from proa.core.schema.model import document as as_json
from proa.scheduler.cli.main import cli
from proa.scheduler.kube import paths
from proa.scheduler.kube.times import read, text
from proa.scheduler.objects.annotations import mark_text
from proa.scheduler.planning.actions import Cordon
from proa.scheduler.planning.planner import plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import HOLD, MARK, Mark, NodeOSView, NodeView, RolloutView, Snapshot
from proa.scheduler.report import document, rendering, source
from proa.scheduler.report import simulation as rehearsal
from proa.scheduler.report.explain import explain
from proa.scheduler.report.preview import behaviour_of, preview
from proa.scheduler.report.reports import SCHEMAS, SeenNode, SeenNodeOS, SeenRollout
from proa.scheduler.simulation.behaviour import Behaviour, Chances, NodeFate
from proa.scheduler.simulation.simulate import Patience, Run, resume, run
from proa.scheduler.simulation.world import World
from proa.scheduler.spec.crd import NODE_OSES, OS_ROLLOUTS
from proa.scheduler.spec.rollout import (
    Budget,
    Canary,
    FailurePolicy,
    OnFailure,
    Requirement,
    RolloutSpec,
    Selector,
    Staging,
)
from proa.scheduler.spec.rollout import Operator as Op
from proa.scheduler.spec.rolloutstatus import Blocker, RolloutStatus
from proa.scheduler.testing.apiserver import ApiServer
from proa.scheduler.testing.lagging import FIRST, START, a_world

SPEC = RolloutSpec(FIRST, max_unavailable=2, staging=Staging(10))


DRAINING = 4
"""Passes until the first nodes are drained."""


def a_cluster(count: int = 6, passes: int = 0, spec: RolloutSpec = SPEC, **rest: Any) -> World:
    """A cluster whose rollout has gone on for some passes."""
    simulation = Run(a_world(count, spec, **rest))
    for _ in range(passes):
        simulation.step()
    return simulation.world


def test_the_plan_says_whose_turn_comes_when() -> None:
    world = a_cluster(spec=dataclasses.replace(SPEC, canary=Canary(1, "10m")), control_planes=1)
    found = preview(world.snapshot(), "workers", world.now).report
    assert [turn.position for turn in found.nodes] == [1, 2, 3, 4, 5, 6]
    assert [turn.wave for turn in found.nodes] == ["Canary", "zone-1", "zone-1", "zone-2", "zone-2", "ControlPlane"]
    starts = [turn.starts for turn in found.nodes if turn.starts]
    assert starts == sorted(starts)
    assert all(turn.starts and turn.ends and turn.starts < turn.ends for turn in found.nodes)
    assert found.ends
    assert found.ends >= max(turn.ends for turn in found.nodes if turn.ends)
    assert {turn.reason for turn in found.nodes} == {"StageNext", "AwaitingCanary"}


def test_nothing_is_changed_by_looking() -> None:
    world = a_cluster(passes=5)
    before = dict(world.nodes), dict(world.oses), dict(world.rollouts)
    snapshot = world.snapshot()
    preview(snapshot, "workers", world.now)
    explain(snapshot, "node-0000", world.now)
    assert (world.nodes, world.oses, world.rollouts) == before


def test_times_are_those_that_the_last_nodes_took() -> None:
    view = RolloutView("workers", "uid", 1, SPEC)
    assert behaviour_of(view).drain + behaviour_of(view).boot == 15 * 60 - 60 - 10
    measured = dataclasses.replace(view, status=RolloutStatus(recent_seconds=(200, 300, 270, 270, 900)))
    assert behaviour_of(measured).drain + behaviour_of(measured).boot == 200
    quick = dataclasses.replace(view, status=RolloutStatus(recent_seconds=(1,) * 5))
    assert behaviour_of(quick).boot > 0


def test_a_node_that_only_a_person_can_move_has_no_turn() -> None:
    world = a_cluster(3)
    world.nodes["node-0001"] = dataclasses.replace(world.nodes["node-0001"], hold="debugging")
    world.nodes["node-0002"] = dataclasses.replace(world.nodes["node-0002"], excluded=True)
    turns = preview(world.snapshot(), "workers", world.now).report.nodes
    assert [(turn.name, turn.position) for turn in turns] == [("node-0000", 1), ("node-0001", 0), ("node-0002", 0)]
    assert [turn.reason for turn in turns[1:]] == ["Held", "Excluded"]
    said = list(rendering.plan_lines(preview(world.snapshot(), "workers", world.now)))
    assert "no end in sight: only a person can help the remaining nodes" in said


def test_what_lies_behind_all_that_was_looked_at_has_a_turn_and_no_time() -> None:
    world = a_cluster(30)
    found = preview(world.snapshot(), "workers", world.now, Patience(passes=40))
    assert found.report.ends is None
    assert [turn.position for turn in found.report.nodes] == list(range(1, 31))
    assert found.report.nodes[-1].starts is None
    assert any("the preview ends after" in line for line in rendering.plan_lines(found))


def test_rollouts_that_do_not_act_have_plans_too() -> None:
    world = a_cluster(2)
    world.rollouts["others"] = RolloutView("others", "uid", 1, SPEC)
    found = preview(world.snapshot(), "others", world.now).report
    assert found.phase == "Conflict"
    assert [turn.reason for turn in found.nodes] == ["Conflict"] * 2
    assert explain(world.snapshot(), "node-0000", world.now).rollouts == ("others", "workers")


def test_what_is_not_there_is_told_with_what_is() -> None:
    world = a_cluster(1)
    with pytest.raises(ProaError) as caught:
        preview(world.snapshot(), "worker", world.now)
    assert caught.value.code is Code.CLUSTER_MISSING
    assert "workers" in caught.value.hint
    with pytest.raises(ProaError) as caught:
        explain(world.snapshot(), "node-9", world.now)
    assert caught.value.code is Code.CLUSTER_MISSING


def test_every_gate_is_told_not_only_the_first_one() -> None:
    spec = dataclasses.replace(
        SPEC, paused=True, max_unavailable=0, budgets=(Budget("0 3 * * *", "1h", "UTC", 1),), canary=Canary(1)
    )
    world = a_cluster(spec=spec)
    since = world.now - timedelta(minutes=3)
    held = {"hold": "debugging", "ready": False, "ready_since": since}
    world.nodes["node-0004"] = dataclasses.replace(world.nodes["node-0004"], **held)  # type: ignore[arg-type]
    found = explain(world.snapshot(), "node-0004", world.now)
    gates = {gate.reason: gate for gate in found.gates}
    assert list(gates) == ["Paused", "Held", "NotReady", "AwaitingCanary", "WindowClosed"]
    assert found.reason
    assert found.reason.reason == "Paused"
    assert gates["NotReady"].since == text(since)
    assert gates["Held"].who == "a person: remove the annotation proa.dev/hold"
    said = "\n".join(rendering.explain_lines(found, world.now))
    assert "3m ago" in said
    assert "kubectl proa resume" in said


def test_the_first_gate_is_always_what_the_planner_says() -> None:
    for passes in range(0, 60, 3):
        world = a_cluster(9, passes, dataclasses.replace(SPEC, canary=Canary(1)), control_planes=2)
        snapshot = world.snapshot()
        for name, verdict in plan(snapshot, world.now).verdicts.items():
            found = explain(snapshot, name, world.now)
            assert str(found.reason) == str(verdict)
            if found.gates:
                assert str(found.gates[0]) == str(verdict)
            else:
                assert verdict.reason in {Reason.UpToDate, Reason.Next, Reason.StageNext}


def test_a_node_that_nobody_selects_is_told_so() -> None:
    world = a_cluster(1, spec=dataclasses.replace(SPEC, node_selector=Selector({"a": "b"})))
    found = explain(world.snapshot(), "node-0000", world.now)
    assert found.reason is None
    assert list(rendering.explain_lines(found, world.now)) == ["node-0000: no rollout selects it."]


def test_what_blocks_a_drain_is_told() -> None:
    world = a_cluster(3, DRAINING)
    name = next(name for name, node in world.nodes.items() if node.mark)
    view = world.rollouts["workers"]
    stuck = Blocker(name, "shop/web-1", "shop/web", "", "disruption budget shop/web lets none go", text(world.now))
    world.rollouts["workers"] = dataclasses.replace(view, status=dataclasses.replace(view.status, blockers=(stuck,)))
    found = explain(source.snapshot_of(a_server(world)), name, world.now)
    assert found.blockers == (stuck,)
    assert source.snapshot_of(a_server(world)).undrainable == {}
    assert found.drain_until
    assert f"blocked by shop/web-1: {stuck.reason}" in "\n".join(rendering.explain_lines(found, world.now))


def a_node(view: NodeView) -> dict[str, Any]:
    said = ({MARK: mark_text(view.mark)} if view.mark else {}) | ({HOLD: view.hold} if view.hold else {})
    ready = {"type": "Ready", "status": str(view.ready)}
    if view.ready_since:
        ready["lastTransitionTime"] = text(view.ready_since)
    metadata = {"uid": view.uid, "labels": dict(view.labels), "annotations": said}
    status = {"conditions": [ready], "nodeInfo": {"bootID": view.boot_id}}
    return {"metadata": metadata, "spec": {"unschedulable": view.unschedulable}, "status": status}


def a_server(world: World) -> ApiServer:
    """An API server that has what is in a world."""
    api = ApiServer()
    for node in world.nodes.values():
        api.add(paths.named(paths.NODES, node.name), a_node(node))
    for os in world.oses.values():
        owner = {"apiVersion": "v1", "kind": "Node", "uid": os.owner}
        spec = {"order": as_json(os.order)} if os.order else {}
        status = as_json(os.status) if os.status else None
        made: dict[str, object] = {
            "uid": os.uid,
            "ownerReferences": [owner],
            "creationTimestamp": text(os.created) if os.created else "",
        }
        body = {"metadata": made, "spec": spec, "status": status}
        api.add(paths.named(NODE_OSES, os.name), body)
    for view in world.rollouts.values():
        about = {"uid": view.uid, "generation": view.generation}
        body = {"metadata": about, "spec": as_json(view.spec), "status": as_json(view.status)}
        api.add(paths.named(OS_ROLLOUTS, view.name), body)
    return api


@pytest.mark.parametrize("passes", [0, 12, 30, 50])
def test_a_live_cluster_is_seen_as_it_is(passes: int) -> None:
    world = a_cluster(5, passes)
    world.own_node = "node-0001"
    Run(world).step()
    found = source.snapshot_of(a_server(world))
    assert found.nodes == world.nodes
    assert found.oses == {name: dataclasses.replace(os, fence=1 if os.order else -1) for name, os in world.oses.items()}
    assert {name: dataclasses.replace(one, version="") for name, one in found.rollouts.items()} == world.rollouts
    assert found.own_node == "node-0001"


# snapshots as files


def through_a_file(snapshot: Snapshot, world: World) -> Snapshot:
    whole = {"schema": document.SCHEMA, "proa": "0.1.0", **document.write(snapshot, world.now)}
    jsonschema.Draft202012Validator(closed(dict(SCHEMAS[document.SCHEMA]))).validate(whole)
    found, now = document.read(json.loads(json.dumps(whole)))
    assert now == world.now.replace(microsecond=0)
    return found


@pytest.mark.parametrize("passes", [0, 12, 30, 50, 80])
def test_a_file_gives_back_what_was_written(passes: int) -> None:
    world = a_cluster(5, passes, behaviour=Behaviour(fate=Chances(returns=30, unfetched=20).fate))
    stuck = {"node-0001": (Blocker("node-0001", "shop/web-1", "shop/web", reason="never allows an eviction"),)}
    snapshot = dataclasses.replace(world.snapshot(), drains={}, own_node="node-0002", undrainable=stuck)
    assert through_a_file(snapshot, world) == snapshot


def test_a_rollout_that_cannot_be_read_stays_one() -> None:
    world = a_cluster(1)
    world.rollouts["odd"] = RolloutView("odd", "uid", 1, RolloutSpec(""), problem="spec.release is not there")
    assert through_a_file(world.snapshot(), world).rollouts["odd"].problem == "spec.release is not there"


def test_hashed_names_say_nothing_and_plan_alike() -> None:
    spec = dataclasses.replace(
        SPEC,
        release="secret.example/private/node@sha256:" + "1" * 64,
        budgets=(Budget("* * * * *", "1h", "UTC", 2, "secret reason"),),
        canary=Canary(1, "1m"),
        failure=FailurePolicy("50%", OnFailure.ROLLBACK),
        node_selector=Selector(match_expressions=(Requirement("role", Op.EXISTS),)),
    )
    behaviour = Behaviour(fate=Chances(returns=10, unfetched=20).fate)
    world = a_world(9, spec, behaviour=behaviour)
    for name, node in world.nodes.items():
        labels = {**node.labels, "role": "worker", "secret": "secret"}
        world.nodes[name] = NodeView(
            name, node.uid, labels, boot_id=node.boot_id, hold="secret" if "8" in name else None
        )
    simulation = Run(world)
    for _ in range(90):
        simulation.step()
    name, os = next((name, os) for name, os in world.oses.items() if os.status)
    assert os.status
    world.oses[name] = dataclasses.replace(
        os, status=dataclasses.replace(os.status, last_error=LastError("NOT_FOUND", "secret"))
    )
    stuck = {"node-0004": (Blocker("node-0004", "secret/secret", "secret/secret", "secret", "secret"),)}
    snapshot = dataclasses.replace(world.snapshot(), own_node="node-0003", undrainable=stuck)
    other = document.hashed(snapshot)
    whole = json.dumps(document.write(other, world.now))
    for secret in ("secret", "node-0", "zone-", "boot-", "uid-", "os-node"):
        assert secret not in whole.replace('"nodeoses"', "")
    verdicts, others = plan(snapshot, world.now).verdicts, plan(through_a_file(other, world), world.now).verdicts
    assert sorted(one.reason.name for one in verdicts.values()) == sorted(one.reason.name for one in others.values())
    assert document.hashed(snapshot, b"salt") == document.hashed(snapshot, b"salt")
    assert set(document.hashed(snapshot, b"salt").nodes) != set(document.hashed(snapshot, b"pepper").nodes)


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        {},
        {"schema": "proa.plan/v1"},
        {"schema": document.SCHEMA},
        {"schema": document.SCHEMA, "at": "noon", "rollouts": [], "nodes": [], "nodeoses": [], "own_node": ""},
        {"schema": document.SCHEMA, "at": text(START), "rollouts": [], "nodes": [7], "nodeoses": [], "own_node": ""},
        {"schema": document.SCHEMA, "at": text(START), "rollouts": 3, "nodes": [], "nodeoses": [], "own_node": ""},
    ],
)
def test_what_is_no_snapshot_is_refused(found: object) -> None:
    with pytest.raises(ProaError) as caught:
        document.read(found, "x.json")
    assert caught.value.code is Code.CONFIG_VALUE
    assert caught.value.at == "x.json"


# virtual time


def test_a_whole_rollout_says_how_it_went() -> None:
    world = a_world(9, SPEC)
    course = run(world)
    assert course.came_to_an_end
    assert [(wave.name, wave.nodes, wave.done) for wave in course.waves] == [(f"zone-{n}", 3, 3) for n in range(3)]
    assert all(before.ended_at <= after.began_at for before, after in zip(course.waves, course.waves[1:], strict=False))
    assert course.most_away == 2
    assert sum(world.boots.values()) == len(course.done) == 9
    began, ended = read(course.waves[0].began_at), read(course.waves[-1].ended_at)
    assert began
    assert ended
    assert course.per_hour == pytest.approx(9 / (ended - began).total_seconds() * 3600)
    assert course.troubles == []
    assert rehearsal.left(world) == []


def test_what_goes_wrong_is_told() -> None:
    fates = {"node-0001": NodeFate.RETURNS, "node-0002": NodeFate.UNFETCHED, "node-0003": NodeFate.NEVER_BACK}
    behaviour = Behaviour(fate=lambda node, _: fates.get(node, NodeFate.WELL))
    world = a_world(6, dataclasses.replace(SPEC, failure=FailurePolicy(5)), behaviour=behaviour)
    course = run(world)
    assert {trouble.node: trouble.reason for trouble in course.troubles} == {
        "node-0001": "RolledBack",
        "node-0002": "NOT_FOUND",
        "node-0003": "BootTimeout",
    }
    assert rehearsal.left(world) == ["node-0003"]
    said = "\n".join(rehearsal.simulation_lines(rehearsal.simulation_report(course, world, 1.0)))
    assert "left cordoned or not Ready: node-0003" in said
    assert "RolledBack" in said


@pytest.mark.parametrize("passes", range(0, 70, 7))
def test_a_cluster_goes_on_from_where_it_stands(passes: int) -> None:
    world = a_cluster(6, passes)
    snapshot = through_a_file(world.snapshot(), world)
    boots = sum(world.boots.values())
    going_on = resume(snapshot, world.now, Behaviour())
    course = run(going_on)
    assert course.statuses["workers"].phase == "Complete"
    assert boots + sum(going_on.boots.values()) == 6
    assert rehearsal.left(going_on) == []


def test_a_node_that_is_not_ready_takes_no_orders() -> None:
    world = a_cluster(1)
    simulation = Run(world)
    simulation.step()
    world.nodes["node-0000"] = dataclasses.replace(world.nodes["node-0000"], ready=False)
    world.rollouts["workers"] = dataclasses.replace(world.rollouts["workers"], status=RolloutStatus())
    going_on = resume(world.snapshot(), world.now, Behaviour())
    run(going_on, Patience(passes=20))
    assert going_on.boots == {}


def test_a_node_that_a_rollout_has_let_go_has_its_turn_in_another() -> None:
    world = a_cluster(2)
    mark = Mark("gone", "sha256:" + "3" * 64, world.now, True, "boot")
    world.nodes["node-0000"] = dataclasses.replace(world.nodes["node-0000"], mark=mark, unschedulable=True)
    going_on = resume(world.snapshot(), world.now, Behaviour())
    course = run(going_on)
    assert course.statuses["workers"].phase == "Complete"
    assert going_on.boots == {"node-0000": 1, "node-0001": 1}
    assert not any(node.unschedulable or node.mark for node in going_on.nodes.values())


def test_a_simulated_cordon_of_a_person_that_is_gone_does_not_come_back() -> None:
    world = a_cluster(1)
    mark = Mark("workers", "sha256:" + "1" * 64, world.now, False, "boot")
    world.apply(Cordon("node-0000", mark))
    assert world.nodes["node-0000"].mark == mark
    assert not world.nodes["node-0000"].unschedulable


def test_chances_are_shares_of_nodes() -> None:
    chances = Chances(returns=10, unfetched=20, undrainable=30, never_back=5, seed=7)
    fates = [chances.fate(f"node-{number}", "") for number in range(4000)]
    shares = {fate: fates.count(fate) / 40 for fate in NodeFate}
    assert shares[NodeFate.RETURNS] == pytest.approx(10, abs=2)
    assert shares[NodeFate.UNFETCHED] == pytest.approx(20, abs=2)
    assert shares[NodeFate.UNDRAINABLE] == pytest.approx(30, abs=3)
    assert shares[NodeFate.NEVER_BACK] == pytest.approx(5, abs=1.5)
    assert chances.fate("n", "a") is chances.fate("n", "b")
    assert Chances().fate("n", "") is NodeFate.WELL


# the commands


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A snapshot of a cluster in the middle of a rollout."""
    world = a_cluster(6, DRAINING)
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps({"schema": document.SCHEMA, **document.write(world.snapshot(), world.now)}))
    return path


def ask(*words: str | Path) -> str:
    done = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False, standalone_mode=False)
    return done.output


def test_plan_from_a_file(file: Path) -> None:
    said = ask("plan", "workers", "--from", file)
    assert "Progressing, 0 of 6 nodes are done" in said
    assert "wave zone-1: 2 nodes" in said
    found = json.loads(ask("plan", "workers", "--from", file, "--json"))
    assert found["schema"] == "proa.plan/v1"
    assert [node["position"] for node in found["nodes"]] == [1, 2, 3, 4, 5, 6]
    assert found["nodes"][0]["reason"] == "Draining"
    assert found["nodes"][5]["starts"] < found["ends"]
    lines = ask("plan", "workers", "--from", file, "--all").splitlines()
    assert sum(line.split()[1:2] != [] and line.split()[1].startswith("node-") for line in lines) == 6


def test_explain_from_a_file(file: Path) -> None:
    assert "OtherZone" in ask("explain", "node-0005", "--from", file)
    found = json.loads(ask("explain", "node-0005", "--from", file, "--json"))
    assert found["schema"] == "proa.explain/v1"
    assert {gate["reason"] for gate in found["gates"]} == {"OtherZone", "NoFreeSlot"}
    assert found["status"]["booted"]["slot"] == "a"


def test_simulate_from_a_file_and_of_nothing(file: Path) -> None:
    found = json.loads(ask("simulate", "--from", file, "--json"))
    assert found["schema"] == "proa.simulation/v1"
    assert found["rollouts"][0]["phase"] == "Complete"
    assert found["boots"] == 6
    made_up = json.loads(ask("simulate", "--nodes", "40", "--control-planes", "3", "--returns", "100", "--json"))
    assert made_up["rollouts"][0]["phase"] == "Halted"
    assert made_up["troubles"]
    assert "40 of 40 nodes are done" in ask("simulate", "--nodes", "40", "--max-unavailable", "4")
    with pytest.raises(click.BadParameter, match="neither a number"):
        ask("simulate", "--nodes", "4", "--max-unavailable", "many")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    for name, code in (("x.json", Code.CONFIG_VALUE), ("none.json", Code.FILE_MISSING)):
        with pytest.raises(ProaError) as caught:
            ask("plan", "workers", "--from", tmp_path / name)
        assert caught.value.code is code


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (310, "5m 10s"), (7200, "2h"), (90061, "1d 1h"), (-5, "0s")],
)
def test_times_are_short(seconds: int, said: str) -> None:
    assert rendering.span(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("kind", "view", "left_out"),
    [
        (SeenNode, NodeView, {"attached", "ready_said"}),
        (SeenNodeOS, NodeOSView, set()),
        (SeenRollout, RolloutView, {"version"}),
    ],
)
def test_a_snapshot_holds_all_that_the_planner_sees(kind: Any, view: Any, left_out: set[str]) -> None:
    """But for what only the live cluster can tell."""
    seen = {one.name for one in dataclasses.fields(view) if one.init}
    assert {one.name for one in dataclasses.fields(kind)} == seen - left_out
