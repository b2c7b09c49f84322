"""What goes wrong with nodes, drains and rollouts (F62 to F67), with the real scheduler on the real API server.

The scheduler has its own account, rights and policies. Each test has nodes and a rollout of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proa.core.orders.messages import Phase
from proa.scheduler.kube import paths
from proa.scheduler.kube.prometheus import PrometheusAccess, ask
from proa.scheduler.objects.annotations import approval_text
from proa.scheduler.planning.views import APPROVED
from proa.scheduler.spec.crd import NODE_OSES, OS_ROLLOUTS
from proa.vm.kube.api import MERGE, STRATEGIC
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.drains import NAMESPACE
from proa.vm.simulated.releases import FACTORY, release
from proa.vm.simulated.rollouts import annotate, cordoned, events, marked, node, record
from proa.vm.simulated.scenarios import Scenarios, Ward, opened
from proa.vm.support.ports import free_ports
from proa.vm.support.promtool import Prometheus
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
ONE_AWAY = {"maxUnavailable": 1}
"""A budget that lets pods go; of pods that can be nowhere else, only the first."""
SHORT = {"timeout": "2s"}
ONCE = {"limit": 0, "backoff": "1s"}


(PROMETHEUS_PORT,) = free_ports(1)
"""Where the scheduler asks for alerts."""


@pytest.fixture(scope="module")
def ward(control_plane: ControlPlane) -> Iterator[Ward]:
    with opened(control_plane, words=("--prometheus", f"http://127.0.0.1:{PROMETHEUS_PORT}")) as found:
        yield found


# F62: what is in the way of a drain


def test_f62_a_budget_that_never_passes_keeps_a_node_from_being_cordoned(ward: Ward) -> None:
    with ward.scenarios("never") as one, ward.witness() as witness:
        load = one.load(budget={"maxUnavailable": 0})
        one.start(drain={**SHORT, "undrainable": "Skip"})
        until(lambda: "never allows an eviction" in one.blockers, "the blocker to be told")
        assert one.wait("Waiting")["blockers"][0]["budget"] == f"load/{load.name}"
        until(lambda: any(load.name in note for note in events(ward.cluster, "DrainBlocked")), "the event")
        assert f'proa_drain_blocked_seconds{{kind="budget",node="{one.name}"}}' in ward.scheduler.ask()
        assert witness.seen(one.name).cordons == 0
        assert one.boots == [0]


def test_c03_a_budget_that_is_lifted_once_the_node_is_cordoned_is_no_obstacle(ward: Ward) -> None:
    """Operators of databases and of storage do that: what foresees is no judge."""
    with ward.scenarios("lifted") as one, ward.witness() as witness:
        load = one.load(budget={"maxUnavailable": 0})
        one.start(drain={"timeout": "60s"})
        until(lambda: witness.seen(one.name).cordons > 0, "the cordon")
        load.unguard()
        one.wait("Complete")
        assert one.boots == [1]


def test_c12_a_pod_that_the_api_server_lets_go_keeps_no_node_from_being_started(ward: Ward) -> None:
    """Its budget never lets one go that is well, and this one is not."""
    with ward.scenarios("unwell") as one:
        load = one.load(budget={"maxUnavailable": 0, "unhealthyPodEvictionPolicy": "AlwaysAllow"})
        one.fault(unready_pods=True)
        load.fall_ill()
        one.start(drain={"timeout": "60s", "undrainable": "Skip"})
        one.wait("Complete")
        assert one.boots == [1]


def test_c12_a_budget_whose_pods_nobody_can_count_is_told_before_the_cordon(ward: Ward) -> None:
    with ward.scenarios("uncounted") as one, ward.witness() as witness:
        one.load(kind="Pod", owner="ConfigMap", budget=ONE_AWAY)
        one.start(drain={**SHORT, "undrainable": "Skip"})
        until(lambda: "the disruption controller cannot count its pods" in one.blockers, "the blocker to be told")
        assert witness.seen(one.name).cordons == 0
        assert one.boots == [0]


def test_f62_what_only_a_person_can_move_keeps_a_node_from_being_cordoned(ward: Ward) -> None:
    with ward.scenarios("alone", 2) as two, ward.witness() as witness:
        two.load(two.names[0], kind="Pod")
        two.load(two.names[1], volumes=({"name": "scratch", "emptyDir": {}},))
        two.start(drain={**SHORT, "deleteEmptyDir": False, "undrainable": "Skip"}, maxUnavailable=2)
        until(lambda: "unmanagedPods" in two.blockers and "emptyDir" in two.blockers, "both blockers to be told")
        assert [witness.seen(name).cordons for name in two.names] == [0, 0]


def test_f62_pods_of_the_node_itself_stay_and_are_in_nobodys_way(ward: Ward) -> None:
    with ward.scenarios("daemons") as one:
        load = one.load(kind="DaemonSet")
        (before,) = load.pods
        one.start(
            health={"readySeconds": 0, "timeout": "60s", "daemonSets": [{"namespace": "load", "name": load.name}]}
        )
        one.wait("Complete")
        (after,) = load.pods
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert one.traces == []


def test_f62_a_node_is_given_back_when_its_drain_takes_too_long(ward: Ward) -> None:
    with ward.scenarios("park") as one, ward.witness() as witness:
        load = one.load(replicas=2, budget=ONE_AWAY)
        one.start(drain=SHORT, retry={"limit": 2, "backoff": "2s"})
        until(lambda: record(ward.cluster, one.name).get("reason") == "DrainTimeout", "the node to be parked")
        until(lambda: one.traces == [], "it to be given back")
        assert one.status["counts"].get("failed", 0) == 0
        assert one.boots == [0]
        assert any("not drained within 2s" in note for note in events(ward.cluster, "DrainTimeout"))
        load.unguard()
        one.wait("Complete")
        assert witness.seen(one.name).marks >= 2
        assert one.boots == [1]


def test_f62_abort_counts_a_drain_that_takes_too_long(ward: Ward) -> None:
    with ward.scenarios("abort") as one:
        one.load(replicas=2, budget=ONE_AWAY)
        one.start(drain={**SHORT, "onTimeout": "Abort"}, retry=ONCE)
        assert f"{one.name} (DrainTimeout)" in one.wait("Halted")["halted"]
        until(lambda: one.traces == [], "the node to be given back")
        assert one.boots == [0]


def test_f62_force_deletes_what_is_left_and_goes_on(ward: Ward) -> None:
    with ward.scenarios("force") as one:
        load = one.load(replicas=2, budget={"maxUnavailable": 0})
        before = {pod["metadata"]["uid"] for pod in load.pods}
        one.start(drain={**SHORT, "onTimeout": "Force"})
        one.wait("Complete")
        assert one.boots == [1]
        assert not before & {pod["metadata"]["uid"] for pod in load.pods}


def test_f62_a_pod_that_ignores_sigterm_has_its_time(ward: Ward) -> None:
    with ward.scenarios("deaf") as one:
        one.load(grace=3)
        one.fault(ignore_sigterm=True)
        mark = ward.cluster.audit_log.mark()
        one.start()
        until(lambda: one.boots == [1], "the reboot")
        evicted = [write.done for write in ward.cluster.audit(mark, write=True) if write.subresource == "eviction"]
        orders = order_writes(ward, mark, one.name)
        assert (orders[1] - evicted[0]).total_seconds() >= 3.0, "the order to boot came before the pod's end"
        one.wait("Complete")


def order_writes(ward: Ward, mark: int, name: str) -> list[datetime]:
    """When a node was given its orders: to stage, to boot, to commit."""
    found = ward.cluster.audit(mark, write=True)
    about = [one for one in found if (one.resource, one.subresource, one.name) == ("nodeoses", "", name)]
    return [one.done for one in about if one.verb in ("patch", "apply") and one.status == 200]


def claim(cluster: ControlPlane, name: str, handle: str) -> None:
    """A claim that is bound to a volume of a CSI driver."""
    much, modes = {"storage": "1Gi"}, ["ReadWriteOnce"]
    bound = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": NAMESPACE, "name": name}
    volume = {"capacity": much, "accessModes": modes, "claimRef": bound}
    wanted = {"resources": {"requests": much}, "accessModes": modes, "storageClassName": "", "volumeName": name}
    spec = {**volume, "csi": {"driver": "disk", "volumeHandle": handle}}
    cluster.namespace(NAMESPACE)
    cluster.apply(
        [
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec},
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": wanted,
            },
        ]
    )


def test_f62_volumes_are_detached_before_the_reboot(ward: Ward) -> None:
    """Those of pods that were evicted; that of a DaemonSet's pod stays as long as the node is up."""
    with ward.scenarios("volume") as one:
        for number, kind in ((7, "Deployment"), (8, "DaemonSet")):
            claim(ward.cluster, f"disk-{number}", str(number))
            volume = {"name": "data", "persistentVolumeClaim": {"claimName": f"disk-{number}"}}
            one.load(kind=kind, volumes=(volume,))
        attached = [{"name": f"kubernetes.io/csi/disk^{number}", "devicePath": ""} for number in (7, 8)]
        path = f"{paths.NODES}/{one.name}/status"
        ward.cluster.api.patch(path, {"status": {"volumesAttached": attached}}, STRATEGIC)
        one.start()
        until(lambda: "disk^7: it is still attached" in one.blockers, "the blocker to be told")
        time.sleep(1.5)  # nothing is left but the volume
        assert one.boots == [0]
        assert "disk^8" not in one.blockers
        ward.cluster.api.patch(path, {"status": {"volumesAttached": attached[1:]}}, MERGE)
        one.wait("Complete")
        assert one.boots == [1]


