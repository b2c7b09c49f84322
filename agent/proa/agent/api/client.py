"""Talks to the daemon over its socket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from proa.agent.api.listen import is_heard
from proa.agent.node.reports import StartedJob
from proa.core.orders.unixhttp import UnixHttp, read_error
from proa.core.runtime.errors import ProaError
from proa.core.runtime.events import Event, Monitor, Note, Progress, StepFailed, StepFinished, StepStarted
from proa.core.schema.model import Part, Report, document, parse

Kind = TypeVar("Kind", bound=Report)
_LIMIT: Final = 300.0
"""Seconds for an answer; a commit may have to read a whole slot."""
_EVENTS: Final[Mapping[str, type[Event]]] = {
    kind.__name__: kind for kind in (StepStarted, StepFinished, StepFailed, Progress, Note)
}


class Client:
    """The daemon's API as methods.

    Args:
        path: Its socket.
    """

    def __init__(self, path: Path) -> None:
        self._http = UnixHttp(path, _LIMIT, forbidden="the daemon answers only root")

    @property
    def is_running(self) -> bool:
        """Whether a daemon listens.

        Raises:
            ProaError: ``NOT_ALLOWED`` when the caller may not ask it, ``DEVICE``.
        """
        try:
            return is_heard(self._http.path)
        except OSError as error:
            raise self._http.lost(error) from error

    def get(self, kind: type[Kind], path: str) -> Kind:
        """The report at a path.

        Raises:
            ProaError: The daemon's own error, ``NOT_ALLOWED``, or ``DEVICE`` when it goes away.
        """
        return self._read(kind, self._http.ask("GET", path))

    def post(self, kind: type[Kind], path: str, request: Part | None = None) -> Kind:
        """Send a request; returns the answer.

        Raises:
            ProaError: as :meth:`get`.
        """
        return self._read(kind, self._http.ask("POST", path, document(request) if request else {}))

    def follow(self, kind: type[Kind], job: StartedJob, monitor: Monitor) -> Kind:
        """Show the events of a job until it ends; returns its result.

        Raises:
            ProaError: The job's error, or ``DEVICE`` when the daemon goes away.
        """
        for event in self.events(job.since):
            shown = _EVENTS.get(event["event"])
            if shown:
                monitor.emit(shown(**{key: value for key, value in event.items() if key not in ("seq", "event")}))
            elif event["event"] == "Finished" and event["job"] == job.job:
                if event["ok"]:
                    return self._read(kind, event["result"])
                raise read_error(event["error"])
        raise self._http.lost("the daemon ended before the job did")

    def events(self, since: int) -> Iterator[dict[str, Any]]:
        """The stream of events from number ``since`` on.

        Raises:
            ProaError: as :meth:`get`.
        """
        return self._http.lines(f"/v1/events?since={since}")

    def _read(self, kind: type[Kind], answer: object) -> Kind:
        try:
            return parse(kind, answer)
        except ProaError as error:
            raise self._http.lost(f"it answered with no {kind.SCHEMA}: {error.message}") from error
