"""``proa-agent``: what a node does with releases. Talks to the daemon where it runs, else does the work itself."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from proa.agent.api.client import Client
from proa.agent.cli.text import describe_change, describe_install, describe_plan, describe_status
from proa.agent.daemon.signals import stop_on_signals
from proa.agent.node.cancel import Cancel
from proa.agent.node.lock import owner
from proa.agent.node.paths import Paths
from proa.core import VERSION
from proa.core.oci.reference import parse
from proa.core.runtime.cli import dry_run_option, json_option, options, progress, progress_option, run_command, show
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import SILENT, Monitor
from proa.partition.boot.bootstate import TRIES_MAX, Slot

if TYPE_CHECKING:
    from proa.agent.api.requests import InstallRequest
    from proa.agent.install.order import InstallOrder
    from proa.agent.node.view import Context

CHANGE: Final = "proa.change/v1"
_WHERE: Final = {
    "root": "A folder that stands before every path of the agent; / on a node.",
    "disk": "A device or image file to work on, instead of the disk this machine runs from.",
}


def _keep(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(dict)[parameter.name] = value


def _where(name: str) -> Callable[[Any], Any]:
    """An option that every verb takes, behind its name or before it; :func:`_run` reads it."""
    kind = click.Path(path_type=Path)
    return click.option(f"--{name}", type=kind, expose_value=False, callback=_keep, help=_WHERE[name])


where_options = options(_where("root"), _where("disk"))
tries_option = click.option(
    "--tries", type=click.IntRange(1, TRIES_MAX), default=TRIES_MAX, show_default=True, help="Boots the trial gets."
)
reboot_option = click.option("--reboot", is_flag=True, help="Reboot in order when it is done.")


def _file(name: str, what: str) -> Callable[[Any], Any]:
    return click.option(f"--{name}-file", type=click.Path(resolve_path=True), help=what)


registry_options = options(
    click.option("--plain-http", is_flag=True, help="Speak HTTP without TLS to a registry on another machine."),
    _file("ca", "PEM file of the CA of the registry."),
    _file("cert", "PEM file of a client certificate."),
    _file("key", "PEM file of its key."),
    _file("auth", "Docker or containers auth file with the credentials."),
)


@dataclasses.dataclass(frozen=True)
class _Run:
    """One call of the command. What only the work itself needs is imported where no daemon does it."""

    paths: Paths
    monitor: Monitor
    client: Client | None
    """The daemon, where one runs."""
    cancel: Cancel = dataclasses.field(default_factory=Cancel)

    @property
    def context(self) -> Context:
        """For work in this process."""
        from proa.agent.node.view import Context

        return Context(self.paths, self.monitor, cancel=self.cancel)


@click.group(epilog="Example: proa-agent install registry.example/os/worker:2 --activate --reboot")
@click.version_option(VERSION, prog_name="proa-agent")
@where_options
def cli() -> None:
    """Install, try, commit and roll back the releases of this node."""


@cli.command("serve", epilog="Example: proa-agent serve")
@progress_option
@where_options
def serve(**choices: Any) -> None:
    """Be the daemon: local API, watch over a trial, commit."""
    from proa.agent.daemon.serve import serve_until_stopped

    run = _run("plain" if choices["progress"] == "auto" else choices["progress"])
    if run.paths.apart:
        what = "a daemon serves the node that it runs on, not a disk beside it"
        raise ProaError(Code.USAGE, what, at="--disk", hint="Name a folder for what it keeps with --root.")
    if run.client:
        raise ProaError(Code.BUSY, "a daemon runs already", at=run.paths.socket)
    serve_until_stopped(run.context)


@cli.command("status", epilog="Example: proa-agent status --json")
@json_option
@where_options
def show_status(*, as_json: bool) -> None:
    """Say what is booted, what is in the slots, and how the last work ended."""
    run = _run()
    if run.client:
        document = _body(run.client.get("/v1/status"))
    else:
        from proa.agent.verbs.status import status

        document = status(run.context)
    if as_json:
        show("proa.status/v1", document)
    else:
        click.echo(describe_status(document))


@cli.command("install", epilog="Example: proa-agent install oci:/mnt/release --dry-run")
@click.argument("reference", metavar="REF")
@click.option("--activate", is_flag=True, help="Arm the slot when it is complete.")
@tries_option
@reboot_option
@registry_options
@dry_run_option
@json_option
@progress_option
@where_options
def install_release(*, dry_run: bool, as_json: bool, **choices: Any) -> None:
    """Verify a release and write it to the standby slot. With --reboot it must also be activated."""
    from proa.agent.api.requests import InstallRequest

    run = _run(choices.pop("progress"))
    given: dict[str, Any] = {name: value for name, value in choices.items() if value is not None}
    request = InstallRequest(**given | {"reference": _absolute(choices["reference"])})
    if dry_run:
        from proa.agent.install.install import plan_only

        plan = plan_only(run.context, _order(run, request))
        _report("proa.install-plan/v1", plan, as_json, describe_plan)
        return
    with stop_on_signals(run.cancel, remote=run.client is not None):
        result = _install(run, request)
    _report("proa.install/v1", result, as_json, describe_install)


@cli.command("activate", epilog="Example: proa-agent activate --tries 1 --reboot")
@tries_option
@reboot_option
@dry_run_option
@json_option
@where_options
def activate(*, as_json: bool, **choices: Any) -> None:
    """Arm the staged slot: the next boot tries it."""
    _change(_run(), "activate", choices, as_json)


@cli.command("deactivate", epilog="Example: proa-agent deactivate")
@dry_run_option
@json_option
@where_options
def deactivate(*, as_json: bool, **choices: Any) -> None:
    """Take the arming back."""
    _change(_run(), "deactivate", choices, as_json)


@cli.command("commit", epilog="Example: proa-agent commit")
@dry_run_option
@json_option
@where_options
def commit(*, as_json: bool, **choices: Any) -> None:
    """Make the running trial the good slot."""
    _change(_run(), "commit", choices, as_json)


@cli.command("rollback", epilog="Example: proa-agent rollback --reboot")
@reboot_option
@dry_run_option
@json_option
@where_options
def rollback(*, as_json: bool, **choices: Any) -> None:
    """Go back to the other slot, if it is known good."""
    _change(_run(), "rollback", choices, as_json)


@cli.command("cancel", epilog="Example: proa-agent cancel")
@dry_run_option
@json_option
@where_options
def cancel(*, dry_run: bool, as_json: bool) -> None:
    """Stop an install cleanly."""
    run = _run()
    if run.client and not dry_run:
        result = _body(run.client.post("/v1/cancel"))
    else:
        process = owner(run.paths.lock)
        if process is None:
            raise ProaError(Code.NOTHING_RUNNING)
        if not dry_run:
            signal.pidfd_send_signal(process.handle, signal.SIGTERM)
        result = {"job": process.number, "verb": "", "since": 0}
    _report("proa.job/v1", result, as_json, lambda _: "asked to stop")


@cli.command("scrub", epilog="Example: proa-agent scrub b")
@click.argument("slot", required=False, type=click.Choice([slot.value for slot in Slot]))
@json_option
@progress_option
@where_options
def scrub(slot: str | None, *, as_json: bool, **choices: Any) -> None:
    """Read a slot (the running one if none is named) against its verity tree."""
    run = _run(choices["progress"])
    with stop_on_signals(run.cancel, remote=run.client is not None):
        if run.client:
            job = run.client.post("/v1/scrub", {"slot": slot or ""})
            found = _follow(run.client, job, run.monitor)
        else:
            from proa.agent.verbs import verbs

            found = verbs.scrub_slot(run.context, slot)
    _report("proa.scrub/v1", found, as_json, lambda one: f"slot {one['slot']}: {one['blocks']} blocks as they must be")


def _run(kind: str = "none") -> _Run:
    where: dict[str, Path] = click.get_current_context().ensure_object(dict)
    paths = Paths(where.get("root", Path("/")).absolute(), where.get("disk"))
    client = Client(paths.socket)
    running = paths.disk is None and client.is_running
    return _Run(paths, progress(kind), client if running else None)


def _install(run: _Run, request: InstallRequest) -> dict[str, Any]:
    if run.client:
        return _follow(run.client, run.client.post("/v1/install", request.body()), run.monitor)
    from proa.agent.install.install import install

    return install(run.context, _order(run, request))


def _order(run: _Run, request: InstallRequest) -> InstallOrder:
    from proa.agent.node.settings import registry_settings

    return request.order(registry_settings(run.paths))


def _follow(client: Client, job: dict[str, Any], monitor: Monitor) -> dict[str, Any]:
    """Follow a job; interrupted, ask it to stop and say how it ended: it may have been done already."""
    try:
        return client.follow(job, monitor)
    except KeyboardInterrupt:
        try:
            client.post("/v1/cancel", {"job": job["job"]})
        except ProaError as error:
            if error.code is not Code.NOTHING_RUNNING:
                raise
        return client.follow(job, SILENT)


def _change(run: _Run, verb: str, choices: dict[str, Any], as_json: bool) -> None:
    dry_run = choices["dry_run"]
    if run.client and not dry_run:
        body = {name: value for name, value in choices.items() if name != "dry_run"}
        result = _body(run.client.post(f"/v1/{verb}", body))
    else:
        from proa.agent.verbs import verbs

        work: Callable[..., dict[str, Any]] = getattr(verbs, verb)
        result = work(run.context, **choices)
    _report(CHANGE, result, as_json, describe_change)


def _body(document: dict[str, Any]) -> dict[str, Any]:
    """A document without what ``show`` puts before it."""
    return {key: value for key, value in document.items() if key not in ("schema", "proa")}


def _report(schema: str, document: dict[str, Any], as_json: bool, text: Callable[[dict[str, Any]], str]) -> None:
    if as_json:
        show(schema, document)
    else:
        click.echo(text(document))


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
