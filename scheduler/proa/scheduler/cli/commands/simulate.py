"""``proa-scheduler simulate``."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from proa.core.runtime.cli import json_option, options, show
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.cli.commands.options import cluster_options, from_option, remark

_SHARE = click.FloatRange(0, 100)
_SECONDS = click.FloatRange(min=0)
_synthetic_options = options(
    click.option("--nodes", type=click.IntRange(0, 5000), help="A made-up cluster of so many nodes instead."),
    click.option("--zones", type=click.IntRange(1), default=3, show_default=True, help="Its zones."),
    click.option("--control-planes", type=click.IntRange(0), default=0, show_default=True, help="Its control plane."),
    click.option("--max-unavailable", default="5%", show_default=True, help="How many of its nodes may be away."),
)
_time_options = options(
    click.option("--stage", type=_SECONDS, default=60.0, show_default=True, help="Seconds of fetching a release."),
    click.option("--drain", type=_SECONDS, default=60.0, show_default=True, help="Seconds of a drain."),
    click.option("--boot", type=_SECONDS, default=90.0, show_default=True, help="Seconds of a reboot."),
    click.option("--days", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Give up after these."),
)
_chance_options = options(
    click.option("--returns", type=_SHARE, default=0.0, help="Percent of nodes whose trial comes back."),
    click.option("--unfetched", type=_SHARE, default=0.0, help="Percent that cannot fetch the release."),
    click.option("--undrainable", type=_SHARE, default=0.0, help="Percent whose pods never leave."),
    click.option("--never-back", type=_SHARE, default=0.0, help="Percent that never come back from their reboot."),
    click.option("--seed", type=int, default=0, help="Another one lets it happen on other nodes."),
)


@click.command(epilog="Example: proa-scheduler simulate --from cluster.json --returns 1")
@from_option
@_synthetic_options
@_time_options
@_chance_options
@json_option
@cluster_options
def simulate(path: Path | None, as_json: bool, kubeconfig: str, context: str, **given: Any) -> None:
    """Run the rollouts to their ends in virtual time: on the live cluster's state, a snapshot's, or a made-up one's."""
    from proa.scheduler.report import simulation, source
    from proa.scheduler.simulation.behaviour import Behaviour
    from proa.scheduler.simulation.chances import Chances
    from proa.scheduler.simulation.resume import resume
    from proa.scheduler.simulation.simulate import Patience, run

    if given["nodes"] is None:
        seen = source.look(kubeconfig, context, path)
        snapshot, now = seen.snapshot, seen.now
        remark(seen.notes)
    else:
        amount = _amount(given["max_unavailable"])
        snapshot, now = simulation.Synthetic(given["nodes"], given["zones"], given["control_planes"], amount).snapshot()
    chances = Chances(*(given[name] for name in ("returns", "unfetched", "undrainable", "never_back", "seed")))
    behaviour = Behaviour(stage=given["stage"], drain=given["drain"], boot=given["boot"], fate=chances.fate)
    world = resume(snapshot, now, behaviour)
    started = time.monotonic()
    course = run(world, Patience(timedelta(days=given["days"])))
    seconds = time.monotonic() - started
    if as_json:
        show(simulation.SCHEMA, simulation.simulation_document(course, world, seconds))
    else:
        click.echo(simulation.simulation_text(course, world, seconds))


def _amount(said: str) -> int | str:
    from proa.scheduler.spec.amounts import resolve

    amount = int(said) if said.isascii() and said.isdigit() else said
    try:
        resolve(amount, 0)
    except ProaError as error:
        raise ProaError(Code.USAGE, f"--max-unavailable: {error.message}") from error
    return amount
