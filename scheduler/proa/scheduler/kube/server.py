"""What is asked of an API server: :class:`proa.scheduler.kube.api.Api` is one, and tests have others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.stream import Event, Object

Query = Mapping[str, str]
T = TypeVar("T")


class Watching(AbstractContextManager["Watching"], Protocol):
    """A watch under way, as :class:`proa.scheduler.kube.stream.Stream` is one."""

    def __iter__(self) -> Iterator[Event]:
        """Every event."""
        ...

    def stop(self) -> None:
        """End it, from any thread."""
        ...


class Server(Protocol):
    """An API server. Every method raises an ``ApiError`` for any answer that is not 2xx, or none."""

    def get(self, path: str, query: Query | None = None) -> Object:
        """An object."""
        ...

    def pages(self, path: str, query: Query | None = None) -> Iterator[Object]:
        """A collection, page by page."""
        ...

    def stream(self, path: str, query: Query | None = None) -> Watching:
        """Watch a collection."""
        ...

    def create(self, path: str, body: Object) -> Object:
        """Create an object."""
        ...

    def merge(self, path: str, body: Object) -> Object:
        """JSON merge patch."""
        ...

    def apply(self, path: str, body: Object, *, force: bool) -> Object:
        """Server-side apply."""
        ...

    def delete(self, path: str, *, uid: str = "", **options: Any) -> None:
        """Delete an object."""
        ...

    def evict(self, namespace: str, name: str, *, uid: str = "", **options: Any) -> None:
        """Ask for the end of a pod."""
        ...


def items(api: Server, path: str, query: Query | None = None) -> Iterator[Object]:
    """The objects of a collection."""
    for page in api.pages(path, query):
        yield from page.get("items") or ()


def find(api: Server, path: str) -> Object | None:
    """An object; none if it is not there.

    Raises:
        ApiError: For any other answer that is not 2xx, or none.
    """
    return unless(lambda: api.get(path), 404)


def unless(ask: Callable[[], T], *statuses: int) -> T | None:
    """What is asked for; none where the answer has one of these statuses.

    Raises:
        ApiError: For any other answer that is not 2xx, or none.
    """
    try:
        return ask()
    except ApiError as error:
        if error.status not in statuses:
            raise
        return None
