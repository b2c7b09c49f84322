"""The order socket of a simulated node, served as the real agent serves its own (:mod:`proa.core.orders.client`)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from proa.agent.api.listen import listen
from proa.agent.api.server import ApiAnswer, ApiServer, ApiStream, Body, Gate, Route
from proa.core.orders.client import EVENTS, NODE, ORDER
from proa.core.orders.messages import Alive, Node, NodeStatus, Order
from proa.core.schema.model import document, parse

_ALIVE_SECONDS: Final = 15.0
"""How often a follower hears something."""


class AgentSocket:
    """A socket that comes and goes with its node.

    Args:
        path: Where it is.
        ask: Gives the node's status.
        put: Takes an order; the status then. It raises what the agent raises.
    """

    def __init__(self, path: Path, ask: Callable[[], NodeStatus], put: Callable[[Order], NodeStatus]) -> None:
        self.path = path
        self._ask = ask
        self._put = put
        self._changed = threading.Condition()
        self._shown: NodeStatus | None = None
        self._server: ApiServer | None = None

    def show(self, status: NodeStatus | None) -> None:
        """Tell followers how the node is; none when nobody is there any more, which ends everything."""
        if status is None:
            self.close()
            return
        with self._changed:
            self._shown = status
            self._changed.notify_all()
        if self._server is None:
            self._open()

    def close(self) -> None:
        """Nobody listens any more; again is harmless."""
        with self._changed:
            self._shown = None
            self._changed.notify_all()
        if self._server is not None:
            server, self._server = self._server, None
            server.stop()
            self.path.unlink(missing_ok=True)

    def _open(self) -> None:
        routes: dict[tuple[str, str], Route] = {
            ("GET", NODE): lambda _: _answer(self._ask()),
            ("PUT", ORDER): lambda body: _answer(self._put(parse(Order, body, strict=True))),
            ("GET", EVENTS): self._events,
        }
        gate = Gate(frozenset({os.getuid()}), os.getgid())
        self._server = ApiServer(listen(self.path, 0o660), routes, gate)
        threading.Thread(target=self._server.serve, name=f"socket {self.path}", daemon=True).start()

    def _events(self, _: Body) -> ApiStream:
        return ApiStream(self._lines())

    def _lines(self) -> Iterator[Mapping[str, Any]]:
        told: NodeStatus | None = None
        while True:
            with self._changed:
                if self._shown is told:
                    self._changed.wait(_ALIVE_SECONDS)
                shown = self._shown
            if shown is None:
                return
            yield document(Node(shown) if shown is not told else Alive())
            told = shown


def _answer(status: NodeStatus) -> ApiAnswer:
    return ApiAnswer(document(Node(status)))
