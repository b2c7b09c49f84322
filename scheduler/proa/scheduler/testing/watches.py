"""Watches of a simulated API server: what was there, bookmarks, what happened since, and how they end."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Self

from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.stream import Event, Object
from proa.scheduler.spec.selectors import matches, parse
from proa.scheduler.testing.fields import copied

END: Final = {"k8s.io/initial-events-end": "true"}
"""The annotation of the bookmark behind what was there in the beginning."""
Choice = Callable[[Mapping[str, Any]], bool]


def choice(query: Mapping[str, str]) -> Choice:
    """Whether an object is meant by ``labelSelector`` and ``fieldSelector`` of a request."""
    labels = parse(query.get("labelSelector", ""))
    fields = [one.replace("==", "=").partition("=") for one in query.get("fieldSelector", "").split(",") if one]

    def chosen(item: Mapping[str, Any]) -> bool:
        for path, _, value in fields:
            found: Any = item
            for key in path.removesuffix("!").split("."):
                found = found.get(key, "") if isinstance(found, Mapping) else ""
            if (found == value) is path.endswith("!"):
                return False
        return matches(labels, item.get("metadata", {}).get("labels") or {})

    return chosen


class Watch:
    """A watch under way, as :class:`proa.scheduler.kube.stream.Stream`.

    Args:
        path: The collection.
        chosen: Which of its objects are meant.
    """

    def __init__(self, path: str, chosen: Choice) -> None:
        self.path = path
        self.ended = False
        self._chosen = chosen
        self._known: set[str] = set()
        self._events: queue.SimpleQueue[Event | ApiError | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __iter__(self) -> Iterator[Event]:
        """Every event, until it ends; an error that it ends with is raised."""
        while (event := self._events.get()) is not None:
            if isinstance(event, ApiError):
                raise event
            yield event

    def stop(self) -> None:
        """End it, from any thread."""
        self.end()

    def end(self, error: ApiError | None = None) -> None:
        """Let it end behind what was told so far, with an error if there is one."""
        self.ended = True
        self._events.put(error)

    def bookmark(self, version: int, *, end: bool = False) -> None:
        """Tell that all up to a version was told."""
        annotations = dict(END) if end else {}
        metadata = {"resourceVersion": str(version), "annotations": annotations}
        self._events.put(Event("BOOKMARK", {"metadata": metadata}))

    def tell(self, path: str, item: Object, *, gone: bool = False) -> None:
        """Tell of an object, as it is now or was as it went, if it is one of those that are meant."""
        known = path in self._known
        chosen = self._chosen(item) and not gone
        if not chosen and not known:
            return
        (self._known.add if chosen else self._known.discard)(path)
        kind = "DELETED" if not chosen else "MODIFIED" if known else "ADDED"
        self._events.put(Event(kind, copied(item)))

    def know(self, path: str, item: Mapping[str, Any]) -> None:
        """Whoever watches knows of an object already."""
        if self._chosen(item):
            self._known.add(path)
