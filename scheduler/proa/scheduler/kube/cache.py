"""What is known of the objects of a collection: views of them, by name, that many threads may read."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

V = TypeVar("V")


class Cache(Generic[V]):
    """Views by name. One thread writes; whoever reads gets a mapping that does not change any more.

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
