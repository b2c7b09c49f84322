"""``proa-scheduler manifests``."""

from __future__ import annotations

from typing import Any

import click

from proa.core.cli import json_option, show
from proa.scheduler.install.settings import GROUP, IMAGE, NAMESPACE, PORTS, PROXY_NAMESPACE, Settings


@click.command(epilog="Example: proa-scheduler manifests --image registry.example.net/proa:0.1 | kubectl apply -f -")
@click.option("--image", default=IMAGE, show_default=True, metavar="REF", help="The image of scheduler and proxy.")
@click.option("--namespace", default=NAMESPACE, show_default=True, metavar="NS", help="The scheduler's namespace.")
@click.option(
    "--proxy-namespace", default=PROXY_NAMESPACE, show_default=True, metavar="NS", help="The proxies' namespace."
)
@click.option(
    "--group",
    type=click.IntRange(1, 4294967294),
    default=GROUP,
    show_default=True,
    help="The group that may give orders to the agents: cluster.group of the nodes' images.",
)
@click.option("--replicas", type=click.IntRange(1, 9), default=2, show_default=True, help="How many schedulers run.")
@click.option("--node-selector", multiple=True, metavar="KEY=VALUE", help="Schedulers run on such nodes only.")
@click.option("--proxy-selector", multiple=True, metavar="KEY=VALUE", help="Proxies run on such nodes only.")
@click.option("--pull-secret", default="", metavar="NAME", help="A secret of both namespaces to pull the image with.")
@click.option("--no-priority", is_flag=True, help="Pods without a priority class, where quotas forbid them.")
@click.option(
    "--api-port",
    type=click.IntRange(1, 65535),
    multiple=True,
    default=PORTS,
    show_default=True,
    help="A port of the API server, for the network policies.",
)
@json_option
def manifests(as_json: bool, no_priority: bool, api_port: tuple[int, ...], **given: Any) -> None:
    """Print all that a cluster needs, as YAML for kubectl. Nothing is asked of a cluster."""
    from proa.scheduler.install import render

    for option in ("node_selector", "proxy_selector"):
        given[option] = dict(_label(said, f"--{option.replace('_', '-')}") for said in given[option])
    found = render.documents(Settings(**given, priority=not no_priority, api_ports=api_port))
    if as_json:
        show("proa.manifests/v1", {"items": found})
    else:
        click.echo(render.text(found), nl=False)


def _label(said: str, option: str) -> tuple[str, str]:
    key, equals, value = said.partition("=")
    if not equals:
        raise click.BadParameter(f"{said!r} is not KEY=VALUE", param_hint=option)
    return key, value
