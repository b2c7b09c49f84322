"""The order socket and the desk behind it, for as long as the daemon runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from proa.agent.api.listen import listen
from proa.agent.api.server import ApiServer, Gate
from proa.agent.orders.routes import order_routes
from proa.agent.orders.worker import Desk

MODE = 0o660
"""The socket's mode: root, and the group."""


@contextmanager
def serving_orders(desk: Desk, group: int, users: frozenset[int]) -> Iterator[None]:
    """Take orders and carry them out while the block runs.

    Args:
        desk: The desk.
        group: The number of the group that may give orders.
        users: The numbers of the users who may.

    Raises:
        ProaError: ``BUSY``, ``DEVICE`` or ``DISK_FULL`` when there can be no socket.
    """
    path, bell = desk.context.paths.orders, desk.bulletin.bell
    with listen(path, MODE, group) as listening:
        server = ApiServer(listening, order_routes(desk), Gate(users, group))
        work = threading.Thread(target=desk.run, name="orders", daemon=True)
        for thread in (work, threading.Thread(target=server.serve, name="order-api", daemon=True)):
            thread.start()
        try:
            yield
        finally:
            bell.close()
            server.stop()
            path.unlink(missing_ok=True)
            work.join(timeout=30)
