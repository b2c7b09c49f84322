"""An API server in memory, with the interface of :class:`proa.scheduler.kube.api.Api`.

It keeps objects with UIDs and resource versions, knows conditions and conflicts, subresources, who owns which field,
evictions and disruption budgets, pages and watches. What a test wants to go wrong it raises in :attr:`ApiServer.before`
or :attr:`ApiServer.after`. That it behaves as the real one is checked by running one script against both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proa.core.schema.model import parse
from proa.scheduler.kube import paths
from proa.scheduler.kube.api import MANAGER
from proa.scheduler.kube.apierror import ApiError, Cause
from proa.scheduler.kube.stream import Object
from proa.scheduler.spec.rollout import Selector
from proa.scheduler.spec.selectors import matches
from proa.scheduler.testing.fields import Owners, copied, leaves, merged, put, take, value_of
from proa.scheduler.testing.objects import Objects, Place, Query
from proa.scheduler.testing.watches import Watch, choice

READS: Final = frozenset({"get", "list", "watch"})


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        verb: ``get``, ``list``, ``watch``, ``create``, ``merge``, ``apply``, ``delete`` or ``evict``.
        path: What about.
        body: What was sent; the options of a delete and of an eviction.
        query: What was asked besides.
    """

    verb: str
    path: str
    body: Object = field(default_factory=dict)
    query: Query = field(default_factory=dict)

    @property
    def is_write(self) -> bool:
        """Whether it asks for a change."""
        return self.verb not in READS


