"""The local API: HTTP and JSON over a Unix socket, for root alone."""

from __future__ import annotations

import contextlib
import selectors
import socket
import socketserver
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.agent.api.callers import Callers
from proa.agent.api.handler import ApiAnswer, ApiStream, Body, Handler, Route, refusal
from proa.agent.api.listen import Peer, peer
from proa.core.runtime.errors import Code, ProaError

__all__ = ["ApiAnswer", "ApiServer", "ApiStream", "Body", "Gate", "Route"]


@dataclass(frozen=True)
class Gate:
    """Who may ask.

    Attributes:
        users: Numbers of users who may.
        group: The number of a group whose members may, as their primary one; none if there is no such group.
    """

    users: frozenset[int] = frozenset({0})
    group: int | None = None

    def check(self, caller: Peer) -> None:
        """Refuse a caller.

        Raises:
            ProaError: ``NOT_ALLOWED``.
        """
        if caller.user in self.users or caller.group == self.group:
            return
        if self.group is None:
            raise ProaError(Code.NOT_ALLOWED, "only root may use this API")
        hint = "Run the process with that group as its primary group."
        raise ProaError(Code.NOT_ALLOWED, f"only root and group {self.group} may use this API", hint=hint)


ROOT_ONLY: Final = Gate()


class ApiServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers those who call a socket.

    Args:
        listening: The socket; it is closed at the end.
        routes: What is served, by method and path.
        gate: Who may ask.
    """

    daemon_threads = True
    timeout = 1.0
    """Seconds in which a caller who has come is answered; one may have gone again."""

    def __init__(
        self,
        listening: socket.socket,
        routes: Mapping[tuple[str, str], Route],
        gate: Gate = ROOT_ONLY,
    ) -> None:
        self.routes = routes
        self.gate = gate
        self.callers = Callers()
        self._serving, self._stopping = threading.Lock(), False
        self._bell, self._woken = socket.socketpair()
        super().__init__(listening.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening

    def serve(self) -> None:
        """Serve until :meth:`stop`; an idle daemon is not woken."""
        with self._serving, selectors.DefaultSelector() as selector:
            if self._stopping:
                return
            for watched in (self.socket, self._woken):
                selector.register(watched, selectors.EVENT_READ)
            while not self._stopping:
                ready = [key.fileobj for key, _ in selector.select()]
                if self.socket in ready and not self._stopping:
                    self.handle_request()

    def stop(self) -> None:
        """End :meth:`serve`, from another thread, whatever has become of the socket's file."""
        self._stopping = True
        with contextlib.suppress(OSError):  # again is harmless
            self._bell.send(b"!")
        with self._serving:
            self.server_close()

    def server_close(self) -> None:
        """Close the socket."""
        super().server_close()
        self._bell.close()
        self._woken.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the caller a thread if one is free; otherwise answer that there is none."""
        caller = peer(request)
        try:
            self.callers.come(caller)
        except ProaError as error:
            with contextlib.suppress(OSError):
                request.setblocking(False)  # nobody else waits for one who does not read
                request.sendall(refusal(error))
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be had
            self.callers.go(caller)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve the caller, in that thread."""
        caller = peer(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.callers.go(caller)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that disconnects in the middle."""
