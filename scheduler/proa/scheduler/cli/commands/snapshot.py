"""``proa-scheduler snapshot``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from proa.core import VERSION
from proa.core.runtime.cli import show
from proa.scheduler.cli.commands.options import cluster_options, remark


@click.command(epilog="Example: proa-scheduler snapshot --hash-names -o cluster.json")
@click.option("--hash-names", is_flag=True, help="Give nodes, zones and registries other names, and leave texts out.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to; standard output if not."
)
@cluster_options
def snapshot(hash_names: bool, output: Path | None, kubeconfig: str, context: str) -> None:
    """Write down what the planner sees of the cluster, as JSON: 'plan', 'explain' and 'simulate' read it by --from."""
    from proa.core.runtime.files import replace
    from proa.scheduler.report import document, source

    seen = source.look(kubeconfig, context, None)
    found = document.hashed(seen.snapshot) if hash_names else seen.snapshot
    written = document.write(found, seen.now)
    remark(seen.notes)
    if output is None:
        show(document.SCHEMA, written)
        return
    whole = {"schema": document.SCHEMA, "proa": VERSION} | written
    replace(output, json.dumps(whole, separators=(",", ":")).encode(), 0o600)
    click.echo(f"{len(found.nodes)} nodes and {len(found.rollouts)} rollouts: {output}")
