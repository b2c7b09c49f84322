"""Dataclasses from and to JSON, as Kubernetes writes objects."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document, field, keys, parse


class Colour(enum.Enum):
    RED = "Red"
    BLUE = "Blue"


@dataclass(frozen=True)
class Inner:
    """What is inside.

    More about it.
    """

    VALIDATIONS = ({"rule": "self.size > 0", "message": "too small"},)

    size: int = field("How large.", minimum=1, maximum=9)
    note: str = field("A note.", default="", maxLength=4)


@dataclass(frozen=True)
class Thing:
    """A thing."""

    some_name: str = field("Its name.", pattern="^[a-z]+$")
    colour: Colour = field("Its colour.", default=Colour.RED)
    share: int | str = field("How much.", default=1, maximum=100, x_kubernetes_int_or_string=True)
    inner: Inner | None = field("What is inside.", default=None)
    more: tuple[Inner, ...] = field("More of it.", default=(), maxItems=2)
    labels: Mapping[str, str] = field("Labels.", default={})
    boot_id: str = field("Which boot.", default="", name="bootID")
    on: bool = field("Whether it is on.", default=False)


FULL = {
    "someName": "a",
    "colour": "Blue",
    "share": "10%",
    "inner": {"size": 3, "note": "x"},
    "more": [{"size": 1}, {"size": 2}],
    "labels": {"a": "b"},
    "bootID": "1-2",
    "on": True,
}


def test_what_is_written_is_what_was_read() -> None:
    thing = parse(Thing, FULL)
    assert thing.more == (Inner(1), Inner(2))
    assert document(thing) == FULL


def test_what_is_not_set_has_its_default_and_is_left_out() -> None:
    thing = parse(Thing, {"someName": "a", "inner": None})
    assert thing == Thing("a")
    assert document(thing) == {"someName": "a", "colour": "Red", "share": 1}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "the document is not an object"),
        ({}, "someName is missing"),
        ({"someName": "A"}, "someName 'A' does not match"),
        ({"someName": 1}, "someName is not a text"),
        ({"someName": "a", "colour": "Green"}, "colour is not one of Red, Blue"),
        ({"someName": "a", "colour": []}, "colour is not one of"),
        ({"someName": "a", "share": True}, "share is neither"),
        ({"someName": "a", "share": 101}, "share 101 is not between any and 100"),
        ({"someName": "a", "inner": {"size": 0}}, "inner.size 0 is not between 1 and 9"),
        ({"someName": "a", "inner": {"size": True}}, "inner.size is not a whole number"),
        ({"someName": "a", "inner": {"size": 1, "note": "xxxxx"}}, "inner.note is longer than 4"),
        ({"someName": "a", "more": {}}, "more is not a list"),
        ({"someName": "a", "more": [{"size": 1}, {"size": "x"}]}, "more[1].size is not a whole number"),
        ({"someName": "a", "more": [{"size": 1}] * 3}, "more is longer than 2"),
        ({"someName": "a", "labels": {"a": 1}}, "labels.a is not a text"),
        ({"someName": "a", "on": "yes"}, "on is not true or false"),
    ],
)
def test_what_is_not_as_it_must_be_has_a_place(value: Any, told: str) -> None:
    with pytest.raises(ProaError) as caught:
        parse(Thing, value)
    assert caught.value.code is Code.CONFIG_VALUE
    assert caught.value.message.startswith(told)


def test_newer_fields_are_passed_over_unless_one_is_strict() -> None:
    assert parse(Thing, {"someName": "a", "inner": {"size": 1, "newer": 1}}).inner == Inner(1)
    with pytest.raises(ProaError, match=r"inner\.newer is not a known key"):
        parse(Thing, {"someName": "a", "inner": {"size": 1, "newer": 1}}, strict=True)


def test_a_caller_names_the_code() -> None:
    with pytest.raises(ProaError) as caught:
        parse(Thing, {}, code=Code.USAGE)
    assert (caught.value.code, caught.value.at) == (Code.USAGE, "someName")


def test_the_keys_are_those_of_json() -> None:
    assert keys(Thing) == ("someName", "colour", "share", "inner", "more", "labels", "bootID", "on")
