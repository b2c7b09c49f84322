"""Candidates for one lease of the simulated API server, on one virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from proa.core.runtime.clock import VirtualClock
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.leader_elector import LeaderElector
from proa.scheduler.testing.apiserver import ApiServer, Asked

PATH = "/apis/coordination.k8s.io/v1/namespaces/proa/leases/proa-scheduler"


class Leases(ApiServer):
    """An API server with one lease. Each request takes ``seconds``; ``fault`` may raise before, ``loss`` after it."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = 0.0
        self.fault: Callable[[], None] = lambda: None
        self.loss: Callable[[], None] = lambda: None
        self.before, self.after = self._comes, self._goes

    def _comes(self, _: Asked) -> None:
        self.clock.sleep(self.seconds / 2)
        self.fault()

    def _goes(self, _: Asked) -> None:
        self.clock.sleep(self.seconds / 2)
        self.loss()

    @property
    def spec(self) -> dict[str, Any] | None:
        """Of the lease; none where there is no lease."""
        found: dict[str, Any] | None = self.items[PATH]["spec"] if PATH in self.items else None
        return found

    @spec.setter
    def spec(self, spec: dict[str, Any] | None) -> None:
        if spec is not None:
            self.add(PATH, {"spec": spec})
        elif PATH in self.items:
            self.remove(PATH)


@dataclass
class Candidate:
    """An elector, and when it does its next step."""

    elector: LeaderElector
    next: float = 0.0

    @property
    def leading(self) -> bool:
        """Whether it leads now."""
        return self.elector.leading


@dataclass
class Contest:
    """Candidates for one lease on one clock. Who is paused does no step, but its time goes on."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    random: Callable[[], float] = lambda: 0.5
    candidates: list[Candidate] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.leases = Leases(self.clock)

    def join(self, floor: Callable[[], int | None] = lambda: -1) -> LeaderElector:
        """Let another candidate come."""
        me = f"c{len(self.candidates)}"
        elector = LeaderElector(self.leases, "proa", floor=floor, clock=self.clock, random=self.random, me=me)
        self.candidates.append(Candidate(elector, self.clock.monotonic()))
        return elector

    def run(self, seconds: float, *paused: LeaderElector, check: Callable[[], object] = lambda: None) -> None:
        """Let time pass, in the order of the steps that come."""
        end = self.clock.monotonic() + seconds
        while True:
            awake = [one for one in self.candidates if one.elector not in paused]
            soonest = min(awake, key=lambda one: one.next, default=None)
            if soonest is None or soonest.next >= end:
                self.clock.sleep(end - self.clock.monotonic())
                check()
                return
            self.clock.sleep(soonest.next - self.clock.monotonic())
            check()
            soonest.next = soonest.elector.step() + self.clock.monotonic()
            check()
            assert sum(one.leading for one in self.candidates) <= 1


def away() -> None:
    """What a server that is away does."""
    raise ApiError(0, "no answer in time")
