"""Settings through the cluster, with the real scheduler on the real API server and simulated nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from proa.core.runtime.errors import ProaError
from proa.core.settings.document import EMPTY, Document
from proa.scheduler.spec.crd import NODE_OSES, OS_ROLLOUTS
from proa.vm.kube.api import MERGE
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.releases import release
from proa.vm.simulated.rollouts import events, marked, record
from proa.vm.simulated.scenarios import Scenarios, Ward, opened
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
CALM = {"sysctl": {"vm.swappiness": 10}}
SECONDS = 10.0
"""In which twelve nodes have a kernel parameter."""


@pytest.fixture(scope="module")
def ward(control_plane: ControlPlane) -> Iterator[Ward]:
    with opened(control_plane) as found:
        yield found


def hashes(ward: Ward, some: Scenarios) -> set[str]:
    """The hashes of what is committed on the nodes."""
    told = [ward.fleet.status(name).settings for name in some.names]
    return {one.hash for one in told if one is not None}


def digest(settings: dict[str, Any]) -> str:
    return Document(settings).digest


def test_twelve_nodes_get_a_parameter_within_seconds_and_none_is_disturbed(ward: Ward) -> None:
    with ward.scenarios("calm", 12, zones=3) as twelve, ward.witness() as witness:
        twelve.start(health={"readySeconds": 0}, maxUnavailable=4, order={"zones": "Ignore"})
        twelve.wait("Complete")
        boots, seen = twelve.boots, {name: witness.seen(name).cordons for name in twelve.names}
        began = time.monotonic()
        twelve.change(settings=CALM)
        until(lambda: hashes(ward, twelve) == {digest(CALM)}, "all nodes to have it")
        twelve.wait("Complete")
        assert time.monotonic() - began <= SECONDS
        assert twelve.boots == boots
        assert {name: witness.seen(name).cordons for name in twelve.names} == seen, "no node was cordoned for it"
        assert twelve.traces == []
        assert twelve.status["settings"] == digest(CALM)


def test_a_release_and_settings_come_together(ward: Ward) -> None:
    with ward.scenarios("both", 3) as three:
        three.start(health={"readySeconds": 0}, settings=CALM)
        three.wait("Complete")
        assert (hashes(ward, three), three.boots) == ({digest(CALM)}, [1, 1, 1])
        three.change(release=release("v3"), settings={"kubelet": {"maxPods": 200}})
        until(lambda: three.status.get("release") == release("v3"), "the new target to be seen")
        three.wait("Complete")
        assert (hashes(ward, three), three.boots) == ({digest({**CALM, "kubelet": {"maxPods": 200}})}, [2, 2, 2])


def test_what_a_daemon_does_not_take_halts_at_the_canary_and_is_told_with_its_last_lines(ward: Ward) -> None:
    with ward.scenarios("bad", 4) as four:
        four.start(health={"readySeconds": 0}, canary={"nodes": 1, "soak": "1s"}, maxUnavailable=4, settings=CALM)
        four.wait("Complete")
        four.fault(bad_settings=True)
        four.change(settings={"kubelet": {"maxPods": 11}})
        halted = four.wait("Halted")["halted"]
        assert "SETTINGS_FAILED" in halted
        (name,) = (one for one in four.names if f"{one} (" in halted)
        assert "its last lines: invalid configuration" in record(ward.cluster, name)["message"]
        time.sleep(1.0)
        assert hashes(ward, four) == {digest(CALM)}
        failed = [_failed(ward, one) for one in four.names]
        assert sum(map(bool, failed)) == 1, "the others were never asked"
        until(lambda: any(name in note or "Halted" in note for note in events(ward.cluster, "Halted")), "the event")
        four.fault(bad_settings=False)
        four.change(attempt=1)
        until(lambda: hashes(ward, four) == {digest({**CALM, "kubelet": {"maxPods": 11}})}, "the second attempt")


def _failed(ward: Ward, name: str) -> str:
    told = ward.fleet.status(name).settings
    return told.failed_hash if told is not None else ""


def test_a_node_refuses_what_its_release_does_not_allow_whatever_the_cluster_says(ward: Ward) -> None:
    with ward.scenarios("hostile", 2) as two:
        two.start(health={"readySeconds": 0})
        two.wait("Complete")
        two.change(settings={"sysctl": {"vm.max_map_count": 262144}})
        assert "SETTINGS_REFUSED" in two.wait("Halted")["halted"]
        assert hashes(ward, two) == {EMPTY.digest}


def test_what_can_never_be_set_is_refused_before_any_node_is_asked(ward: Ward) -> None:
    with ward.scenarios("never", 1) as one, ward.witness() as witness:
        one.start(settings={"kubelet": {"staticPodPath": "/x"}, "sysctl": {"vm.swappiness": 999}})
        told = one.wait("Invalid")
        (valid,) = (found for found in told["conditions"] if found["type"] == "Valid")
        assert valid["reason"] == "InvalidSettings"
        assert "staticPodPath" in valid["message"]
        assert "vm.swappiness: 999 is not allowed" in valid["message"]
        assert witness.orders(one.name) == []


@pytest.mark.parametrize("settings", [7, "x", [], True])
def test_what_is_no_table_is_refused_by_the_api_server(ward: Ward, settings: object) -> None:
    with ward.scenarios("typed", 1) as one:
        one.start()
        with pytest.raises(ProaError) as caught:
            ward.cluster.api.patch(f"{OS_ROLLOUTS}/{one.rollout}", {"spec": {"settings": settings}}, MERGE)
        assert "answered 422" in caught.value.message


def test_pods_go_first_where_a_setting_disturbs_them(ward: Ward) -> None:
    with ward.scenarios("drains", 1) as one:
        one.start(health={"readySeconds": 0})
        one.wait("Complete")
        load = one.load(replicas=2, budget={"maxUnavailable": 1})
        one.change(settings={"kubelet": {"maxPods": 100}}, settingsDisruption="Drain")
        until(lambda: marked(ward.cluster, one.name), "the drain")
        order = ward.cluster.api.get(f"{NODE_OSES}/{one.name}")["spec"]["order"]
        assert order["action"] != "Configure"
        load.unguard()
        one.wait("Complete")
        assert (one.boots, one.traces) == ([1], [])
        one.change(settings={"kubelet": {"maxPods": 101}}, settingsDisruption="None")
        until(lambda: "DisturbsMore" in ward.scheduler.ask(), "the reason to be told")
        assert hashes(ward, one) == {digest({"kubelet": {"maxPods": 100}})}
