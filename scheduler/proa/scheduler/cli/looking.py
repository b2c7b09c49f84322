"""The verbs that look and change nothing: ``status``, ``plan``, ``explain``, ``simulate``, ``snapshot``."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from proa.core.runtime.cli import json_option
from proa.core.runtime.output import say
from proa.scheduler.cli.options import (
    ClusterOption,
    all_option,
    amount,
    cluster_options,
    from_option,
    remark,
    show,
    usual_option,
)

_NARROWEST: Final = 80
"""Columns that a terminal has at least, and that text has which goes elsewhere."""
_SHARE = click.FloatRange(0, 100)
_SECONDS = click.FloatRange(min=0)


@click.command(epilog="Example: kubectl proa status workers")
@click.argument("rollout", default="")
@all_option
@click.option("--wide", is_flag=True, help="Show every column, however wide that is.")
@click.option("--watch", is_flag=True, help="Show it again whenever it changes, until the rollout has ended.")
@json_option
@cluster_options
def status(rollout: str, whole: bool, wide: bool, watch: bool, as_json: bool, cluster: ClusterOption) -> None:
    """Show rollouts and their nodes: how far they are, what runs where, and what blocks them.

    What failed comes first. On a terminal, the tables fit its width and are coloured, unless NO_COLOR is set.
    """
    from proa.scheduler.cli.watching import watched
    from proa.scheduler.report import rendering, status_view

    terminal = sys.stdout.isatty()
    look = status_view.Look(
        alone=bool(rollout),
        most=0 if whole else rendering.MOST,
        wide=wide,
        width=max(_NARROWEST, shutil.get_terminal_size().columns) if terminal else _NARROWEST,
        colour=terminal and "NO_COLOR" not in os.environ,
    )
    if watch:
        if as_json:
            raise click.UsageError("--watch shows text: leave out --json, or --watch")
        click.get_current_context().exit(watched(cluster, rollout, look, clear=terminal))
    seen = cluster.look(rollout=rollout)
    report = status_view.status_report(seen.snapshot, seen.now, rollout, seen.notes)
    show(report, as_json, status_view.status_lines(report, look))


@click.command(epilog="Example: proa-scheduler plan workers")
@click.argument("rollout")
@from_option
@all_option
@json_option
@cluster_options
def plan(rollout: str, path: Path | None, whole: bool, as_json: bool, cluster: ClusterOption) -> None:
    """Preview the order of the nodes, with reasons, and about when all of them are done."""
    from proa.scheduler.report import rendering
    from proa.scheduler.report.preview import preview

    seen = cluster.look(path, rollout=rollout)
    found = preview(seen.snapshot, rollout, seen.now, notes=seen.notes)
    most = 0 if whole else rendering.MOST
    show(found.report, as_json, rendering.plan_lines(found, most))


@click.command(epilog="Example: proa-scheduler explain node-17")
@click.argument("node")
@from_option
@json_option
@cluster_options
def explain(node: str, path: Path | None, as_json: bool, cluster: ClusterOption) -> None:
    """Explain why a node does not move: every gate that holds it back, since when, and who can open it."""
    from proa.scheduler.report import rendering
    from proa.scheduler.report.explain import explain as explained

    seen = cluster.look(path, node=node)
    found = explained(seen.snapshot, node, seen.now, seen.notes)
    show(found, as_json, rendering.explain_lines(found, seen.now))


@click.command(epilog="Example: kubectl proa settings workers --diff")
@click.argument("name", metavar="NODE|ROLLOUT")
@click.option("--diff", is_flag=True, help="Show where the settings of each node differ from those of its rollout.")
@from_option
@all_option
@json_option
@cluster_options
def settings(name: str, diff: bool, path: Path | None, whole: bool, as_json: bool, cluster: ClusterOption) -> None:
    """Show what a node, or the nodes of a rollout, are set to, and where that is not what the rollout wants."""
    from proa.scheduler.report import rendering, settings_view

    seen = cluster.look(path)
    report = settings_view.settings_report(seen.snapshot, name, seen.notes)
    most = 0 if whole else rendering.MOST
    show(report, as_json, settings_view.settings_lines(report, diff=diff, most=most))


@click.command(epilog="Example: proa-scheduler simulate --from cluster.json --returns 1")
@from_option
@click.option("--nodes", type=click.IntRange(0, 5000), help="Simulate a made-up cluster with this many nodes instead.")
@usual_option("--zones", type=click.IntRange(1), default=3, help="Its zones.")
@usual_option("--control-planes", type=click.IntRange(0), default=0, help="Control-plane nodes in it.")
@usual_option("--max-unavailable", default="5%", callback=amount, help="How many of its nodes may be unavailable.")
@usual_option("--stage", type=_SECONDS, default=60.0, help="Seconds to fetch a release.")
@usual_option("--drain", type=_SECONDS, default=60.0, help="Seconds to drain a node.")
@usual_option("--boot", type=_SECONDS, default=90.0, help="Seconds to reboot a node.")
@usual_option("--days", type=click.FloatRange(min=0), default=60.0, help="Give up after this time.")
@click.option("--returns", type=_SHARE, default=0.0, help="Percent of nodes whose trial returns.")
@click.option("--unfetched", type=_SHARE, default=0.0, help="Percent of nodes that cannot fetch the release.")
@click.option("--undrainable", type=_SHARE, default=0.0, help="Percent of nodes whose pods never leave.")
@click.option("--never-back", type=_SHARE, default=0.0, help="Percent of nodes that never come back from their reboot.")
@click.option("--seed", type=int, default=0, help="Seed that chooses those nodes.")
@json_option
@cluster_options
def simulate(path: Path | None, as_json: bool, cluster: ClusterOption, **given: Any) -> None:
    """Run the rollouts to their ends in virtual time: on the live cluster's state, a snapshot's, or a made-up one's.

    The exit status tells the outcome: 0 if all rollouts complete, 1 if one halts, rolls back or cannot act, 5 if one is
    not complete when nothing more happens by itself, or after --days.
    """
    from proa.scheduler.report import simulation
    from proa.scheduler.simulation.behaviour import Behaviour, Chances
    from proa.scheduler.simulation.simulate import Patience, resume, run

    _check_made_up(given["nodes"], path, cluster)
    if given["nodes"] is None:
        seen = cluster.look(path)
        snapshot, now = seen.snapshot, seen.now
        remark(seen.notes)
    else:
        amounts = (given[name] for name in ("nodes", "zones", "control_planes", "max_unavailable"))
        snapshot, now = simulation.made_up(*amounts)
    chances = Chances(*(given[name] for name in ("returns", "unfetched", "undrainable", "never_back", "seed")))
    behaviour = Behaviour(stage=given["stage"], drain=given["drain"], boot=given["boot"], fate=chances.fate)
    world = resume(snapshot, now, behaviour)
    started = time.monotonic()
    course = run(world, Patience(timedelta(days=given["days"])))
    report = simulation.simulation_report(course, world, time.monotonic() - started)
    show(report, as_json, simulation.simulation_lines(report))
    click.get_current_context().exit(simulation.outcome(report))


def _check_made_up(nodes: int | None, path: Path | None, cluster: ClusterOption) -> None:
    """Refuse options that say two things: a cluster that is made up is no other one.

    Raises:
        click.UsageError: If they do.
    """
    context = click.get_current_context()
    if nodes is not None:
        others = {"--from": path, "--kubeconfig": cluster.kubeconfig, "--context": cluster.context}
        if said := [option for option, value in others.items() if value]:
            raise click.UsageError(
                f"--nodes makes up a cluster, and {said[0]} names another one: leave out one of them"
            )
    elif said := [name for name in _MADE_UP if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]:
        raise click.UsageError(
            f"--{said[0].replace('_', '-')} belongs to a made-up cluster: add --nodes, or leave it out"
        )
    if path is not None and (cluster.kubeconfig or cluster.context):
        raise click.UsageError("--from reads a file, not a live cluster: leave out --kubeconfig and --context")


_MADE_UP: Final = ("zones", "control_planes", "max_unavailable")


@click.command(epilog="Example: proa-scheduler snapshot --hash-names -o cluster.json")
@click.option(
    "--hash-names", is_flag=True, help=("Replace the names of nodes, zones and registries, and leave texts out.")
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=("The file to write.  [default: standard output]"),
)
@cluster_options
def snapshot(hash_names: bool, output: Path | None, cluster: ClusterOption) -> None:
    """Write down what the planner sees of the cluster, as JSON: 'plan', 'explain' and 'simulate' read it by --from."""
    from proa.core.runtime.files import replace
    from proa.scheduler.report import document

    seen = cluster.look()
    found = document.hashed(seen.snapshot) if hash_names else seen.snapshot
    written = document.write(found, seen.now)
    remark(seen.notes)
    if output is None:
        say(json.dumps(written, indent=2))
        return
    replace(output, json.dumps(written, separators=(",", ":")).encode(), 0o600)
    say(f"{len(found.nodes)} nodes and {len(found.rollouts)} rollouts: {output}")
