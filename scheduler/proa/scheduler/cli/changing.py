"""The verbs that change a rollout: ``start``, ``approve``, ``pause``, ``resume``, ``rollback``."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from proa.core.oci.options import access, registry_options
from proa.core.orders.messages import MAX_RATE
from proa.core.runtime import duration
from proa.core.runtime.cli import dry_run_option, json_option, options
from proa.core.runtime.clock import SYSTEM
from proa.core.runtime.output import say
from proa.core.signing.options import key_options, trust
from proa.scheduler.cli import rollouts, spec_values
from proa.scheduler.cli.options import ClusterOption, amount, checked, cluster_options, remark, show
from proa.scheduler.kube.server import Server
from proa.scheduler.planning.views import IN_NO_GROUP, RolloutView
from proa.scheduler.report import patches, status_view
from proa.scheduler.report.patches import SpecChange
from proa.scheduler.report.reports import Changed
from proa.scheduler.spec import selectors
from proa.scheduler.spec.rollout import Approval, Cordoned, OnFailure, OnTimeout, SettingsDisruption, Undrainable, Zones

if TYPE_CHECKING:
    from proa.scheduler.cli.releases import Finder
    from proa.scheduler.kube.api import Api

View = TypeVar("View", bound=RolloutView | None)


def _choice(kind: type[Any]) -> click.Choice[str]:
    return click.Choice([member.value for member in kind], case_sensitive=False)


def _span(said: str) -> str:
    """A span of time."""
    duration.parse(said)
    return said


_AMOUNT: Final = {"metavar": "N|P%", "callback": amount}
_TIME: Final = {"metavar": "TIME", "callback": checked(_span)}


def _each(shape: str, read: Callable[[str], Any]) -> dict[str, Any]:
    """What an option is that may be repeated."""
    value = spec_values.SpecValue(shape, read)
    return {"multiple": True, "metavar": shape, "type": value, "callback": spec_values.listed}


def _wish(option: str, place: str, text: str, **kind: Any) -> Callable[[Any], Any]:
    """An option that stands in the spec: its name says where."""
    return click.option(option, place.replace(".", "__"), help=text, **kind)


def _finder_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how a release is looked up; the verb is given a finder."""

    @functools.wraps(function)
    def verb(*, offline: bool, **given: Any) -> Any:
        from proa.scheduler.cli.releases import Finder

        finder = Finder(trust(given), offline, access(given))
        return function(finder=finder, **given)

    return options(
        key_options(required=False),
        click.option("--offline", is_flag=True, help="Do not ask the registry; REF must then have its digest."),
        registry_options,
    )(verb)


_how_options = options(dry_run_option, json_option, cluster_options)


@click.command(
    epilog="Example: kubectl proa start workers registry.example.net/worker:1.2.0 --canary 1 --max-unavailable 10%"
)
@click.argument("rollout")
@click.argument("reference", metavar="REF")
@click.option("-l", "--selector", default=None, metavar="LABELS", help="Which nodes, as for 'kubectl get -l'.")
@_wish("--max-unavailable", "maxUnavailable", "How many nodes may be unavailable at a time.", **_AMOUNT)
@_wish("--canary", "canary.nodes", "How many nodes go first to prove the release.", **_AMOUNT)
@_wish("--soak", "canary.soak", "How long the canaries must stay healthy, such as 30m.", **_TIME)
@_wish(
    "--staging",
    "staging.maxConcurrent",
    "How many nodes may fetch the release at a time.",
    type=click.IntRange(1, 5000),
)
@_wish(
    "--bytes-per-second",
    "staging.bytesPerSecond",
    "How many bytes a second each node may fetch at; 0 for no limit.",
    type=click.IntRange(0, MAX_RATE),
)
@_wish(
    "--settings",
    "settings",
    "What nodes are set to, all of it, in a TOML or JSON file; what is not in it becomes the release's own.",
    metavar="FILE",
    type=spec_values.SpecValue("FILE", spec_values.settings),
)
@_wish(
    "--settings-disruption",
    "settingsDisruption",
    "What a change of settings alone may disturb.",
    type=_choice(SettingsDisruption),
)
@_wish("--zones", "order.zones", "Whether nodes of two zones may be unavailable at once.", type=_choice(Zones))
@_wish("--zone-soak", "order.zoneSoak", "How long a zone must stay healthy before the next one starts.", **_TIME)
@_wish(
    "--group",
    "order.groups",
    "Nodes that have their turn before those of later groups; may be repeated, '' for no groups.",
    **_each(spec_values.GROUP, spec_values.group),
)
@_wish("--cordoned", "cordoned", "What to do with nodes that somebody else has cordoned.", type=_choice(Cordoned))
@_wish(
    "--wait-for",
    "drain.waitFor",
    "Pods that may finish before anything is evicted, and how long they may take; '' for none.",
    metavar=spec_values.WAIT_FOR,
    type=spec_values.SpecValue(spec_values.WAIT_FOR, spec_values.wait_for),
)
@_wish("--drain-timeout", "drain.timeout", "How long a drain may take.", **_TIME)
@_wish(
    "--on-drain-timeout", "drain.onTimeout", "What to do with a node whose drain takes longer.", type=_choice(OnTimeout)
)
@_wish(
    "--undrainable",
    "drain.undrainable",
    "What to do with a node whose drain something seems to block forever.",
    type=_choice(Undrainable),
)
@_wish(
    "--alert",
    "health.alerts",
    "A query to Prometheus that must be empty before the next node starts; may be repeated, '' for none.",
    **_each(spec_values.ALERT, spec_values.alert),
)
@_wish("--ready-seconds", "health.readySeconds", "How long a node must be Ready.", type=click.IntRange(0, 86400))
@_wish("--max-failures", "failure.max", "How many nodes may fail.", **_AMOUNT)
@_wish("--on-failure", "failure.action", "What to do when more nodes fail.", type=_choice(OnFailure))
@_wish("--approval", "approval", "Whether a person has to approve the release, and when.", type=_choice(Approval))
@click.option(
    "--allow-downgrade",
    "allowDowngrade",
    is_flag=True,
    default=None,
    help="Accept a serial below one that a node has committed.",
)
@click.option("--paused/--not-paused", default=None, help="Whether the rollout starts, or continues, paused.")
@_finder_options
@_how_options
def start(
    rollout: str,
    reference: str,
    selector: str | None,
    finder: Finder,
    dry_run: bool,
    as_json: bool,
    cluster: ClusterOption,
    **given: Any,
) -> None:
    """Roll out a release: create a rollout, or give an existing one another release.

    This machine resolves REF in its registry: a tag becomes its current digest, and a reference that does not exist, is
    not a release, or is not signed is refused. Settings without an option stay as they are.
    """
    wishes = _wishes(given)
    chosen = selectors.parse(selector) if selector is not None else None
    release = finder.find(reference)

    def change(before: RolloutView | None) -> SpecChange:
        wanted = patches.start(before, release, wishes, chosen)
        remarks = finder.compared(release, before.spec.release) if before and before.spec.release != release else ()
        return dataclasses.replace(wanted, notes=(*wanted.notes, *remarks))

    _change(rollout, rollouts.find, change, dry_run, as_json, cluster)


