"""What ``kubectl proa settings`` tells of nodes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from proa.core.orders.messages import NodeStatus
from proa.core.runtime.errors import Code, ProaError
from proa.core.settings.document import Document
from proa.scheduler.planning.views import RolloutView, Snapshot
from proa.scheduler.report.settings_view import NodeSettings, settings_lines, settings_report
from proa.scheduler.simulation.node_status import UNSET, configured, reverted, tried
from proa.scheduler.spec.rolloutstatus import RolloutStatus
from proa.scheduler.testing.situations import HAS_OLD, RUNS_NEW, change, node, node_os, says

CALM = Document({"sysctl": {"vm.swappiness": 10}})
OTHER = Document({"sysctl": {"vm.swappiness": 20}, "limits": {"nofile": 4096}})
RUNS = says(RUNS_NEW, HAS_OLD, settings=UNSET)


def drifting(status: NodeStatus) -> NodeStatus:
    assert status.settings
    return dataclasses.replace(
        status, settings=dataclasses.replace(status.settings, drift=("sysctl.vm.swappiness: 60",))
    )


def seen(wanted: Document | None = CALM, **statuses: NodeStatus) -> Snapshot:
    settings: dict[str, Any] = {} if wanted is None else {"settings": wanted.models}
    status = RolloutStatus(settings_before=OTHER.canonical())
    rollouts = {"workers": RolloutView("workers", "uid", 1, change(**settings), status)}
    oses = {name: node_os(name, one) for name, one in statuses.items()}
    return Snapshot({name: node(name) for name in statuses}, oses, rollouts)


def only(snapshot: Snapshot, name: str = "workers") -> NodeSettings:
    (one,) = settings_report(snapshot, name).nodes
    return one


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (configured(RUNS, CALM), "Set"),
        (RUNS, "Differs"),
        (tried(RUNS, CALM), "Trial"),
        (reverted(RUNS, CALM.digest, "kubelet does not start"), "Failed"),
        (reverted(configured(RUNS, CALM), OTHER.digest, "an order"), "Set"),
        (drifting(configured(RUNS, CALM)), "Drifted"),
        (says(RUNS_NEW, HAS_OLD), "Unknown"),
    ],
)
def test_the_state_of_a_node(status: NodeStatus, state: str) -> None:
    assert only(seen(n1=status)).state == state
    assert only(seen(n1=status), "n1").rollout == "workers"


def test_without_settings_of_a_rollout_nobody_manages_them() -> None:
    assert (only(seen(None, n1=RUNS)).state, only(seen(None, n1=RUNS)).difference) == ("Unmanaged", ())


def test_where_they_differ() -> None:
    def told(status: NodeStatus) -> list[str]:
        return list(settings_lines(settings_report(seen(n1=status), "workers"), diff=True))[2:]

    assert told(RUNS) == ["n1: sysctl.vm.swappiness: (the release) -> 10"]
    assert told(configured(RUNS, OTHER)) == [
        "n1: limits.nofile: 4096 -> (the release)",
        "n1: sysctl.vm.swappiness: 20 -> 10",
    ]
    assert told(configured(RUNS, CALM)) == []
    (unknown,) = told(configured(RUNS, Document({"limits": {"nofile": 2048}})))
    assert "proa-agent settings show" in unknown


def test_what_is_to_be_seen_to_comes_first() -> None:
    bad = reverted(RUNS, CALM.digest, "kubelet does not start")
    found = settings_report(seen(n1=configured(RUNS, CALM), n2=bad, n3=RUNS), "workers")
    assert [one.node for one in found.nodes] == ["n2", "n3", "n1"]
    header, first, *_ = settings_lines(found, diff=False)
    assert header.split() == ["NODE", "SETTINGS", "HAS", "WANTED", "ROLLOUT", "REASON"]
    assert "kubelet does not start" in first


def test_a_name_that_is_nobodys() -> None:
    with pytest.raises(ProaError) as caught:
        settings_report(seen(n1=RUNS), "x")
    assert caught.value.code is Code.CLUSTER_MISSING
