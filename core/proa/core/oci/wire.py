"""The sockets of one exchange: shut when what is waited for does not come in time, or somebody wants the work to end.

A socket's own time limit begins anew with every byte: a server that dribbles a status line, headers, lines of chunk
sizes or trailers never meets it. Here the whole wait has one end, whatever comes meanwhile.
"""

from __future__ import annotations

import ipaddress
import math
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final

from proa.core.runtime.stop import NEVER, Stop

_IDLE: Final = 5.0
"""Seconds after which a watcher that has nothing to watch ends; the next wait starts another one."""

Address = tuple[Any, ...]
"""An address as ``connect`` takes it."""


class Wire:
    """The sockets of one exchange. Close it when the exchange is over; it never closes the connections themselves.

    Args:
        stop: Who may want the exchange to end.
    """

    def __init__(self, stop: Stop = NEVER) -> None:
        self.target = ""
        """The request's target as it goes over the wire; empty for what the library makes of it."""
        self._stop = stop
        self._changed = threading.Condition()
        self._held: list[socket.socket] = []
        self._until = self._wakes = math.inf
        self._watched = self._late = self._cut = False

    def hold(self, connection: socket.socket) -> None:
        """Take part of a connection, so that it can be shut no matter what wraps or owns it by then."""
        held = socket.socket(fileno=os.dup(connection.fileno()))
        with self._changed:
            self._held.append(held)
            if self._cut:
                _shut(held)

    def close(self) -> None:
        """Let go of the connections."""
        with self._changed:
            self._until = -math.inf if self._late else math.inf
            held, self._held = self._held, []
            self._changed.notify_all()
        for connection in held:
            connection.close()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Give the block so many seconds, all in all.

        Raises:
            TimeoutError: The time was up, and the connections are shut.
            ProaError: Somebody wanted the work to end.
        """
        self._watch(time.monotonic() + seconds)
        with self._stop.calling(self._shut_all):
            try:
                yield
            except Exception as error:
                self._tell(error)
                raise
            finally:
                self._until = math.inf
        self._tell(None)

    def resolve(self, host: str, port: int) -> Sequence[tuple[int, Address]]:
        """The families and addresses of a host; the system's resolver cannot be interrupted, but can be left.

        Raises:
            OSError: The host has none, or the wait is over.
        """
        with suppress(ValueError):
            kind = socket.AF_INET6 if ipaddress.ip_address(host.strip("[]")).version == 6 else socket.AF_INET
            return [(kind, (host.strip("[]"), port))]
        found: list[Sequence[tuple[int, Address]] | OSError] = []
        threading.Thread(target=self._resolve, args=(host, port, found), daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: found or self._cut)
        if not found:
            raise TimeoutError(f"{host} was not resolved in time")
        if isinstance(found[0], OSError):
            raise found[0]
        return found[0]

    def _resolve(self, host: str, port: int, found: list[Sequence[tuple[int, Address]] | OSError]) -> None:
        try:
            listed = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            outcome: Sequence[tuple[int, Address]] | OSError = [(one[0], one[4]) for one in listed]
        except OSError as error:
            outcome = error
        except UnicodeError as error:
            outcome = socket.gaierror(str(error))
        with self._changed:
            found.append(outcome)
            self._changed.notify_all()

    def _tell(self, error: Exception | None) -> None:
        """Say why the connections were shut, if they were."""
        if self._cut:
            self._stop.check()
            raise TimeoutError("no answer in time") from error

    def _watch(self, until: float) -> None:
        with self._changed:
            self._until = until
            if not self._watched:
                self._watched = True
                threading.Thread(target=self._run, daemon=True).start()
            elif until < self._wakes:
                self._changed.notify_all()

    def _run(self) -> None:
        with self._changed:
            while (left := self._until - time.monotonic()) > 0:
                idle = self._until == math.inf
                self._wakes = time.monotonic() + _IDLE if idle else self._until
                if not self._changed.wait(_IDLE if idle else left) and idle and self._until == math.inf:
                    break
            else:
                self._late = True
                self._shut_all()
            self._watched, self._wakes = False, math.inf

    def _shut_all(self) -> None:
        with self._changed:
            self._cut = True
            for connection in self._held:
                _shut(connection)
            self._changed.notify_all()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


UNWATCHED: Final = Wire()
"""For answers that come over no network."""
current: Final[ContextVar[Wire]] = ContextVar("current wire", default=UNWATCHED)
"""The exchange that connects or sends on this thread."""


def connect(
    host: str, port: int, seconds: float | None, options: Sequence[tuple[int, int, int | bytes]]
) -> socket.socket:
    """A connection to one of the host's addresses, which share the time that there is.

    Raises:
        OSError: What the last address came to.
    """
    wire = current.get()
    end = time.monotonic() + (30.0 if seconds is None else seconds)
    addresses = wire.resolve(host, port)
    failure: OSError = socket.gaierror("no address")
    for number, (family, address) in enumerate(addresses):
        share = max(0.01, (end - time.monotonic()) / (len(addresses) - number))
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            for option in options:
                connection.setsockopt(*option)
            wire.hold(connection)
            connection.settimeout(share)
            connection.connect(address)
            connection.settimeout(seconds)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure
