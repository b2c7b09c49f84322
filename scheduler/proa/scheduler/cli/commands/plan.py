"""``proa-scheduler plan``."""

from __future__ import annotations

from pathlib import Path

import click

from proa.core.runtime.cli import json_option, show
from proa.scheduler.cli.commands.options import cluster_options, from_option, remark


@click.command(epilog="Example: proa-scheduler plan workers")
@click.argument("rollout")
@from_option
@click.option("--all", "whole", is_flag=True, help="Show all nodes, however many they are.")
@json_option
@cluster_options
def plan(rollout: str, path: Path | None, whole: bool, as_json: bool, kubeconfig: str, context: str) -> None:
    """Show whose turn comes when, why, and about when all are done. Nothing is changed."""
    from proa.scheduler.report import rendering, source
    from proa.scheduler.report.preview import preview

    seen = source.look(kubeconfig, context, path, rollout=rollout)
    found = preview(seen.snapshot, rollout, seen.now)
    if as_json:
        show(rendering.PLAN, rendering.plan_document(found, seen.notes))
    else:
        click.echo(rendering.plan_text(found, most=0) if whole else rendering.plan_text(found))
        remark(seen.notes)
