"""One leader among several schedulers, by a Lease (``coordination.k8s.io/v1``).

What a leader may rely on: as long as :attr:`LeaderElector.leading` is true, no other one leads. It becomes false by the
passing of time alone, also while nothing of this process runs, and well before any other may take the lease. What it
may not rely on is that it is still true when a request arrives: each write carries the :attr:`LeaderElector.fence` for
that, the transitions of the lease, and the API server refuses the writes of another fence than the lease's.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from proa.core.orders.messages import FIRST
from proa.core.runtime.backoff import Backoff, jitter
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import Clock
from proa.core.runtime.errors import ProaError
from proa.scheduler.kube import paths, times
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.lease_timings import BootClock, LeaseTimings, ObservedLease, Role, Term, identity
from proa.scheduler.kube.server import Server, find
from proa.scheduler.kube.stream import Object, version_of, whole
from proa.scheduler.kube.worker import Worker

_KIND: Final = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
_LONG_TERM: Final = 60.0
"""Seconds of leading after which an earlier resignation is forgotten."""
_TICK: Final = 0.2
"""Seconds between two looks at what others have seen, while a term settles."""


@dataclass(eq=False)
class LeaderElector(Worker):
    """Competes for a lease in a thread of its own, until it is stopped.

    Attributes:
        api: The API server.
        namespace: Of the lease.
        name: Of the lease.
        floor: The highest fence that was seen on any object; -1 for none, none as long as not all have been seen.
        changed: Raised when the role changes.
        me: Who this is.
        terms: How long things take.
        clock: The clock.
        random: A number from 0 to 1, another one at every call.
        holder: Who holds the lease, as far as is known.
        problem: Why the last request did not come out well; empty if it did.
    """

    api: Server
    namespace: str
    name: str = "proa-scheduler"
    floor: Callable[[], int | None] = lambda: -1
    changed: ChangeSignal = field(default_factory=ChangeSignal)
    me: str = field(default_factory=identity)
    terms: LeaseTimings = LeaseTimings()  # noqa: RUF009 -- frozen
    clock: Clock = field(default_factory=BootClock)
    random: Callable[[], float] = jitter
    holder: str = field(default="", init=False)
    problem: str = field(default="", init=False)

    def __post_init__(self) -> None:
        super().__init__("elector", self.step, self.changed)
        self._path = paths.named(paths.leases(self.namespace), self.name)
        self._term: Term | None = None
        self._seen: ObservedLease | None = None
        self._highest = -1
        self._resting = 0.0
        self._resigned = Backoff(first=self.terms.retry, longest=60.0, random=self.random)
        self._backoff = Backoff(first=self.terms.retry / 2, longest=self.terms.retry * 2, random=self.random)
        self._lock = threading.Lock()
        self._told = Role.CANDIDATE

    # what others see

    @property
    def leading(self) -> bool:
        """Whether to act now. To be asked before each write.

        Raises:
            ProaError: ``INTERNAL`` when a defect has ended the thread.
        """
        return self.role is Role.LEADER

    @property
    def role(self) -> Role:
        """What it is now.

        Raises:
            ProaError: as :attr:`leading`.
        """
        if self._stop.is_set():
            return Role.STOPPED
        self.check("the elector has stopped renewing the lease")
        term, now = self._term, self.clock.monotonic()
        if term is None or now >= term.until:
            return Role.CANDIDATE
        return Role.LEADER if term.settled else Role.SETTLING

    @property
    def fence(self) -> int:
        """The transitions of our lease; -1 while it is not ours."""
        term = self._term
        return term.fence if term is not None and self.defect is None else -1

    def resign(self) -> None:
        """Stop leading at once: the API server has refused our fence. The next term, if it comes, has another one."""
        with self._lock:
            self._resting = self.clock.monotonic() + self._resigned.next()
            self._term = None
        self._tell()

    # life

    def stop(self, seconds: float = 10.0) -> bool:
        """Stop leading at once, and give the lease back so that another one need not wait; whether that was possible.

        Args:
            seconds: How long the thread may take to end.
        """
        return super().stop(seconds) and self.release()

    def release(self) -> bool:
        """Give the lease back, if it is ours; whether it is not ours now. For who calls :meth:`step` himself."""
        term, self._term = self._term, None
        self._tell()
        if term is None:
            return True
        try:
            self._write(term.version, {"holderIdentity": None, "leaseDurationSeconds": 1})
        except ProaError as error:
            self.problem = error.message
            return False
        return True

    # inside

    def step(self) -> float:
        """Do what is due; how many seconds to wait before the next step."""
        now = self.clock.monotonic()
        if self._term is not None and now >= self._term.until:
            self._term = None
        try:
            if self._term is None:
                if now >= self._resting:
                    self._compete()
            elif now >= self._term.due:
                self._renew(self._term)
            self._settle()
            self.problem = ""
            self._backoff.reset()
            pause = self._pause()
        except ProaError as error:
            self.problem = error.message
            pause = self._patience(error.retry_after if isinstance(error, ApiError) else None)
        self._tell()
        return pause

    def _patience(self, wish: float | None) -> float:
        """How long to wait after a failure. A server's wish to be left alone is not worth the lease."""
        term = self._term
        if term is None:
            return self._backoff.next(wish)
        own = min(self._backoff.next(), self.terms.retry)
        return max(own, min(wish or 0.0, term.until - self.clock.monotonic() - self.terms.request))

    def _pause(self) -> float:
        term, now = self._term, self.clock.monotonic()
        if term is None:
            return max(self.terms.retry * (0.9 + self.random() / 5), self._resting - now)
        if not term.settled:
            return max(0.0, min(_TICK, term.due - now))
        return max(0.0, min(term.due, term.until) - now)

    def _compete(self) -> None:
        """Look at the lease, and take it when it is free."""
        lease = find(self.api, self._path)
        if lease is None:
            self._take(None)
            return
        spec = lease.get("spec") or {}
        self.holder = str(spec.get("holderIdentity") or "")
        said = (lease["metadata"].get("uid"), self.holder, spec.get("renewTime"), spec.get("leaseTransitions"))
        if self._seen is None or self._seen.said != said:
            self._seen = ObservedLease(said, self.clock.monotonic())
        self._highest = max(self._highest, whole(spec.get("leaseTransitions")))
        patience = whole(spec.get("leaseDurationSeconds")) or self.terms.lease
        if self.holder in ("", self.me) or self.clock.monotonic() >= self._seen.since + patience:
            self._take(lease)

    def _take(self, lease: Object | None) -> None:
        """Take the lease, or create it. If there was one, somebody has deleted it, and a leader may not know that yet.

        Where Proa was removed and is installed again nothing in the cluster tells of fences, but each node knows the
        highest one that it has seen, and takes no lower one. So the first one is the time, in seconds: leaders change
        seldom enough for that to be ahead of all before. The lease has room for it until 2094.
        """
        known = lease is not None or self._highest >= 0
        passed = 0 if known else int((self.clock.now() - FIRST).total_seconds())
        fence = max(0, self._highest, self.floor() or 0, passed) + 1
        sent, now = self.clock.monotonic(), self._now()
        spec = {**self._ours(now), "acquireTime": now, "leaseTransitions": fence}
        if lease is not None:
            return self._begin(self._write(version_of(lease), spec), fence, sent, self.terms.settle)
        body = {**_KIND, "metadata": {"name": self.name, "namespace": self.namespace}, "spec": spec}
        created = self.api.create(paths.leases(self.namespace), body)
        return self._begin(created, fence, sent, self.terms.stop if known else self.terms.settle)

    def _begin(self, lease: Object, fence: int, sent: float, settle: float) -> None:
        """The lease is ours; nothing is done yet."""
        self._seen, self.holder, self._highest = None, self.me, fence
        ready = self.clock.monotonic() + settle
        version, terms = version_of(lease), self.terms
        self._term = Term(fence, version, sent + terms.stop, ready, settled=False, due=sent + terms.renew)

    def _settle(self) -> None:
        """Once all fences have been seen and it is time to, the term is settled; too low a fence is raised before."""
        term = self._term
        if term is None or term.settled or (floor := self.floor()) is None:
            return
        sent = self.clock.monotonic()
        if floor >= term.fence:
            lease = self._write(term.version, {**self._ours(self._now()), "leaseTransitions": floor + 1})
            self._begin(lease, floor + 1, sent, max(self.terms.settle, term.ready - sent))
        elif sent >= term.ready:
            self._replace(term, settled=True)

    def _renew(self, term: Term) -> None:
        sent = self.clock.monotonic()
        try:
            lease = self._write(term.version, self._ours(self._now()))
        except ApiError as error:
            if error.status == 404:
                self._term = None
            if error.status != 409:
                raise
            self._look_again(term)
            return
        version = version_of(lease)
        self._replace(term, version=version, until=sent + self.terms.stop, due=sent + self.terms.renew)
        if sent - term.ready > _LONG_TERM:
            self._resigned.reset()

    def _look_again(self, term: Term) -> None:
        """Somebody has written to the lease: if it was ourselves, by a request without an answer, it is ours still."""
        lease = self.api.get(self._path)
        spec = lease.get("spec") or {}
        self.holder = str(spec.get("holderIdentity") or "")
        if self.holder == self.me and spec.get("leaseTransitions") == term.fence:
            self._replace(term, version=version_of(lease))
        else:
            self._term = None

    def _replace(self, term: Term, **changes: Any) -> None:
        """Change the term, unless it was given up meanwhile."""
        with self._lock:
            if self._term is term:
                self._term = dataclasses.replace(term, **changes)

    def _write(self, version: str, spec: dict[str, Any]) -> Object:
        """Change the lease, unless it is another version than the one that was read: of two candidates one comes."""
        return self.api.merge(self._path, {**_KIND, "metadata": {"resourceVersion": version}, "spec": spec})

    def _ours(self, now: str) -> dict[str, Any]:
        return {"holderIdentity": self.me, "leaseDurationSeconds": round(self.terms.lease), "renewTime": now}

    def _now(self) -> str:
        """``MicroTime``; others look at whether it changes, not at what it says."""
        return times.micro(self.clock.now())

    def _tell(self) -> None:
        """Ring when the role has changed."""
        role = self.role
        if role is not self._told:
            self._told = role
            self.changed.notify()
