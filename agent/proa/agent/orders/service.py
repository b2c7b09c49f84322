"""The order socket and the worker behind it, for as long as the daemon runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from proa.agent.api.listen import listen
from proa.agent.api.server import ApiServer, Gate
from proa.agent.orders.routes import order_routes
from proa.agent.orders.worker import OrderWorker

MODE = 0o660
"""The socket's mode: root, and the group."""


@contextmanager
def serving_orders(worker: OrderWorker, group: int, users: frozenset[int]) -> Iterator[None]:
    """Take orders and carry them out while the block runs.

    Args:
        worker: The order worker.
        group: The number of the group that may give orders.
        users: The numbers of the users who may.

    Raises:
        ProaError: ``BUSY``, ``DEVICE`` or ``DISK_FULL`` when there can be no socket.
    """
    path, changed = worker.context.paths.orders, worker.feed.changed
    with listen(path, MODE, group) as listening:
        server = ApiServer(listening, order_routes(worker), Gate(users, group))
        work = threading.Thread(target=worker.run, name="orders", daemon=True)
        for thread in (work, threading.Thread(target=server.serve, name="order-api", daemon=True)):
            thread.start()
        try:
            yield
        finally:
            changed.close()
            server.stop()
            path.unlink(missing_ok=True)
            work.join(timeout=30)
