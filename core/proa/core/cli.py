"""What every command has in common: options, the one error handler, JSON output."""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from proa.core import SCHEMA_VERSION
from proa.core.errors import Code, Exit, ProaError
from proa.core.events import Monitor, monitor

Function = TypeVar("Function", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
progress_option = click.option(
    "--progress",
    type=click.Choice(["auto", "bar", "plain", "json", "none"]),
    default="auto",
    show_default=True,
    help="How progress is shown, on standard error.",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Print the plan and touch nothing.")


def show(schema: str, document: dict[str, Any]) -> None:
    """Print a report: ``schema`` (as ``proa.status/v1``) and the version first, then the document."""
    click.echo(json.dumps({"schema": schema, "proa": SCHEMA_VERSION} | document, indent=2))


def progress(kind: str) -> Monitor:
    """The monitor for ``--progress``."""
    return monitor(kind)


def run_command(command: click.Command, name: str) -> NoReturn:
    """Run a click command: the one place where an error becomes text and an exit status.

    Every long option has an environment twin, ``PROA_<VERB>_<OPTION>``.
    """
    name_twins(command, "PROA")
    as_json = "--json" in sys.argv[1:] or any(
        value and twin.startswith("PROA_") and twin.endswith("_JSON") for twin, value in os.environ.items()
    )
    try:
        status = command.main(prog_name=name, standalone_mode=False)
        sys.exit(int(status) if isinstance(status, int) else int(Exit.DONE))
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as wrong:
        context = getattr(wrong, "ctx", None)
        usage = f"See '{context.command_path} --help'." if context else ""
        _fail(ProaError(Code.USAGE, wrong.format_message(), hint=usage), name, as_json)
    except (click.Abort, KeyboardInterrupt):
        _fail(ProaError(Code.INTERRUPTED), name, as_json)
    except ProaError as error:
        _fail(error, name, as_json)
    except BrokenPipeError:
        # Nobody reads standard output any more; without this the interpreter fails again as it flushes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(int(Exit.FAILED))
    except Exception as defect:  # noqa: BLE001 -- the one handler at the top
        traceback.print_exc()
        _fail(ProaError(Code.INTERNAL, f"{type(defect).__name__}: {defect}"), name, as_json)


def name_twins(command: click.Command, prefix: str) -> None:
    """Give every option of a command, and of those below it, its environment twin: PREFIX, verb and long option."""
    for option in command.params:
        longest = max(option.opts, key=len) if isinstance(option, click.Option) else ""
        if longest.startswith("--") and longest not in ("--help", "--version"):
            option.envvar = f"{prefix}_{longest.removeprefix('--').replace('-', '_').upper()}"
    for verb, below in (command.commands if isinstance(command, click.Group) else {}).items():
        name_twins(below, f"{prefix}_{verb.replace('-', '_').upper()}")


def _fail(error: ProaError, name: str, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps(error.document(), indent=2))
    else:
        click.echo(error.text(name), err=True)
    sys.exit(int(error.exit))


def options(*decorators: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Several click decorators as one, applied top to bottom."""

    def apply(function: Function) -> Function:
        return functools.reduce(lambda inner, decorator: decorator(inner), reversed(decorators), function)

    return apply
