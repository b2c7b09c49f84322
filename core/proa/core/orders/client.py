"""The caller's side of the agent's order socket: how a node is asked how it is, and told what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from proa.core.orders.messages import Alive, Node, NodeStatus, Order
from proa.core.orders.unixhttp import UnixHttp
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document, parse

SOCKET: Final = Path("/run/proa/orders.sock")
"""Where the agent of a node takes orders."""
NODE: Final = "/v1/node"
ORDER: Final = "/v1/order"
EVENTS: Final = "/v1/node/events"


class OrderClient:
    """A node's agent, as its order socket shows it.

    Args:
        path: The socket.
        limit: Seconds for an answer.
        silence: Seconds after which a stream without any line counts as broken; the agent sends one every 15.
    """

    def __init__(self, path: Path = SOCKET, *, limit: float = 60.0, silence: float = 60.0) -> None:
        forbidden = "the agent accepts orders only from root and from the group in its setting cluster.group"
        self._http = UnixHttp(path, limit, silence, who="the agent", forbidden=forbidden)

    def status(self) -> NodeStatus:
        """The node's status.

        Raises:
            ProaError: The agent's own error; ``NOT_ALLOWED``, or ``DEVICE`` when it cannot be reached.
        """
        return self._read(self._http.ask("GET", NODE))

    def put(self, order: Order) -> NodeStatus:
        """Give an order; returns the node's status once it has accepted it. The same order again changes nothing.

        Raises:
            ProaError: ``STALE_ORDER`` when the agent has seen a later one, ``CONFIG_VALUE`` for one that cannot be
                carried out as it stands; as :meth:`status`.
        """
        return self._read(self._http.ask("PUT", ORDER, document(order)))

    def follow(self) -> Iterator[NodeStatus]:
        """The node's status: now, and again whenever it changes, until the agent ends the stream.

        Raises:
            ProaError: as :meth:`status`; ``DEVICE`` also after ``silence``.
        """
        for line in self._http.lines(EVENTS):
            if line.get("schema") != Alive.SCHEMA:
                yield self._read(line)

    def _read(self, answer: Mapping[str, Any]) -> NodeStatus:
        if answer.get("schema") != Node.SCHEMA:
            raise self._http.lost(f"its answer is not a {Node.SCHEMA} document")
        try:
            return parse(Node, answer).status
        except ProaError as error:
            what = f"the agent's status is malformed: {error.message}"
            raise ProaError(Code.DEVICE, what, at=error.at) from error