# alerts


def test_no_node_starts_before_prometheus_says_that_nothing_fires(ward: Ward, tmp_path: Path) -> None:
    """A real one: it is not there at first, then an alert fires, which ends by itself."""
    alerts = [{"name": "critical", "query": 'ALERTS{alertstate="firing"}'}]
    with ward.scenarios("alerts") as one, ward.witness() as witness:
        one.start(health={"readySeconds": 0, "timeout": "60s", "alerts": alerts})
        until(lambda: "critical: " in one.status.get("alerts", {}).get("error", ""), "Prometheus to be missed")
        ends = time.time() + 6
        server = Prometheus(tmp_path, PROMETHEUS_PORT, {"NodeDown": f"vector(time()) < {ends}"})
        ask_it = functools.partial(ask, PrometheusAccess(server.url), seconds=5.0)
        server.start()
        try:
            server.wait_for("NodeDown", ask_it)
            ask_anew(one)
            until(lambda: one.status.get("alerts", {}).get("firing") == ["critical: NodeDown"], "the alert to be told")
            assert witness.seen(one.name).cordons == 0
            until(lambda: not ask_it("ALERTS"), "the alert to end")
            ask_anew(one)
            one.wait("Complete")
        finally:
            server.stop()
        assert one.boots == [1]


def ask_anew(one: Scenarios) -> None:
    """Have the scheduler ask now, and not in a quarter of a minute: a rollout that is paused asks nothing."""
    one.change(paused=True)
    one.wait("Paused")
    one.change(paused=False)


