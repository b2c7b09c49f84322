"""When a budget is open: a cron schedule with a duration, in a time zone.

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

from proa.core.runtime.errors import Code, ProaError

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
