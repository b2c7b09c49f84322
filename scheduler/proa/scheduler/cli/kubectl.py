"""The plugin ``kubectl-proa``: kubectl runs it for ``kubectl proa``."""

from __future__ import annotations

import copy
from typing import NoReturn

import click

from proa.core import VERSION
from proa.core.runtime.cli import run_command
from proa.scheduler.cli.changing import approve, pause, resume, rollback, start
from proa.scheduler.cli.looking import explain, plan, settings, status


@click.group(epilog="Example: kubectl proa start workers registry.example.net/nodes/worker:1.2.0")
@click.version_option(VERSION, prog_name="kubectl-proa")
def cli() -> None:
    """Take the nodes of a cluster from one release to the next, and back."""


def _ours(command: click.Command) -> click.Command:
    """A verb of the scheduler's command under the plugin's name."""
    found = copy.copy(command)
    found.epilog = (command.epilog or "").replace("proa-scheduler", "kubectl proa")
    return found


for _verb in (status, start, approve, pause, resume, rollback, _ours(explain), _ours(plan), settings):
    cli.add_command(_verb)


def main() -> NoReturn:
    """Run it."""
    run_command(cli, "kubectl proa")
