"""Dataclasses that describe themselves: reading, writing and schema agree."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import described, document, parse, schema


class Colour(enum.Enum):
    RED = "Red"
    BLUE = "Blue"


@dataclass(frozen=True)
class Inner:
    """What is inside.

    More about it.
    """

    VALIDATIONS = ({"rule": "self.size > 0", "message": "too small"},)

    size: int = described("How large.", minimum=1, maximum=9)
    note: str = described("A note.", default="", maxLength=4)


@dataclass(frozen=True)
class Thing:
    """A thing."""

    some_name: str = described("Its name.", pattern="^[a-z]+$")
    colour: Colour = described("Its colour.", default=Colour.RED)
    share: int | str = described("How much.", default=1, maximum=100, x_kubernetes_int_or_string=True)
    inner: Inner | None = described("What is inside.", default=None)
    more: tuple[Inner, ...] = described("More of it.", default=(), maxItems=2)
    labels: Mapping[str, str] = described("Labels.", default={})
    boot_id: str = described("Which boot.", default="", name="bootID")
    on: bool = described("Whether it is on.", default=False)


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
        ({}, "someName is not there"),
        ({"someName": "A"}, "someName 'A' does not match"),
        ({"someName": 1}, "someName is not a text"),
        ({"someName": "a", "colour": "Green"}, "colour is not one of Red, Blue"),
        ({"someName": "a", "colour": []}, "colour is not one of"),
        ({"someName": "a", "share": True}, "share is neither"),
        ({"someName": "a", "share": 101}, "share 101 is not from any to 100"),
        ({"someName": "a", "inner": {"size": 0}}, "inner.size 0 is not from 1 to 9"),
        ({"someName": "a", "inner": {"size": True}}, "inner.size is not a whole number"),
        ({"someName": "a", "inner": {"size": 1, "note": "xxxxx"}}, "inner.note is longer than 4"),
        ({"someName": "a", "more": {}}, "more is not a list"),
        ({"someName": "a", "more": [{"size": 1}, {"size": "x"}]}, "more[1].size is not a whole number"),
        ({"someName": "a", "more": [{"size": 1}] * 3}, "more is longer than 2"),
        ({"someName": "a", "labels": {"a": 1}}, "labels is not an object of texts"),
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
    with pytest.raises(ProaError, match=r"inner\.newer is not known here"):
        parse(Thing, {"someName": "a", "inner": {"size": 1, "newer": 1}}, strict=True)


def test_the_schema_says_the_same() -> None:
    made = schema(Thing)
    jsonschema.Draft202012Validator.check_schema(made)
    jsonschema.validate(FULL, made)
    for wrong in ({}, {"someName": "A"}, {"someName": "a", "inner": {"size": 0}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, made)
    properties = made["properties"]
    assert made["required"] == ["someName"]
    assert properties["someName"]["description"] == "Its name."
    assert properties["colour"] == {
        "type": "string",
        "enum": ["Red", "Blue"],
        "description": "Its colour.",
        "default": "Red",
    }
    assert properties["share"]["x-kubernetes-int-or-string"] is True
    assert properties["inner"]["x-kubernetes-validations"] == [{"rule": "self.size > 0", "message": "too small"}]
    assert "default" not in properties["inner"]
    assert properties["more"]["items"]["required"] == ["size"]
    assert schema(Inner)["description"] == "What is inside."
