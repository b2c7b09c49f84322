"""The drain of one node: from what is known of its pods to what is to be done next. Pure but for what it remembers.

What an API server answers to an eviction says when it is asked again (Kubernetes, "API-initiated Eviction"). An answer
of 201 is no progress: a pod that is ending already gets it, too.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from proa.core.runtime.backoff import Backoff, jitter
from proa.scheduler.drain.pods import BudgetView, PodFate, PodView, ends_by, fate, may_finish, over
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.times import text
from proa.scheduler.planning.status import WAITS
from proa.scheduler.spec.rollout import Drain
from proa.scheduler.spec.rolloutstatus import Blocker

SOON: Final = 15.0
"""A pod that an eviction does not move for so many seconds is told to people; budgets recover by themselves."""
LATE: Final = timedelta(seconds=30)
"""After how long beyond its time to end a pod is told to people; a forced drain waits for it no longer."""
RETURNS: Final = 3
"""Pods of one owner that come to a node after its drain has begun: from then on none of them is evicted there."""
_BUDGET: Final = "DisruptionBudget"
_ENDING: Final = "NamespaceTerminating"
PATIENCE: Final = 20.0
"""Seconds after which an accepted eviction that has changed nothing is asked for again."""


class Answer(enum.Enum):
    """What became of an eviction."""

    ACCEPTED = "accepted"
    GONE = "gone"
    """It is not there any more, or another pod has its name."""
    BUDGET = "budget"
    """A disruption budget does not allow it now."""
    BUDGETS = "budgets"
    """It is under several budgets: the API server evicts no such pod."""
    AWAY = "away"
    """The API server, or the way to it, is in trouble."""
    REFUSED = "refused"
    """It is not allowed, or not accepted; the message says why."""


def answer_of(error: ApiError | None) -> Answer:
    """What an answer means."""
    if error is None:
        return Answer.ACCEPTED
    if error.status in (404, 409):
        return Answer.GONE
    if error.status == 429 and any(cause.reason == _BUDGET for cause in error.causes):
        return Answer.BUDGET
    if error.status == 500 and error.reason == "InternalError" and "PodDisruptionBudget" in error.message:
        return Answer.BUDGETS
    if error.status == 403 and any(cause.reason == _ENDING for cause in error.causes):
        return Answer.ACCEPTED  # the end of the namespace ends the pod
    return Answer.AWAY if error.is_away or error.status == 401 else Answer.REFUSED


@dataclass
class Tries:
    """The tries to evict one pod.

    Attributes:
        uid: The pod.
        since: When the first one was made, by the monotonic clock.
        due: When the next one may be made.
        under_way: Whether one is.
        number: How many were made.
        answer: To the last one; none before.
        message: What was said with it.
        random: A number from 0 to 1, another one at every call.
    """

    uid: str
    since: float
    due: float
    under_way: bool = False
    number: int = 0
    answer: Answer | None = None
    message: str = ""
    random: Callable[[], float] = jitter
    _backoff: Backoff = field(init=False)

    def __post_init__(self) -> None:
        self._backoff = Backoff(first=2.0, longest=20.0, random=self.random)

    def answered(self, error: ApiError | None, now: float) -> None:
        """Note what was answered, and when to ask again."""
        self.under_way = False
        self.number += 1
        self.answer = answer_of(error)
        self.message = error.message if error else ""
        if self.answer in (Answer.ACCEPTED, Answer.GONE):
            self.due = now + PATIENCE
        else:
            self.due = now + self._backoff.next(error.retry_after if error else None)


@dataclass(frozen=True)
class DrainRequest:
    """What is wanted of the drain of one node.

    Attributes:
        policy: How pods are moved away.
        forced: Whether its time is up, and what is left is deleted.
        wait_until: Until when pods of the policy's ``wait_for`` may finish; none where it has none.
    """

    policy: Drain
    forced: bool = False
    wait_until: datetime | None = None


@dataclass(frozen=True)
class Look:
    """What one look tells.

    Attributes:
        evict: Pods to evict now.
        delete: Pods to delete now, whatever their budgets say.
        blockers: What is in the way, for people.
        done: Whether nothing is left.
        waits: Pods that may finish before anything is evicted.
        began: When there was nothing more to wait for; none before, and where nothing is waited for.
        wake: Seconds until there is something to do although nothing has changed; none if never.
    """

    evict: tuple[PodView, ...] = ()
    delete: tuple[PodView, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    done: bool = False
    waits: tuple[Blocker, ...] = ()
    began: datetime | None = None
    wake: float | None = None


@dataclass(frozen=True)
class _Moment:
    """What every pod of one look is judged by; see :meth:`NodeDrain.look`."""

    request: DrainRequest
    budgets: Collection[BudgetView]
    when: datetime
    now: float


@dataclass
class _Findings:
    """What one look has found so far.

    Attributes:
        asks: Pods to ask for now.
        blockers: What is in the way.
        wakes: Seconds until there is something to do.
        left: How many pods have to go.
        staying: Claims of pods that stay.
    """

    asks: list[PodView] = field(default_factory=list)
    blockers: list[Blocker] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)
    left: int = 0
    staying: set[str] = field(default_factory=set)


@dataclass(eq=False)
class NodeDrain:
    """The drain of one node.

    Attributes:
        node: Its name.
        tries: By pod.
        volumes: By claim of pods that were evicted: the volume that must be detached; empty if there is none. It is
            written by other threads, before each eviction.
    """

    node: str
    tries: dict[str, Tries] = field(default_factory=dict)
    volumes: dict[str, str] = field(default_factory=dict)
    _since: dict[tuple[str, str, str], datetime] = field(default_factory=dict)
    _began: datetime | None = None
    _seen: set[str] | None = None
    _arrivals: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def look(
        self,
        pods: Mapping[str, PodView],
        attached: Collection[str],
        request: DrainRequest,
        budgets: Collection[BudgetView],
        when: datetime,
        now: float,
    ) -> Look:
        """What is to be done.

        Args:
            pods: All pods on the node, by their keys.
            attached: Volumes that are attached to it.
            request: What is wanted.
            budgets: The disruption budgets of the cluster.
            when: The time, for people.
            now: The monotonic clock's.
        """
        for key in [key for key, tries in self.tries.items() if key not in pods or pods[key].uid != tries.uid]:
            del self.tries[key]
        if waits := self._await(pods.values(), request, when):
            current = {(one.pod, "", "") for one in waits}
            self._since = {key: since for key, since in self._since.items() if key in current}
            return Look(waits=waits, wake=(request.wait_until - when).total_seconds() if request.wait_until else None)
        self._note_arrivals(pods.values())
        found, moment = _Findings(), _Moment(request, budgets, when, now)
        for pod in pods.values():
            self._judge(pod, found, moment)
        volumes = {} if found.left else self._still(attached, found.staying)
        for volume, claim in volumes.items():
            found.blockers.append(self._blocker("", "", volume, f"it is still attached, for claim {claim}", when))
        current = {(blocker.pod, blocker.budget, blocker.volume) for blocker in found.blockers}
        self._since = {key: since for key, since in self._since.items() if key in current}
        done = not found.left and (not volumes or request.forced)
        asks = tuple(found.asks)
        evict, delete = ((), asks) if request.forced else (asks, ())
        wake = min(found.wakes, default=None)
        return Look(evict, delete, tuple(found.blockers), done, began=self._began, wake=wake)

    def _await(self, pods: Iterable[PodView], request: DrainRequest, when: datetime) -> tuple[Blocker, ...]:
        """Pods that may finish first. Once there was none, or their time is up, none is waited for again."""
        if request.wait_until is None or self._began is not None:
            return ()
        left = [pod for pod in pods if may_finish(pod, request.policy)] if when < request.wait_until else []
        if not left:
            self._began = when
        return tuple(self._wait(pod.key, when) for pod in left)

    def _wait(self, pod: str, when: datetime) -> Blocker:
        since = self._since.setdefault((pod, "", ""), when)
        return Blocker(self.node, pod, reason=f"{WAITS}pod {pod}"[:256], since=text(since))

    def _judge(self, pod: PodView, found: _Findings, moment: _Moment) -> None:
        """What becomes of one pod now."""
        request, when = moment.request, moment.when
        what, why = fate(pod, request.policy)
        if what is PodFate.STAYS:
            found.staying.update(() if pod.finished else pod.claims)
        elif pod.deleting is not None:
            self._await_end(pod, found, moment)
        elif (times := self._arrivals.get(_owner(pod), 0)) >= RETURNS:
            found.left += not request.forced  # there is no end to it: by force the node reboots with it
            found.blockers.append(self._blocker(pod.key, "", "", f"{_RETURNS} {times} times so far", when))
        elif what is PodFate.BLOCKED and not request.forced:
            found.left += 1
            found.blockers.append(self._blocker(pod.key, "", "", why, when))
        else:
            found.left += 1
            self._ask(pod, found, moment)

    def _await_end(self, pod: PodView, found: _Findings, moment: _Moment) -> None:
        """A pod that is on its way has its time; by force, no more than that."""
        rest = ends_by(pod, moment.when) - moment.when + LATE
        late = rest <= timedelta(0)
        found.left += not (late and moment.request.forced)
        if late:
            blocker = self._blocker(pod.key, "", "", "it was asked to end, but still runs", moment.when)
            found.blockers.append(blocker)
        else:
            found.wakes.append(rest.total_seconds())

    def _ask(self, pod: PodView, found: _Findings, moment: _Moment) -> None:
        """A pod that may go is asked for when its turn has come, and told of when that leads to nothing."""
        now = moment.now
        tries = self.tries.setdefault(pod.key, Tries(pod.uid, now, now))
        if not tries.under_way and now >= tries.due:
            found.asks.append(pod)
        elif not tries.under_way:
            found.wakes.append(tries.due - now)
        if now - tries.since >= SOON and (said := _why(pod, tries, moment.budgets)):
            found.blockers.append(self._blocker(pod.key, *said, moment.when))

    def _note_arrivals(self, pods: Iterable[PodView]) -> None:
        """Count the pods that have come since the drain began: those of an owner that tolerates the cordon."""
        uids = {pod.uid: pod for pod in pods}
        if self._seen is not None:
            for uid in uids.keys() - self._seen:
                owner = _owner(uids[uid])
                self._arrivals[owner] = self._arrivals.get(owner, 0) + 1
        self._seen = (self._seen or set()) | uids.keys()

    def _still(self, attached: Collection[str], staying: Collection[str]) -> dict[str, str]:
        """By volume that is still attached for a pod that was evicted, and for none that stays: its claim."""
        known = sorted(self.volumes.items())
        return {volume: claim for claim, volume in known if volume in attached and claim not in staying}

    def _blocker(self, pod: str, budget: str, volume: str, reason: str, when: datetime) -> Blocker:
        since = self._since.setdefault((pod, budget, volume), when)
        subject = f"pod {pod}" if pod else f"volume {volume}"
        return Blocker(self.node, pod, budget[:320], volume[:253], f"{subject}: {reason}"[:256], text(since))


_RETURNS: Final = "pods of its owner come back as fast as they are evicted and tolerate the cordon:"


def _owner(pod: PodView) -> tuple[str, str, str]:
    return pod.namespace, *pod.owner


def _why(pod: PodView, tries: Tries, budgets: Iterable[BudgetView]) -> tuple[str, str, str] | None:
    """The budget, the volume and the sentence of a blocker; none while all goes well."""
    names = ", ".join(budget.key for budget in over(pod, budgets))
    match tries.answer:
        case Answer.BUDGET:
            return names, "", f"disruption budget {names} allows no disruption" if names else tries.message
        case Answer.BUDGETS:
            return names, "", f"several disruption budgets cover it: {names}"
        case Answer.REFUSED | Answer.AWAY:
            return "", "", tries.message
        case Answer.ACCEPTED if tries.number > 1:
            return "", "", "its eviction was accepted, but it still runs"
        case _:
            return None
