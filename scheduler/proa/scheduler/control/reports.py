"""The statuses of rollouts: planned at every pass, written at once where they say something new, else by and by.

The planner goes on from what it planned, not from what was written last: nothing it has noted is lost in between.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from proa.scheduler.kube.stream import number_of
from proa.scheduler.objects.writing import Outcome, Writer, Written
from proa.scheduler.planning.views import RolloutView
from proa.scheduler.spec.rolloutstatus import RolloutStatus

CALM: Final = 5.0
"""Seconds between two writes of one status that only counts on."""

_SENT: Final = 8
"""How many statuses that were sent without success are remembered."""


@dataclass
class _Planned:
    """A status that was planned.

    Attributes:
        uid: Of the rollout.
        status: What was planned.
        wrote: When it was last written, by the monotonic clock; none if never.
        version: The resource version of that.
        refused: What it could not be written over; none if the last write came out well.
        said: Why the cluster does not accept it; empty if it does.
        sent: What was sent since one did, the last at the end: any of it may have been written without an answer.
    """

    uid: str
    status: RolloutStatus
    wrote: float | None = None
    version: int = 0
    refused: RolloutView | None = None
    sent: tuple[RolloutStatus, ...] = ()
    said: str = ""

    def is_over(self, view: RolloutView) -> bool:
        """Whether somebody else has written a status since ours was refused: it is planned again over that."""
        if self.refused is None or self.refused.version == view.version:
            return False
        return view.status not in (self.refused.status, *self.sent)


@dataclass(eq=False)
class Reports:
    """Keeps the statuses that were planned, and writes them."""

    writer: Writer
    _planned: dict[str, _Planned] = field(default_factory=dict)

    def over(self, rollouts: Mapping[str, RolloutView]) -> Mapping[str, RolloutView]:
        """The rollouts with the statuses that were planned in place of those that were written."""
        self._planned = {
            name: planned
            for name, planned in self._planned.items()
            if (view := rollouts.get(name)) is not None and view.uid == planned.uid and not planned.is_over(view)
        }
        statuses = {name: planned.status for name, planned in self._planned.items()}
        return {**rollouts, **{name: dataclasses.replace(rollouts[name], status=one) for name, one in statuses.items()}}

    def take(self, rollouts: Mapping[str, RolloutView], statuses: Mapping[str, RolloutStatus]) -> None:
        """Keep what was planned.

        Args:
            rollouts: As they are on the API server.
            statuses: By rollout.
        """
        for name, status in statuses.items():
            view = rollouts.get(name)
            if view is None:
                continue
            if name in self._planned:
                self._planned[name].status = status
            elif status != view.status:
                self._planned[name] = _Planned(view.uid, status)

    def write(self, rollouts: Mapping[str, RolloutView], now: float, *, calm: float = CALM) -> Iterator[Written]:
        """Write those that are due, as what became of each is taken; those that were tried longest ago come first.

        Args:
            rollouts: As they are on the API server.
            now: The monotonic clock's.
            calm: How long a status that only counts on may wait.
        """
        for name, planned in sorted(self._planned.items(), key=lambda pair: pair[1].wrote or 0.0):
            view = rollouts.get(name)
            if view is None or not self._is_due(view, planned, now, calm):
                continue
            written = self.writer.report(view, planned.status)
            refused = written.outcome is Outcome.REFUSED and written.error is not None
            planned.said = written.error.message if refused and written.error else ""
            if written.outcome is Outcome.DONE:
                planned.wrote, planned.version, planned.refused, planned.sent = now, written.version, None, ()
            else:
                planned.wrote, planned.refused = now, view
                planned.sent = (*planned.sent, planned.status)[-_SENT:]
            yield written

    def refusals(self) -> dict[str, str]:
        """By rollout, of those whose status the cluster does not accept: what was said."""
        return {name: planned.said for name, planned in self._planned.items() if planned.said}

    def due(self, rollouts: Mapping[str, RolloutView], now: float) -> float | None:
        """Seconds until one is due; none if all is written, or what was written has yet to show."""
        waits = [
            max(0.0, planned.wrote + CALM - now) if planned.wrote is not None else 0.0
            for name, planned in self._planned.items()
            if (view := rollouts.get(name)) is not None
            and view.status != planned.status
            and _is_reached(view, planned.version)
        ]
        return min(waits, default=None)

    def clear(self) -> None:
        """Another term begins: what was planned in the one before is not ours any more."""
        self._planned.clear()

    def _is_due(self, view: RolloutView, planned: _Planned, now: float, calm: float) -> bool:
        if view.status == planned.status or not _is_reached(view, planned.version):
            return False
        if planned.wrote is None or now - planned.wrote >= calm:
            return True
        if planned.refused is not None and (planned.refused.version, planned.sent[-1:]) == (
            view.version,
            (planned.status,),
        ):
            return False  # the very same would be refused again
        return _essence(view.status) != _essence(planned.status)


def _is_reached(view: RolloutView, version: int) -> bool:
    """Whether what is seen of a rollout is not older than what we wrote: else the write would be refused."""
    seen = number_of(view.version)
    return not seen or seen >= version


def _essence(status: RolloutStatus) -> tuple[object, ...]:
    """What a person, or another leader, must know at once."""
    conditions = tuple((one.type, one.status, one.reason) for one in status.conditions)
    return (
        status.release,
        status.attempt,
        status.observed_generation,
        status.phase,
        status.halted,
        status.canary,
        status.groups,
        status.zone,
        status.alerts,
        status.failed_digests,
        status.outstanding,
        status.lost,
        len(status.history),
        conditions,
    )