@click.command(epilog="Example: kubectl proa pause workers")
@click.argument("rollout")
@_how_options
def pause(rollout: str, **how: Any) -> None:
    """Stop starting nodes; nodes under way finish."""
    _change(rollout, rollouts.need, patches.pause, **how)


@click.command(epilog="Example: kubectl proa approve workers")
@click.argument("rollout")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="For this group only; may be repeated.")
@click.option("--no-group", is_flag=True, help="For the nodes that are in no group.")
@_how_options
def approve(rollout: str, groups: tuple[str, ...], no_group: bool, cluster: ClusterOption, **how: Any) -> None:
    """Approve the release that a rollout has now: a later one needs another approval."""
    api = cluster.connect()
    which = (*groups, *((IN_NO_GROUP,) if no_group else ()))
    change = functools.partial(patches.approve, by=rollouts.person(api), now=SYSTEM.now(), groups=which)
    _change_by(api, rollout, rollouts.need, change, **how)


@click.command(epilog="Example: kubectl proa resume workers --attempt")
@click.argument("rollout")
@click.option("--attempt", is_flag=True, help="Try a release again that halted: raise spec.attempt.")
@_how_options
def resume(rollout: str, attempt: bool, **how: Any) -> None:
    """Continue after a pause, or with --attempt after a halt."""
    _change(rollout, rollouts.need, functools.partial(patches.resume, attempt=attempt), **how)


@click.command(epilog="Example: kubectl proa rollback workers")
@click.argument("rollout")
@click.option(
    "--to", "reference", default="", metavar="REF", help=("The release to go back to.  [default: the previous one]")
)
@_finder_options
@_how_options
def rollback(rollout: str, reference: str, finder: Finder, **how: Any) -> None:
    """Roll nodes back to the previous release, or to another one.

    In a halted rollout, every updated node goes back to its other slot. Any other rollout gets the last release that it
    completed as its new target; nodes that still hold it fetch nothing.
    """
    to = finder.find(reference) if reference else ""
    _change(rollout, rollouts.need, functools.partial(patches.rollback, release=to), **how)


# inside


def _wishes(given: dict[str, Any]) -> dict[str, Any]:
    """The options of ``start`` that were given, as parts of a spec."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        *parts, key = name.split("__")
        if value is not None:
            functools.reduce(lambda place, part: place.setdefault(part, {}), parts, found)[key] = value
    return found


def _change(
    name: str,
    find: Callable[[Server, str], View],
    change: Callable[[View], SpecChange],
    dry_run: bool,
    as_json: bool,
    cluster: ClusterOption,
) -> None:
    """Find a rollout, change it, and tell."""
    _change_by(cluster.connect(), name, find, change, dry_run, as_json)


def _change_by(
    api: Api,
    name: str,
    find: Callable[[Server, str], View],
    change: Callable[[View], SpecChange],
    dry_run: bool,
    as_json: bool,
) -> None:
    """The same by a connection that stands, and is closed then."""
    before = find(api, name)
    wanted = change(before)
    body = rollouts.body_of(name, wanted, before) if wanted.is_one else None
    after: RolloutView | None = before if dry_run or body is None else rollouts.carry_out(api, name, body, before)
    api.close()
    if as_json:
        told = status_view.rollout_report(after) if after else None
        done = wanted.is_one and not dry_run
        show(Changed(name, done, wanted.said, wanted.notes, body, told), as_json, ())
        return
    if dry_run and body is not None:
        say(json.dumps(body, indent=2))
    say(f"osrollout.proa.dev/{name} {wanted.said}{' (dry run)' if dry_run else ''}", err=dry_run)
    remark(wanted.notes)
