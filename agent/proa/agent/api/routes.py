"""What the local API does for each method and path."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from proa.agent.api import openapi
from proa.agent.api.jobs import Job, Jobs
from proa.agent.api.openapi import Operation
from proa.agent.api.requests import (
    ActivateRequest,
    CancelRequest,
    EmptyRequest,
    InstallRequest,
    RollbackRequest,
    ScrubRequest,
    SettingsRequest,
)
from proa.agent.api.server import ApiAnswer, ApiStream, Body, Route
from proa.agent.node.lock import stop_owner
from proa.agent.node.reports import Change, ForgottenOrder, Installed, Scrubbed, StartedJob, Status
from proa.agent.node.settings import registry_settings
from proa.agent.node.view import Context, look
from proa.agent.settings.engine import Engine
from proa.agent.settings.report import SettingsReport
from proa.agent.verbs import verbs
from proa.agent.verbs.forgetting import forget
from proa.agent.verbs.status import status
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import Part, document, field, parse
from proa.core.settings.document import parse as parse_settings


@dataclass(frozen=True)
class Event(Part):
    """One line of the stream.

    'Finished' ends a job: 'job', 'verb', 'ok', and 'result' or 'error'. 'Alive' means that nothing happened.
    """

    seq: int = field("Its number.")
    event: Literal["StepStarted", "StepFinished", "StepFailed", "Progress", "Note", "Finished", "Alive"] = field(
        "The kind of event; further keys say more."
    )
    more: Mapping[str, Any] = field("The further keys.", default={}, others=True)


OPERATIONS: Final = (
    Operation("status", "GET", "/v1/status", "The state of the node and its slots.", Status),
    Operation(
        "events",
        "GET",
        "/v1/events",
        "Events as they happen, one JSON document a line, until the client disconnects.",
        Event,
        stream=True,
        query=(("since", "The number of the first event.  Without it, the stream starts with the next one."),),
    ),
    Operation(
        "install",
        "POST",
        "/v1/install",
        "Verify a release and write it to the standby slot; follow the events for its progress.",
        StartedJob,
        InstallRequest,
        needed=True,
        status=202,
    ),
    Operation(
        "scrub", "POST", "/v1/scrub", "Read a slot against its verity tree.", StartedJob, ScrubRequest, status=202
    ),
    Operation(
        "cancel",
        "POST",
        "/v1/cancel",
        "Ask a job to stop; if none is under way, a command that installs without the daemon.",
        StartedJob,
        CancelRequest,
    ),
    Operation("activate", "POST", "/v1/activate", "Arm the staged slot.", Change, ActivateRequest),
    Operation("deactivate", "POST", "/v1/deactivate", "Disarm the slot.", Change, EmptyRequest),
    Operation("commit", "POST", "/v1/commit", "Make the running trial the good slot.", Change, EmptyRequest),
    Operation("rollback", "POST", "/v1/rollback", "Roll back to the other slot.", Change, RollbackRequest),
    Operation("settings", "GET", "/v1/settings", "The settings of the node.", SettingsReport),
    Operation(
        "apply_settings",
        "POST",
        "/v1/settings",
        "Apply settings and try them; they return by themselves unless they are committed in time.",
        SettingsReport,
        SettingsRequest,
        needed=True,
    ),
    Operation(
        "commit_settings", "POST", "/v1/settings/commit", "Keep the settings being tried.", SettingsReport, EmptyRequest
    ),
    Operation(
        "revert_settings",
        "POST",
        "/v1/settings/revert",
        "Return to the settings before.",
        SettingsReport,
        EmptyRequest,
    ),
    Operation(
        "forget_orders",
        "POST",
        "/v1/orders/forget",
        "Accept any order next, whatever its numbers.",
        ForgottenOrder,
        EmptyRequest,
    ),
)
"""All that is served; :class:`_Routes` has a method for each."""


def description() -> Mapping[str, Any]:
    """The API as OpenAPI describes it."""
    who = "HTTP and JSON over the Unix socket /run/proa/agent.sock, for root only (by the peer's credentials)."
    return openapi.describe("The agent of a Proa node", who, "/run/proa/agent.sock", OPERATIONS)


def routes(context: Context, jobs: Jobs, changed: ChangeSignal | None = None) -> dict[tuple[str, str], Route]:
    """What is served.

    Args:
        context: For the work.
        jobs: Where long work is started.
        changed: Raised when something was changed.
    """
    served = _Routes(context, jobs)
    every = {(one.method, one.path): _route(one, getattr(served, one.name)) for one in OPERATIONS}
    ringing = {key: _ringing(one, changed) if changed and key[0] == "POST" else one for key, one in every.items()}
    return ringing | {("GET", openapi.PATH): lambda _: ApiAnswer(description())}


def _route(operation: Operation, serve: Callable[[Any], Any]) -> Route:
    """Reads the request, and makes an answer of the report."""

    def route(body: Body) -> ApiAnswer | ApiStream:
        kind = operation.request
        found = serve(parse(kind, body, strict=True, code=Code.USAGE) if kind else body)
        return found if isinstance(found, ApiStream) else ApiAnswer(document(found), operation.status)

    return route


def _ringing(route: Route, changed: ChangeSignal) -> Route:
    def then_ring(body: Body) -> ApiAnswer | ApiStream:
        try:
            return route(body)
        finally:
            changed.notify()

    return then_ring


@dataclass(frozen=True)
class _Routes:
    context: Context
    jobs: Jobs

    def status(self, _: Body) -> Status:
        return status(self.context, self.jobs.progress())

    def settings(self, _: Body) -> SettingsReport:
        return Engine(self.context).report()

    def apply_settings(self, asked: SettingsRequest) -> SettingsReport:
        document = parse_settings(asked.document, "document")
        return Engine(self.context).apply(document, asked.within, commit=asked.commit)

    def commit_settings(self, _: EmptyRequest) -> SettingsReport:
        return Engine(self.context).commit()

    def revert_settings(self, _: EmptyRequest) -> SettingsReport:
        return Engine(self.context).revert()

    def forget_orders(self, _: EmptyRequest) -> ForgottenOrder:
        return forget(self.context)

    def events(self, query: Body) -> ApiStream:
        since = str(query.get("since", self.jobs.log.next))
        if not re.fullmatch(r"[0-9]{1,18}", since):
            raise ProaError(Code.USAGE, "'since' is not a number", at="since")
        return ApiStream(self.jobs.log.follow(int(since)))

    def install(self, asked: InstallRequest) -> StartedJob:
        order = asked.order(registry_settings(self.context.paths))

        def work(job: Job) -> Installed:
            job.slot = look(self.context).state.good.other.value
            from proa.agent.install.install import install

            return install(self._for(job), order)

        return self.jobs.start("install", work).report()

    def scrub(self, asked: ScrubRequest) -> StartedJob:
        def work(job: Job) -> Scrubbed:
            return verbs.scrub_slot(self._for(job), asked.slot)

        return self.jobs.start("scrub", work).report()

    def cancel(self, asked: CancelRequest) -> StartedJob:
        """The job that is meant; where this process has none, an install that a command does by itself."""
        try:
            return self.jobs.cancel(number=asked.job).report()
        except ProaError:
            process = 0 if asked.job else stop_owner(self.context.paths.lock)
            if not process:
                raise
            return StartedJob(process)

    def activate(self, asked: ActivateRequest) -> Change:
        return verbs.activate(
            self.context, tries=asked.tries, reboot=asked.reboot, allow_downgrade=asked.allow_downgrade
        )

    def deactivate(self, _: EmptyRequest) -> Change:
        return verbs.deactivate(self.context)

    def commit(self, _: EmptyRequest) -> Change:
        return verbs.commit(self.context)

    def rollback(self, asked: RollbackRequest) -> Change:
        return verbs.rollback(self.context, reboot=asked.reboot)

    def _for(self, job: Job) -> Context:
        return dataclasses.replace(self.context, cancel=job.cancel)