# pods that may finish first


def may_finish(name: str, timeout: str) -> dict[str, Any]:
    return {"timeout": "60s", "waitFor": {"selector": {"matchLabels": {"app": name}}, "timeout": timeout}}


def test_a_pod_that_may_finish_is_waited_for_and_not_evicted(ward: Ward) -> None:
    """Nobody would recreate it, which is in the way of a drain otherwise."""
    with ward.scenarios("finishes") as one:
        job = one.load(kind="Pod")
        mark = ward.cluster.audit_log.mark()
        one.start(drain=may_finish(job.name, "1h"))
        until(lambda: f"may finish before anything is evicted: pod load/{job.name}" in one.blockers, "it to be told")
        assert one.boots == [0]
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{job.name}/status"
        ward.cluster.api.patch(path, {"status": {"phase": "Succeeded"}}, STRATEGIC)
        one.wait("Complete")
        assert one.boots == [1]
        assert [one for one in ward.cluster.audit(mark, write=True) if one.subresource == "eviction"] == []


def test_a_pod_that_does_not_finish_in_time_is_evicted_as_all_others(ward: Ward) -> None:
    with ward.scenarios("endless") as one:
        job = one.load(kind="Pod", owner="ConfigMap")
        one.start(drain=may_finish(job.name, "2s"))
        one.wait("Complete")
        assert (one.boots, job.pods) == ([1], [])


