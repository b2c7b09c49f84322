"""``proa-agent settings``: what the node is set to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proa.agent.api.client import Client
from proa.agent.cli.running import Run, running, where_options
from proa.core.runtime import duration
from proa.core.runtime.cli import dry_run_option, json_option
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors
from proa.core.schema.model import Part
from proa.core.schema.output import tell

if TYPE_CHECKING:
    from proa.agent.settings.engine import Engine
    from proa.agent.settings.report import SettingsReport


@click.group("settings", epilog="Example: proa-agent settings show")
@where_options
def settings() -> None:
    """Kernel parameters, kubelet's configuration and other settings that the release allows."""


@settings.command("apply", epilog="Example: proa-agent settings apply node.toml --commit")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--commit-within",
    "within",
    default="10m",
    show_default=True,
    help="Return to the settings before unless they are committed by then.",
)
@click.option("--commit", is_flag=True, help="Commit them at once if they take effect.")
@dry_run_option
@json_option
@where_options
def apply_settings(file: Path, within: str, *, commit: bool, dry_run: bool, as_json: bool) -> None:
    """Check the document FILE (JSON or TOML), apply it, and try it.

    The command lists all errors at once and then applies nothing. If a daemon does not start with the new settings, or
    nobody commits them in time, the settings before are back.
    """
    if commit and click.get_current_context().get_parameter_source("within") is not click.core.ParameterSource.DEFAULT:
        raise ProaError(Code.USAGE, "--commit-within has no effect with --commit", hint="Use one of them.")
    from proa.core.settings.document import MAX_SOURCE, parse

    with os_errors(file), file.open("rb") as opened:
        document = parse(opened.read(MAX_SOURCE + 1), file)
    seconds = duration.parse(within).total_seconds()
    run = running()
    if run.client and not dry_run:
        from proa.agent.api.requests import SettingsRequest

        found = _post(run.client, "/v1/settings", SettingsRequest(document.canonical(), seconds, commit))
    else:
        found = _engine(run).apply(document, seconds, commit=commit, dry_run=dry_run)
    tell(found, as_json, _text)


@settings.command("show", epilog="Example: proa-agent settings show --json")
@json_option
@where_options
def show_settings(*, as_json: bool) -> None:
    """Show the settings: in effect, on trial, and drifted."""
    run = running()
    if run.client:
        from proa.agent.settings.report import SettingsReport

        found = run.client.get(SettingsReport, "/v1/settings")
    else:
        found = _engine(run).report()
    tell(found, as_json, _text)


@settings.command("commit", epilog="Example: proa-agent settings commit")
@dry_run_option
@json_option
@where_options
def commit_settings(*, dry_run: bool, as_json: bool) -> None:
    """Keep the settings that are being tried."""
    run = running()
    if run.client and not dry_run:
        found = _post(run.client, "/v1/settings/commit")
    else:
        found = _engine(run).commit(dry_run=dry_run)
    tell(found, as_json, _text)


@settings.command("revert", epilog="Example: proa-agent settings revert")
@dry_run_option
@json_option
@where_options
def revert_settings(*, dry_run: bool, as_json: bool) -> None:
    """Return to the settings before those that are being tried, or were committed last."""
    run = running()
    if run.client and not dry_run:
        found = _post(run.client, "/v1/settings/revert")
    else:
        found = _engine(run).revert(dry_run=dry_run)
    tell(found, as_json, _text)


def _engine(run: Run) -> Engine:
    from proa.agent.settings.engine import Engine

    return Engine(run.context)


def _post(client: Client, path: str, body: Part | None = None) -> SettingsReport:
    from proa.agent.settings.report import SettingsReport

    return client.post(SettingsReport, path, body) if body is not None else client.post(SettingsReport, path)


def _text(found: SettingsReport) -> str:
    return "\n".join(_lines(found))


def _lines(found: SettingsReport) -> Iterator[str]:
    if found.dry_run:
        yield "would:"
        yield from (f"  {action}" for action in found.actions)
        return
    own = "the release's own" if not found.generation else f"generation {found.generation}"
    yield f"{found.phase.value.lower()}: {own}, document {found.hash[:12]}" + (
        f", revision {found.revision}" if found.revision else ""
    )
    if found.trial_hash:
        yield f"trying document {found.trial_hash[:12]} for {found.left} s: commit it, or it returns by itself"
    if found.message and not found.trial_hash:
        yield f"document {found.failed_hash[:12]} was reverted. {found.message}"
    yield from (f"drift: {one}" for one in found.drift)
    yield from (f"not allowed by this release: {one.key}: {one.message}" for one in found.refused)
    if found.document != "{}":
        yield f"in effect: {found.document}"
