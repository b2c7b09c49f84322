"""Keeps views of a collection as they are on the API server: first all of it, then every change.

Kubernetes, "API Concepts", sections "Streaming lists" and "Efficient detection of changes". All comes in one stream,
object by object, where the server does that; else it is listed in pages and watched from there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from proa.core.runtime.backoff import Backoff, jitter
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import ProaError
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.server import Server, Watching
from proa.scheduler.kube.stream import Event, Object, number_of, version_of
from proa.scheduler.kube.worker import Worker

V = TypeVar("V")
Project = Callable[[Object, V | None], V | None]
"""What is kept of an object, given what was kept of it before; none if it does not matter. It must bear anything."""
WATCH_SECONDS: Final = 300.0
"""After how long the server is asked to end a watch: at this to twice this, so that watches spread over servers."""
_HEALTHY_SECONDS: Final = 20.0
"""A watch that has lived for so long was a success."""
_SILENT_SECONDS: Final = 75.0
"""Bookmarks come once a minute; without one for so long, nobody knows whether the watch still works."""
_END_OF_INITIAL: Final = "k8s.io/initial-events-end"
_REFUSED: Final = frozenset({400, 422})


class Cache(Generic[V]):
    """Views by name. One thread writes; readers get a mapping that does not change any more.

    A view that is equal to the one before is that one: readers find what has changed by identity.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._views: dict[str, V] = {}
        self._shown: Mapping[str, V] | None = None

    def get(self, name: str) -> V | None:
        """One view."""
        return self._views.get(name)

    def all(self) -> Mapping[str, V]:
        """All views, as of now; the same mapping again as long as nothing has changed."""
        with self._lock:
            if self._shown is None:
                self._shown = MappingProxyType(dict(self._views))
            return self._shown

    def put(self, name: str, view: V | None) -> bool:
        """Keep a view, or none of that name any more; whether that has changed anything."""
        before = self._views.get(name)
        if view == before:
            return False
        with self._lock:
            self._shown = None
            if view is None:
                del self._views[name]
            else:
                self._views[name] = view
        return True

    def replace(self, views: Mapping[str, V]) -> bool:
        """Keep these and no others; whether that has changed anything."""
        old = self._views
        new = {name: old[name] if old.get(name) == view else view for name, view in views.items()}
        if len(new) == len(old) and all(view is old.get(name) for name, view in new.items()):
            return False
        with self._lock:
            self._shown, self._views = None, new
        return True


