"""What an API server does, as a script that runs against the real one and the simulated one.

Each function is one behaviour that the scheduler relies on; it gets a client and a namespace of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pytest

from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.paths import named
from proa.scheduler.kube.server import Server
from proa.scheduler.kube.stream import Event, Object, number_of, version_of
from proa.scheduler.spec.crd import NODE_OSES


def maps(space: str) -> str:
    """The config maps of a namespace."""
    return f"/api/v1/namespaces/{space}/configmaps"


def a_map(name: str, data: Mapping[str, str] | None = None, **metadata: Any) -> Object:
    """A config map."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": dict(data or {})}


def a_pod(name: str) -> Object:
    """A pod that no node has."""
    containers = [{"name": "main", "image": "registry.test/main"}]
    spec = {"containers": containers, "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def refused(ask: Callable[[], object], status: int, reason: str) -> ApiError:
    """The refusal of a request, which has to be this one."""
    with pytest.raises(ApiError) as caught:
        ask()
    assert (caught.value.status, caught.value.reason) == (status, reason), caught.value
    return caught.value


def what_is_there_is_not_created_again(api: Server, space: str) -> None:
    """A name is taken once."""
    made = api.create(maps(space), a_map("one", {"a": "1"}))
    assert made["metadata"]["uid"]
    refused(lambda: api.create(maps(space), a_map("one")), 409, "AlreadyExists")
    assert api.get(named(maps(space), "one"))["data"] == {"a": "1"}


def what_is_not_there_is_not_found(api: Server, space: str) -> None:
    """Neither read, nor changed, nor deleted, nor evicted."""
    path = named(maps(space), "none")
    refused(lambda: api.get(path), 404, "NotFound")
    refused(lambda: api.merge(path, {"data": {"a": "1"}}), 404, "NotFound")
    refused(lambda: api.delete(path), 404, "NotFound")
    refused(lambda: api.evict(space, "none"), 404, "NotFound")


def a_merge_takes_away_what_is_null(api: Server, space: str) -> None:
    """And what it does not name stays; one that changes nothing makes no new version."""
    before = api.create(maps(space), a_map("one", {"a": "1", "b": "2"}))
    path = named(maps(space), "one")
    after = api.merge(path, {"data": {"a": None, "c": "3"}})
    assert after["data"] == {"b": "2", "c": "3"}
    assert number_of(version_of(after)) > number_of(version_of(before))
    assert number_of(version_of(api.merge(path, {"data": {"c": "3"}}))) == number_of(version_of(after))


def a_write_on_an_old_version_is_a_conflict(api: Server, space: str) -> None:
    """Where it names one."""
    old = api.create(maps(space), a_map("one"))["metadata"]["resourceVersion"]
    path = named(maps(space), "one")
    api.merge(path, {"data": {"a": "1"}})
    refused(lambda: api.merge(path, {"metadata": {"resourceVersion": old}, "data": {"a": "2"}}), 409, "Conflict")
    assert api.get(path)["data"] == {"a": "1"}


def a_write_to_another_object_of_the_name_is_refused(api: Server, space: str) -> None:
    """By a merge as invalid, by a delete as a conflict."""
    api.create(maps(space), a_map("one"))
    path = named(maps(space), "one")
    other = "00000000-0000-0000-0000-000000000000"
    error = refused(lambda: api.merge(path, {"metadata": {"uid": other}, "data": {"a": "1"}}), 422, "Invalid")
    assert [one.field for one in error.causes] == ["metadata.uid"]
    refused(lambda: api.delete(path, uid=other), 409, "Conflict")
    api.delete(path, uid=api.get(path)["metadata"]["uid"])
    refused(lambda: api.get(path), 404, "NotFound")


def a_finalizer_is_waited_for(api: Server, space: str) -> None:
    """What is deleted stays until it has none any more."""
    api.create(maps(space), a_map("one", finalizers=["proa.dev/test"]))
    path = named(maps(space), "one")
    api.delete(path)
    assert api.get(path)["metadata"]["deletionTimestamp"]
    api.merge(path, {"metadata": {"finalizers": []}})
    refused(lambda: api.get(path), 404, "NotFound")


def an_apply_says_all_that_is_ours(api: Server, space: str) -> None:
    """What it said before and does not say any more goes; what others wrote stays."""
    path = named(maps(space), "one")
    api.apply(path, a_map("one", {"a": "1", "b": "2"}), force=True)
    api.merge(path, {"data": {"theirs": "3"}})
    assert api.apply(path, a_map("one", {"b": "2"}), force=True)["data"] == {"b": "2", "theirs": "3"}


def what_others_own_is_taken_over_by_force_alone(api: Server, space: str) -> None:
    """An apply of another value is a conflict else."""
    api.create(maps(space), a_map("one", {"a": "1"}))
    path = named(maps(space), "one")
    error = refused(lambda: api.apply(path, a_map("one", {"a": "2"}), force=False), 409, "Conflict")
    assert "FieldManagerConflict" in {one.reason for one in error.causes}
    assert api.apply(path, a_map("one", {"a": "2"}), force=True)["data"] == {"a": "2"}


def what_both_own_stays_when_one_lets_go(api: Server, space: str) -> None:
    """An apply of the value that others wrote makes two owners."""
    api.create(maps(space), a_map("one", {"a": "1"}))
    path = named(maps(space), "one")
    api.apply(path, a_map("one", {"a": "1"}), force=True)
    empty = {key: value for key, value in a_map("one").items() if key != "data"}
    assert api.apply(path, empty, force=True)["data"] == {"a": "1"}


def an_apply_to_one_that_is_gone_makes_no_other(api: Server, space: str) -> None:
    """Where it names the object that is meant."""
    uid = "00000000-0000-0000-0000-000000000000"
    refused(lambda: api.apply(named(maps(space), "one"), a_map("one", uid=uid), force=True), 409, "Conflict")


def a_status_is_written_by_itself(api: Server, space: str) -> None:
    """And neither with the rest, nor the rest with it."""
    body = {"apiVersion": "proa.dev/v1alpha1", "kind": "NodeOS", "metadata": {"name": space}, "spec": {}}
    path = named(NODE_OSES, space)
    try:
        assert "status" not in api.create(NODE_OSES, {**body, "status": {"phase": "Good"}})
        assert "status" not in api.merge(path, {"status": {"phase": "Good"}})
        annotated = {"metadata": {"annotations": {"a": "b"}}, "status": {"phase": "Good"}}
        made = api.merge(f"{path}/status", annotated)
        assert made["status"] == {"phase": "Good"}
        assert "annotations" not in made["metadata"]
    finally:
        api.delete(path)


def a_collection_comes_in_pages(api: Server, space: str) -> None:
    """In the order of names."""
    for name in ("c", "a", "b"):
        api.create(maps(space), a_map(f"page-{name}"))
    wanted = {"fieldSelector": "metadata.name!=kube-root-ca.crt", "limit": "2"}
    found = [[one["metadata"]["name"] for one in page["items"]] for page in api.pages(maps(space), wanted)]
    assert [name for page in found for name in page] == ["page-a", "page-b", "page-c"]
    assert len(found) > 1


def selectors_choose(api: Server, space: str) -> None:
    """By labels and by fields."""
    for name, labels in (("a", {"app": "web"}), ("b", {"app": "db"}), ("c", {})):
        api.create(maps(space), a_map(name, labels=labels))

    def names(**query: str) -> list[str]:
        found = [one["metadata"]["name"] for page in api.pages(maps(space), query) for one in page["items"]]
        return [name for name in found if name != "kube-root-ca.crt"]

    assert names(labelSelector="app=web") == ["a"]
    assert names(labelSelector="app!=web") == ["b", "c"]
    assert names(labelSelector="app") == ["a", "b"]
    assert names(labelSelector="!app") == ["c"]
    assert names(fieldSelector="metadata.name=b") == ["b"]


def told(events: Iterator[Event], count: int) -> list[tuple[str, str]]:
    """The next events that are no bookmarks: kind, and name."""
    found: list[tuple[str, str]] = []
    while len(found) < count:
        event = next(events)
        if event.type != "BOOKMARK":
            found.append((event.type, event.object["metadata"]["name"]))
    return found


MINE: Final = {"labelSelector": "app=web", "allowWatchBookmarks": "true", "timeoutSeconds": "600"}
FROM_THE_START: Final = {**MINE, "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}


def a_watch_tells_what_is_there_and_what_happens(api: Server, space: str) -> None:
    """A bookmark stands between; what a selector does not choose any more is gone."""
    api.create(maps(space), a_map("a", labels={"app": "web"}))
    with api.stream(maps(space), FROM_THE_START) as watch:
        events = iter(watch)
        assert told(events, 1) == [("ADDED", "a")]
        mark = next(events)
        assert mark.type == "BOOKMARK"
        assert mark.object["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true"
        api.create(maps(space), a_map("b", labels={"app": "web"}))
        api.create(maps(space), a_map("other", labels={"app": "db"}))
        api.merge(named(maps(space), "a"), {"data": {"x": "1"}})
        api.merge(named(maps(space), "a"), {"metadata": {"labels": {"app": "db"}}})
        api.delete(named(maps(space), "b"))
        assert told(events, 4) == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "a"), ("DELETED", "b")]


def a_watch_goes_on_from_a_version(api: Server, space: str) -> None:
    """What happened since is told, and nothing twice."""
    first = api.create(maps(space), a_map("a", labels={"app": "web"}))
    api.merge(named(maps(space), "a"), {"data": {"x": "1"}})
    api.create(maps(space), a_map("b", labels={"app": "web"}))
    since = {**MINE, "resourceVersion": first["metadata"]["resourceVersion"]}
    with api.stream(maps(space), since) as watch:
        assert told(iter(watch), 2) == [("MODIFIED", "a"), ("ADDED", "b")]


def an_eviction_deletes_the_pod_that_is_meant(api: Server, space: str) -> None:
    """And no other of its name; one that no node has is gone at once."""
    pods = f"/api/v1/namespaces/{space}/pods"
    uid = api.create(pods, a_pod("web"))["metadata"]["uid"]
    refused(lambda: api.evict(space, "web", uid="00000000-0000-0000-0000-000000000000"), 409, "Conflict")
    api.evict(space, "web", uid=uid)
    refused(lambda: api.get(named(pods, "web")), 404, "NotFound")


def a_full_budget_refuses_an_eviction(api: Server, space: str, pod: str) -> None:
    """It says which budget; ``pod`` runs, and a budget that lets none go is about it."""
    error = refused(lambda: api.evict(space, pod), 429, "TooManyRequests")
    assert "DisruptionBudget" in {one.reason for one in error.causes}
    assert "deletionTimestamp" not in api.get(f"/api/v1/namespaces/{space}/pods/{pod}")["metadata"]


BEHAVIOURS: Final[tuple[Callable[[Server, str], None], ...]] = (
    what_is_there_is_not_created_again,
    what_is_not_there_is_not_found,
    a_merge_takes_away_what_is_null,
    a_write_on_an_old_version_is_a_conflict,
    a_write_to_another_object_of_the_name_is_refused,
    a_finalizer_is_waited_for,
    an_apply_says_all_that_is_ours,
    what_others_own_is_taken_over_by_force_alone,
    what_both_own_stays_when_one_lets_go,
    an_apply_to_one_that_is_gone_makes_no_other,
    a_status_is_written_by_itself,
    a_collection_comes_in_pages,
    selectors_choose,
    a_watch_tells_what_is_there_and_what_happens,
    a_watch_goes_on_from_a_version,
    an_eviction_deletes_the_pod_that_is_meant,
)
