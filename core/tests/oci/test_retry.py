from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proa.core.oci.limits import TransferLimits
from proa.core.oci.retry import LONGEST_PAUSE, Patience, Temporary, retry_after
from proa.core.runtime import notices
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError

NOW = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
BUSY = ProaError(Code.REGISTRY, "answered 503")


def patience(clock: VirtualClock, jitter: float = 1.0, size: int = 0, **limits: float) -> Patience:
    return Patience(TransferLimits(**limits), size, clock, lambda: jitter)  # type: ignore[arg-type] # some are whole numbers


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Sun, 01 Nov 2026 12:00:30 GMT", 30.0),
        ("Sunday, 01-Nov-26 12:00:30 GMT", 30.0),
        ("Sun, 01 Nov 2026 11:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@given(st.text())
def test_no_retry_after_header_breaks_it(header: str) -> None:
    found = retry_after(header, NOW)
    assert found is None or found >= 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Sun, 01 Nov 2026 13:00:00 GMT", 3600.0),
        ("Sat, 01 Sep 2052 12:00:00 GMT", LONGEST_PAUSE),
        ("999999999999999999", LONGEST_PAUSE),
        ("Sun, 01 Nov 99999 12:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("Sun, 01 Nov 2026 12:00:00 +999999999999", None),
        ("Sun, 32 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_n11_no_date_asks_for_years_or_breaks_the_calendar(header: str, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


def test_n07_limits_are_told_with_their_settings_and_defaults() -> None:
    clock = VirtualClock()
    tries = patience(clock, minimum_rate=1000, window=1.0, patience=10.0)
    with tries.waiting():
        clock.at += 2
    with pytest.raises(Temporary) as slow:
        tries.got(10)
    assert "minimum_rate = 1000 (default 4096)" in slow.value.error.message
    assert "registry.toml" in slow.value.error.hint
    with tries.waiting():
        clock.at += 20
    with pytest.raises(ProaError, match=r"patience = 10 \(default 180\)"):
        tries.got(10)


def test_n07_a_line_of_eleven_kibibytes_a_second_ends_what_it_began() -> None:
    clock, size = VirtualClock(), 600 << 20
    tries = Patience(size=size, clock=clock)
    for _ in range(size // (11 << 10)):
        with tries.waiting():
            clock.at += 1
        tries.got(11 << 10)
    assert clock.at > 50_000


def test_waits_double_up_to_the_longest() -> None:
    clock = VirtualClock()
    tries = patience(clock, attempts=9, patience=1000)
    with pytest.raises(ProaError, match=r"answered 503 \(9 attempts"):
        tries.keep_trying(lambda: fail(Temporary(BUSY)))
    assert clock.slept == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_p01_each_further_attempt_is_told_with_its_reason_and_its_wait() -> None:
    told: list[str] = []
    notices.show_with(told.append)
    try:
        patience(VirtualClock()).wait(Temporary(ProaError(Code.REGISTRY, "answered 503", at="https://r.example/v2/")))
    finally:
        notices.show_with(None)
    assert told == ["answered 503 (https://r.example/v2/): trying again in 0.5 s"]


def test_jitter_spreads_a_wait_over_its_upper_half() -> None:
    for jitter, waited in ((0.0, 0.25), (0.5, 0.375), (1.0, 0.5)):
        clock = VirtualClock()
        patience(clock, jitter).wait(Temporary(BUSY))
        assert clock.slept == [waited]


def test_what_the_registry_asks_for_is_respected_up_to_the_deadline() -> None:
    clock = VirtualClock()
    patience(clock, 0.0).wait(Temporary(BUSY, after=100))
    assert clock.slept == [100]
    with pytest.raises(ProaError, match=r"the server asks for a pause of 1000 s"):
        patience(clock).wait(Temporary(BUSY, after=1000))
    assert clock.slept == [100]


def test_a_new_byte_gives_new_tries_but_no_new_time() -> None:
    clock = VirtualClock()
    tries = patience(clock, patience=100.0, size=0)

    def trickle() -> None:
        for _ in range(1000):
            tries.got(1)
            tries.wait(Temporary(BUSY, after=1))

    with pytest.raises(ProaError) as caught:
        trickle()
    assert caught.value.code is Code.REGISTRY
    assert 90 < clock.at <= 100


def test_time_grows_with_size_and_only_waiting_counts() -> None:
    clock = VirtualClock()
    tries = patience(clock, patience=10.0, minimum_rate=100, size=1000)
    assert tries.total == 20
    clock.at += 1000  # the reader writes to its disk
    with tries.waiting():
        clock.at += 19
    tries.got(10_000)
    with tries.waiting():
        clock.at += 2
    with pytest.raises(ProaError, match="it did not finish within 20 s") as caught:
        tries.got(1)
    assert caught.value.code is Code.NETWORK


def test_a_connection_that_is_too_slow_is_given_up() -> None:
    clock = VirtualClock()
    tries = patience(clock, minimum_rate=1000, window=30.0, patience=10_000.0)
    for _ in range(29):
        with tries.waiting():
            clock.at += 1
        tries.got(999)
    with tries.waiting():
        clock.at += 1
    with pytest.raises(Temporary, match="only 999 bytes per second"):
        tries.got(999)


def fail(error: Exception) -> None:
    raise error
