"""The page of the commands, from click's own description of them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator

import click
from making.markdown import code, page, table

from proa.core.runtime.cli import name_twins
from proa.core.runtime.errors import Exit

COMMANDS = {
    "proa-build": ("proa.builder.cli.main", "cli"),
    "proa-disk": ("proa.partition.cli.main", "disk_command"),
    "proa-agent": ("proa.agent.cli.main", "cli"),
    "proa-scheduler": ("proa.scheduler.cli.main", "cli"),
    "kubectl-proa": ("proa.scheduler.cli.kubectl", "cli"),
    "proa-vm": ("proa.vm.cli.main", "cli"),
}
_EXITS = {
    Exit.DONE: "Done.",
    Exit.FAILED: "Failed, for a reason with its own code.",
    Exit.USAGE: "The command line or the configuration is wrong.",
    Exit.REFUSED: "Refused: not verified, not allowed, or not compatible.",
    Exit.BUSY: "Another process holds the lock.",
    Exit.STATE: "Not possible in this state.",
    Exit.NETWORK: "Network, registry or mirror, after retries; another attempt may work.",
    Exit.DEVICE: "Device, disk or file system.",
    Exit.PERMANENT: "The registry or the cluster answered, and would answer the same again.",
    Exit.INTERRUPTED: "Interrupted; nothing half-finished is active.",
}
_COMMON = """\
Every command has `--help` and `--version`. A verb that reports has `--json`: one document on standard output, described
in [json.md](json.md). A verb that works for a while has `--progress`: `auto` draws bars on a terminal and writes one
line per step elsewhere, `json` writes one event a line; all of it goes to standard error. A verb that changes something
has `--dry-run`.

An error is three lines on standard error, `COMMAND: error[CODE]: what happened`, `at:` and `hint:`; with `--json` it is
the document `proa.error/v1`. [errors.md](errors.md) has all codes.

A reference names a release: `HOST[:PORT]/NAME[:TAG][@sha256:...]` in a registry, or `oci:PATH[:TAG]` for an OCI layout
folder. Plain HTTP to other machines is refused, unless you pass `--plain-http`. Credentials come from the auth
files of Docker and podman.

You can also set an option through the environment variable in the last column."""


def commands() -> str:
    """docs/reference/commands.md."""
    exits = table(["status", "meaning"], [[str(int(status)), what] for status, what in _EXITS.items()])
    chapters = [part for name in COMMANDS for part in _command(name)]
    return page("Commands", _COMMON, "## Exit statuses", exits, *chapters)


def _command(name: str) -> Iterator[str]:
    module, variable = COMMANDS[name]
    root: click.Command = getattr(importlib.import_module(module), variable)
    name_twins(root, "PROA")
    context = click.Context(root, info_name=name)
    yield f"## {name}"
    yield f"{_sentence(root)}\n\n{_example(root)}"
    if options := _options(root, context):
        yield options
    yield from _verbs(root, context)


def _verbs(group: click.Command, context: click.Context) -> Iterator[str]:
    if not isinstance(group, click.Group):
        return
    for name, verb in group.commands.items():
        below = click.Context(verb, info_name=name, parent=context)
        if isinstance(verb, click.Group):
            yield from _verbs(verb, below)
            continue
        usage = " ".join([below.command_path, *verb.collect_usage_pieces(below)])
        yield f"### {below.command_path}"
        yield f"{_sentence(verb)}\n\n```text\n{usage}\n```\n\n{_example(verb)}"
        if options := _options(verb, below):
            yield options


def _sentence(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").replace("\b\n", "")


def _example(command: click.Command) -> str:
    what, colon, example = (command.epilog or "").partition(": ")
    return f"{what}: `{example}`" if colon else what


def _options(command: click.Command, context: click.Context) -> str:
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    rows = [_row(one, context) for one in options if not (one.is_flag and one.name == "version")]
    return table(["option", "what", "default", "variable"], rows) if rows else ""


def _row(option: click.Option, context: click.Context) -> list[str]:
    metavar = "" if option.is_flag else " " + option.make_metavar(context)
    names = ", ".join(sorted(option.opts, key=len)) + metavar
    shown = option.get_default(context)
    default = "" if option.is_flag or shown in (None, "", ()) or "UNSET" in repr(shown) else code(shown)
    return [code(names), option.help or "", default, code(variable(option, context))]


def variable(option: click.Option, context: click.Context) -> str:
    """The option's variable in the environment, as click looks for it."""
    if isinstance(option.envvar, str):
        return option.envvar
    return ""