# approval


def test_nodes_that_have_the_release_wait_for_a_person_to_approve_it(ward: Ward) -> None:
    with ward.scenarios("approved") as one, ward.witness() as witness:
        one.start(approval="Required")
        until(lambda: one.status.get("counts", {}).get("staged") == 1, "the release to be fetched")
        until(lambda: one.status.get("phase") == "Waiting", "the rollout to wait")
        assert witness.seen(one.name).cordons == 0
        digest = ward.cluster.api.get(f"{OS_ROLLOUTS}/{one.rollout}")["spec"]["release"].partition("@")[2]
        said = approval_text(digest, "alice", datetime.now(UTC))
        path = f"{OS_ROLLOUTS}/{one.rollout}"
        ward.cluster.api.patch(path, {"metadata": {"annotations": {APPROVED: said}}}, MERGE)
        one.wait("Complete")
        assert one.boots == [1]


# F63: what becomes of a node


def test_f63_a_node_that_never_returns_halts_the_rollout(ward: Ward) -> None:
    with ward.scenarios("lost", 2) as two:
        two.fault(two.names[0], never_returns=True)
        two.start(health={"readySeconds": 0, "timeout": "2s"})
        assert f"{two.names[0]} (BootTimeout)" in two.wait("Halted")["halted"]
        time.sleep(1.0)
        assert two.status["counts"]["unavailable"] == 1
        assert two.boots == [0, 0]
        assert not marked(ward.cluster, two.names[1])


def test_f63_a_node_that_returns_in_its_old_slot_says_why(ward: Ward) -> None:
    with ward.scenarios("old", 2) as two:
        two.fault(two.names[0], returns_in_old_slot=True)
        two.start()
        assert f"{two.names[0]} (RolledBack)" in two.wait("Halted")["halted"]
        error = ward.fleet.status(two.names[0]).last_error
        assert error is not None
        assert record(ward.cluster, two.names[0])["message"] == error.message
        until(lambda: two.traces == [], "the node to be given back")
        assert two.boots == [1, 0]
        assert two.runs(FACTORY) == [True, True]


def test_f63_a_node_that_runs_something_else_than_was_staged_is_not_committed(ward: Ward) -> None:
    with ward.scenarios("wrong") as one, ward.witness() as witness:
        one.fault(wrong_root=True)
        one.start(health={"readySeconds": 0, "timeout": "2s"})
        one.wait("Halted")
        assert "Commit" not in witness.orders(one.name)
        assert "root hash" in record(ward.cluster, one.name)["message"]


def test_f63_a_node_that_is_ready_and_then_fails_is_not_committed(ward: Ward) -> None:
    with ward.scenarios("weak") as one, ward.witness() as witness:
        one.fault(fails_after_ready=0.5)
        one.start(health={"readySeconds": 2, "timeout": "4s"})
        assert f"{one.name} (TrialTimeout)" in one.wait("Halted")["halted"]
        assert "Commit" not in witness.orders(one.name)
        assert "not Ready" in record(ward.cluster, one.name)["message"]


@pytest.mark.parametrize("hours", [1, -1])
def test_f63_a_clock_that_goes_wrong_changes_nothing(ward: Ward, hours: int) -> None:
    with ward.scenarios(f"clock{hours:+}".replace("+", "p").replace("-", "m")) as one:
        one.fault(clock_skew=hours * 3600.0)
        mark = ward.cluster.audit_log.mark()
        one.start(health={"readySeconds": 2, "timeout": "20m"})
        one.wait("Complete")
        stage, boot, commit = order_writes(ward, mark, one.name)
        assert stage < boot
        assert (commit - boot).total_seconds() >= 2.0, "it was Ready for so long before the commit"


