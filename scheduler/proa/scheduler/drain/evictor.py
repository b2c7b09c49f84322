"""Asks for the end of pods, a few at a time, so that a slow API server holds up nobody who looks.

Before that it finds out which volume each claim of a pod is bound to: pods name claims, nodes name volumes, and nothing
says both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.errors import ProaError
from proa.scheduler.drain.nodedrain import NodeDrain, Tries
from proa.scheduler.drain.pods import PodView
from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.server import Server, unless
from proa.scheduler.kube.stream import part
from proa.scheduler.spec.rollout import Drain

WORKERS: Final = 8
"""Evictions that are asked for at a time. No more are given out: what has to wait is not asked for if its node is given
back meanwhile."""


@dataclass(frozen=True)
class Ask:
    """What is to be asked.

    Attributes:
        drain: The drain that it is for.
        pod: The pod that is to end.
        policy: How.
        delete: Whether it is deleted, whatever its budgets say.
    """

    drain: NodeDrain
    pod: PodView
    policy: Drain
    delete: bool = False

    @property
    def tries(self) -> Tries:
        """The tries so far."""
        return self.drain.tries[self.pod.key]


@dataclass(eq=False)
class Evictor:
    """Asks in threads of its own. All but those is for one thread.

    Attributes:
        api: The API server.
        may_act: Whether we lead, asked before each eviction.
        news: Rung when there is an answer.
    """

    api: Server
    may_act: Callable[[], bool]
    news: ChangeSignal

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, "evict")
        self._answers: deque[tuple[Ask, Tries, ApiError | None]] = deque()
        self._under_way: dict[NodeDrain, int] = {}

    def settle(self, now: float) -> None:
        """Note what was answered.

        Args:
            now: The monotonic clock's.
        """
        while self._answers:
            ask, tries, error = self._answers.popleft()
            tries.answered(error, now)
            self._under_way[ask.drain] -= 1
            if not self._under_way[ask.drain]:
                del self._under_way[ask.drain]

    def ask(self, asks: Iterable[Ask]) -> None:
        """Ask for these up to the limit: nodes by turns, and of each what has waited for longest."""
        free = WORKERS - sum(self._under_way.values())
        for one in sorted(self._turns(asks), key=lambda turn: turn[:2])[: max(0, free)]:
            ask, tries = one[2], one[2].tries
            self._under_way[ask.drain] = self._under_way.get(ask.drain, 0) + 1
            tries.under_way = True
            self._pool.submit(self._send, ask, tries)

    def stop(self) -> None:
        """Ask nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # inside

    def _turns(self, asks: Iterable[Ask]) -> Iterator[tuple[int, float, Ask]]:
        """Each with how many of its node are asked for before it, and since when it waits."""
        turns = dict(self._under_way)
        for ask in sorted(asks, key=lambda one: one.tries.due):
            turn = turns[ask.drain] = turns.get(ask.drain, 0) + 1
            yield turn, ask.tries.due, ask

    def _send(self, ask: Ask, tries: Tries) -> None:
        """Ask one, in a thread of the pool; the answer goes to the thread that settles."""
        error: ApiError | None = None
        try:
            if not ask.delete:
                self._find_volumes(ask)
            if self.may_act():
                self._end(ask)
            else:
                error = ApiError(0, "another scheduler leads")
        except ApiError as refusal:
            error = refusal
        except ProaError as problem:
            error = ApiError(0, problem.message)
        self._answers.append((ask, tries, error))
        self.news.notify()

    def _find_volumes(self, ask: Ask) -> None:
        """Before the pod is gone: claims that were made for it go with it."""
        for claim in ask.pod.claims:
            if claim not in ask.drain.volumes:
                ask.drain.volumes[claim] = volume_of(self.api, claim)

    def _end(self, ask: Ask) -> None:
        grace, pod = ask.policy.grace_period_seconds, ask.pod
        options = {} if grace is None else {"gracePeriodSeconds": grace}
        if ask.delete:
            self.api.delete(paths.named(paths.within(paths.PODS, pod.namespace), pod.name), uid=pod.uid, **options)
        else:
            self.api.evict(pod.namespace, pod.name, uid=pod.uid, **options)


def volume_of(api: Server, claim: str) -> str:
    """The volume of a claim, as a Node names it in ``status.volumesAttached``.

    The name is ``kubernetes.io/csi/DRIVER^HANDLE`` (Kubernetes, ``pkg/volume/csi``, ``GetVolumeName``).

    Args:
        api: The API server.
        claim: ``NAMESPACE/NAME``.

    Returns:
        The name; empty for a volume that no driver attaches, and where claims may not be read.

    Raises:
        ApiError: When that cannot be known now.
    """
    namespace, _, name = claim.partition("/")
    bound = _spec(api, paths.named(paths.within(paths.CLAIMS, namespace), name)).get("volumeName")
    csi = part(_spec(api, paths.named(paths.VOLUMES, str(bound))), "csi") if bound else None
    if not csi:
        return ""
    return f"kubernetes.io/csi/{csi.get('driver', '')}^{csi.get('volumeHandle', '')}"


def _spec(api: Server, path: str) -> Mapping[str, Any]:
    """The spec of an object; empty where it is not there, or may not be read."""
    return part(unless(lambda: api.get(path), 403, 404) or {}, "spec")
