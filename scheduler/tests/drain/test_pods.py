"""What is kept of pods, whatever stands in them, and what becomes of each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.scheduler.drain.pods import PodFate, PodView, ends_by, fate, project
from proa.scheduler.spec.rollout import Drain, UnmanagedPods

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWNER = {"kind": "ReplicaSet", "name": "web", "controller": True}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def a_pod(**changes: Any) -> dict[str, Any]:
    metadata = {"namespace": "shop", "name": "web-1", "uid": "p1", "labels": {"app": "web"}, "ownerReferences": [OWNER]}
    metadata |= changes.pop("metadata", {})
    return {"metadata": metadata, "spec": {}, "status": {"phase": "Running"}, **changes}


def test_what_is_kept() -> None:
    volumes: list[dict[str, Any]] = [
        {"emptyDir": {}},
        {"persistentVolumeClaim": {"claimName": "data"}},
        {"persistentVolumeClaim": {}},
        {"name": "scratch", "ephemeral": {}},
        {"configMap": {}},
    ]
    spec = {"volumes": volumes, "terminationGracePeriodSeconds": 90}
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    found = project(a_pod(spec=spec, status=status, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))
    assert found == PodView(
        key="shop/web-1",
        uid="p1",
        labels={"app": "web"},
        owner=("ReplicaSet", "web"),
        ready=True,
        empty_dir=True,
        claims=("shop/data", "shop/web-1-scratch"),
        deleting=NOW,
        grace=90,
    )
    assert (found.namespace, found.name) == ("shop", "web-1")


def test_labels_that_are_the_same_are_kept_once() -> None:
    before = project(a_pod())
    assert project(a_pod(), before).labels is before.labels


PARTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("labels", "annotations", "ownerReferences", "deletionTimestamp", "uid"), JSON),
        **dict.fromkeys(("volumes", "terminationGracePeriodSeconds", "phase", "conditions"), JSON),
    },
)


@settings(max_examples=40)
@given(PARTS, JSON | PARTS, JSON | PARTS)
def test_no_pod_is_too_strange(metadata: dict[str, Any], spec: object, status: object) -> None:
    item = {"metadata": {**metadata, "namespace": "shop", "name": "x"}, "spec": spec, "status": status}
    found = project(item)
    assert fate(found, Drain())[0] in PodFate
    assert project(item, found) == found
    assert hash(found.key)
    assert ends_by(found, NOW)


@pytest.mark.parametrize("grace", [-(1 << 62), -1, 0, 30, 1 << 62])
def test_any_grace_is_a_point_in_time(grace: int) -> None:
    item = {"metadata": {"namespace": "shop", "name": "x"}, "spec": {"terminationGracePeriodSeconds": grace}}
    assert ends_by(project(item), NOW) >= NOW


@pytest.mark.parametrize(
    ("view", "policy", "what"),
    [
        (PodView("a/b", "u", {}, ("ReplicaSet", "x")), Drain(), PodFate.GOES),
        (PodView("a/b", "u", {}, ("DaemonSet", "x")), Drain(), PodFate.STAYS),
        (PodView("a/b", "u", {}, mirror=True), Drain(), PodFate.STAYS),
        (PodView("a/b", "u", {}, finished=True), Drain(), PodFate.STAYS),
        (PodView("a/b", "u", {}), Drain(), PodFate.BLOCKED),
        (PodView("a/b", "u", {}), Drain(unmanaged_pods=UnmanagedPods.DELETE), PodFate.GOES),
        (PodView("a/b", "u", {}, deleting=NOW), Drain(), PodFate.GOES),
        (PodView("a/b", "u", {}, ("DaemonSet", "x"), deleting=NOW), Drain(), PodFate.STAYS),
        (PodView("a/b", "u", {}, ("ReplicaSet", "x"), empty_dir=True), Drain(), PodFate.GOES),
        (PodView("a/b", "u", {}, ("ReplicaSet", "x"), empty_dir=True), Drain(delete_empty_dir=False), PodFate.BLOCKED),
    ],
)
def test_what_becomes_of_it(view: PodView, policy: Drain, what: PodFate) -> None:
    found, why = fate(view, policy)
    assert found is what
    assert bool(why) is (what is PodFate.BLOCKED)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_what_has_ended_is_finished(phase: str) -> None:
    assert project(a_pod(status={"phase": phase})).finished


def test_only_a_controller_owns_a_pod() -> None:
    assert project(a_pod(metadata={"ownerReferences": [{"kind": "Node", "name": "n1"}]})).owner == ("", "")


def test_a_pod_of_a_file_is_a_mirror() -> None:
    assert project(a_pod(metadata={"annotations": {"kubernetes.io/config.mirror": "x"}})).mirror
