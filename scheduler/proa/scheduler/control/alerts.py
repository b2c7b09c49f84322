"""Asks Prometheus what rollouts want to know before their next nodes start, in a thread of its own.

It asks only while a node could start, and forgets the answers of before: each start is asked for anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import SYSTEM, Clock
from proa.scheduler.kube.prometheus import UnansweredError, shown
from proa.scheduler.kube.worker import Worker
from proa.scheduler.planning.views import AlertsView
from proa.scheduler.spec.rollout import Alert

AGAIN: Final = 15.0
"""Seconds until the same is asked again, as long as it is wanted."""
QUESTION: Final = 10.0
"""Seconds that one answer may take."""
ALL: Final = 20.0
"""Seconds that all answers for one rollout may take together."""

Ask = Callable[[str, float], tuple[str, ...]]
"""Asks one query, for so many seconds at most: the series of its result; raises ``UnansweredError``."""
NOWHERE: Final = "this scheduler knows no Prometheus: install it with --prometheus"


class AlertsAsker(Worker):
    """Asks, again and again, what is wanted.

    Args:
        ask: Asks one query; none if there is no Prometheus.
        changed: Raised when an answer says something else than the one before, or lets nodes start.
        clock: The clock.
    """

    def __init__(self, ask: Ask | None, changed: ChangeSignal, clock: Clock = SYSTEM) -> None:
        super().__init__("alerts", self._step_and_wait, changed)
        self._ask, self._clock, self._news = ask, clock, ChangeSignal()
        self._lock = threading.Lock()
        self._wanted: Mapping[str, tuple[Alert, ...]] = {}
        self._due: dict[str, float] = {}
        self._heard = 0
        self.views: Mapping[str, AlertsView] = {}
        """The last answers, by rollout; the mapping does not change, the next one may differ."""

    def want(self, wanted: Mapping[str, tuple[Alert, ...]]) -> None:
        """Ask this and nothing else.

        Args:
            wanted: By rollout.

        Raises:
            ProaError: ``INTERNAL`` when a defect has ended the thread.
        """
        self.check("the thread that asks Prometheus has stopped")
        with self._lock:
            if wanted == self._wanted:
                return
            self._wanted = dict(wanted)
            self.views = {name: view for name, view in self.views.items() if self._is_wanted(name, view.queries)}
            self._due = {name: due for name, due in self._due.items() if name in self.views}
        self._news.notify()

    def stop(self, seconds: float = 1.0) -> bool:
        """Stop, soon; a question that is out is not waited for."""
        self._stop.set()
        self._news.notify()
        return self.join(seconds)

    def step(self) -> float | None:
        """Ask what is due; how many seconds until there is something to ask; none if never."""
        with self._lock:
            wanted = self._wanted
        for name, queries in wanted.items():
            if self._due.get(name, 0.0) <= self._clock.monotonic():
                self._look(name, queries)
        now = self._clock.monotonic()
        with self._lock:
            return min((max(0.0, self._due.get(name, now) - now) for name in self._wanted), default=None)

    # inside

    def _step_and_wait(self) -> float:
        self._heard = self._news.wait(self._heard, self.step())
        return 0.0

    def _look(self, name: str, queries: tuple[Alert, ...]) -> None:
        asked = self._clock.now()
        firing, error = self._answers(queries)
        with self._lock:
            if not self._is_wanted(name, queries):
                return
            before = self.views.get(name)
            view = AlertsView(queries, asked, firing, error, _since(before, asked))
            self.views = {**self.views, name: view}
            self._due[name] = self._clock.monotonic() + AGAIN
        if before is None or view.is_quiet or (view.firing, view.error) != (before.firing, before.error):
            self._changed.notify()

    def _is_wanted(self, name: str, queries: tuple[Alert, ...]) -> bool:
        return self._wanted.get(name) == queries

    def _answers(self, queries: tuple[Alert, ...]) -> tuple[tuple[str, ...], str]:
        """What is not empty, and why the rest is not known: nothing more is asked then."""
        until = self._clock.monotonic() + ALL
        firing: list[str] = []
        for one in queries:
            left = until - self._clock.monotonic()
            if self._ask is None:
                return (), NOWHERE
            try:
                found = self._ask(one.query, min(QUESTION, left)) if left > 0 else _late()
            except UnansweredError as error:
                return tuple(firing), f"{one.name}: {error}"
            if found:
                firing.append(f"{one.name}: {shown(found)}")
        return tuple(firing), ""


def _late() -> tuple[str, ...]:
    raise UnansweredError(f"not all queries were answered within {ALL:.0f} s")


def _since(before: AlertsView | None, asked: datetime) -> datetime:
    """Since when nodes have been held back."""
    return asked if before is None or before.is_quiet else before.since
