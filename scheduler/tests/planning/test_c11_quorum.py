"""Quorum is more than a label: members of etcd, and who lost the label but not the taint, go one at a time."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.objects import reading
from proa.scheduler.objects.annotations import MIRROR
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import QUORUM, NodeView, with_static_pods
from proa.scheduler.report.source import snapshot_of
from proa.scheduler.spec.rollout import ControlPlane, Turns, Zones
from proa.scheduler.testing.controlled import Case
from proa.scheduler.testing.situations import Part, change, node_os, planned, ready

SPEC = change(max_unavailable=3, order=Turns(zones=Zones.IGNORE))


def labelled(name: str, label: str) -> Part:
    view = ready(name)[0]
    return dataclasses.replace(view, labels={**view.labels, label: ""}), node_os(name)


def tainted(name: str, taint: str) -> Part:
    return ready(name, role=taint)


@pytest.mark.parametrize("key", sorted(QUORUM))
def test_c11_they_are_started_one_at_a_time(key: str) -> None:
    for parts in ([labelled(f"n{one}", key) for one in range(3)], [tainted(f"n{one}", key) for one in range(3)]):
        assert [one.node for one in planned(*parts, spec=SPEC).actions] == ["n0"]


@pytest.mark.parametrize("key", sorted(QUORUM))
def test_c11_one_that_is_away_holds_the_others_back(key: str) -> None:
    view, its = labelled("n1", key)
    made = planned((dataclasses.replace(view, ready=False), its), tainted("n2", key), spec=SPEC)
    assert made.verdicts["n2"].reason is Reason.ControlPlaneBusy


def test_c11_they_have_the_turn_of_the_control_plane() -> None:
    etcd = labelled("n1", "node-role.kubernetes.io/etcd")
    assert planned(etcd, ready("n2"), spec=SPEC).verdicts["n1"].reason is Reason.ControlPlaneLater
    spec = change(order=Turns(control_plane=ControlPlane.EXCLUDE))
    assert planned(etcd, ready("n2"), spec=spec).verdicts["n1"].reason is Reason.ControlPlaneExcluded


def static_pod(node: str, **annotations: str) -> dict[str, Any]:
    metadata = {"namespace": "kube-system", "name": f"etcd-{node}", "annotations": annotations}
    return {"metadata": {**metadata, "labels": {"tier": "control-plane"}}, "spec": {"nodeName": node}}


def test_c11_static_pods_tell_what_labels_and_taints_do_not() -> None:
    """Somebody has removed both, as from the only nodes of a small cluster."""
    views = {name: ready(name)[0] for name in ("n1", "n2", "n3")}
    mirrored = [reading.host(static_pod(name, **{MIRROR: "hash"})) for name in ("n1", "n2", "gone")]
    found = with_static_pods(views, [*mirrored, reading.host(static_pod("n3"))])
    assert [found[name].control_plane for name in sorted(found)] == [True, True, False]
    made = planned(*((view, node_os(name)) for name, view in found.items()), spec=SPEC)
    assert [one.node for one in made.actions] == ["n3"]
    assert with_static_pods(views, []) is views


def test_c11_the_scheduler_and_people_look_at_static_pods() -> None:
    case = Case(nodes=2, maxUnavailable=2)
    for name in ("n0", "n1"):
        case.server.add(f"{paths.STATIC_PODS}/etcd-{name}", static_pod(name, **{MIRROR: "hash"}))
    case.until(lambda: case.phase == "Complete", turns=800)
    assert case.most_away == 1
    assert [one.role for one in snapshot_of(case.server).nodes.values()] == ["static pods"] * 2
    case.server.fail(lambda _, path: ApiError(403, "no") if path == paths.STATIC_PODS else None)
    assert [one.role for one in snapshot_of(case.server).nodes.values()] == ["", ""]


@pytest.mark.parametrize("key", sorted(QUORUM))
def test_c11_a_taint_is_read_whatever_became_of_the_label(key: str) -> None:
    item = {"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "other"}, {"key": key, "effect": "NoSchedule"}]}}
    found: NodeView = reading.node(item)
    assert (found.role, found.control_plane) == (key, True)


@pytest.mark.parametrize("taints", [None, [], ["x"], [{"key": 7}], [{"key": "node-role.kubernetes.io/worker"}]])
def test_c11_other_taints_make_nobody_of_the_control_plane(taints: object) -> None:
    assert not reading.node({"metadata": {"name": "n1"}, "spec": {"taints": taints}}).control_plane
