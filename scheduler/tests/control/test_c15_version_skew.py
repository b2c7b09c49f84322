"""Definitions and proxies of another version than the scheduler are told of, when its term begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from proa.scheduler.control.version_skew import skew
from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.spec.crd import RESOURCES, REVISION, ROLLOUTS, Resource
from proa.scheduler.testing.apiserver import ApiServer
from proa.scheduler.testing.controlled import Case, assert_all_is_well
from proa.scheduler.testing.fields import copied

OWN = "proa-system/proa-scheduler-1"
NEW, OLD = "registry.example/proa:2", "registry.example/proa:1"


def pod(image: str) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "main", "image": image}]}}


def a_cluster(proxies: str = NEW, revisions: Mapping[str, str] | None = None) -> ApiServer:
    """What is installed; ``revisions`` are other ones, by the name of a definition."""
    server = ApiServer()
    for resource in RESOURCES.values():
        found = copied(resource.definition)
        name = found["metadata"]["name"]
        if name in (revisions or {}):
            found["metadata"]["annotations"][REVISION] = (revisions or {})[name]
        server.add(paths.named(paths.DEFINITIONS, name), found)
    server.add("/api/v1/namespaces/proa-system/pods/proa-scheduler-1", pod(NEW))
    labels = {"app.kubernetes.io/name": "proa", "app.kubernetes.io/component": "proxy"}
    others = {"app.kubernetes.io/name": "net", "app.kubernetes.io/component": "proxy"}
    for name, of, image in (("proa-proxy", labels, proxies), ("net", others, OLD)):
        path = f"/apis/apps/v1/namespaces/{name}/daemonsets/{name}"
        metadata = {"name": name, "namespace": name, "labels": of}
        server.add(path, {"metadata": metadata, "spec": {"template": pod(image)}})
    return server


def test_c15_one_version_of_all_is_no_skew() -> None:
    assert skew(a_cluster(), OWN) == ()


def test_c15_proxies_that_are_behind_are_told_with_both_images() -> None:
    (said,) = skew(a_cluster(proxies=OLD), OWN)
    assert f"the proxies run {OLD}, and the scheduler {NEW}" in said
    assert skew(a_cluster(proxies=OLD), "") == ()


def test_c15_definitions_of_another_version_are_named() -> None:
    (said,) = skew(a_cluster(revisions={"nodeoses.proa.dev": "0123456789abcdef"}), OWN)
    assert "nodeoses.proa.dev is of another version" in said


def test_c15_definitions_from_before_there_was_a_revision_are_of_another_version() -> None:
    server = a_cluster()
    server.change(paths.named(paths.DEFINITIONS, "osrollouts.proa.dev"), metadata={"annotations": None})
    (said,) = skew(server, OWN)
    assert "osrollouts.proa.dev" in said


def test_c15_rights_that_are_older_are_told() -> None:
    server = a_cluster()
    server.fail(lambda _, path: ApiError(403, "forbidden") if paths.DEFINITIONS in path else None)
    assert ["may not read" in said for said in skew(server, OWN)] == [True, True]


@pytest.mark.parametrize("status", [0, 500])
def test_c15_what_cannot_be_known_now_is_an_error(status: int) -> None:
    server = a_cluster()
    server.fail(lambda _, path: ApiError(status, "away") if paths.DEFINITIONS in path else None)
    with pytest.raises(ApiError, match="away"):
        skew(server, OWN)


def test_c15_a_definition_that_changes_has_another_revision() -> None:
    def revision(resource: Resource) -> str:
        return str(resource.definition["metadata"]["annotations"][REVISION])

    assert revision(dataclasses.replace(ROLLOUTS)) == revision(ROLLOUTS)
    assert revision(dataclasses.replace(ROLLOUTS, columns=ROLLOUTS.columns[1:])) != revision(ROLLOUTS)


def test_c15_each_rollout_hears_of_it_once_and_goes_on() -> None:
    case = Case()
    case.controller.skew = lambda: ("the proxies run 1, and the scheduler 2",)
    case.until(lambda: case.phase == "Complete", turns=800)
    assert case.ears.heard.count(("workers", "VersionSkew")) == 1
    assert_all_is_well(case)


def test_c15_what_was_seen_in_an_earlier_term_is_not_told_again() -> None:
    def away() -> tuple[str, ...]:
        raise ApiError(503, "away")

    case = Case()
    case.controller.skew = lambda: ("the proxies run 1, and the scheduler 2",)
    case.until(lambda: ("workers", "VersionSkew") in case.ears.heard)
    case.ears.heard.clear()
    case.controller.skew = away
    case.elector.fence += 1
    case.until(lambda: case.phase == "Complete", turns=800)
    assert ("workers", "VersionSkew") not in case.ears.heard


def test_c15_an_api_server_in_trouble_delays_nothing() -> None:
    def away() -> tuple[str, ...]:
        raise ApiError(503, "away")

    case = Case()
    case.controller.skew = away
    case.until(lambda: case.phase == "Complete", turns=800)
    assert ("workers", "VersionSkew") not in case.ears.heard
    assert_all_is_well(case)
