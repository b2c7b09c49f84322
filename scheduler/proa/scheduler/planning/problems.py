"""Why a spec cannot be acted upon: what cannot be read, and what contradicts itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Final, TypeVar

from proa.core.runtime import duration
from proa.core.runtime.errors import ProaError
from proa.scheduler.planning.budget import Schedule, schedule_of, zone_of
from proa.scheduler.planning.settings_aim import wrong_settings
from proa.scheduler.spec.contradictions import contradictions
from proa.scheduler.spec.rollout import Budget, RolloutSpec

Said = TypeVar("Said")
INVALID_SPEC: Final = "InvalidSpec"
INVALID_SETTINGS: Final = "InvalidSettings"
INVALID_SCHEDULE: Final = "InvalidSchedule"
_SINCE: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SAMPLE: Final = 64
"""Windows of a schedule that are looked at to see whether they meet."""
_JUMP: Final = timedelta(hours=2)
"""How much nearer windows may come to each other on other days: clocks change."""


@dataclass(frozen=True)
class Problem:
    """Why a rollout does not act.

    Attributes:
        reason: Of the condition ``Valid``.
        message: Where, and what to write instead.
    """

    reason: str
    message: str


def problem_of(spec: RolloutSpec) -> Problem | None:
    """What is wrong with a spec, all of it; none if nothing is."""
    found = list(_unreadable(spec))
    if not found:
        found = [Problem(INVALID_SPEC, message) for message in contradictions(spec) or _never_started(spec)]
    return Problem(found[0].reason, "; ".join(one.message for one in found)) if found else None


def _unreadable(spec: RolloutSpec) -> Iterator[Problem]:
    times = {
        "canary.soak": spec.canary.soak,
        "order.zoneSoak": spec.order.zone_soak,
        **{f"order.groups[{number}].soak": one.soak for number, one in enumerate(spec.order.groups)},
        "staging.timeout": spec.staging.timeout,
        "drain.timeout": spec.drain.timeout,
        **({"drain.waitFor.timeout": spec.drain.wait_for.timeout} if spec.drain.wait_for else {}),
        "health.timeout": spec.health.timeout,
        "retry.backoff": spec.retry.backoff,
        "expectedDuration": spec.expected_duration,
    }
    for at, said in times.items():
        if message := _refusal(duration.parse, said):
            yield Problem(INVALID_SPEC, f"spec.{at}: {message}")
    yield from (Problem(INVALID_SETTINGS, f"spec.settings: {said}") for said in wrong_settings(spec.settings))
    for number, budget in enumerate(spec.budgets):
        if message := _window(budget):
            yield Problem(INVALID_SCHEDULE, f"spec.budgets[{number}].{message}")


def _window(budget: Budget) -> str:
    """What of a budget cannot be read, and why; empty if all can."""
    if message := _refusal(duration.parse, budget.duration):
        return f"duration: {message}"
    if message := _refusal(zone_of, budget.time_zone):
        return f"timeZone: {message}"
    message = _refusal(Schedule.check, schedule_of(budget))
    return f"schedule: {message}" if message else ""


def _refusal(read: Callable[[Said], object], said: Said) -> str:
    """Why something cannot be read; empty if it can."""
    try:
        read(said)
    except ProaError as error:
        return error.message
    return ""


def _never_started(spec: RolloutSpec) -> Iterator[str]:
    """That a node takes longer than any windows that could follow one another last together."""
    schedules = [schedule_of(budget) for budget in spec.budgets]
    whole = sum((schedule.duration for schedule in schedules), timedelta(0))
    if not schedules or duration.parse(spec.expected_duration) <= whole or any(_meet(one, whole) for one in schedules):
        return
    yield (
        f"spec.expectedDuration: {spec.expected_duration} is longer than all windows, so no node would"
        " ever start: write a shorter time, or a longer duration in budgets"
    )


def _meet(schedule: Schedule, whole: timedelta) -> bool:
    """Whether one window of a schedule may follow the one before without a gap, with one of each other between them."""
    return any(
        following - start <= whole + _JUMP for start, following in pairwise(islice(schedule.starts(_SINCE), _SAMPLE))
    )
