"""Asks a service over HTTP all the time, and keeps every answer: what its users saw while nodes were upgraded.

It stands where a cluster has its load balancer: it asks the endpoints that the API server calls ready, one after the
other. An answer that does not come is never asked for again.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Self

from proa.core.runtime.errors import ProaError

PERIOD: Final = 0.2
"""Seconds from one probe to the next."""
_PATIENCE: Final = 60.0
"""Seconds until an answer counts as failed: many, for a node in emulation may wait long for a processor of the host."""
_LOOK: Final = 0.3
_TOLD: Final = 1000
"""Failures that a report lists."""
_WORKERS: Final = round(_PATIENCE / PERIOD) + 20
"""More than probes may wait for an answer at a time: none waits for its turn."""


@dataclass(frozen=True)
class MissedAnswer:
    """A probe without an answer.

    Attributes:
        at: Seconds of the monotonic clock.
        node: Who was asked; empty if there was nobody.
        why: What happened.
    """

    at: float
    node: str
    why: str


@dataclass
class Prober:
    """Asks as long as the ``with`` block lasts.

    Attributes:
        endpoints: The nodes on which the service is ready; may raise what an API server that is away raises, and then
            those that were ready last are asked.
        ports: The port on this host's loopback address that leads to it, by node.
        period: Seconds from one probe to the next.
        heard: Told who answered, and what; by one thread at a time.
    """

    endpoints: Callable[[], list[str]]
    ports: Callable[[str], int]
    period: float = PERIOD
    heard: Callable[[str, bytes], None] = lambda node, answer: None
    answers: int = field(default=0, init=False)
    slowest: float = field(default=0.0, init=False)
    failures: list[MissedAnswer] = field(default_factory=list, init=False)
    by_node: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._ready: list[str] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._look, self._ask)]

    def __enter__(self) -> Self:
        with contextlib.suppress(ProaError):
            self._ready = self.endpoints()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def since(self, mark: tuple[int, int]) -> Mapping[str, Any]:
        """Answers and failures since :meth:`mark`, as a report has them."""
        with self._lock:
            failed = self.failures[mark[1] :]
            return {"answers": self.answers - mark[0], "failures": len(failed), "why": sorted({f.why for f in failed})}

    def mark(self) -> tuple[int, int]:
        """Where the count stands."""
        with self._lock:
            return self.answers, len(self.failures)

    def document(self, began: float) -> dict[str, Any]:
        """All answers and failures, as a report has them.

        Args:
            began: When the report's time begins, by the monotonic clock.
        """
        with self._lock:
            failed = [{"at": round(one.at - began, 1), "node": one.node, "why": one.why} for one in self.failures]
            return {
                "answers": self.answers,
                "failures": len(failed),
                "slowest": round(self.slowest, 2),
                "by_node": dict(self.by_node),
                "failed": failed[:_TOLD],
            }

    # inside

    def _look(self) -> None:
        while not self._stop.wait(_LOOK):
            with contextlib.suppress(ProaError):  # the API server is away: so are a load balancer's news
                self._ready = self.endpoints()

    def _ask(self) -> None:
        turn, due = 0, time.monotonic()
        with ThreadPoolExecutor(_WORKERS) as pool:
            while not self._stop.is_set():
                pool.submit(self._probe, turn, time.monotonic())
                turn, due = turn + 1, due + self.period
                self._stop.wait(max(0.0, due - time.monotonic()))

    def _probe(self, turn: int, began: float) -> None:
        ready = self._ready
        node, answer = ready[turn % len(ready)] if ready else "", b""
        try:
            why, answer = ask(self.ports(node)) if node else ("nobody is ready", b"")
        except (OSError, http.client.HTTPException, KeyError) as error:
            why = f"{type(error).__name__}: {error}"
        took = time.monotonic() - began
        with self._lock:
            if why:
                self.failures.append(MissedAnswer(began, node, why))
            else:
                self.answers += 1
                self.by_node[node] = self.by_node.get(node, 0) + 1
                self.slowest = max(self.slowest, took)
                self.heard(node, answer)


def ask(port: int) -> tuple[str, bytes]:
    """Ask once: nothing when the answer is 200, else what it is; and the answer.

    Raises:
        OSError: When there is no connection, or no answer in time.
        http.client.HTTPException: When what comes is no answer.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read()
        return "" if answer.status == 200 else f"status {answer.status}", body
    finally:
        connection.close()
