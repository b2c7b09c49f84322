"""What people's tools know of a cluster besides its nodes: what could never be drained, where the scheduler runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from proa.core.schema.model import document
from proa.scheduler.drain.undrainable import MOST_AHEAD, NO_BUDGETS, NO_PODS, look_ahead
from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.planning.planner import plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import RolloutView, Snapshot
from proa.scheduler.report import rendering, source, status_view
from proa.scheduler.report.explain import explain
from proa.scheduler.report.preview import preview
from proa.scheduler.simulation.simulate import Run
from proa.scheduler.simulation.world import World
from proa.scheduler.spec.crd import OS_ROLLOUTS
from proa.scheduler.spec.rollout import Drain, OnTimeout, RolloutSpec, Staging, Undrainable
from proa.scheduler.spec.rolloutstatus import Blocker
from proa.scheduler.testing.apiserver import ApiServer
from proa.scheduler.testing.lagging import FIRST, a_world

SPEC = RolloutSpec(FIRST, max_unavailable=1, staging=Staging(10), drain=Drain(undrainable=Undrainable.SKIP))
STUCK = (Blocker("node-0001", "shop/web-1", reason="as the scheduler reported them"),)


class Pods(ApiServer):
    """Nodes of which some have a pod that nothing would make anew; what may not be read is refused."""

    def __init__(self, *stuck: str, budget: bool = False, forbidden: tuple[str, ...] = (), status: int = 403) -> None:
        super().__init__()
        for node in stuck:
            pod: dict[str, Any] = {"metadata": {"namespace": "shop"}, "spec": {"nodeName": node}}
            pod["status"] = {"phase": "Running"}
            if budget:
                pod["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "web", "controller": True}]
            self.add(f"/api/v1/namespaces/shop/pods/web-{node[-1]}", pod)
        if budget:
            one = {"metadata": {"namespace": "shop", "name": "all"}, "spec": {"selector": {}, "maxUnavailable": 0}}
            self.add("/apis/policy/v1/namespaces/shop/poddisruptionbudgets/all", one)
        self.fail(lambda verb, path: ApiError(status, "no") if path in forbidden else None)

    @property
    def looked_at(self) -> list[str]:
        """The nodes whose pods were listed."""
        fields = [one.query.get("fieldSelector", "") for one in self.asked]
        return [one.removeprefix("spec.nodeName=") for one in fields if one]


def a_staged_cluster(count: int = 4, spec: RolloutSpec = SPEC) -> tuple[World, Snapshot]:
    """A cluster whose nodes have the release, and of which none is started; and a look at it."""
    simulation = Run(a_world(count, spec))
    while True:
        world = simulation.world
        seen = dataclasses.replace(world.snapshot(), nodes=dict(world.nodes), oses=dict(world.oses))
        if any(verdict.reason is Reason.Next for verdict in plan(seen, world.now).verdicts.values()):
            return world, seen
        simulation.step()


def test_a_node_that_waits_for_its_turn_and_never_has_one_is_told_so() -> None:
    world, seen = a_staged_cluster()
    assert {Reason.Next} <= {one.reason for one in plan(seen, world.now).verdicts.values()}
    found, notes = look_ahead(Pods("node-0000", "node-0001"), seen, world.now)
    assert notes == ()
    verdicts = plan(found, world.now).verdicts
    assert {name for name, one in verdicts.items() if one.reason is Reason.Undrainable} == {"node-0000", "node-0001"}
    assert explain(found, "node-0001", world.now).blockers == found.undrainable["node-0001"]
    said = "\n".join(rendering.explain_lines(explain(found, "node-0001", world.now), world.now))
    assert "Undrainable" in said
    assert "blocked by shop/web-1: pod shop/web-1: no controller would recreate it" in said
    rows = {row.name: row.reason for row in status_view.status_report(found, world.now).nodes}
    assert rows["node-0000"] == "Undrainable"


def test_a_plan_gives_it_no_turn_and_the_others_theirs() -> None:
    world, seen = a_staged_cluster()
    found, _ = look_ahead(Pods("node-0001"), seen, world.now, rollout="workers")
    turns = {turn.name: turn for turn in preview(found, "workers", world.now).report.nodes}
    assert turns["node-0001"].reason == "Undrainable"
    assert (turns["node-0001"].position, turns["node-0001"].starts) == (0, None)
    assert sorted(turn.position for name, turn in turns.items() if name != "node-0001") == [1, 2, 3]
    assert all(turn.ends for name, turn in turns.items() if name != "node-0001")


def test_it_is_told_before_the_node_has_fetched_the_release() -> None:
    world = a_world(3, SPEC)
    simulation = Run(world)
    while not any(one.reason is Reason.StageNext for one in plan(world.snapshot(), world.now).verdicts.values()):
        simulation.step()
    found, _ = look_ahead(Pods("node-0001"), world.snapshot(), world.now)
    assert [gate.reason for gate in explain(found, "node-0001", world.now).gates] == ["Undrainable"]
    turns = {turn.name: turn for turn in preview(found, "workers", world.now).report.nodes}
    assert turns["node-0001"].reason == "Undrainable"
    assert turns["node-0000"].reason == "StageNext"


def test_budgets_that_never_let_a_pod_go_are_seen() -> None:
    world, seen = a_staged_cluster()
    found, _ = look_ahead(Pods("node-0002", budget=True), seen, world.now)
    assert [blocker.budget for blocker in found.undrainable["node-0002"]] == ["shop/all"]


def test_only_what_was_asked_about_is_looked_at() -> None:
    world, seen = a_staged_cluster()
    for asked, nodes in (
        ({"node": "node-0002"}, ["node-0002"]),
        ({"rollout": "others"}, []),
        ({"rollout": "workers"}, sorted(seen.nodes)),
    ):
        pods = Pods()
        look_ahead(pods, seen, world.now, **asked)
        assert sorted(pods.looked_at) == nodes
    forced = dataclasses.replace(SPEC, drain=Drain(on_timeout=OnTimeout.FORCE))
    pods = Pods("node-0001")
    world, seen = a_staged_cluster(spec=forced)
    assert look_ahead(pods, seen, world.now) == (seen, ())
    assert pods.looked_at == []


def test_who_may_not_read_pods_is_told_and_has_what_the_scheduler_says() -> None:
    world, seen = a_staged_cluster()
    told = dataclasses.replace(seen, undrainable={"node-0001": STUCK})
    found, notes = look_ahead(Pods(forbidden=(paths.PODS,)), told, world.now)
    assert notes == (NO_PODS,)
    assert found.undrainable == {"node-0001": STUCK}
    found, notes = look_ahead(Pods("node-0002", forbidden=(paths.BUDGETS,)), told, world.now)
    assert notes == (NO_BUDGETS,)
    assert set(found.undrainable) == {"node-0001", "node-0002"}
    assert explain(found, "node-0000", world.now, notes).notes == (NO_BUDGETS,)


def test_what_was_looked_at_counts_more_than_what_was_told() -> None:
    world, seen = a_staged_cluster()
    told = dataclasses.replace(seen, undrainable={"node-0001": STUCK})
    assert look_ahead(Pods(), told, world.now)[0].undrainable == {}


@pytest.mark.parametrize("path", [paths.PODS, paths.BUDGETS])
def test_an_api_server_in_trouble_is_no_lack_of_rights(path: str) -> None:
    world, seen = a_staged_cluster()
    with pytest.raises(ApiError):
        look_ahead(Pods(forbidden=(path,), status=500), seen, world.now)


def test_of_a_big_cluster_the_next_nodes_are_looked_at_and_that_is_said() -> None:
    world = a_world(MOST_AHEAD + 5, SPEC)
    simulation = Run(world)
    while not any(one.reason is Reason.StageNext for one in plan(world.snapshot(), world.now).verdicts.values()):
        simulation.step()
    pods = Pods()
    _, notes = look_ahead(pods, world.snapshot(), world.now)
    assert len(pods.looked_at) == MOST_AHEAD
    assert notes == (f"The pods of the next {MOST_AHEAD} nodes were checked: 5 more nodes may prove undrainable.",)


# what the leader tells


def test_the_leader_tells_where_it_runs_and_tools_plan_with_that() -> None:
    world, seen = a_staged_cluster()
    led = dataclasses.replace(seen, own_node="node-0000")
    (status,) = plan(led, world.now).statuses.values()
    assert status.scheduler_node == "node-0000"
    view = dataclasses.replace(seen.rollouts["workers"], status=status)
    found = source.snapshot_of(a_server(view, seen))
    assert found.own_node == "node-0000"
    verdicts = plan(dataclasses.replace(seen, own_node=found.own_node), world.now).verdicts
    assert verdicts["node-0000"].reason is Reason.OwnNodeLast


def test_it_tells_so_also_of_a_rollout_that_does_not_act_and_once() -> None:
    world, seen = a_staged_cluster()
    odd = RolloutView("odd", "uid", 1, RolloutSpec(""), problem="spec.release is not there")
    led = dataclasses.replace(seen, own_node="node-0000", rollouts={**seen.rollouts, "odd": odd})
    statuses = plan(led, world.now).statuses
    assert {status.scheduler_node for status in statuses.values()} == {"node-0000"}
    written = {name: dataclasses.replace(view, status=statuses[name]) for name, view in led.rollouts.items()}
    assert plan(dataclasses.replace(led, rollouts=written), world.now).statuses == statuses
    elsewhere = plan(dataclasses.replace(led, rollouts=written, own_node=""), world.now).statuses
    assert {status.scheduler_node for status in elsewhere.values()} == {""}


def test_what_the_leader_found_hopeless_is_known_without_pods() -> None:
    _, seen = a_staged_cluster()
    view = seen.rollouts["workers"]
    gone = dataclasses.replace(STUCK[0], node="gone")
    view = dataclasses.replace(view, status=dataclasses.replace(view.status, blockers=(*STUCK, gone)))
    assert source.snapshot_of(a_server(view, seen)).undrainable == {"node-0001": STUCK}


def a_server(rollout: RolloutView, seen: Snapshot) -> ApiServer:
    """An API server with a rollout, and the names of nodes."""
    api = ApiServer()
    metadata = {"uid": rollout.uid, "generation": rollout.generation}
    body = {"metadata": metadata, "spec": document(rollout.spec), "status": document(rollout.status)}
    api.add(paths.named(OS_ROLLOUTS, rollout.name), body)
    for name in seen.nodes:
        api.add(paths.named(paths.NODES, name), {})
    return api
