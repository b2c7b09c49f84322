"""Talks to the daemon over its socket."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from proa.agent.listen import is_heard
from proa.core.errors import Code, ProaError
from proa.core.events import Event, Monitor, Note, Progress, StepFailed, StepFinished, StepStarted

_LIMIT: Final = 300.0
"""Seconds for an answer; a commit may have to read a whole slot."""
_SILENCE: Final = 60.0
"""Seconds without a sign of life after which a stream counts as broken."""
_EVENTS: Final[Mapping[str, type[Event]]] = {
    kind.__name__: kind for kind in (StepStarted, StepFinished, StepFailed, Progress, Note)
}


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, limit: float) -> None:
        super().__init__("localhost", timeout=limit)
        self._path = path
        self._limit = limit

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._limit)
        self.sock.connect(str(self._path))


class Client:
    """The daemon's API as methods.

    Args:
        path: Its socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def is_running(self) -> bool:
        """Whether a daemon listens.

        Raises:
            ProaError: ``NOT_ALLOWED`` when the caller may not ask it, ``DEVICE``.
        """
        try:
            return is_heard(self._path)
        except OSError as error:
            raise self._lost(error) from error

    def get(self, path: str) -> dict[str, Any]:
        """The document at a path.

        Raises:
            ProaError: The daemon's own error, ``NOT_ALLOWED``, or ``DEVICE`` when it goes away.
        """
        return self._ask("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Order something; the answer.

        Raises:
            ProaError: as :meth:`get`.
        """
        return self._ask("POST", path, body or {})

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
        raise self._lost("it ended before the job did")

    def events(self, since: int) -> Iterator[dict[str, Any]]:
        """The stream of events from number ``since`` on."""
        connection = _Connection(self._path, _SILENCE)
        try:
            connection.request("GET", f"/v1/events?since={since}")
            response = connection.getresponse()
            while line := response.readline():
                yield json.loads(line)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._lost(error) from error
        finally:
            connection.close()

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        connection = _Connection(self._path, _LIMIT)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            response = connection.getresponse()
            document: dict[str, Any] = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._lost(error) from error
        finally:
            connection.close()
        if document.get("schema") == "proa.error/v1":
            raise read_error(document)
        return document

    def _lost(self, why: object) -> ProaError:
        if isinstance(why, PermissionError):
            return ProaError(Code.NOT_ALLOWED, "the daemon answers root alone", at=self._path)
        return ProaError(
            Code.DEVICE, f"the daemon cannot be reached: {why}", at=self._path, hint="systemctl status proa-agent"
        )


def read_error(document: Mapping[str, Any]) -> ProaError:
    """The error that a document of ``proa.error/v1`` is; a code of a newer version counts as ``INTERNAL``."""
    code = Code.__members__.get(str(document.get("code")), Code.INTERNAL)
    return ProaError(code, str(document["message"]), at=document["at"], hint=str(document["hint"]))
