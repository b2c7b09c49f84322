"""The verbs that go on until SIGTERM: ``run``, the scheduler, and ``proxy``, the proxy of one node."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from proa.core import VERSION
from proa.core.orders.client import SOCKET, OrderClient
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.cli.options import ClusterOption, cluster_options, usual_option

if TYPE_CHECKING:
    from proa.scheduler.kube.access import ApiSession
    from proa.scheduler.kube.podaccess import PodConnection

_PUT_SECONDS: Final = 10.0


@click.command(epilog="Example: proa-scheduler run --namespace proa-system --listen :8080")
@cluster_options
@click.option("--namespace", default="", metavar="NS", help="The namespace of the lease.  [default: the pod's own]")
@click.option(
    "--own-node", default="", metavar="NAME", help=("The node that this scheduler runs on; its turn comes last.")
)
@click.option(
    "--own-pod",
    default="",
    metavar="NAME",
    help="The pod that this scheduler runs in, in that namespace; it is not evicted when its node is drained.",
)
@click.option(
    "--listen",
    default="",
    metavar="HOST:PORT",
    help=("The address for /healthz, /readyz and /metrics.  [default: none]"),
)
@click.option(
    "--prometheus",
    default="",
    metavar="URL",
    help="The Prometheus that answers the queries of health.alerts, such as https://prometheus.monitoring.svc:9090.",
)
@click.option(
    "--prometheus-secret",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="A folder, such as a mounted Secret, with ca.crt and token for it; either may be missing.",
)
def run(
    cluster: ClusterOption,
    namespace: str,
    own_node: str,
    own_pod: str,
    listen: str,
    prometheus: str,
    prometheus_secret: Path | None,
) -> None:
    """Take the nodes of the cluster from one release to the next, until SIGTERM."""
    from proa.scheduler.control import log
    from proa.scheduler.control.service import ControllerSettings, serve
    from proa.scheduler.kube import access
    from proa.scheduler.kube.prometheus import PrometheusAccess

    log.to_stderr()
    found = namespace or access.own_namespace()
    if not found:
        raise ProaError(
            Code.USAGE, "there is no namespace for the lease", at="--namespace", hint="Name one: --namespace NS."
        )
    if prometheus_secret and not prometheus:
        raise ProaError(Code.USAGE, "there is no address for this secret", at="--prometheus-secret")
    access_to = PrometheusAccess(prometheus, prometheus_secret) if prometheus else None
    serve(ControllerSettings(cluster.load, found, own_node, own_pod, listen, access_to))


@click.command(epilog="Example: proa-scheduler proxy --node worker-1 --socket /run/proa/orders.sock")
@click.option("--node", required=True, metavar="NAME", help="The node that this proxy runs on.")
@usual_option(
    "--socket",
    type=click.Path(path_type=Path),
    default=SOCKET,
    help="The socket on which the node's agent takes orders.",
)
@click.option(
    "--account",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="The folder with the pod's token and ca.crt.  [default: where Kubernetes puts them]",
)
@cluster_options
def proxy(node: str, socket: Path, account: Path | None, cluster: ClusterOption) -> None:
    """Carry orders from the API server to this node's agent, and its status back, until SIGTERM."""
    from proa.scheduler.control import log
    from proa.scheduler.kube.api import Api
    from proa.scheduler.proxy.service import Service

    log.to_stderr()
    api = Api(_access(account, cluster), agent=f"proa-proxy/{VERSION}")
    service = Service(node, api, OrderClient(socket, limit=_PUT_SECONDS), log.info)
    service.end_on_signals()
    service.run()


def _access(account: Path | None, cluster: ClusterOption) -> Callable[[], ApiSession | PodConnection]:
    """The access that is meant; the official client is not even loaded where a pod has its own."""
    from proa.scheduler.kube import podaccess

    named = cluster.kubeconfig or cluster.context or os.environ.get("KUBECONFIG")
    if account is not None or (podaccess.is_pod() and not named):
        return lambda: podaccess.PodConnection(account or podaccess.FOLDER)
    return cluster.load