def test_f63_a_node_made_anew_under_its_name_begins_anew(ward: Ward) -> None:
    with ward.scenarios("anew") as one:
        one.load(replicas=2, budget=ONE_AWAY)
        one.start()
        until(lambda: marked(ward.cluster, one.name), "the drain")
        before = node(ward.cluster, one.name)["metadata"]["uid"]
        for workload in one.workloads:
            workload.remove()
        time.sleep(1.0)  # order ids have a second between them
        ward.fleet.replace(one.name)
        one.wait("Complete")
        assert node(ward.cluster, one.name)["metadata"]["uid"] != before
        assert one.boots == [1]
        assert one.traces == []


def test_f63_an_object_that_was_deleted_is_made_anew_and_its_orders_are_taken(ward: Ward) -> None:
    """Its node has seen orders that nobody knows of any more."""
    with ward.scenarios("amnesia") as one, ward.witness() as witness:
        one.start()
        one.wait("Complete")
        time.sleep(1.0)  # order ids have a second between them
        ward.cluster.api.delete(f"{NODE_OSES}/{one.name}")
        one.change(release=release("v3"))
        until(lambda: one.status.get("release") == release("v3"), "the new target to be seen")
        one.wait("Complete")
        assert one.runs(release("v3")) == [True]
        assert witness.orders(one.name) == ["Stage", "Boot", "Commit"] * 2
        assert one.boots == [2]


# F64: too much has failed, and a person goes on


def test_f64_after_a_halt_no_node_is_touched_until_a_person_resumes(ward: Ward) -> None:
    with ward.scenarios("halt", 3) as three, ward.witness() as witness:
        three.fault(three.names[1], returns_in_old_slot=True)
        three.start(retry=ONCE)
        three.wait("Halted")
        until(lambda: three.traces == [], "all to be given back")
        time.sleep(1.5)
        assert three.boots == [1, 1, 0]
        assert witness.seen(three.names[2]).cordons == 0
        three.fault(returns_in_old_slot=False)
        three.change(attempt=1)
        three.change(attempt=1)
        three.wait("Complete")
        assert three.boots == [1, 2, 1]
        assert witness.wrong == []


# F65: the control plane


def test_f65_no_node_of_the_control_plane_goes_while_another_is_away(ward: Ward) -> None:
    with ward.scenarios("heads", 3, control_plane=True) as three, ward.witness() as witness:
        three.fault(three.names[2], never_returns=True)
        ward.fleet.reboot(three.names[2])
        until(lambda: "True" not in _ready(ward.cluster, three.names[2]), "it to be away")
        three.start(maxUnavailable=3)
        until(lambda: three.status.get("counts", {}).get("staged") == 2, "the others to have the release")
        time.sleep(1.5)
        assert [witness.seen(name).cordons for name in three.names] == [0, 0, 0]
        three.fault(never_returns=False)
        three.wait("Complete")
        assert witness.most_away == 1


# F66: what a person does in the middle


def test_f66_a_rollout_that_is_deleted_leaves_no_cordon(ward: Ward) -> None:
    with ward.scenarios("gone") as one:
        one.load(replicas=2, budget=ONE_AWAY)
        one.start()
        until(lambda: marked(ward.cluster, one.name), "the drain")
        ward.cluster.api.delete(f"{OS_ROLLOUTS}/{one.rollout}")
        until(lambda: one.traces == [], "the node to be given back")
        assert one.boots == [0]


def test_f66_a_rollout_that_is_deleted_during_a_trial_leaves_the_node_as_it_was(ward: Ward) -> None:
    with ward.scenarios("undone") as one, ward.witness() as witness:
        agent = ward.fleet.machines[one.name].agent
        agent.timing = dataclasses.replace(agent.timing, trial=2.0)
        one.start(health={"readySeconds": 60, "timeout": "5m"})
        until(lambda: ward.fleet.status(one.name).phase == Phase.TRIAL, "the trial")
        ward.cluster.api.delete(f"{OS_ROLLOUTS}/{one.rollout}")
        time.sleep(0.5)
        assert cordoned(ward.cluster, one.name)
        until(lambda: one.traces == [], "the node to be given back")
        assert one.runs(FACTORY) == [True]
        assert witness.orders(one.name) == ["Stage", "Boot"]


