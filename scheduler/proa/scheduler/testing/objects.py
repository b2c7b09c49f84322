"""The objects of a simulated API server: versions, definitions and namespaces, and watches of what happens to them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.paths import PODS
from proa.scheduler.kube.stream import Object
from proa.scheduler.testing.fields import copied, merged
from proa.scheduler.testing.watches import Watch, choice

Query = Mapping[str, str]
DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True)
class Place:
    """What a path is about.

    Attributes:
        api: ``/api/v1`` or ``/apis/GROUP/VERSION``.
        namespace: Empty for what is in none, and for a collection over all.
        plural: Such as ``nodes``.
        name: Empty for a collection.
        subresource: Such as ``status``.
    """

    api: str
    namespace: str
    plural: str
    name: str
    subresource: str

    @classmethod
    @functools.cache
    def of(cls, path: str) -> Place:
        """Take a path apart."""
        parts = path.strip("/").split("/")
        base = 2 if parts[0] == "api" else 3
        rest, namespace = parts[base:], ""
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        plural, name, subresource = (*rest, "", "", "")[:3]
        return cls("/" + "/".join(parts[:base]), namespace, plural, name, subresource)

    def __str__(self) -> str:
        group = self.api.split("/")[2] if self.api.startswith("/apis/") else ""
        return f'{self.plural}{group and f".{group}"} "{self.name}"'

    @property
    def collection(self) -> str:
        """The collection over all namespaces."""
        return f"{self.api}/{self.plural}"

    def holds(self, other: Place) -> bool:
        """Whether an object is in this collection."""
        return self.collection == other.collection and self.namespace in ("", other.namespace) and bool(other.name)


class Objects:
    """What there is, and what becomes of it.

    Attributes:
        version: The last resource version that was given out.
        items: All objects by their paths; tests may look, and change them by the methods for that.
        unserved: Collections that there are none of, as of a definition that was deleted.
        watches: Those under way.
    """

    def __init__(self) -> None:
        self.version = 100
        self.items: dict[str, Object] = {}
        self.unserved: set[str] = set()
        self.watches: list[Watch] = []
        self._history: list[tuple[int, str, Object, bool]] = []
        self._oldest = 0
        self._lock = threading.RLock()

    # what others do

    def add(self, path: str, item: Mapping[str, Any]) -> Object:
        """Somebody makes an object, or replaces it; as it is now."""
        with self._lock:
            made = copied(dict(item))
            made.setdefault("metadata", {}).setdefault("name", Place.of(path).name)
            made["metadata"].setdefault("uid", f"uid-{self.version + 1}")
            return copied(self._put(path, made))

    def change(self, path: str, **parts: Any) -> Object:
        """Somebody changes parts of an object, by a merge patch; as it is now."""
        with self._lock:
            return copied(self._put(path, merged(self._of(path), parts)))

    def remove(self, path: str) -> None:
        """Somebody deletes an object, and it is gone."""
        with self._lock:
            self._gone(path)

    def bookmark(self) -> None:
        """Send all watches a bookmark."""
        with self._lock:
            for watch in self._under_way():
                watch.bookmark(self.version)

    def cut(self, error: ApiError | None = None) -> None:
        """End all watches, with an error if there is one."""
        with self._lock:
            for watch in self._under_way():
                watch.end(error)

    def compact(self) -> None:
        """Forget what happened so far: who asks for it by an old version is told to list again."""
        with self._lock:
            self._history.clear()
            self._oldest = self.version

    # inside

    def _served(self, place: Place) -> None:
        if place.collection in self.unserved:
            raise ApiError(404, "the server could not find the requested resource", reason="NotFound")

    def _of(self, path: str) -> Object:
        self._served(Place.of(path))
        if path not in self.items:
            raise ApiError(404, f"{Place.of(path)} not found", reason="NotFound")
        return self.items[path]

    def _in(self, path: str, query: Query) -> list[tuple[str, Object]]:
        """The objects of a collection that are meant, by name."""
        place, chosen = Place.of(path), choice(query)
        self._served(place)
        return [(one, item) for one, item in sorted(self.items.items()) if place.holds(Place.of(one)) and chosen(item)]

    def _put(self, path: str, item: Object) -> Object:
        """Keep an object under a new version, if anything is new."""
        before = self.items.get(path)
        if before == item:
            return before
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self.items[path] = item
        if path.startswith(f"{DEFINITIONS}/"):
            self.unserved.discard(_defined(item))
        self._tell(path, item, gone=False)
        if "deletionTimestamp" in item["metadata"] and not item["metadata"].get("finalizers", ["?"]):
            self._gone(path)
        return item

    def _delete(self, path: str) -> None:
        """Delete an object, or mark it as going where a finalizer or a kubelet has to do something first."""
        item = self.items[path]
        on_a_node = Place.of(path).collection == PODS and item.get("spec", {}).get("nodeName")
        if item["metadata"].get("finalizers") or on_a_node:
            self._put(path, merged(item, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}))
        else:
            self._gone(path)

    def _gone(self, path: str) -> None:
        item = self.items.pop(path)
        self.version += 1
        last = merged(item, {"metadata": {"resourceVersion": str(self.version)}})
        self._tell(path, last, gone=True)
        place = Place.of(path)
        collection = _defined(item) if path.startswith(f"{DEFINITIONS}/") else ""
        space = place.name if place.collection == "/api/v1/namespaces" else ""
        if collection:
            self.unserved.add(collection)
        for one in list(self.items):
            if Place.of(one).collection == collection or (space and Place.of(one).namespace == space):
                self._gone(one)

    def _under_way(self) -> list[Watch]:
        self.watches = [watch for watch in self.watches if not watch.ended]
        return self.watches

    def _tell(self, path: str, item: Object, *, gone: bool) -> None:
        self._history.append((self.version, path, item, gone))
        for watch in self._under_way():
            if Place.of(watch.path).holds(Place.of(path)):
                watch.tell(path, item, gone=gone)

    def _catch_up(self, watch: Watch, query: Query) -> None:
        """Tell a watch what is there, or what happened since the version from which it was begun."""
        since = query.get("resourceVersion", "")
        if query.get("sendInitialEvents") == "true" or since in ("", "0"):
            for path, item in self._in(watch.path, {}):
                watch.tell(path, item)
            if query.get("sendInitialEvents") == "true":
                watch.bookmark(self.version, end=True)
            return
        if int(since) < self._oldest:
            watch.end(ApiError(410, f"too old resource version: {since} ({self._oldest})", reason="Expired"))
            return
        for path, item in self._at(int(since), watch.path).items():
            watch.know(path, item)
        for version, path, item, gone in self._history:
            if version > int(since) and Place.of(watch.path).holds(Place.of(path)):
                watch.tell(path, item, gone=gone)

    def _at(self, version: int, collection: str) -> dict[str, Object]:
        """The objects of a collection as they were at a version, as far as it is remembered."""
        place = Place.of(collection)
        found = {path: item for path, item in self.items.items() if place.holds(Place.of(path))}
        for path in {path for number, path, _, _ in self._history if number > version}:
            found.pop(path, None)
        for number, path, item, gone in self._history:
            if number <= version and place.holds(Place.of(path)):
                found.pop(path, None) if gone else found.update({path: item})
        return found


def _defined(definition: Mapping[str, Any]) -> str:
    """The collection that a definition of a custom resource makes."""
    spec = definition.get("spec", {})
    versions = spec.get("versions", ())
    if not versions:
        return ""
    return f"/apis/{spec['group']}/{versions[0]['name']}/{spec['names']['plural']}"
