"""The daemon's API as it is spoken, document by document, for those who hold it to its description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proa.agent.api.client import Client
from proa.agent.node.reports import Installed, Scrubbed, StartedJob
from proa.core.orders.unixhttp import UnixHttp
from proa.core.runtime.events import Monitor
from proa.core.schema.model import document, parse


class RawApi:
    """A client that takes and gives JSON documents.

    Args:
        path: The daemon's socket.
    """

    def __init__(self, path: Path) -> None:
        self.client = Client(path)
        self._http = UnixHttp(path, 300.0)

    def get(self, path: str) -> dict[str, Any]:
        """The document at a path."""
        return self._http.ask("GET", path)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request; returns the answer."""
        return self._http.ask("POST", path, body or {})

    def follow(self, job: Mapping[str, Any], monitor: Monitor) -> dict[str, Any]:
        """The result of a job."""
        kind = {"install": Installed, "scrub": Scrubbed}[job["verb"]]
        return document(self.client.follow(kind, parse(StartedJob, job), monitor))

    def events(self, since: int) -> Iterator[dict[str, Any]]:
        """The stream of events from number ``since`` on."""
        return self.client.events(since)
