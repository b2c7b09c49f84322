"""``proa-scheduler run``."""

from __future__ import annotations

import click

from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.cli.commands.options import cluster_options


@click.command(epilog="Example: proa-scheduler run --namespace proa-system --listen :8080")
@cluster_options
@click.option("--namespace", default="", metavar="NS", help="Where its lease is; the pod's own by default.")
@click.option("--own-node", default="", metavar="NAME", help="The node that it runs on: that one has its turn last.")
@click.option(
    "--own-pod",
    default="",
    metavar="NAME",
    help="The pod that it runs in, of that namespace: it is not evicted when its node is drained.",
)
@click.option(
    "--listen", default="", metavar="HOST:PORT", help="Where /healthz, /readyz and /metrics are; nowhere by default."
)
def run(kubeconfig: str, context: str, namespace: str, own_node: str, own_pod: str, listen: str) -> None:
    """Take the nodes of the cluster from one release to the next, until SIGTERM."""
    from proa.scheduler.control import log
    from proa.scheduler.control.service import Settings, serve
    from proa.scheduler.kube import access

    log.to_stderr()
    found = namespace or access.own_namespace()
    if not found:
        raise ProaError(Code.USAGE, "no namespace for the lease", at="--namespace", hint="Give one: --namespace NS.")
    serve(Settings(access.find(kubeconfig, context), found, own_node, own_pod, listen))
