"""What every command has in common: options, the one error handler, JSON output."""

from __future__ import annotations

import errno
import functools
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

import click

from proa.core.runtime.defects import told
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.runtime.events import Monitor
from proa.core.runtime.files import user_error
from proa.core.runtime.output import say
from proa.core.runtime.renderers import monitor

Function = TypeVar("Function", bound=Callable[..., Any])
_NO_DEFECTS: Final = frozenset({errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT})
"""What the system refuses, no matter who asks or how: a missing file may be a defect of ours."""

_json_asked: ContextVar[bool | None] = ContextVar("json_asked", default=None)
"""What the verb that runs was told by ``--json`` or its environment twin; none as long as that is not known."""


def _keep(_: click.Context, __: click.Parameter, value: bool) -> bool:
    _json_asked.set(value)
    return value


# Eager, so that it is known when a later option turns out to be wrong.
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    callback=_keep,
    help="Print one JSON document on standard output.",
)
progress_option = click.option(
    "--progress",
    type=click.Choice(["auto", "bar", "plain", "json", "none"]),
    default="auto",
    show_default=True,
    help="How to show progress on standard error.",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Print the plan and change nothing.")


def progress(kind: str) -> Monitor:
    """The monitor for ``--progress``."""
    return monitor(kind)


def run_command(command: click.Command, name: str) -> NoReturn:
    """Run a click command: the one place where an error becomes text and an exit status.

    Every long option has an environment twin, ``PROA_<VERB>_<OPTION>``.
    """
    name_twins(command, "PROA")
    _json_asked.set(None)
    try:
        status = _run(command, name)
    finally:
        _let_go()
    sys.exit(status)


def end_politely() -> None:
    """Treat SIGTERM and SIGHUP as interruptions: child processes end, and nothing half-done stays behind."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run(command: click.Command, name: str) -> int:
    try:
        status = command.main(prog_name=name, standalone_mode=False)
        return int(status) if isinstance(status, int) else int(Exit.DONE)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as wrong:
        context = getattr(wrong, "ctx", None)
        usage = f"See '{context.command_path} --help'." if context else ""
        return _failed(ProaError(Code.USAGE, wrong.format_message(), hint=usage), name, context)
    except (click.Abort, KeyboardInterrupt):
        return _failed(ProaError(Code.INTERRUPTED), name)
    except ProaError as error:
        return _failed(error, name)
    except BrokenPipeError:
        return int(Exit.FAILED)
    except Exception as defect:  # noqa: BLE001 -- the one handler at the top
        if isinstance(defect, OSError) and defect.errno in _NO_DEFECTS and (refusal := user_error(defect)) is not None:
            return _failed(refusal, name)
        last = told(defect)
        if last.code is Code.INTERNAL:
            with suppress(OSError):
                traceback.print_exc()
        return _failed(last, name)


def name_twins(command: click.Command, prefix: str) -> None:
    """Give every option of a command and of its subcommands an environment variable: PREFIX, verb and long option.

    ``--help`` and ``--version`` have none where they are questions that end the command, as click makes them.
    """
    for option in command.params:
        longest = max(option.opts, key=len) if isinstance(option, click.Option) else ""
        question = option.is_eager and not option.expose_value
        if longest.startswith("--") and not question:
            option.envvar = f"{prefix}_{longest.removeprefix('--').replace('-', '_').upper()}"
    for verb, below in (command.commands if isinstance(command, click.Group) else {}).items():
        name_twins(below, f"{prefix}_{verb.replace('-', '_').upper()}")


def _failed(error: ProaError, name: str, context: click.Context | None = None) -> int:
    """Tell an error, if anybody listens; the exit status."""
    with suppress(OSError):
        if _wants_json(context):
            say(json.dumps(error.document(), indent=2))
        else:
            say(error.text(name), err=True)
    return int(error.exit)


def _wants_json(context: click.Context | None) -> bool:
    """What the verb that ran made of ``--json``; of a command line that cannot be taken apart, what it shows of it."""
    asked = _json_asked.get()
    if asked is not None:
        return asked
    option = next((one for one in context.command.params if one.name == "as_json"), None) if context else None
    twin = option.resolve_envvar_value(context) if option and context else None
    with suppress(click.BadParameter):
        return "--json" in sys.argv[1:] or bool(twin and click.BOOL.convert(twin, option, context))
    return False


def _let_go() -> None:
    """Where nobody reads an output any more, let the interpreter flush into nothing: it would fail as it ends."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:  # the caller closed it
            continue
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def options(*decorators: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Several click decorators as one, applied top to bottom."""

    def apply(function: Function) -> Function:
        return functools.reduce(lambda inner, decorator: decorator(inner), reversed(decorators), function)

    return apply
