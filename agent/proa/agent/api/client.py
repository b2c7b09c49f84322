"""Talks to the daemon over its socket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from proa.agent.api.listen import is_heard
from proa.core.orders.unixhttp import UnixHttp, read_error
from proa.core.runtime.events import Event, Monitor, Note, Progress, StepFailed, StepFinished, StepStarted

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
        self._http = UnixHttp(path, _LIMIT, forbidden="the daemon answers root alone")

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

    def get(self, path: str) -> dict[str, Any]:
        """The document at a path.

        Raises:
            ProaError: The daemon's own error, ``NOT_ALLOWED``, or ``DEVICE`` when it goes away.
        """
        return self._http.ask("GET", path)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Order something; the answer.

        Raises:
            ProaError: as :meth:`get`.
        """
        return self._http.ask("POST", path, body or {})

    def follow(self, job: Mapping[str, Any], monitor: Monitor) -> dict[str, Any]:
        """Show the events of a job until it ends; its result.

        Raises:
            ProaError: The job's error, or ``DEVICE`` when the daemon goes away.
        """
        for event in self.events(int(job["since"])):
            kind = _EVENTS.get(event["event"])
            if kind:
                monitor.emit(kind(**{key: value for key, value in event.items() if key not in ("seq", "event")}))
            elif event["event"] == "Finished" and event["job"] == job["job"]:
                if event["ok"]:
                    result: dict[str, Any] = event["result"]
                    return result
                raise read_error(event["error"])
        raise self._http.lost("it ended before the job did")

    def events(self, since: int) -> Iterator[dict[str, Any]]:
        """The stream of events from number ``since`` on.

        Raises:
            ProaError: as :meth:`get`.
        """
        return self._http.lines(f"/v1/events?since={since}")