def test_f66_another_target_in_the_middle(ward: Ward) -> None:
    with ward.scenarios("target", 2) as two, ward.witness() as witness:
        load = two.load(two.names[0], replicas=2, budget=ONE_AWAY)
        two.start()
        until(lambda: marked(ward.cluster, two.names[0]), "the drain")
        two.change(release=release("v3"))
        until(lambda: two.status.get("release") == release("v3"), "the new target to be seen")
        load.unguard()
        two.wait("Complete")
        assert two.runs(release("v3")) == [True, True]
        assert two.boots == [1, 1]
        assert witness.wrong == []
        assert two.traces == []


def test_f66_a_pause_lets_who_is_under_way_finish(ward: Ward) -> None:
    with ward.scenarios("pause", 2) as two:
        load = two.load(two.names[0], replicas=2, budget=ONE_AWAY)
        two.start()
        until(lambda: marked(ward.cluster, two.names[0]), "the drain")
        two.change(paused=True)
        load.unguard()
        two.wait("Paused")
        assert two.boots == [1, 0]
        assert two.traces == []


def test_f66_a_cordon_of_a_person_stays(ward: Ward) -> None:
    with ward.scenarios("mine") as one:
        ward.cluster.kubectl("cordon", one.name)
        one.start(cordoned="Include")
        one.wait("Complete")
        assert one.boots == [1]
        assert one.traces == [f"{one.name}: cordoned"]


def test_c10_a_node_that_a_person_has_cordoned_is_not_started_before_they_give_it_back(ward: Ward) -> None:
    """It is unavailable, so it takes a place of the budget all the same."""
    with ward.scenarios("theirs", 2) as two:
        ward.cluster.kubectl("cordon", two.names[0])
        two.start(maxUnavailable=2)
        until(lambda: two.boots == [0, 1], "the other node to be updated")
        ward.cluster.kubectl("uncordon", two.names[0])
        two.wait("Complete")
        assert two.boots == [1, 1]
        assert two.traces == []


def test_f66_a_cordon_that_a_person_takes_away_is_not_set_again(ward: Ward) -> None:
    with ward.scenarios("taken") as one, ward.witness() as witness:
        one.load(replicas=2, budget=ONE_AWAY)
        one.start()
        until(lambda: cordoned(ward.cluster, one.name), "the cordon")
        ward.cluster.kubectl("uncordon", one.name)
        until(lambda: record(ward.cluster, one.name).get("reason") == "Uncordoned", "the node to be parked")
        until(lambda: one.traces == [], "the mark to go")
        assert witness.seen(one.name).cordons == 1
        until(lambda: one.status["counts"].get("parked") == 1, "it to count as parked")
        assert one.boots == [0]


def test_f66_a_node_that_a_person_holds_waits_for_them(ward: Ward) -> None:
    with ward.scenarios("hold", 2) as two:
        load = two.load(two.names[0], replicas=2, budget=ONE_AWAY)
        annotate(ward.cluster, two.names[1], hold="a disk is changed")
        two.start()
        until(lambda: cordoned(ward.cluster, two.names[0]), "the cordon")
        annotate(ward.cluster, two.names[0], hold="wait")
        until(lambda: not cordoned(ward.cluster, two.names[0]), "the node to be given back")
        load.unguard()
        time.sleep(1.0)
        assert two.boots == [0, 0]
        assert two.status["counts"]["held"] == 2
        for name in two.names:
            annotate(ward.cluster, name, hold=None)
        two.wait("Complete")


# F67: all at once


def test_f67_no_more_nodes_fetch_a_release_than_may(ward: Ward) -> None:
    with ward.scenarios("herd", 10) as ten:
        ten.fault(slow_seconds=0.3)
        most = 0

        def staged() -> bool:
            nonlocal most
            phases = [ward.fleet.status(name).phase for name in ten.names]
            most = max(most, phases.count("Staging"))
            return phases.count("Staged") == 10

        ten.start(staging={"maxConcurrent": 3}, maxUnavailable=0)
        until(staged, "all to have it")
        assert most == 3


def _ready(cluster: ControlPlane, name: str) -> list[Any]:
    return [one["status"] for one in node(cluster, name)["status"]["conditions"] if one["type"] == "Ready"]
