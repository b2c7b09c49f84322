"""What the local API does for each method and path (``openapi.json`` describes them)."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proa.agent.api.jobs import Job, Jobs
from proa.agent.api.requests import (
    ActivateRequest,
    CancelRequest,
    EmptyRequest,
    InstallRequest,
    RollbackRequest,
    ScrubRequest,
    read_request,
)
from proa.agent.api.server import OPENAPI, Answer, Body, Route, Stream
from proa.agent.node.lock import stop_owner
from proa.agent.node.settings import registry_settings
from proa.agent.node.view import Context, look
from proa.agent.verbs import verbs
from proa.agent.verbs.status import status
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.errors import Code, ProaError


def routes(context: Context, jobs: Jobs, changed: ChangeSignal | None = None) -> dict[tuple[str, str], Route]:
    """What is served.

    Args:
        context: For the work.
        jobs: Where long work is started.
        changed: Raised when something was changed.
    """
    served = _Routes(context, jobs)
    every: dict[tuple[str, str], Route] = {
        ("GET", "/v1/status"): lambda _: Answer("proa.status/v1", status(context, jobs.progress())),
        ("GET", "/v1/events"): served.events,
        ("GET", "/v1/openapi.json"): lambda _: Answer("", json.loads(OPENAPI.read_bytes())),
        ("POST", "/v1/install"): served.install,
        ("POST", "/v1/scrub"): served.scrub,
        ("POST", "/v1/cancel"): served.cancel,
        ("POST", "/v1/activate"): served.activate,
        ("POST", "/v1/deactivate"): served.simple(verbs.deactivate),
        ("POST", "/v1/commit"): served.simple(verbs.commit),
        ("POST", "/v1/rollback"): served.rollback,
    }
    return {key: _ringing(route, changed) if changed and key[0] == "POST" else route for key, route in every.items()}


def _ringing(route: Route, changed: ChangeSignal) -> Route:
    def then_ring(body: Body) -> Answer | Stream:
        try:
            return route(body)
        finally:
            changed.notify()

    return then_ring


@dataclass(frozen=True)
class _Routes:
    context: Context
    jobs: Jobs

    def events(self, query: Body) -> Stream:
        since = str(query.get("since", self.jobs.log.next))
        if not re.fullmatch(r"[0-9]{1,18}", since):
            raise ProaError(Code.USAGE, "'since' is not a number", at="since")
        return Stream(self.jobs.log.follow(int(since)))

    def install(self, body: Body) -> Answer:
        order = read_request(InstallRequest, body).order(registry_settings(self.context.paths))

        def work(job: Job) -> dict[str, Any]:
            job.slot = look(self.context).state.good.other.value
            from proa.agent.install.install import install

            return install(self._for(job), order)

        return Answer("proa.job/v1", self.jobs.start("install", work).document(), 202)

    def scrub(self, body: Body) -> Answer:
        slot = read_request(ScrubRequest, body).slot

        def work(job: Job) -> dict[str, Any]:
            return verbs.scrub_slot(self._for(job), slot)

        return Answer("proa.job/v1", self.jobs.start("scrub", work).document(), 202)

    def cancel(self, body: Body) -> Answer:
        """The job that is meant; where this process has none, an install that a command does by itself."""
        number = read_request(CancelRequest, body).job
        try:
            return Answer("proa.job/v1", self.jobs.cancel(number=number).document())
        except ProaError:
            process = 0 if number else stop_owner(self.context.paths.lock)
            if not process:
                raise
            return Answer("proa.job/v1", {"job": process, "verb": "", "since": 0})

    def activate(self, body: Body) -> Answer:
        asked = read_request(ActivateRequest, body)
        return Answer("proa.change/v1", verbs.activate(self.context, tries=asked.tries, reboot=asked.reboot))

    def rollback(self, body: Body) -> Answer:
        asked = read_request(RollbackRequest, body)
        return Answer("proa.change/v1", verbs.rollback(self.context, reboot=asked.reboot))

    def simple(self, verb: Callable[[Context], dict[str, Any]]) -> Route:
        def route(body: Body) -> Answer:
            read_request(EmptyRequest, body)
            return Answer("proa.change/v1", verb(self.context))

        return route

    def _for(self, job: Job) -> Context:
        return dataclasses.replace(self.context, cancel=job.cancel)
