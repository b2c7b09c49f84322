"""The verbs that bring Proa into a cluster and take it out: ``manifests``, ``uninstall``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from proa.core.runtime.cli import dry_run_option, json_option, options
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.output import tell
from proa.scheduler.cli.options import Cluster, cluster_options
from proa.scheduler.install import resources, settings
from proa.scheduler.install.settings import GROUP, IMAGE, NAMESPACE, PORTS, PROXY_NAMESPACE, Settings

if TYPE_CHECKING:
    from proa.scheduler.install.removal import Change


def _amounts(_: click.Context, __: click.Parameter, value: str) -> dict[str, str]:
    """Amounts of resources, by name."""
    if not value:
        return {}
    found = [one.partition("=") for one in value.split(",")]
    for name, equals, amount in found:
        if not name or not equals or not amount:
            raise click.BadParameter(f"{value!r} is not RESOURCE=QUANTITY,...")
    return {name.strip(): amount.strip() for name, _, amount in found}


def _amounts_option(name: str, what: str, usual: Mapping[str, str]) -> Callable[[Any], Any]:
    said = ",".join(f"{resource}={amount}" for resource, amount in usual.items())
    text = f"{what}; resources that you do not name keep the default, {said}."
    return click.option(name, default="", callback=_amounts, metavar="RESOURCE=QUANTITY,...", help=text)


_resources_options = options(
    _amounts_option("--requests", "Requests of a scheduler", resources.SCHEDULER.requests),
    _amounts_option("--limits", "Limits of a scheduler", resources.SCHEDULER.limits),
    _amounts_option("--proxy-requests", "Requests of a proxy", resources.PROXY.requests),
    _amounts_option("--proxy-limits", "Limits of a proxy", resources.PROXY.limits),
)


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
    help="The group that may give orders to agents: cluster.group in your nodes' images.",
)
@click.option("--replicas", type=click.IntRange(1, 9), default=2, show_default=True, help="Number of schedulers.")
@click.option(
    "--node-selector", multiple=True, metavar="KEY=VALUE", help=("Run schedulers only on nodes with this label.")
)
@click.option(
    "--proxy-selector", multiple=True, metavar="KEY=VALUE", help=("Run proxies only on nodes with this label.")
)
@click.option(
    "--toleration",
    "tolerations",
    multiple=True,
    metavar="KEY[=VALUE][:EFFECT]",
    help="A taint that schedulers tolerate, besides the control plane's; proxies tolerate all taints.",
)
@_resources_options
@click.option("--pull-secret", default="", metavar="NAME", help="A secret in both namespaces for pulling the image.")
@click.option("--no-priority", is_flag=True, help="Give pods no priority class, if quotas forbid that.")
@click.option(
    "--api-port",
    type=click.IntRange(1, 65535),
    multiple=True,
    default=PORTS,
    show_default=True,
    help="Another port of the API server, for the network policies.",
)
@json_option
def manifests(as_json: bool, no_priority: bool, api_port: tuple[int, ...], **given: Any) -> None:
    """Print everything that a cluster needs, as YAML for kubectl, without contacting a cluster."""
    from proa.scheduler.install import render

    for option in ("node_selector", "proxy_selector"):
        given[option] = dict(_label(said, f"--{option.replace('_', '-')}") for said in given[option])
    given["tolerations"] = tuple(map(settings.read_toleration, given["tolerations"]))
    found = render.documents(Settings(**given, priority=not no_priority, api_ports=api_port))
    tell(render.Manifests(tuple(found)), as_json, lambda report: render.text(report.items).removesuffix("\n"))


def _label(said: str, option: str) -> tuple[str, str]:
    key, equals, value = said.partition("=")
    if not equals:
        raise click.BadParameter(f"{said!r} is not KEY=VALUE", param_hint=option)
    return key, value


@click.command(epilog="Example: proa-scheduler uninstall --dry-run")
@cluster_options
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option(
    "--timeout",
    type=click.IntRange(10, 3600),
    default=120,
    show_default=True,
    metavar="SECONDS",
    help="How long schedulers, definitions and namespaces may each take to go.",
)
@dry_run_option
@json_option
def uninstall(cluster: Cluster, yes: bool, timeout: int, dry_run: bool, as_json: bool) -> None:
    """Remove Proa from a cluster, with its cordons, labels and annotations. Nodes keep what they run."""
    from proa.scheduler.install.removal import Removal, Uninstalled

    if as_json and not (yes or dry_run):
        raise ProaError(Code.USAGE, "there is no terminal to ask on", at="--json", hint="Pass --yes or --dry-run.")
    api = cluster.connect()
    changes: list[Change] = []
    if dry_run or not yes:
        Removal(api, _recorder(changes, silent=as_json), dry_run=True).run()
        if not dry_run and changes:
            click.confirm("Do that?", abort=True)
    if not dry_run and (yes or changes):
        changes.clear()
        Removal(api, _recorder(changes, silent=as_json), seconds=timeout).run()
    if as_json or not changes:
        tell(Uninstalled(dry_run, tuple(changes)), as_json, lambda _: "Proa is not installed")


def _recorder(changes: list[Change], *, silent: bool) -> Callable[[Change], None]:
    """Collects changes, and prints each when it is told."""

    def tell(change: Change) -> None:
        changes.append(change)
        if not silent:
            click.echo(f"{change.kind} {change.name}: {change.did}")

    return tell
