"""Schemas of dataclasses: structural ones, those of documents, and components of OpenAPI."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest

from proa.core.runtime.errors import ProaError
from proa.core.schema.json_schema import closed, components, json_schema, structural
from proa.core.schema.model import Document, Part, Report, document, field, limits, parse


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
    share: int | str = field("How much.", default=1, maximum=100, x_kubernetes_list_type="atomic")
    inner: Inner | None = field("What is inside.", default=None)
    more: tuple[Inner, ...] = field("More of it.", default=(), maxItems=2)
    labels: Mapping[str, str] = field("Labels.", default={})


def test_a_structural_schema() -> None:
    made = structural(Thing)
    jsonschema.Draft202012Validator.check_schema(made)
    jsonschema.validate({"someName": "a", "inner": {"size": 3}}, made)
    for wrong in ({}, {"someName": "A"}, {"someName": "a", "inner": {"size": 0}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, made)
    properties = made["properties"]
    assert made["required"] == ["someName"]
    assert properties["colour"] == {
        "type": "string",
        "enum": ["Red", "Blue"],
        "description": "Its colour.",
        "default": "Red",
    }
    assert properties["share"]["x-kubernetes-int-or-string"] is True
    assert properties["share"]["x-kubernetes-list-type"] == "atomic"
    assert properties["inner"]["x-kubernetes-validations"] == [{"rule": "self.size > 0", "message": "too small"}]
    assert "default" not in properties["inner"]
    assert properties["more"]["items"]["required"] == ["size"]
    assert structural(Inner)["description"] == "What is inside."
    assert "default" not in structural(Thing, defaults=False)["properties"]["colour"]


@dataclass(frozen=True)
class Line(Part):
    """A line."""

    blocks: Annotated[int, limits(minimum=0)] = field("How many.")
    ratio: float | None = field("Of the other; null if there is none.")
    open: bool = field("Whether it is open.", default=False)


@dataclass(frozen=True)
class Page(Report, schema="proa.page/v1"):
    """What is on a page."""

    name_of: str = field("Whose it is.")
    kind: Literal[512, 4096] = field("Of which kind.")
    lines: tuple[Line, ...] = field("In order.")
    first: Line | None = field("The first; null if there is none.")
    both: tuple[int | None, ...] = field("Either may be null.")
    by_colour: Mapping[Colour, int] = field("How many of each.")
    sizes: Mapping[str, int] = field("Bytes.", keys=("root", "boot"))
    facts: Mapping[str, Any] = field("Further facts.", default={})
    thing: Thing | None = field("One of Kubernetes' style; null if there is none.", default=None)
    errors: tuple[str, ...] = field("What went wrong, if anything.", default=(), left_out=True)


PAGE = Page(
    "me",
    512,
    (Line(1, None), Line(2, 0.5, True)),
    None,
    (1, None),
    {Colour.RED: 1, Colour.BLUE: 2},
    {"root": 1, "boot": 2},
)


def test_a_report_begins_with_its_name_and_has_every_key() -> None:
    told = document(PAGE)
    assert list(told)[:3] == ["schema", "proa", "name_of"]
    assert told["schema"] == "proa.page/v1"
    assert told["first"] is None
    assert told["by_colour"] == {"Red": 1, "Blue": 2}
    assert told["lines"][0] == {"blocks": 1, "ratio": None, "open": False}
    assert (told["facts"], told["thing"]) == ({}, None)
    assert "errors" not in told
    assert parse(Page, told) == PAGE
    assert parse(Page, told, strict=True) == PAGE


def test_the_schema_of_a_report_holds_for_what_is_written() -> None:
    made = json_schema(Page)
    jsonschema.Draft202012Validator.check_schema(made)
    jsonschema.Draft202012Validator(closed(made)).validate(document(PAGE))
    assert made["required"] == [
        *("schema", "proa", "name_of", "kind", "lines", "first", "both", "by_colour", "sizes", "facts", "thing"),
    ]
    assert made["properties"]["sizes"]["required"] == ["root", "boot"]
    assert made["properties"]["schema"]["const"] == "proa.page/v1"
    assert "x-kubernetes-list-type" not in str(made)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema": "proa.other/v1"}, "schema is not proa.page/v1"),
        ({"name_of": None}, "name_of is not a text"),
        ({"kind": 513}, "kind is not one of 512, 4096"),
        ({"kind": "512"}, "kind is not one of 512, 4096"),
        ({"lines": [{"blocks": -1, "ratio": 1}]}, "lines[0].blocks -1 is not between 0 and any"),
        ({"lines": [{"blocks": 1, "ratio": True}]}, "lines[0].ratio is not a number"),
        ({"lines": [{"blocks": 1}]}, "lines[0].ratio is missing"),
        ({"by_colour": {"Green": 1}}, "by_colour.Green is not one of Red, Blue"),
        ({"sizes": {"root": 1}}, "sizes.boot is missing"),
        ({"facts": []}, "facts is not an object"),
    ],
)
def test_what_is_no_such_report_has_a_place(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ProaError) as caught:
        parse(Page, document(PAGE) | change)
    assert caught.value.message.startswith(told)


class Shape(Report, schema="proa.shape/v1"):
    """A shape."""


@dataclass(frozen=True)
class Circle(Shape):
    """A circle."""

    radius: int = field("Its radius.")


@dataclass(frozen=True)
class Square(Shape):
    """A square."""

    side: int = field("Its side.")


def test_documents_of_one_name_may_have_several_shapes() -> None:
    made = json_schema(Shape)
    assert made["description"] == "A shape."
    for one in (Circle(1), Square(2)):
        assert document(one)["schema"] == "proa.shape/v1"
        jsonschema.validate(document(one), made)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": "proa.shape/v1", "proa": "0"}, made)


@dataclass(frozen=True)
class Solid(Report, schema="proa.solid/v1"):
    """One of several solids."""

    height: int = field("Its height.")


@dataclass(frozen=True)
class Ball(Solid):
    """A ball."""

    mass: int = field("Its mass.")


def test_what_has_the_same_name_and_more_keys_stands_for_it() -> None:
    assert list(json_schema(Solid)["properties"]) == ["schema", "proa", "height", "mass"]


def test_components_refer_to_one_another() -> None:
    made = components([Page], [Line])
    assert sorted(made) == ["Inner", "Line", "Page", "Thing"]
    assert made["Page"]["properties"]["lines"]["items"] == {"$ref": "#/components/schemas/Line"}


@dataclass(frozen=True)
class Order(Document, schema="proa.order/v1", received=True):
    """What others write too."""

    name: str = field("Whose it is.")
    size: int = field("How large.", default=1)


def test_what_others_write_may_leave_out_what_has_a_default() -> None:
    assert json_schema(Order)["required"] == ["schema", "name"]
    assert parse(Order, {"schema": "proa.order/v1", "name": "a"}) == Order("a")


@dataclass(frozen=True)
class Loose(Part):
    """What has further keys."""

    name: str = field("Its name.")
    facts: Mapping[str, Any] = field("Further facts.", default={}, others=True)


def test_keys_that_no_field_has_may_be_kept_together() -> None:
    thing = Loose("a", {"size": 1})
    assert document(thing) == {"name": "a", "size": 1}
    assert parse(Loose, document(thing), strict=True) == thing
    assert json_schema(Loose)["additionalProperties"] is True
    assert list(closed(json_schema(Loose))["properties"]) == ["name"]


@dataclass(frozen=True)
class Files(Part):
    """Files."""

    must: Path = field("One that must be named.")
    may: Path | None = field("One that may be.", default=None)


def test_an_empty_text_is_no_path() -> None:
    assert parse(Files, {"must": "/a", "may": ""}) == Files(Path("/a"))
    assert document(Files(Path("/a"), Path("/b"))) == {"must": "/a", "may": "/b"}
    assert parse(Files, {"must": "/a", "may": "/b"}) == Files(Path("/a"), Path("/b"))
    for wrong in ("", 1, None):
        with pytest.raises(ProaError, match="must is not a path"):
            parse(Files, {"must": wrong})


def test_a_request_may_leave_out_what_has_a_default_and_has_nothing_that_is_not_known() -> None:
    made = components([], [Line])["Line"]
    assert made["required"] == ["blocks", "ratio"]
    assert made["properties"]["open"]["default"] is False
    assert made["additionalProperties"] is False
