"""Kinds of values: what they take, what they refuse and how they say so."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proa.builder.config.kinds import (
    Choice,
    Duration,
    Flag,
    Listing,
    Moment,
    Number,
    Refused,
    Size,
    Text,
    ValueKind,
    size_text,
)
from proa.builder.config.vocabulary import GLOB, SHELL

TAKEN: list[tuple[ValueKind, Any, Any]] = [
    (Text(r"[a-z]+", "letters"), "abc", "abc"),
    (Choice(("a", "b")), "b", "b"),
    (Number(1, 3), 3, 3),
    (Number(512, 4096, (512, 4096)), 4096, 4096),
    (Flag(), True, True),
    (Size(1 << 20), "1 MiB", 1 << 20),
    (Size(1 << 20), "2GiB", 2 << 30),
    (Size(1 << 20), 3 << 20, 3 << 20),
    (Size(1 << 20, derived=True), 0, 0),
    (Duration(1, 3600), "90 s", 90),
    (Duration(1, 3600), "1 h", 3600),
    (Moment(), "2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
    (Moment(), "2030-01-01T02:00:00+02:00", "2030-01-01T02:00:00+02:00"),
    (Listing(Number(1, 3)), [1, 2], (1, 2)),
]
REFUSED: list[tuple[ValueKind, Any, str]] = [
    (Text(r"[a-z]+", "letters"), "Abc", '"Abc" is not letters'),
    (Text(r"[a-z]+", "letters"), "abc\n", "is not letters"),
    (Text(), 5, "5 is not a string"),
    (Choice(("bookworm", "trixie")), "bookwrm", 'did you mean "bookworm"?'),
    (Number(1, 3), 4, "4 is not a number from 1 to 3"),
    (Number(1, 3), True, "True is not a number from 1 to 3"),
    (Number(512, 4096, (512, 4096)), 1024, "one of 512, 4096"),
    (Flag(), "yes", '"yes" is not true or false'),
    (Size(1 << 20), "5 MB", '"5 MB" is not a size such as "512 MiB"'),
    (Size(1 << 20), "1 KiB", "at least 1 MiB"),
    (Size(1 << 20), 1 << 46, "is not a size"),
    (Size(1 << 20), 0, "0 is not a size"),
    (GLOB, "kernel/**x", "'**' for whole names only"),
    (GLOB, "../kernel", "relative to the kernel's folder"),
    (SHELL, "/bin/a:b", "without ':'"),
    (Duration(10, 60), "5 s", "from 10 s to 60 s"),
    (Duration(10, 60), 20, "20 is not a time"),
    (Moment(), "2030-01-01T00:00:00", "is not a time"),
    (Moment(), "soon", "is not a time"),
    (Listing(Flag()), "x", '"x" is not a list'),
    (Text(r"x", "an x"), "y" * 200, "..."),
]


@pytest.mark.parametrize(("kind", "value", "read"), TAKEN)
def test_takes_what_is_allowed(kind: ValueKind, value: Any, read: Any) -> None:
    assert kind.read(value) == read
    jsonschema.validate(value, kind.schema)


@pytest.mark.parametrize(("kind", "value", "why"), REFUSED)
def test_refuses_the_rest_and_says_why(kind: ValueKind, value: Any, why: str) -> None:
    with pytest.raises(Refused) as refused:
        kind.read(value)
    assert why in str(refused.value)
    assert len(str(refused.value)) < 300


@given(st.integers(min_value=1, max_value=1 << 20).map(lambda count: count << 20))
def test_a_size_reads_back_from_its_text(count: int) -> None:
    assert Size(1 << 20).read(size_text(count)) == count
