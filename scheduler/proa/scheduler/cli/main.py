"""The command ``proa-scheduler``."""

from __future__ import annotations

from typing import NoReturn

import click

from proa.core import VERSION
from proa.core.runtime.cli import run_command
from proa.scheduler.cli.commands.explain import explain
from proa.scheduler.cli.commands.manifests import manifests
from proa.scheduler.cli.commands.plan import plan
from proa.scheduler.cli.commands.proxy import proxy
from proa.scheduler.cli.commands.run import run
from proa.scheduler.cli.commands.simulate import simulate
from proa.scheduler.cli.commands.snapshot import snapshot
from proa.scheduler.cli.commands.uninstall import uninstall


@click.group(epilog="Example: proa-scheduler manifests | kubectl apply -f -")
@click.version_option(VERSION, prog_name="proa-scheduler")
def cli() -> None:
    """Take the nodes of a cluster from one release to the next."""


cli.add_command(manifests)
cli.add_command(proxy)
cli.add_command(run)
cli.add_command(uninstall)
for _verb in (plan, explain, simulate, snapshot):
    cli.add_command(_verb)


def main() -> NoReturn:
    """Run it."""
    run_command(cli, "proa-scheduler")
