"""When budgets are open: across midnights, overlapping windows, and days on which the clocks change."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.planning.budget import Allowance, Calendar, Schedule, Window
from proa.scheduler.spec.amounts import resolve
from proa.scheduler.spec.rollout import Budget, RolloutSpec

RELEASE = "registry.example/node@sha256:" + "1" * 64


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("amount", "total", "nodes"),
    [(0, 10, 0), (3, 2, 3), ("0%", 10, 0), ("1%", 10, 1), ("25%", 10, 2), ("25%", 3, 1), ("100%", 7, 7), ("50%", 0, 1)],
)
def test_a_percentage_is_rounded_down_but_to_one(amount: int | str, total: int, nodes: int) -> None:
    assert resolve(amount, total) == nodes


@pytest.mark.parametrize("amount", [-1, "101%", "5", "5 %", "", True])
def test_what_is_no_amount_is_refused(amount: int | str) -> None:
    with pytest.raises(ProaError) as caught:
        resolve(amount, 10)
    assert caught.value.code is Code.CONFIG_VALUE


def next_of(schedule: Schedule, now: datetime) -> tuple[datetime | None, datetime | None]:
    """When the window that is open closes, and when the next one opens."""
    found = schedule.windows(now, now)
    closes = next((window.closes for window in found if window.opens <= now), None)
    return closes, next((window.opens for window in found if window.opens > now), None)


@pytest.mark.parametrize(
    ("now", "closes", "opens"),
    [
        ("2026-01-05T21:59:59", None, "2026-01-05T22:00:00"),
        ("2026-01-05T22:00:00", "2026-01-06T04:00:00", "2026-01-06T22:00:00"),
        ("2026-01-06T03:59:59", "2026-01-06T04:00:00", "2026-01-06T22:00:00"),
        ("2026-01-06T04:00:00", None, "2026-01-06T22:00:00"),
        ("2026-01-10T03:00:00", "2026-01-10T04:00:00", "2026-01-12T22:00:00"),
    ],
)
def test_a_window_over_midnight(now: str, closes: str | None, opens: str) -> None:
    found = next_of(Schedule("0 22 * * 1-5", timedelta(hours=6)), utc(now))
    assert found == (utc(closes) if closes else None, utc(opens))


def test_windows_that_meet_are_one() -> None:
    now, then = utc("2026-01-05T10:30:00"), utc("2026-01-07T00:30:00")
    for schedule in (Schedule("0 * * * *", timedelta(hours=1)), Schedule("0 * * * *", timedelta(hours=5))):
        (window,) = schedule.windows(now, then)
        assert window.opens <= now
        assert window.closes > then


def test_all_windows_of_a_time_are_told_and_the_next() -> None:
    found = Schedule("0 22 * * *", timedelta(hours=2)).windows(utc("2026-01-05T23:00:00"), utc("2026-01-06T22:00:00"))
    assert found == tuple(
        Window(utc(f"2026-01-0{day}T22:00:00"), utc(f"2026-01-0{day + 1}T00:00:00")) for day in (5, 6, 7)
    )


@pytest.mark.parametrize(
    ("cron", "now", "opens", "why"),
    [
        ("30 2 * * *", "2026-03-28T12:00:00", "2026-03-29T01:00:00", "02:30 does not exist: right behind the gap"),
        ("0 1 * * *", "2026-03-28T12:00:00", "2026-03-29T00:00:00", "before the clocks change"),
        ("0 4 * * *", "2026-03-28T12:00:00", "2026-03-29T02:00:00", "after it, an hour earlier in UTC"),
        ("30 2 * * *", "2026-10-24T12:00:00", "2026-10-25T00:30:00", "02:30 comes twice: the first time"),
        ("30 2 * * *", "2026-10-25T00:30:00", "2026-10-26T01:30:00", "and not the second time"),
    ],
)
def test_days_on_which_clocks_change(cron: str, now: str, opens: str, why: str) -> None:
    _, found = next_of(Schedule(cron, timedelta(minutes=10), "Europe/Berlin"), utc(now))
    assert found == utc(opens), why


@pytest.mark.parametrize(
    ("now", "hours"),
    [("2026-03-28T21:30:00", 4), ("2026-10-24T20:30:00", 4)],
)
def test_a_window_lasts_for_its_duration_whatever_the_clocks_do(now: str, hours: int) -> None:
    closes, _ = next_of(Schedule("0 22 * * *", timedelta(hours=hours), "Europe/Berlin"), utc(now))
    assert closes == utc(now).replace(minute=0) + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("cron", "duration", "now", "closes"),
    [
        ("0 * * * *", 30, "2026-10-25T01:10:00", "2026-10-25T01:30:00"),
        ("30 2 * * *", 90, "2026-10-25T01:10:00", "2026-10-25T02:00:00"),
        ("30 2 * * *", 40, "2026-10-25T01:20:00", None),
        ("*/30 2 * * *", 20, "2026-10-25T01:40:00", "2026-10-25T01:50:00"),
    ],
)
def test_in_the_second_of_two_equal_hours_that_window_is_open_that_has_begun_last(
    cron: str, duration: int, now: str, closes: str | None
) -> None:
    found, _ = next_of(Schedule(cron, timedelta(minutes=duration), "Europe/Berlin"), utc(now))
    assert found == (utc(closes) if closes else None)


@pytest.mark.parametrize(
    ("cron", "zone", "word"),
    [
        ("61 * * * *", "UTC", "61"),
        ("* * *", "UTC", "cannot be read"),
        ("0 0 31 2 *", "UTC", "31 2"),
        ("0 0 * * *", "Mars/Olympus", "Mars/Olympus"),
        ("0 0 * * *", "../etc/passwd", "../etc/passwd"),
    ],
)
def test_schedules_that_cannot_be_read_or_never_open(cron: str, zone: str, word: str) -> None:
    with pytest.raises(ProaError, match=word) as caught:
        Schedule(cron, timedelta(hours=1), zone).check()
    assert caught.value.code is Code.CONFIG_VALUE


def test_the_most_restrictive_open_budget_counts() -> None:
    budgets = (Budget("0 0 * * *", "24h", "UTC", "50%"), Budget("0 8 * * *", "10h", "UTC", 1, "office hours"))
    calendar = Calendar(RolloutSpec(RELEASE, max_unavailable=4, budgets=budgets))
    assert calendar.allowance(utc("2026-01-05T12:00:00"), 20).unavailable == 1
    assert calendar.allowance(utc("2026-01-05T20:00:00"), 20).unavailable == 4
    assert calendar.allowance(utc("2026-01-05T20:00:00"), 6).unavailable == 3


def test_no_open_budget_means_no_start() -> None:
    calendar = Calendar(RolloutSpec(RELEASE, max_unavailable=4, budgets=(Budget("0 22 * * *", "2h"),)))
    opens = utc("2026-01-05T22:00:00")
    assert calendar.allowance(utc("2026-01-05T12:00:00"), 20) == Allowance(0, None, opens, closed=True, turns=opens)


def test_no_budgets_means_always() -> None:
    assert Calendar(RolloutSpec(RELEASE, max_unavailable=4)).allowance(utc("2026-01-05T12:00:00"), 20) == Allowance(4)


def test_a_node_has_to_be_done_before_the_window_closes() -> None:
    allowance = Calendar(RolloutSpec(RELEASE, budgets=(Budget("0 22 * * *", "2h"),))).allowance(
        utc("2026-01-05T23:50:00"), 9
    )
    assert allowance.fits(utc("2026-01-05T23:50:00"), timedelta(minutes=10))
    assert not allowance.fits(utc("2026-01-05T23:50:01"), timedelta(minutes=10))


NIGHT = Budget("0 22 * * *", "2h", "UTC", 4)
FEWER = Budget("30 23 * * *", "4h", "UTC", 2)
NONE = Budget("30 23 * * *", "15m", "UTC", 0)


@pytest.mark.parametrize(
    ("budgets", "now", "minutes", "allowed", "fits"),
    [
        ((NIGHT, Budget("0 0 * * *", "2h", "UTC", 4)), "23:50", 60, 4, True),
        ((NIGHT, Budget("59 23 * * *", "2h", "UTC", 4)), "23:50", 60, 4, True),
        ((NIGHT, Budget("1 0 * * *", "2h", "UTC", 4)), "23:50", 60, 4, False),
        ((NIGHT, Budget("0 0 * * *", "20m", "UTC", 4)), "23:50", 60, 4, False),
        ((NIGHT, Budget("0 0 * * *", "20m", "UTC", 4), Budget("20 0 * * *", "1h")), "23:50", 60, 1, True),
        ((NIGHT, FEWER), "22:30", 60, 4, True),
        ((NIGHT, FEWER), "22:31", 60, 2, True),
        ((NIGHT, FEWER), "23:40", 60, 2, True),
        ((NIGHT, NONE), "22:40", 60, 0, True),
        ((NIGHT, NONE), "23:45", 10, 4, True),
    ],
    ids=[
        "windows-that-meet",
        "windows-that-overlap",
        "a-gap",
        "the-second-is-too-short",
        "three-in-a-row",
        "done-before-the-narrower-one",
        "a-narrower-one-opens-before",
        "the-narrower-one-is-open",
        "one-that-bears-none-opens-before",
        "after-it",
    ],
)
def test_all_windows_until_a_node_is_done_count(
    budgets: tuple[Budget, ...], now: str, minutes: int, allowed: int, fits: bool
) -> None:
    calendar, when = Calendar(RolloutSpec(RELEASE, max_unavailable=9, budgets=budgets)), utc(f"2026-01-05T{now}:00")
    needed = timedelta(minutes=minutes)
    allowance = calendar.allowance(when, 20, needed)
    assert (allowance.unavailable, allowance.fits(when, needed)) == (allowed, fits)


def test_what_narrows_is_told_and_when_to_look_again() -> None:
    calendar = Calendar(RolloutSpec(RELEASE, max_unavailable=9, budgets=(NIGHT, FEWER)))
    early = calendar.allowance(utc("2026-01-05T22:00:00"), 20, timedelta(hours=1))
    assert (early.narrows, early.turns) == (None, utc("2026-01-05T23:30:00"))
    late = calendar.allowance(utc("2026-01-05T23:00:00"), 20, timedelta(hours=1))
    assert (late.narrows, late.turns) == (utc("2026-01-05T23:30:00"), utc("2026-01-05T23:30:00"))
    assert calendar.allowance(utc("2026-01-05T23:30:00"), 20).turns == utc("2026-01-06T00:00:00")


def test_a_calendar_that_is_asked_again_and_again_says_what_a_new_one_says() -> None:
    spec = RolloutSpec(RELEASE, max_unavailable=9, budgets=(NIGHT, FEWER, Budget("*/20 1-5 * * *", "15m", "UTC", 3)))
    calendar, needed = Calendar(spec), timedelta(minutes=25)
    for minutes in range(0, 48 * 60, 7):
        now = utc("2026-01-05T00:00:00") + timedelta(minutes=minutes)
        known, new = calendar.allowance(now, 20, needed), Calendar(spec).allowance(now, 20, needed)
        assert known.fits(now, needed) == new.fits(now, needed)
        assert dataclasses.replace(known, closes=None) == dataclasses.replace(new, closes=None)
