"""The local API: HTTP and JSON over a Unix socket, for root alone."""

from __future__ import annotations

import contextlib
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

    def __init__(
        self,
        listening: socket.socket,
        routes: Mapping[tuple[str, str], Route],
        gate: Gate = ROOT_ONLY,
    ) -> None:
        self.routes = routes
        self.gate = gate
        self.callers = Callers()
        super().__init__(listening.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening

    def serve(self) -> None:
        """Serve until :meth:`stop`; an idle daemon is not woken."""
        self.serve_forever(poll_interval=3600)

    def stop(self) -> None:
        """End :meth:`serve`, from another thread."""
        asking = threading.Thread(target=self.shutdown)
        asking.start()
        while asking.is_alive():
            with socket.socket(socket.AF_UNIX) as caller, contextlib.suppress(OSError):
                caller.connect(self.socket.getsockname())  # it looks up when somebody calls
            asking.join(0.1)
        self.server_close()

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
