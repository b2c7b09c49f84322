"""``proa-scheduler uninstall``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from proa.core.runtime.cli import dry_run_option, json_option, show
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.cli.commands.options import cluster_options, connect

if TYPE_CHECKING:
    from proa.scheduler.install.removal import Change


@click.command(epilog="Example: proa-scheduler uninstall --dry-run")
@cluster_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--timeout",
    type=click.IntRange(10, 3600),
    default=120,
    show_default=True,
    metavar="SECONDS",
    help="How long schedulers, definitions and namespaces may each take to end.",
)
@dry_run_option
@json_option
def uninstall(kubeconfig: str, context: str, yes: bool, timeout: int, dry_run: bool, as_json: bool) -> None:
    """Take Proa out of a cluster: no cordon, label, annotation or finalizer of its stays. Nodes keep what they run."""
    from proa.scheduler.install.removal import Removal

    if as_json and not (yes or dry_run):
        raise ProaError(Code.USAGE, "nobody can be asked", at="--json", hint="Give --yes or --dry-run, too.")
    api = connect(kubeconfig, context)
    changes: list[Change] = []
    if dry_run or not yes:
        Removal(api, _recorder(changes, silent=as_json), dry_run=True).run()
        if not dry_run and changes:
            click.confirm("Do that?", abort=True)
    if not dry_run and (yes or changes):
        changes.clear()
        Removal(api, _recorder(changes, silent=as_json), seconds=timeout).run()
    if as_json:
        told = [dataclasses.asdict(change) for change in changes]
        show("proa.uninstall/v1", {"dry_run": dry_run, "changes": told})
    elif not changes:
        click.echo("nothing of Proa is there")


def _recorder(changes: list[Change], *, silent: bool) -> Callable[[Change], None]:
    """Collects changes, and prints each when it is told."""

    def tell(change: Change) -> None:
        changes.append(change)
        if not silent:
            click.echo(f"{change.kind} {change.name}: {change.did}")

    return tell
