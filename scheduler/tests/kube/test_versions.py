"""Resource versions."""

from __future__ import annotations

from typing import Any

import pytest

from proa.scheduler.kube.stream import number_of, version_of


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("1", 1),
        ("42", 42),
        ("340282366920938463463374607431768211455", (1 << 128) - 1),
        ("", 0),
        ("0", 0),
        ("007", 0),
        ("-1", 0),
        ("1_000", 0),
        ("1.5", 0),
        (" 1", 0),
        ("1\n", 0),
        ("²", 0),
        ("٣", 0),
        ("abc", 0),
        ("9" * 5000, 0),
    ],
)
def test_only_what_can_be_compared_has_a_number(version: str, number: int) -> None:
    assert number_of(version) == number


@pytest.mark.parametrize(
    ("item", "version"),
    [
        ({"metadata": {"resourceVersion": "7"}}, "7"),
        ({"metadata": {"resourceVersion": "opaque"}}, "opaque"),
        ({"metadata": {}}, ""),
        ({"metadata": None}, ""),
        ({"metadata": {"resourceVersion": None}}, ""),
        ({}, ""),
    ],
)
def test_the_version_of_an_object(item: dict[str, Any], version: str) -> None:
    assert version_of(item) == version
