"""The statuses of rollouts: planned at every pass, written at once where they say something new, else by and by.

The planner goes on from what it planned, not from what was written last: nothing it has noted is lost in between.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proa.scheduler.kube.writing import Outcome, Writer, Written
from proa.scheduler.planning.views import RolloutView
from proa.scheduler.spec.rolloutstatus import RolloutStatus

CALM: Final = 5.0
"""Seconds between two writes of one status that only counts on."""


@dataclass
class _Planned:
    """A status that was planned.

    Attributes:
        uid: Of the rollout.
        status: What was planned.
        wrote: When it was last written, by the monotonic clock; none if never.
        version: The resource version of that.
    """

    uid: str
    status: RolloutStatus
    wrote: float | None = None
    version: int = 0


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
            if (view := rollouts.get(name)) is not None and view.uid == planned.uid
        }
        found = dict(rollouts)
        for name, planned in self._planned.items():
            found[name] = dataclasses.replace(rollouts[name], status=planned.status)
        return found

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
            planned = self._planned.get(name)
            if planned is None:
                if status != view.status:
                    self._planned[name] = _Planned(view.uid, status)
            else:
                planned.status = status

    def write(self, rollouts: Mapping[str, RolloutView], now: float, *, calm: float = CALM) -> list[Written]:
        """Write those that are due; what became of each.

        Args:
            rollouts: As they are on the API server.
            now: The monotonic clock's.
            calm: How long a status that only counts on may wait.
        """
        done = []
        for name, planned in list(self._planned.items()):
            view = rollouts.get(name)
            if view is None or not self._is_due(view, planned, now, calm):
                continue
            written = self.writer.report(view, planned.status)
            done.append(written)
            if written.outcome is Outcome.DONE:
                planned.wrote, planned.version = now, written.version
            elif written.outcome is Outcome.STALE:  # somebody has changed it: plan again over that
                del self._planned[name]
            else:
                planned.wrote = now
        return done

    def due(self, rollouts: Mapping[str, RolloutView], now: float) -> float | None:
        """Seconds until one is due; none if all is written."""
        waits = [
            max(0.0, (planned.wrote or 0.0) + CALM - now)
            for name, planned in self._planned.items()
            if (view := rollouts.get(name)) is not None and view.status != planned.status
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
        return _essence(view.status) != _essence(planned.status)


def _is_reached(view: RolloutView, version: int) -> bool:
    """Whether what is seen of a rollout is not older than what we wrote: else the write would be refused."""
    return not view.version.isdigit() or int(view.version) >= version


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
        status.failed_digests,
        len(status.history),
        conditions,
    )
