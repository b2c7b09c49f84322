"""The command ``proa-scheduler``."""

from __future__ import annotations

from typing import NoReturn

import click

from proa.core import SCHEMA_VERSION
from proa.core.cli import run_command
from proa.scheduler.commands.run import run


@click.group(epilog="Example: proa-scheduler manifests | kubectl apply -f -")
@click.version_option(SCHEMA_VERSION, prog_name="proa-scheduler")
def cli() -> None:
    """Take the nodes of a cluster from one release to the next."""


cli.add_command(run)


def main() -> NoReturn:
    """Run it."""
    run_command(cli, "proa-scheduler")
