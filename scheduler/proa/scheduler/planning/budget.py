"""How many nodes may be away now, and until when: the budget of the spec, and the windows in which it is open.

Opening times are those of cron (crontab(5)), and days on which clocks change are taken as Debian's cron takes them:
what falls into the hour that is skipped opens right behind it, and what falls into the hour that comes twice opens
once. A window lasts for its duration by the clock that never jumps.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cronsim import CronSim, CronSimError

from proa.core.runtime import duration
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.spec.amounts import resolve
from proa.scheduler.spec.rollout import Budget, RolloutSpec

_AHEAD: Final = timedelta(hours=6)
"""How much farther is looked than has to be, so that it need not be done in every pass."""
_FARTHEST: Final = timedelta(days=8)
"""How far is looked at all: no window is open for longer than a week, and no node takes as long."""
_INSTEAD: Final = "; write five fields as in crontab(5), such as '0 22 * * 1-5'"


@dataclass(frozen=True)
class Window:
    """A time without a break in which a schedule is open.

    Attributes:
        opens: When it begins.
        closes: When it ends.
    """

    opens: datetime
    closes: datetime

    def meets(self, since: datetime, until: datetime) -> bool:
        """Whether it is open at ``since``, or opens before ``until``."""
        return self.closes > since and (self.opens <= since or self.opens < until)


@dataclass(frozen=True)
class Schedule:
    """Windows that come again and again.

    Attributes:
        cron: Five fields, as in crontab(5).
        duration: How long each is open.
        zone: The IANA name of the time zone.
    """

    cron: str
    duration: timedelta
    zone: str = "UTC"

    def check(self) -> None:
        """Refuse a schedule that cannot be read or that never opens.

        Raises:
            ProaError: ``CONFIG_VALUE``.
        """
        if next(self.starts(datetime.now(UTC)), None) is None:
            raise ProaError(Code.CONFIG_VALUE, f"the schedule {self.cron!r} never opens{_INSTEAD}")

    def windows(self, since: datetime, until: datetime) -> tuple[Window, ...]:
        """Those that are open at some time from ``since`` to ``until``, and the next; what meets is one.

        Cron is only asked forwards, and from a time on that no open window has begun before: backwards it takes other
        turns on a day that has an hour twice.

        Raises:
            ProaError: ``CONFIG_VALUE`` for a schedule that cannot be read.
        """
        found: list[Window] = []
        for start in self.starts(since - self.duration):
            opens = found.pop().opens if found and start <= found[-1].closes else start
            found.append(Window(opens, start + self.duration))
            if start > until:
                break
        return tuple(window for window in found if window.closes > since)

    def starts(self, after: datetime) -> Iterator[datetime]:
        """Opening times; in an hour that comes twice also the one of its first time.

        Raises:
            ProaError: ``CONFIG_VALUE`` for a schedule that cannot be read.
        """
        zone = zone_of(self.zone)
        try:
            found = CronSim(self.cron, after.astimezone(zone))
        except CronSimError as error:
            message = f"the schedule {self.cron!r} cannot be read: {error}{_INSTEAD}"
            raise ProaError(Code.CONFIG_VALUE, message) from error
        return (start.astimezone(UTC) for start in found)


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """The time zone that is called so.

    Raises:
        ProaError: ``CONFIG_VALUE`` if none is.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"no time zone is called {name!r}; write an IANA name such as Europe/Berlin, or UTC"
        raise ProaError(Code.CONFIG_VALUE, message) from error


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

    def can_hold(self, now: datetime, needed: timedelta) -> bool:
        """Whether what takes so long fits between the beginning and the end of the windows that are open now.

        Raises:
            ProaError: ``CONFIG_VALUE`` for a schedule that cannot be read.
        """
        flat = [one for schedule in self._schedules for one in schedule.windows(now - needed, now + needed)]
        end = _end(flat, now)
        if end is None:
            return True
        begins = now
        for window in sorted(flat, key=lambda window: window.closes, reverse=True):
            if window.opens < begins <= window.closes:
                begins = window.opens
        return end - begins >= needed

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
