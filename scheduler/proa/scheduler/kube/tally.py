"""How often the API server was asked what, and what it said: for metrics and for tests."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple


class Asked(NamedTuple):
    """One kind of request, and how it came out.

    Attributes:
        verb: ``get``, ``list``, ``watch``, ``create``, ``delete``, ``patch`` or ``apply``.
        resource: As :func:`proa.scheduler.kube.paths.resource` tells it.
        status: The HTTP status; 0 where there was no answer.
    """

    verb: str
    resource: str
    status: int


@dataclass
class Tally:
    """Counts requests. Threads may share it."""

    _counts: Counter[Asked] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, verb: str, resource: str, status: int) -> None:
        """Count one request."""
        with self._lock:
            self._counts[Asked(verb, resource, status)] += 1

    def counts(self) -> dict[Asked, int]:
        """How often each was asked."""
        with self._lock:
            return dict(self._counts)
