"""An API server that nothing may be asked of: a fake is one that answers what its test needs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from proa.scheduler.kube.server import Query, Watching
from proa.scheduler.kube.stream import Object


class NoServer:
    """Every request is one that a test did not expect."""

    def get(self, path: str, query: Query | None = None) -> Object:
        """See :class:`proa.scheduler.kube.server.Server`, as for all of these."""
        _unexpected("get", path)

    def pages(self, path: str, query: Query | None = None) -> Iterator[Object]:
        """A collection."""
        _unexpected("list", path)

    def stream(self, path: str, query: Query | None = None) -> Watching:
        """A watch."""
        _unexpected("watch", path)

    def create(self, path: str, body: Object) -> Object:
        """A new object."""
        _unexpected("create", path)

    def merge(self, path: str, body: Object) -> Object:
        """A merge patch."""
        _unexpected("patch", path)

    def apply(self, path: str, body: Object, *, force: bool) -> Object:
        """A server-side apply."""
        _unexpected("apply", path)

    def delete(self, path: str, *, uid: str = "", **options: Any) -> None:
        """A deletion."""
        _unexpected("delete", path)

    def evict(self, namespace: str, name: str, *, uid: str = "", **options: Any) -> None:
        """An eviction."""
        _unexpected("evict", f"{namespace}/{name}")


def _unexpected(verb: str, what: str) -> NoReturn:
    raise AssertionError(f"nobody was to {verb} {what}")
