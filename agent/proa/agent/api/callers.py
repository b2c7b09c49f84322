"""Who is being served: so many connections and streams at once, and so many of them for one process or user."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from proa.agent.api.listen import Peer
from proa.core.runtime.errors import Code, ProaError

MAX_CALLERS: Final = 32
"""Connections at once: each takes a thread."""
MAX_STREAMS: Final = 24
"""Connections at once that follow events, which may last for ever: the rest is for requests."""
MAX_OF_PROCESS: Final = 8
"""Connections at once of one process."""
MAX_OF_USER: Final = 16
"""Connections at once of one user other than root, who always finds room."""


@dataclass
class _Room:
    """Places of one kind."""

    what: str
    most: int

    def __post_init__(self) -> None:
        self.by_process: Counter[int] = Counter()
        self.by_user: Counter[int] = Counter()

    def full(self, peer: Peer) -> str:
        """Why a caller gets no place; empty if there is one."""
        if self.by_process.total() >= self.most:
            return f"{self.most} {self.what} are open"
        if self.by_process[peer.process] >= MAX_OF_PROCESS:
            return f"process {peer.process} has {MAX_OF_PROCESS} {self.what}"
        if peer.user != 0 and self.by_user[peer.user] >= MAX_OF_USER:
            return f"user {peer.user} has {MAX_OF_USER} {self.what}"
        return ""

    def count(self, peer: Peer, change: int) -> None:
        self.by_process[peer.process] += change
        self.by_user[peer.user] += change
        self.by_process, self.by_user = +self.by_process, +self.by_user


class Callers:
    """The limited number of connections that one socket serves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections = _Room("connections", MAX_CALLERS)
        self._streams = _Room("streams", MAX_STREAMS)

    def come(self, peer: Peer) -> None:
        """Take a place for a connection.

        Raises:
            ProaError: ``BUSY``.
        """
        self._take(self._connections, peer)

    def go(self, peer: Peer) -> None:
        """Give the place back."""
        with self._lock:
            self._connections.count(peer, -1)

    @contextmanager
    def following(self, peer: Peer) -> Iterator[None]:
        """Have a place for a stream while the block runs.

        Raises:
            ProaError: ``BUSY``.
        """
        self._take(self._streams, peer)
        try:
            yield
        finally:
            with self._lock:
                self._streams.count(peer, -1)

    def _take(self, room: Any, peer: Peer) -> None:
        with self._lock:
            if why := room.full(peer):
                raise ProaError(Code.BUSY, f"the API is busy: {why}", hint="Close some, or try again in a moment.")
            room.count(peer, 1)
