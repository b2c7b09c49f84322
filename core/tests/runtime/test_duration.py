"""Spans of time as Kubernetes writes them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proa.core.runtime.duration import PATTERN, parse, text
from proa.core.runtime.errors import Code, ProaError


@pytest.mark.parametrize(
    ("given_text", "seconds"),
    [("90s", 90), ("15m", 900), ("1h30m", 5400), ("1h1m1s", 3661), ("0s", 0), ("100h", 360000)],
)
def test_it_is_read(given_text: str, seconds: int) -> None:
    assert parse(given_text) == timedelta(seconds=seconds)
    assert re.fullmatch(PATTERN, given_text)


@pytest.mark.parametrize(
    "wrong", ["", "15", "m", "1d", "1m1h", "-1m", "1.5h", " 1m", "1m ", "99999999999h", "9" * 400 + "s"]
)
def test_what_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ProaError) as caught:
        parse(wrong)
    assert caught.value.code is Code.CONFIG_VALUE


@given(st.integers(0, 10_000_000))
def test_it_reads_back(seconds: int) -> None:
    assert parse(text(timedelta(seconds=seconds))) == timedelta(seconds=seconds)
