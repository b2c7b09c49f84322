"""Follows a collection of an API server: what is there, then what happens to it, through all that may break."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube.stream import version_of
from proa.vm.kube.api import KubeApi, Object, Query, Watch

ADDED: Final = "ADDED"
MODIFIED: Final = "MODIFIED"
DELETED: Final = "DELETED"
LISTED: Final = "LISTED"
"""All that is there has been told; the object holds the ``uids``."""
_SHORTEST: Final = 0.1
_LONGEST: Final = 2.0


class Follower:
    """A thread that follows.

    Args:
        api: The API server; a watch holds one of its connections.
        path: The collection.
        sink: Gets a type (those above) and an object, in the follower's thread.
        query: Which objects.
        only_changes: Whether what is there at first is of no interest.
    """

    def __init__(
        self,
        api: KubeApi,
        path: str,
        sink: Callable[[str, Object], None],
        *,
        query: Query | None = None,
        only_changes: bool = False,
    ) -> None:
        self._api = api
        self._path = path
        self._sink = sink
        self._query = query or {}
        self._only_changes = only_changes
        self._version = ""
        self._watch: Watch | None = None
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"follow {path}", daemon=True)
        self.synced = threading.Event()
        """Set once all that was there has been told."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the end."""
        self._ends.set()
        if self._watch is not None:
            self._watch.stop()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause = _SHORTEST
        while not self._ends.is_set():
            try:
                if not self._version:
                    self._list()
                self._follow()
                pause = _SHORTEST
            except ProaError as error:
                if error.code is not Code.NETWORK:
                    self._version = ""  # 410: what happened meanwhile is forgotten there
                self._ends.wait(pause)
                pause = min(_LONGEST, pause * 2)

    def _list(self) -> None:
        version, uids = "", set()
        query = {**self._query, "limit": 1} if self._only_changes and not self.synced.is_set() else self._query
        for page in self._api.pages(self._path, query):
            version = version_of(page)
            if "limit" in query:
                break
            for item in page["items"]:
                uids.add(item["metadata"]["uid"])
                self._sink(ADDED, item)
        if "limit" not in query:
            self._sink(LISTED, {"uids": uids})
        self._version = version
        self.synced.set()

    def _follow(self) -> None:
        self._watch = self._api.watch(self._path, self._version, self._query)
        if self._ends.is_set():
            self._watch.stop()
        for kind, item in self._watch:
            if kind == "ERROR":
                raise ProaError(Code.TOOL, str(item.get("message")), at=self._path)
            self._version = version_of(item)
            if kind != "BOOKMARK":
                self._sink(kind, item)
