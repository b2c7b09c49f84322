"""The verbs that bring Proa into a cluster and take it out: ``manifests``, ``uninstall``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from proa.core.runtime.cli import dry_run_option, json_option
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.output import say
from proa.core.schema.output import tell
from proa.scheduler.cli.options import ClusterOption, cluster_options, usual_option
from proa.scheduler.install import resources, settings
from proa.scheduler.install.settings import GROUP, IMAGE, NAMESPACE, PORTS, PROXY_NAMESPACE, InstallSettings

if TYPE_CHECKING:
    from proa.scheduler.install.removal import RemovalChange


def _pairs(_: click.Context, option: click.Parameter, value: str | tuple[str, ...]) -> dict[str, str]:
    """Values by their keys: of an option that is given for each of them, or for all with commas between them."""
    given = value.split(",") if value and isinstance(value, str) else value
    for one in given:
        if not all(one.partition("=")[:2]):
            raise click.BadParameter(f"{one!r} is not {option.metavar}")
    return {key.strip(): said.strip() for key, _, said in (one.partition("=") for one in given)}


_LABELS: Final[Mapping[str, Any]] = {"multiple": True, "callback": _pairs, "metavar": "KEY=VALUE"}


def _amounts_option(name: str, what: str, usual: Mapping[str, str]) -> Callable[[Any], Any]:
    said = ",".join(f"{resource}={amount}" for resource, amount in usual.items())
    text = f"{what}; resources that you do not name keep the default, {said}."
    return click.option(name, default="", callback=_pairs, metavar="RESOURCE=QUANTITY,...", help=text)


@click.command(epilog="Example: proa-scheduler manifests --image registry.example.net/proa:0.1 | kubectl apply -f -")
@usual_option("--image", default=IMAGE, metavar="REF", help="The image of scheduler and proxy.")
@usual_option("--namespace", default=NAMESPACE, metavar="NS", help="The scheduler's namespace.")
@usual_option("--proxy-namespace", default=PROXY_NAMESPACE, metavar="NS", help="The proxies' namespace.")
@usual_option(
    "--group",
    type=click.IntRange(1, 4294967294),
    default=GROUP,
    help="The group that may give orders to agents: cluster.group in your nodes' images.",
)
@usual_option("--replicas", type=click.IntRange(1, 9), default=2, help="Number of schedulers.")
@click.option("--node-selector", help="Run schedulers only on nodes with this label.", **_LABELS)
@click.option("--proxy-selector", help="Run proxies only on nodes with this label.", **_LABELS)
@click.option(
    "--toleration",
    "tolerations",
    multiple=True,
    metavar="KEY[=VALUE][:EFFECT]",
    help="A taint that schedulers tolerate, besides the control plane's; proxies tolerate all taints.",
)
@_amounts_option("--requests", "Requests of a scheduler", resources.SCHEDULER.requests)
@_amounts_option("--limits", "Limits of a scheduler", resources.SCHEDULER.limits)
@_amounts_option("--proxy-requests", "Requests of a proxy", resources.PROXY.requests)
@_amounts_option("--proxy-limits", "Limits of a proxy", resources.PROXY.limits)
@click.option("--pull-secret", default="", metavar="NAME", help="A secret in both namespaces for pulling the image.")
@click.option("--no-priority", is_flag=True, help="Give pods no priority class, if quotas forbid that.")
@usual_option(
    "--api-port",
    type=click.IntRange(1, 65535),
    multiple=True,
    default=PORTS,
    help="Another port of the API server, for the network policies.",
)
@click.option(
    "--prometheus", default="", metavar="URL", help="The Prometheus that answers the queries of health.alerts."
)
@click.option(
    "--prometheus-secret",
    default="",
    metavar="NAME",
    help="A secret in the scheduler's namespace with ca.crt and token for it; either may be missing.",
)
@click.option(
    "--prometheus-port",
    type=click.IntRange(1, 65535),
    help="The port of its pods, for the network policy, if it is not the one in the URL.",
)
@json_option
def manifests(as_json: bool, no_priority: bool, api_port: tuple[int, ...], **given: Any) -> None:
    """Print everything that a cluster needs, as YAML for kubectl, without contacting a cluster."""
    from proa.scheduler.install import render

    given["tolerations"] = tuple(map(settings.read_toleration, given["tolerations"]))
    found = render.documents(InstallSettings(**given, priority=not no_priority, api_ports=api_port))
    tell(render.Manifests(tuple(found)), as_json, lambda report: render.text(report.items).removesuffix("\n"))


@click.command(epilog="Example: proa-scheduler uninstall --dry-run")
@cluster_options
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@usual_option(
    "--timeout",
    type=click.IntRange(10, 3600),
    default=120,
    metavar="SECONDS",
    help="How long schedulers, definitions and namespaces may each take to disappear.",
)
@dry_run_option
@json_option
def uninstall(cluster: ClusterOption, yes: bool, timeout: int, dry_run: bool, as_json: bool) -> None:
    """Remove Proa from a cluster, with its cordons, labels and annotations. Nodes keep what they run."""
    from proa.scheduler.install.removal import Removal, Uninstalled

    if as_json and not (yes or dry_run):
        raise ProaError(
            Code.USAGE,
            "there is no terminal on which to ask for confirmation",
            at="--json",
            hint="Pass --yes or --dry-run.",
        )
    api = cluster.connect()
    changes: list[RemovalChange] = []
    if dry_run or not yes:
        Removal(api, _recorder(changes, silent=as_json), dry_run=True).run()
        if not dry_run and changes:
            click.confirm("Do that?", abort=True)
    if not dry_run and (yes or changes):
        changes.clear()
        Removal(api, _recorder(changes, silent=as_json), seconds=timeout).run()
    if as_json or not changes:
        tell(Uninstalled(dry_run, tuple(changes)), as_json, lambda _: "Proa is not installed")


def _recorder(changes: list[RemovalChange], *, silent: bool) -> Callable[[RemovalChange], None]:
    """Collects changes, and prints each when it is told."""

    def tell(change: RemovalChange) -> None:
        changes.append(change)
        if not silent:
            say(f"{change.kind} {change.name}: {change.did}")

    return tell
