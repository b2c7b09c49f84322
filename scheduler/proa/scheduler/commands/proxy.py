"""``proa-scheduler proxy``: the courier of one node."""

from __future__ import annotations

from pathlib import Path

import click

from proa.core.orders import SOCKET, OrderClient
from proa.scheduler.commands.options import cluster_options, connect

_PUT_SECONDS = 10.0


@click.command(epilog="Example: proa-scheduler proxy --node worker-1 --socket /run/proa/orders.sock")
@click.option("--node", required=True, metavar="NAME", help="The node that this runs on.")
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    default=SOCKET,
    show_default=True,
    help="Where the node's agent takes orders.",
)
@cluster_options
def proxy(node: str, socket: Path, kubeconfig: str, context: str) -> None:
    """Carry orders from the API server to this node's agent, and its status back, until SIGTERM."""
    from proa.scheduler.control import log
    from proa.scheduler.proxy.service import Service

    log.to_stderr()
    service = Service(node, connect(kubeconfig, context), OrderClient(socket, limit=_PUT_SECONDS), log.info)
    service.end_on_signals()
    service.run()
