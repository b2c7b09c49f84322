"""``proa-agent``: what a node does with releases. Talks to the daemon where it runs, else does the work itself."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from proa.agent.api.client import Client
from proa.agent.cli.running import Run, running, where_options
from proa.agent.cli.settings import settings
from proa.agent.cli.text import (
    describe_change,
    describe_forgotten,
    describe_install,
    describe_plan,
    describe_returned,
    describe_scrub,
    describe_status,
)
from proa.agent.daemon.signals import stop_on_signals
from proa.agent.node.lock import owner
from proa.agent.node.reports import Change, ForgottenOrder, Installed, ReturnedTrial, Scrubbed, StartedJob, Status
from proa.core import VERSION
from proa.core.oci.options import registry_options
from proa.core.oci.reference import parse
from proa.core.runtime.cli import dry_run_option, json_option, progress_option, run_command
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import SILENT, Monitor
from proa.core.runtime.files import os_errors
from proa.core.runtime.output import say
from proa.core.schema.model import Part, Report
from proa.core.schema.output import tell
from proa.partition.boot.bootstate import TRIES_MAX, Slot

if TYPE_CHECKING:
    from proa.agent.api.requests import InstallRequest
    from proa.agent.install.order import InstallOrder

Kind = TypeVar("Kind", bound=Report)
downgrade_option = click.option(
    "--allow-downgrade", is_flag=True, help="Accept a serial below the highest one that was committed on this node."
)
tries_option = click.option(
    "--tries",
    type=click.IntRange(1, TRIES_MAX),
    default=TRIES_MAX,
    show_default=True,
    help=("Boot attempts for the trial."),
)
reboot_option = click.option("--reboot", is_flag=True, help="Reboot cleanly when it is done.")


@click.group(epilog="Example: proa-agent install registry.example/os/worker:2 --activate --reboot")
@click.version_option(VERSION, prog_name="proa-agent")
@where_options
def cli() -> None:
    """Install, try, commit and roll back the releases of this node."""


@cli.command("serve", epilog="Example: proa-agent serve")
@progress_option
@where_options
def serve(**choices: Any) -> None:
    """Run the daemon: serve the local API, watch over a trial, commit it."""
    from proa.agent.daemon.serve import serve_until_stopped

    run = running("plain" if choices["progress"] == "auto" else choices["progress"])
    if run.paths.apart:
        what = "a daemon serves the node that it runs on, not another disk"
        raise ProaError(Code.USAGE, what, at="--disk", hint="Name a folder for its files with --root.")
    if run.client:
        raise ProaError(Code.BUSY, "a daemon is already running", at=run.paths.socket)
    serve_until_stopped(run.context)


@cli.command("status", epilog="Example: proa-agent status --json")
@json_option
@where_options
def show_status(*, as_json: bool) -> None:
    """Show what is booted, what is in the slots, and how the last job ended."""
    tell(_status(running()), as_json, describe_status)


@cli.command("install", epilog="Example: proa-agent install oci:/mnt/release --dry-run")
@click.argument("reference", metavar="REF")
@click.option("--activate", is_flag=True, help="Arm the slot when it is complete.")
@tries_option
@reboot_option
@downgrade_option
@registry_options
@dry_run_option
@json_option
@progress_option
@where_options
def install_release(*, dry_run: bool, as_json: bool, **choices: Any) -> None:
    """Verify a release and write it to the standby slot; --reboot needs --activate."""
    from proa.agent.api.requests import InstallRequest

    run = running(choices.pop("progress"))
    request = InstallRequest(**choices | {"reference": _absolute(choices["reference"])})
    if dry_run:
        from proa.agent.install.install import plan_only

        plan = plan_only(run.context, _order(run, request))
        tell(plan, as_json, describe_plan)
        return
    with stop_on_signals(run.cancel, remote=run.client is not None):
        result = _install(run, request)
    tell(result, as_json, describe_install)


@cli.command("activate", epilog="Example: proa-agent activate --tries 1 --reboot")
@tries_option
@reboot_option
@downgrade_option
@dry_run_option
@json_option
@where_options
def activate(*, dry_run: bool, as_json: bool, **choices: Any) -> None:
    """Arm the staged slot: the next boot tries it."""
    from proa.agent.api.requests import ActivateRequest

    _change(running(), "activate", ActivateRequest(**choices), as_json, dry_run=dry_run)


@cli.command("deactivate", epilog="Example: proa-agent deactivate")
@dry_run_option
@json_option
@where_options
def deactivate(*, dry_run: bool, as_json: bool) -> None:
    """Disarm the slot, so that the next boot does not try it."""
    from proa.agent.api.requests import EmptyRequest

    _change(running(), "deactivate", EmptyRequest(), as_json, dry_run=dry_run)


@cli.command("commit", epilog="Example: proa-agent commit")
@dry_run_option
@json_option
@where_options
def commit(*, dry_run: bool, as_json: bool) -> None:
    """Make the running trial the good slot."""
    from proa.agent.api.requests import EmptyRequest

    _change(running(), "commit", EmptyRequest(), as_json, dry_run=dry_run)


@cli.command("rollback", epilog="Example: proa-agent rollback --reboot")
@reboot_option
@dry_run_option
@json_option
@where_options
def rollback(*, dry_run: bool, as_json: bool, **choices: Any) -> None:
    """Roll back to the other slot, if it is known to be good."""
    from proa.agent.api.requests import RollbackRequest

    _change(running(), "rollback", RollbackRequest(**choices), as_json, dry_run=dry_run)


@cli.command("cancel", epilog="Example: proa-agent cancel")
@dry_run_option
@json_option
@where_options
def cancel(*, dry_run: bool, as_json: bool) -> None:
    """Stop an install cleanly."""
    run = running()
    if run.client and not dry_run:
        stopped = run.client.post(StartedJob, "/v1/cancel")
    else:
        process = owner(run.paths.lock)
        if process is None:
            raise ProaError(Code.NOTHING_RUNNING)
        if not dry_run:
            signal.pidfd_send_signal(process.handle, signal.SIGTERM)
        stopped = StartedJob(process.number)
    tell(stopped, as_json, lambda _: "asked the install to stop")


@cli.command("scrub", epilog="Example: proa-agent scrub b")
@click.argument("slot", required=False, type=click.Choice([slot.value for slot in Slot]))
@json_option
@progress_option
@where_options
def scrub(slot: str | None, *, as_json: bool, **choices: Any) -> None:
    """Read a slot (the running one if none is named) against its verity tree."""
    run = running(choices["progress"])
    with stop_on_signals(run.cancel, remote=run.client is not None):
        if run.client:
            from proa.agent.api.requests import ScrubRequest

            job = run.client.post(StartedJob, "/v1/scrub", ScrubRequest(slot or ""))
            found = _follow(Scrubbed, run.client, job, run.monitor)
        else:
            from proa.agent.verbs import verbs

            found = verbs.scrub_slot(run.context, slot)
    tell(found, as_json, describe_scrub)


@cli.command("returned", epilog="Example: proa-agent returned --journal")
@click.option("--journal", is_flag=True, help="Print the journal of its boots, as far as it reached the disk.")
@json_option
@where_options
def show_returned(*, journal: bool, as_json: bool) -> None:
    """Show the last trial that returned without a commit, and why."""
    run = running()
    found = _status(run).returned
    if found is None:
        raise ProaError(Code.NO_TRIAL, "no trial has returned since the last one was armed")
    if not journal:
        tell(ReturnedTrial(found), as_json, describe_returned)
        return
    if not found.journal:
        raise ProaError(Code.FILE_MISSING, "no journal of that trial was found: it may not have reached the disk")
    with os_errors(found.journal), Path(found.journal).open("rb") as file:
        for line in file:
            say(line.decode(errors="replace").rstrip("\n"))


@cli.group("orders", epilog="Example: proa-agent orders forget")
@where_options
def orders() -> None:
    """The orders of the cluster."""


@orders.command("forget", epilog="Example: proa-agent orders forget")
@dry_run_option
@json_option
@where_options
def forget_orders(*, dry_run: bool, as_json: bool) -> None:
    """Take any order in next, whatever its numbers: the way out for root when the node refuses all of them."""
    run = running()
    if run.client and not dry_run:
        found = run.client.post(ForgottenOrder, "/v1/orders/forget")
    else:
        from proa.agent.verbs.forgetting import forget

        found = forget(run.context, dry_run=dry_run)
    tell(found, as_json, describe_forgotten)


cli.add_command(settings)


def _status(run: Run) -> Status:
    if run.client:
        return run.client.get(Status, "/v1/status")
    from proa.agent.verbs.status import status

    return status(run.context)


def _install(run: Run, request: InstallRequest) -> Installed:
    if run.client:
        return _follow(Installed, run.client, run.client.post(StartedJob, "/v1/install", request), run.monitor)
    from proa.agent.install.install import install

    return install(run.context, _order(run, request))


def _order(run: Run, request: InstallRequest) -> InstallOrder:
    from proa.agent.node.settings import registry_settings

    return request.order(registry_settings(run.paths))


def _follow(kind: type[Kind], client: Client, job: StartedJob, monitor: Monitor) -> Kind:
    """Follow a job; interrupted, ask it to stop and say how it ended: it may have been done already."""
    try:
        return client.follow(kind, job, monitor)
    except KeyboardInterrupt:
        from proa.agent.api.requests import CancelRequest

        try:
            client.post(StartedJob, "/v1/cancel", CancelRequest(job.job))
        except ProaError as error:
            if error.code is not Code.NOTHING_RUNNING:
                raise
        return client.follow(kind, job, SILENT)


def _change(run: Run, verb: str, request: Part, as_json: bool, *, dry_run: bool) -> None:
    if run.client and not dry_run:
        change = run.client.post(Change, f"/v1/{verb}", request)
    else:
        from proa.agent.verbs import verbs

        work: Callable[..., Change] = getattr(verbs, verb)
        change = work(run.context, **vars(request), dry_run=dry_run)
    tell(change, as_json, describe_change)


def _absolute(reference: str) -> str:
    """A layout folder by its whole path: the daemon has another working folder."""
    parsed = parse(reference)
    if parsed.layout is None:
        return reference
    return str(dataclasses.replace(parsed, layout=parsed.layout.absolute()))


def main() -> None:
    """The command ``proa-agent``."""
    run_command(cli, "proa-agent")


if __name__ == "__main__":
    main()
