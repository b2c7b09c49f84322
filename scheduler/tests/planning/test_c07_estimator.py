"""What was measured never ends the measuring: no duration that was learned keeps every node from its start."""

from __future__ import annotations

import dataclasses

import pytest

from proa.scheduler.control.event_recorder import EventRecorder
from proa.scheduler.kube.emit import About
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import RolloutView
from proa.scheduler.spec.rollout import Budget
from proa.scheduler.spec.rolloutstatus import RolloutStatus
from proa.scheduler.testing.situations import OLD, RELEASE, change, planned, ready

HOUR = Budget("30 11 * * *", "1h", "UTC", 1)
"""Open from half an hour before now until half an hour after it."""
NEXT = Budget("30 12 * * *", "2h", "UTC", 1)
SLOW = RolloutStatus(release=RELEASE, recent_seconds=(7200,) * 5)


def starts(status: RolloutStatus, *budgets: Budget, expected: str = "15m") -> bool:
    return bool(planned(ready(), spec=change(budgets=budgets, expected_duration=expected), status=status).actions)


def test_c07_what_takes_longer_than_the_window_is_tried_as_the_spec_says() -> None:
    assert starts(SLOW, HOUR)
    assert not starts(SLOW, HOUR, expected="40m")


def test_c07_what_fits_into_the_window_is_kept_to() -> None:
    status = dataclasses.replace(SLOW, recent_seconds=(45 * 60,) * 5)
    assert not starts(status, HOUR)
    made = planned(ready(), spec=change(budgets=(HOUR,)), status=status)
    assert made.verdicts["n1"].reason is Reason.WindowTooShort


def test_c07_windows_that_follow_one_another_are_one() -> None:
    assert starts(SLOW, HOUR, NEXT)
    late = Budget("0 10 * * *", "90m", "UTC", 1), dataclasses.replace(HOUR)
    assert not starts(dataclasses.replace(SLOW, recent_seconds=(8400,) * 5), *late)


@pytest.mark.parametrize("release", [RELEASE, f"registry.example/node@{OLD}"])
def test_c07_what_another_release_took_is_forgotten(release: str) -> None:
    status = RolloutStatus(release=release, started_at="2026-01-01T00:00:00Z", recent_seconds=(45 * 60,) * 5)
    made = planned(ready(), spec=change(attempt=1, budgets=(HOUR,)), status=status)
    assert bool(made.statuses["workers"].recent_seconds) is (release == RELEASE)


def test_c07_an_event_tells_once_that_nodes_are_slow() -> None:
    class Ears:
        heard: list[str] = []

        def tell(self, about: About, reason: str, note: str, **rest: object) -> None:
            if reason == "SlowerThanExpected":
                self.heard.append(note)

    ears, view = Ears(), RolloutView("workers", "u", 1, change())
    recorder = EventRecorder(ears)
    quick = RolloutStatus(recent_seconds=(60,) * 5)
    for status in (quick, SLOW, SLOW, quick, SLOW):
        recorder.stands({"workers": view}, {"workers": status})
    assert len(ears.heard) == 2
    assert "7200 s" in ears.heard[0]