@dataclass(eq=False)
class Reflector(Worker, Generic[V]):
    """Follows a collection in a thread of its own, for ever.

    Attributes:
        source: The API server.
        path: The collection.
        project: What is kept of an object.
        changed: Raised when a view has changed, when all has been seen, and when the thread has ended by a defect.
        fields: A field selector, such as ``spec.nodeName=n1`` of pods, or ``metadata.name=n1``.
        clock: The clock.
        random: A number from 0 to 1, another one at every call.
        labels: A label selector.
        restarts: How often a watch was begun.
        problem: Why the last one ended; empty if that was in order, or if the present one works.
        synced: Whether all objects have been seen once.
        reached: Up to which resource version everything has been seen; what was written here up to it shows.
    """

    source: Server
    path: str
    project: Project[V]
    changed: ChangeSignal = field(default_factory=ChangeSignal)
    fields: str = ""
    clock: Clock = SYSTEM
    random: Callable[[], float] = jitter
    labels: str = ""
    restarts: int = field(default=0, init=False)
    problem: str = field(default="", init=False)
    synced: bool = field(default=False, init=False)
    reached: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        super().__init__(f"reflector {self.path}", self.cycle, self.changed)
        self._cache: Cache[V] = Cache()
        self._backoff = Backoff(random=self.random)
        self._version = ""
        self._paged = False
        self._heard = self._since = self.clock.monotonic()
        self._open = False
        self._watching: Watching | None = None

    # what others see

    @property
    def objects(self) -> Mapping[str, V]:
        """Views by name (``NAMESPACE/NAME`` of what has one); the mapping does not change, the next one may differ.

        Raises:
            ProaError: ``INTERNAL`` when a defect has ended the thread.
        """
        self.check(f"the watch of {self.path} has stopped")
        return self._cache.all()

    @property
    def stale_since(self) -> float | None:
        """Since when nothing is known for sure, by the clock's monotonic reading; none as long as the watch works."""
        if not self._open:
            return self._since
        heard = self._heard
        return heard if self.clock.monotonic() - heard > _SILENT_SECONDS else None

    # life

    def stop(self, seconds: float = 0.0) -> bool:
        """Stop following, soon; a request whose answer has not begun is not waited for by anybody but the thread."""
        self._stop.set()
        watching = self._watching
        if watching is not None:
            watching.stop()
        return self.join(seconds)

    def cycle(self) -> float:
        """One watch, and a list before it where one is needed; how many seconds to wait before the next one."""
        began = self.clock.monotonic()
        after: float | None = None
        self.problem = ""
        try:
            self._follow()
        except ApiError as error:
            after, self.problem = error.retry_after, error.message
            if error.status == 410:
                self._version = ""
        except ProaError as error:
            self.problem = error.message
        if self._open:
            self._open, self._since = False, self.clock.monotonic()
        if self.clock.monotonic() - began >= _HEALTHY_SECONDS:
            self._backoff.reset()
        return self._backoff.next(after)

    # inside

    def _follow(self) -> None:
        selectors = {"fieldSelector": self.fields, "labelSelector": self.labels}
        query = {key: selector for key, selector in selectors.items() if selector}
        initial: dict[str, V] | None = None
        if not self._version and self._paged:
            self._list(query)
        query["timeoutSeconds"] = str(round(WATCH_SECONDS * (1 + self.random())))
        if self._version:
            query["resourceVersion"] = self._version
        else:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            initial = {}
        self.restarts += 1
        self._watching = None
        try:
            self._watch(query, initial)
        except ApiError as error:
            if not self._version:  # a server that cannot stream lists refuses it, or never comes to their end
                self._paged = error.status in _REFUSED or (error.status == 0 and self._watching is not None)
            raise

    def _watch(self, query: Mapping[str, str], initial: dict[str, V] | None) -> None:
        with self.source.stream(self.path, query) as watching:
            self._watching = watching
            if self._stop.is_set():  # it came while the stream was opened
                return
            self._heard = self.clock.monotonic()
            self._open = initial is None
            for event in watching:
                self._heard = self.clock.monotonic()
                if initial is None:
                    self._take(event)
                elif self._gather(event, initial):
                    initial = None
        if initial is not None and not self._stop.is_set():
            raise ApiError(0, "the list is incomplete", at=self.path)

    def _list(self, query: Mapping[str, str]) -> None:
        """All of it, page by page; a server that refuses that is asked for a stream the next time."""
        self._paged = False
        found: dict[str, V] = {}
        version = ""
        for page in self.source.pages(self.path, query):
            version = version or version_of(page)
            for item in page.get("items") or ():
                self._keep(item, found)
            if self._stop.is_set():
                return
        self._arrive(version, found)

    def _gather(self, event: Event, initial: dict[str, V]) -> bool:
        """Take one event of the list; whether it was the last one."""
        if event.type == "BOOKMARK":
            annotations = event.object["metadata"].get("annotations") or {}
            if annotations.get(_END_OF_INITIAL) == "true":
                self._arrive(version_of(event.object), initial)
                self._open = True
                return True
        elif event.type == "DELETED":
            initial.pop(_name(event.object), None)
        else:
            self._keep(event.object, initial)
        return False

    def _keep(self, item: Object, found: dict[str, V]) -> None:
        name = _name(item)
        view = self.project(item, self._cache.get(name))
        if view is not None:
            found[name] = view

    def _arrive(self, version: str, found: Mapping[str, V]) -> None:
        """All has been seen."""
        changed = self._cache.replace(found)
        news = changed or not self.synced
        self.synced = True
        self._set_version(version)
        if news:
            self.changed.notify()

    def _take(self, event: Event) -> None:
        """Take one event of the watch."""
        changed = False
        if event.type != "BOOKMARK":
            name = _name(event.object)
            gone = event.type == "DELETED"
            changed = self._cache.put(name, None if gone else self.project(event.object, self._cache.get(name)))
        self._set_version(version_of(event.object))
        if changed:
            self.changed.notify()

    def _set_version(self, version: str) -> None:
        self._version = version or self._version
        self.reached = number_of(version) or self.reached


def _name(item: Mapping[str, Any]) -> str:
    metadata = item["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])
