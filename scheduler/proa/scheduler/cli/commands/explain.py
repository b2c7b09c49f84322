"""``proa-scheduler explain``."""

from __future__ import annotations

from pathlib import Path

import click

from proa.core.runtime.cli import json_option, show
from proa.scheduler.cli.commands.options import cluster_options, from_option, remark


@click.command(epilog="Example: proa-scheduler explain node-17")
@click.argument("node")
@from_option
@json_option
@cluster_options
def explain(node: str, path: Path | None, as_json: bool, kubeconfig: str, context: str) -> None:
    """Say why a node does not move: every gate that holds it back, since when, and who can open it."""
    from proa.scheduler.report import rendering, source
    from proa.scheduler.report.explain import explain as explained

    seen = source.look(kubeconfig, context, path, node=node)
    found = explained(seen.snapshot, node, seen.now)
    if as_json:
        show(rendering.EXPLANATION, rendering.explain_document(found, seen.notes))
    else:
        click.echo(rendering.explain_text(found, seen.now))
        remark(seen.notes)
