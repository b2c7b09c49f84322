"""The command ``proa-scheduler``."""

from __future__ import annotations

from typing import NoReturn

import click

from proa.core import VERSION
from proa.core.runtime.cli import run_command
from proa.scheduler.cli.installing import manifests, uninstall
from proa.scheduler.cli.looking import explain, plan, simulate, snapshot
from proa.scheduler.cli.running import proxy, run


@click.group(epilog="Example: proa-scheduler manifests | kubectl apply -f -")
@click.version_option(VERSION, prog_name="proa-scheduler")
def cli() -> None:
    """Take the nodes of a cluster from one release to the next."""


for _verb in (manifests, proxy, run, uninstall, plan, explain, simulate, snapshot):
    cli.add_command(_verb)


def main() -> NoReturn:
    """Run it."""
    run_command(cli, "proa-scheduler")
