"""When a budget is open: a cron schedule with a duration, in a time zone.

Opening times are those of cron (crontab(5)), and days on which clocks change are taken as Debian's cron takes them:
what falls into the hour that is skipped opens right behind it, and what falls into the hour that comes twice opens
once. A window lasts for its duration by the clock that never jumps.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cronsim import CronSim, CronSimError

from proa.core.errors import Code, ProaError

_CHAIN: Final = 64
"""Windows that are looked at when one begins before another has ended."""


@dataclass(frozen=True)
class Moment:
    """What a schedule says about one moment.

    Attributes:
        closes: When the window that is open now ends; none while it is closed.
        opens: When the next one begins; none where there never is one.
    """

    closes: datetime | None
    opens: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether a window is open."""
        return self.closes is not None


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
        if self.duration <= timedelta(0):
            raise ProaError(Code.CONFIG_VALUE, "the duration of a window must be more than nothing")
        if next(iter(_starts(self, datetime.now(UTC), back=False)), None) is None:
            raise ProaError(Code.CONFIG_VALUE, f"the schedule {self.cron!r} never opens")

    def at(self, now: datetime) -> Moment:
        """What it says about ``now``.

        Raises:
            ProaError: ``CONFIG_VALUE`` for a schedule that cannot be read.
        """
        closes = None
        last = next(start for start in _starts(self, now, back=True) if start <= now)
        if last + self.duration > now:
            closes = last + self.duration
        opens = None
        for number, start in enumerate(_starts(self, now, back=False)):
            opens = opens or start
            if closes is None or start > closes or number >= _CHAIN:
                break
            closes = start + self.duration
        return Moment(closes, opens)


def _starts(schedule: Schedule, now: datetime, *, back: bool) -> Iterable[datetime]:
    """Opening times: those after ``now``, or back from ``now`` on, it included."""
    try:
        zone = zoneinfo.ZoneInfo(schedule.zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ProaError(Code.CONFIG_VALUE, f"no time zone is called {schedule.zone!r}") from error
    here = now.astimezone(zone)
    try:
        found = CronSim(schedule.cron, here + timedelta(seconds=1) if back else here, reverse=back)
    except CronSimError as error:
        raise ProaError(Code.CONFIG_VALUE, f"the schedule {schedule.cron!r} cannot be read: {error}") from error
    return (start.astimezone(UTC) for start in found)