class ApiServer(Objects):
    """The server, and its client in one. Threads may share it.

    Attributes:
        asked: All requests, as they came.
        before: Called ahead of each request: time may pass in it, and what it raises is the answer.
        after: Called when a request was carried out, ahead of its answer, which is lost when it raises.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.before: Callable[[Asked], object] = lambda asked: None
        self.after: Callable[[Asked], object] = lambda asked: None

    def fail(self, fault: Callable[[str, str], Exception | None]) -> None:
        """Refuse requests: ``fault`` gives the error for a verb and a path, or none."""

        def before(asked: Asked) -> None:
            if (error := fault(asked.verb, asked.path)) is not None:
                raise error

        self.before = before

    def lose(self, lost: Callable[[str, str], bool]) -> None:
        """Carry out requests, and give no answer to those for whose verb and path ``lost`` says so."""

        def after(asked: Asked) -> None:
            if lost(asked.verb, asked.path):
                raise ApiError(0, "no answer in time")

        self.after = after

    def mend(self) -> None:
        """Refuse and lose nothing any more."""
        self.before = self.after = lambda asked: None

    @property
    def log(self) -> list[tuple[str, str]]:
        """Verb and path of every request."""
        return [(one.verb, one.path) for one in self.asked]

    @property
    def writes(self) -> list[Asked]:
        """The requests that asked for a change."""
        return [one for one in self.asked if one.is_write]

    # what clients ask

    def get(self, path: str, query: Query | None = None) -> Object:
        """See :meth:`proa.scheduler.kube.api.Api.get`."""
        return self._answer(Asked("get", path, {}, query or {}), lambda: self._of(path))

    def pages(self, path: str, query: Query | None = None, size: int = 250) -> Iterator[Object]:
        """See :meth:`proa.scheduler.kube.api.Api.pages`."""
        asked: dict[str, str] = {"limit": str(size), **(query or {})}
        while True:
            page = self.page(path, asked)
            yield page
            if not (rest := page["metadata"].get("continue")):
                return
            asked = {**asked, "continue": rest}

    def page(self, path: str, query: Query) -> Object:
        """One page of a collection."""

        def found() -> Object:
            items = [item for _, item in self._in(path, query)]
            start, size = int(query.get("continue") or 0), int(query.get("limit") or 0)
            end = start + size if size else len(items)
            metadata = {"resourceVersion": str(self.version)} | ({"continue": str(end)} if end < len(items) else {})
            return {"kind": "List", "metadata": metadata, "items": items[start:end]}

        return self._answer(Asked("list", path, {}, query), found)

    def stream(self, path: str, query: Query | None = None) -> Watch:
        """See :meth:`proa.scheduler.kube.api.Api.stream`."""
        query = query or {}
        asked = Asked("watch", path, {}, query)
        self._begin(asked)
        with self._lock:
            self._served(Place.of(path))
            watch = Watch(path, choice(query))
            self._catch_up(watch, query)
            self.watches.append(watch)
        self.after(asked)
        return watch

    def create(self, path: str, body: Object) -> Object:
        """See :meth:`proa.scheduler.kube.api.Api.create`."""

        def made() -> Object:
            where = paths.named(path, body["metadata"]["name"])
            if where in self.items:
                raise ApiError(409, f"{Place.of(where)} already exists", reason="AlreadyExists")
            item = copied(body)
            if self._has_status(where):
                item.pop("status", None)
            item["metadata"]["uid"] = f"uid-{self.version + 1}"
            return self._updated(where, {}, item)

        return self._answer(Asked("create", path, copied(body)), made)

    def merge(self, path: str, body: Object) -> Object:
        """See :meth:`proa.scheduler.kube.api.Api.merge`."""

        def changed() -> Object:
            where = Place.of(path)
            main = path.removesuffix(f"/{where.subresource}") if where.subresource else path
            item, patch = self._of(main), copied(body)
            wanted = patch.get("metadata", {}).pop("resourceVersion", item["metadata"]["resourceVersion"])
            self._same(item, patch)
            if str(wanted) != item["metadata"]["resourceVersion"]:
                raise ApiError(409, "the object has been modified", reason="Conflict")
            if where.subresource:
                patch = {key: value for key, value in patch.items() if key == where.subresource}
            elif self._has_status(main):
                patch.pop("status", None)
            return self._updated(main, item, merged(item, patch))

        return self._answer(Asked("merge", path, copied(body)), changed)

    def apply(self, path: str, body: Object, *, force: bool) -> Object:
        """See :meth:`proa.scheduler.kube.api.Api.apply`."""

        def applied() -> Object:
            uid = body["metadata"].get("uid")
            if path not in self.items:
                self._served(Place.of(path))
                if uid:
                    raise ApiError(409, "uid mismatch: no existing object was found", reason="Conflict")
                fresh: Object = {key: body[key] for key in ("apiVersion", "kind") if key in body}
                fresh["metadata"] = {"name": Place.of(path).name, "uid": f"uid-{self.version + 1}"}
                return self._applied(path, fresh, body, force)
            item = copied(self._of(path))
            self._same(item, body)
            return self._applied(path, item, body, force)

        return self._answer(Asked("apply", path, copied(body), {"force": str(force).lower()}), applied)

    def delete(self, path: str, *, uid: str = "", **options: Any) -> None:
        """See :meth:`proa.scheduler.kube.api.Api.delete`."""

        def deleted() -> Object:
            self._meant(self._of(path), uid)
            self._delete(path)
            return {}

        self._answer(Asked("delete", path, {**options, **({"uid": uid} if uid else {})}), deleted)

    def evict(self, namespace: str, name: str, *, uid: str = "", **options: Any) -> None:
        """See :meth:`proa.scheduler.kube.api.Api.evict`."""
        path = paths.named(paths.within(paths.PODS, namespace), name)

        def evicted() -> Object:
            pod = self._of(path)
            if "deletionTimestamp" not in pod["metadata"]:
                only_asked = bool(options.get("dryRun"))
                if pod.get("status", {}).get("phase") == "Running":
                    self._charge(namespace, pod, only_asked=only_asked)
                self._meant(pod, uid)
                if not only_asked:
                    self._delete(path)
            return {}

        self._answer(Asked("evict", path, {**options, **({"uid": uid} if uid else {})}), evicted)

    # inside

    def _answer(self, asked: Asked, work: Callable[[], Object]) -> Object:
        self._begin(asked)
        with self._lock:
            found = copied(work())
        self.after(asked)
        return found

    def _begin(self, asked: Asked) -> None:
        self.asked.append(asked)
        self.before(asked)

    @staticmethod
    def _same(item: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        """A write of another object than the one that is there is refused."""
        uid = item["metadata"]["uid"]
        if body.get("metadata", {}).get("uid", uid) != uid:
            cause = Cause("FieldValueInvalid", "field is immutable", "metadata.uid")
            raise ApiError(422, "metadata.uid: field is immutable", reason="Invalid", causes=(cause,))

    @staticmethod
    def _meant(item: Mapping[str, Any], uid: str) -> None:
        if uid and item["metadata"]["uid"] != uid:
            raise ApiError(409, "the UID in the precondition does not match", reason="Conflict")

    @staticmethod
    def _has_status(path: str) -> bool:
        """Whether ``status`` is written by its subresource alone."""
        return Place.of(path).plural in {"nodes", "pods", "nodeoses", "osrollouts", "poddisruptionbudgets"}

    def _updated(self, path: str, before: Mapping[str, Any], item: Object) -> Object:
        """Keep what a write that is no apply has made of an object."""
        old, new = dict(leaves(before)), dict(leaves(item))
        changed = {one for one in new if one not in old or old[one] != new[one]}
        owners = Owners(item)
        owners.update(MANAGER, changed)
        owners.write(item)
        return self._put(path, item)

    def _applied(self, path: str, item: Object, body: Object, force: bool) -> Object:
        owners, wanted = Owners(item), dict(leaves(body))
        held = {one for one, value in wanted.items() if owners.others(MANAGER, one) and value_of(item, one) != value}
        if held and not force:
            causes = tuple(Cause("FieldManagerConflict", "conflict", "." + ".".join(one)) for one in sorted(held))
            raise ApiError(409, "Apply failed with conflicts", reason="Conflict", causes=causes)
        for one in owners.applied(MANAGER) - set(wanted):
            if not owners.others(MANAGER, one):
                take(item, one)
        for one, value in wanted.items():
            put(item, one, value)
        owners.apply(MANAGER, set(wanted), held)
        owners.write(item)
        return self._put(path, item)

    def _charge(self, namespace: str, pod: Mapping[str, Any], *, only_asked: bool) -> None:
        """Let a disruption budget pay for an eviction, unless that is only asked, or refuse it."""
        labels = pod["metadata"].get("labels") or {}
        budgets = [
            (path, one)
            for path, one in self._in(paths.within(paths.BUDGETS, namespace), {})
            if matches(parse(Selector, one["spec"].get("selector") or {}), labels)
        ]
        if len(budgets) > 1:
            raise ApiError(500, "This pod has more than one PodDisruptionBudget", reason="InternalError")
        for path, one in budgets:
            left = one.get("status", {}).get("disruptionsAllowed", 0)
            if left <= 0:
                cause = Cause("DisruptionBudget", f"The disruption budget {one['metadata']['name']} needs its pods")
                message = "Cannot evict pod as it would violate the pod's disruption budget."
                raise ApiError(429, message, reason="TooManyRequests", causes=(cause,))
            if not only_asked:
                self._put(path, merged(one, {"status": {"disruptionsAllowed": left - 1}}))
