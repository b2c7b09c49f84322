"""Healthy for a time: one look may fall between two crashes, so a trial has to stay well for a while."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from proa.agent.node.failure import HealthFailure
from proa.agent.node.health_seen import HealthSeen
from proa.agent.trial.health import MAX_FAILURES, HealthReport
from proa.core.runtime.clock import Clock


@dataclass
class Steadiness:
    """What the looks at one boot come to together.

    Attributes:
        clock: Whose time counts.
        seconds: For how long nothing may be wrong.
    """

    clock: Clock
    seconds: float
    _since: float | None = None
    _counts: dict[str, int] = field(default_factory=dict)
    _restarts: dict[str, int] = field(default_factory=dict)

    def judge(self, report: HealthReport) -> HealthReport:
        """What one more look means: a service that was restarted since the last one is no healthy one."""
        now = self.clock.monotonic()
        failures = (*report.failures, *self._restarted(report.restarts))
        if failures:
            self._since = None
        elif self._since is None:
            self._since = now
        if not failures and self.steady < self.seconds:
            wait = f"has not been healthy for {self.seconds:g} s yet"
            failures = (HealthFailure("system", wait, waiting=True),)
        return dataclasses.replace(report, failures=tuple(failures[:MAX_FAILURES]))

    @property
    def steady(self) -> float:
        """Seconds for which nothing has been wrong."""
        return 0.0 if self._since is None else self.clock.monotonic() - self._since

    def seen(self, report: HealthReport, time: str) -> HealthSeen:
        """What is told of a look that was judged."""
        return HealthSeen(
            time=time,
            healthy=report.healthy,
            steady=round(self.steady, 3),
            wanted=self.seconds,
            units=report.units,
            checks=report.checks,
            services=len(self._counts),
            restarts=dict(self._restarts),
            failures=report.failures,
        )

    def _restarted(self, counts: Mapping[str, int]) -> Iterator[HealthFailure]:
        for unit, count in counts.items():
            more = count - self._counts.get(unit, count)
            self._counts[unit] = count
            if more > 0:
                self._restarts[unit] = self._restarts.get(unit, 0) + more
                total = self._restarts[unit]
                yield HealthFailure(
                    f"unit {unit}", f"was restarted by systemd, {total} times since the agent began to watch it"
                )
