"""How many nodes may be away now, and until when: the budget of the spec, and the windows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from proa.core.runtime import duration
from proa.scheduler.planning.windows import Schedule, Window
from proa.scheduler.spec.amounts import resolve
from proa.scheduler.spec.rollout import Budget, RolloutSpec

_AHEAD: Final = timedelta(hours=6)
"""How much farther is looked than has to be, so that it need not be done in every pass."""
_FARTHEST: Final = timedelta(days=8)
"""How far is looked at all: no window is open for longer than a week, and no node takes as long."""


@dataclass(frozen=True)
class Allowance:
    """What the budgets say about one moment, to a node that takes some time.

    Attributes:
        unavailable: How many nodes may be away all that time.
        closes: When the windows that are open, or that follow them without a gap, end; none if there are no windows.
        opens: When the next window opens; none if there are no windows.
        closed: Whether there are windows, and none is open.
        narrows: When a window opens before the node would be done that bears fewer than may be away now.
        turns: When this may be otherwise: the next opening or closing.
    """

    unavailable: int
    closes: datetime | None = None
    opens: datetime | None = None
    closed: bool = False
    narrows: datetime | None = None
    turns: datetime | None = None

    def fits(self, now: datetime, needed: timedelta) -> bool:
        """Whether a node that is started now would be done in time."""
        return self.closes is None or now + needed <= self.closes


class Calendar:
    """The windows of one spec, looked up for some hours at once.

    Args:
        spec: The spec.
    """

    def __init__(self, spec: RolloutSpec) -> None:
        self.spec = spec
        self._schedules = tuple(schedule_of(budget) for budget in spec.budgets)
        self._windows: tuple[tuple[Window, ...], ...] = ()
        self._from = self._until = datetime.min.replace(tzinfo=UTC)

    def allowance(self, now: datetime, total: int, needed: timedelta = timedelta(0)) -> Allowance:
        """What may be away of ``total`` nodes from now on until a node that is started now is done.

        Args:
            now: The time.
            total: How many nodes there are.
            needed: How long a node takes.

        Raises:
            ProaError: ``CONFIG_VALUE`` for a schedule that cannot be read.
        """
        most = resolve(self.spec.max_unavailable, total)
        if not self._schedules:
            return Allowance(most)
        done = now + min(needed, _FARTHEST)
        windows = self._look(now, done)
        flat = [window for one in windows for window in one]
        opens = min((window.opens for window in flat if window.opens > now), default=None)
        turns = min((when for window in flat for when in (window.opens, window.closes) if when > now), default=None)
        closes = _end(flat, now)
        if closes is None:
            return Allowance(0, None, opens, closed=True, turns=turns)
        borne = [
            (resolve(budget.max_unavailable, total), max(window.opens, now))
            for budget, one in zip(self.spec.budgets, windows, strict=True)
            for window in one
            if window.meets(now, done)
        ]
        present = min(most, *(amount for amount, since in borne if since == now))
        least, since = min(borne)
        narrows = since if least < present else None
        return Allowance(min(present, least), closes, opens, narrows=narrows, turns=turns)

    def _look(self, now: datetime, done: datetime) -> tuple[tuple[Window, ...], ...]:
        """The windows of each budget, at least from now until then, and the next of each."""
        if not (self._from <= now and done <= self._until):
            self._from, self._until = now, done + _AHEAD
            self._windows = tuple(schedule.windows(now, self._until) for schedule in self._schedules)
        return self._windows


def _end(windows: list[Window], now: datetime) -> datetime | None:
    """When those that are open now, and those that follow without a gap, have ended; none if none is open."""
    end = now
    for window in sorted(windows, key=lambda window: window.opens):
        if window.opens <= end:
            end = max(end, window.closes)
    return end if end > now else None


def schedule_of(budget: Budget) -> Schedule:
    """The windows of one budget.

    Raises:
        ProaError: ``CONFIG_VALUE``.
    """
    return Schedule(budget.schedule, duration.parse(budget.duration), budget.time_zone)
