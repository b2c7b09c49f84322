"""How many nodes may be away now, and until when: the budget of the spec, and the windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from proa.core import duration
from proa.core.errors import ProaError
from proa.scheduler.planning.windows import Moment, Schedule
from proa.scheduler.spec.amounts import resolve
from proa.scheduler.spec.rollout import Budget, RolloutSpec


@dataclass(frozen=True)
class Allowance:
    """What the budgets say about one moment.

    Attributes:
        unavailable: How many nodes may be away.
        closes: When the last of the windows that are open ends; none if there are no windows.
        opens: When the next window opens; none if there are no windows.
        closed: Whether there are windows, and none is open.
    """

    unavailable: int
    closes: datetime | None = None
    opens: datetime | None = None
    closed: bool = False

    def fits(self, now: datetime, needed: timedelta) -> bool:
        """Whether a node that is started now would be done in time."""
        return self.closes is None or now + needed <= self.closes


class Calendar:
    """The windows of one spec, looked at again only when one opens or closes.

    Args:
        spec: The spec.
    """

    def __init__(self, spec: RolloutSpec) -> None:
        self.spec = spec
        self._schedules = tuple(schedule_of(budget) for budget in spec.budgets)
        self._moments: tuple[Moment, ...] = ()
        self._from: datetime | None = None
        self._until: datetime | None = None

    def allowance(self, now: datetime, total: int) -> Allowance:
        """What may be away of ``total`` nodes.

        Raises:
            ProaError: ``CONFIG_VALUE`` for a schedule that cannot be read.
        """
        most = resolve(self.spec.max_unavailable, total)
        if not self._schedules:
            return Allowance(most)
        moments = self._look(now)
        amounts = [
            resolve(budget.max_unavailable, total)
            for budget, moment in zip(self.spec.budgets, moments, strict=True)
            if moment.is_open
        ]
        opens = _earliest(moment.opens for moment in moments)
        if not amounts:
            return Allowance(0, None, opens, closed=True)
        # A node that is away has to lie in some window; the one that closes last is enough.
        closes = max((moment.closes for moment in moments if moment.closes), default=None)
        return Allowance(min(most, *amounts), closes, opens)

    def _look(self, now: datetime) -> tuple[Moment, ...]:
        if self._from is None or self._until is None or not self._from <= now < self._until:
            self._moments = tuple(schedule.at(now) for schedule in self._schedules)
            turns = [when for moment in self._moments for when in (moment.closes, moment.opens)]
            self._from, self._until = now, _earliest(turns) or now + timedelta(days=1)
        return self._moments


def schedule_of(budget: Budget) -> Schedule:
    """The windows of one budget.

    Raises:
        ProaError: ``CONFIG_VALUE``.
    """
    return Schedule(budget.schedule, duration.parse(budget.duration), budget.time_zone)


def problem_of(spec: RolloutSpec) -> str:
    """What of a spec only the scheduler can find: schedules and times that cannot be read. Empty if nothing."""
    checks: dict[str, Callable[[], object]] = {
        "canary.soak": lambda: duration.parse(spec.canary.soak),
        "staging.timeout": lambda: duration.parse(spec.staging.timeout),
        "drain.timeout": lambda: duration.parse(spec.drain.timeout),
        "health.timeout": lambda: duration.parse(spec.health.timeout),
        "retry.backoff": lambda: duration.parse(spec.retry.backoff),
        "expectedDuration": lambda: duration.parse(spec.expected_duration),
    }
    for number, budget in enumerate(spec.budgets):
        checks[f"budgets[{number}]"] = lambda budget=budget: schedule_of(budget).check()  # type: ignore[misc]
    for at, check in checks.items():
        try:
            check()
        except ProaError as error:
            return f"{at}: {error.message}"
    return ""


def _earliest(times: Iterable[datetime | None]) -> datetime | None:
    return min((time for time in times if time is not None), default=None)
