"""What an API server answers to an eviction, and when it is asked again.

Kubernetes, "API-initiated Eviction". An answer of 201 is no progress: a pod that is ending already gets it, too.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.backoff import Backoff, jitter

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
        return Answer.ACCEPTED  # whoever ends the namespace ends the pod
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
