"""Dataclasses from and to JSON: what is read into them is checked by their types and the limits of their fields.

What a field is for and what it may hold is said by :func:`field`, or by ``Annotated`` with :func:`limits`; the schemas
are made from the same (:mod:`proa.core.schema.json_schema`).
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.fields import ABOUT, About, Document, Limits, Part, Report, field, limits

__all__ = ["Document", "Part", "Report", "document", "field", "keys", "limits", "parse"]

Kind = TypeVar("Kind")


@dataclasses.dataclass(frozen=True)
class Field:
    """What is known about a field.

    Attributes:
        name: In Python.
        json: In JSON.
        type: Its type, without None.
        nullable: Whether it may be None: null in a :class:`Part`, not set elsewhere.
        default: Its value where it is not set.
        about: What was said of it.
    """

    name: str
    json: str
    type: Any
    nullable: bool
    default: Any
    about: About

    @property
    def required(self) -> bool:
        """Whether it must be there when it is read."""
        return self.default is dataclasses.MISSING


def fields_of(cls: Any) -> tuple[Field, ...]:
    """The fields of a dataclass."""
    return _fields_of(cls)


@functools.cache
def _fields_of(cls: Any) -> tuple[Field, ...]:
    hints = typing.get_type_hints(cls, include_extras=True)
    found = []
    for one in dataclasses.fields(cls):
        about = one.metadata[ABOUT]
        kind, nullable = without_none(hints[one.name])
        default = one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
        json = about.name or (one.name if issubclass(cls, Part) else _camel(one.name))
        found.append(Field(one.name, json, kind, nullable, default, about))
    return tuple(found)


def keys(cls: type) -> tuple[str, ...]:
    """The keys that a dataclass has in JSON."""
    return tuple(one.json for one in fields_of(cls) if not one.about.others)


def without_none(kind: Any) -> tuple[Any, bool]:
    """A type without None, and whether that was one of its values."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union) and types.NoneType in kind.__args__:
        rest = tuple(one for one in kind.__args__ if one is not types.NoneType)
        return (rest[0] if len(rest) == 1 else typing.Union[rest]), True  # noqa: UP007 -- made at run time
    return kind, False


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


# reading


def parse(
    cls: type[Kind], value: object, at: str = "", *, strict: bool = False, code: Code = Code.CONFIG_VALUE
) -> Kind:
    """Build an object from JSON values. Unknown fields are ignored: a newer writer may have added them.

    Args:
        cls: The dataclass.
        value: The JSON object.
        at: Where it stands, for the error.
        strict: Whether fields that are not known are refused.
        code: The error's code.

    Raises:
        ProaError: ``code`` with the place of what is not as it must be.
    """
    return typing.cast("Kind", _Reader(strict, code).read(cls, value, at))


@dataclasses.dataclass(frozen=True)
class _Reader:
    strict: bool
    code: Code

    def read(self, cls: Any, value: object, at: str) -> Any:
        if not isinstance(value, Mapping):
            raise self._refused(at, "is not an object")
        header = cls.header() if issubclass(cls, Document) else {}
        if header and value.get("schema") != cls.SCHEMA:
            raise self._refused(_below(at, "schema"), f"is not {cls.SCHEMA}")
        known, named = fields_of(cls), keys(cls)
        others = {key: value[key] for key in value if key not in header and key not in named}
        taking = next((one.name for one in known if one.about.others), "")
        if self.strict and others and not taking:
            raise self._refused(_below(at, str(min(others))[:60]), "is not a known key")
        whole = issubclass(cls, Part)
        found: dict[str, Any] = {taking: others} if taking else {}
        for one in known:
            if one.about.others:
                continue
            place, given = _below(at, one.json), value.get(one.json)
            if one.type is Path and one.nullable and given == "":
                given = None
            null = whole and one.json in value
            if given is not None or (null and not one.nullable):
                found[one.name] = self._field(one, given, place)
            elif null:
                found[one.name] = None
            elif one.required:
                raise self._refused(place, "is missing")
        return cls(**found)

    def _field(self, one: Field, given: object, at: str) -> Any:
        if one.about.keys and isinstance(given, Mapping):
            given = {key: value for key, value in given.items() if key in one.about.keys}
        value = self._value(one.type, given, at)
        self._check(value, one.about.schema, at)
        if one.about.items and isinstance(value, (tuple, Mapping)):
            for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
                self._check(item, one.about.items, f"{at}[{key}]")
        if missing := [key for key in one.about.keys if key not in value]:
            raise self._refused(_below(at, missing[0]), "is missing")
        return value

    def _value(self, kind: Any, value: object, at: str) -> Any:
        if type(value) is kind:  # most are plain
            return value
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            found = self._value(inner[0], value, at)
            for limit in inner[1:]:
                self._check(found, keywords(limit), at)
            return found
        kind, nullable = without_none(kind)
        if nullable:
            return None if value is None else self._value(kind, value, at)
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            return self.read(kind, value, at)
        if isinstance(kind, enum.EnumMeta):
            return self._member(kind, value, at)
        if origin is tuple:
            if not isinstance(value, (list, tuple)):
                raise self._refused(at, "is not a list")
            return tuple(self._value(inner[0], item, f"{at}[{number}]") for number, item in enumerate(value))
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return self._mapping(inner, value, at)
        return self._plain(kind, value, at)

    def _member(self, kind: Any, value: object, at: str) -> Any:
        if any(member.value == value and type(member.value) is type(value) for member in kind):
            return kind(value)
        raise self._refused(at, f"is not one of {', '.join(str(member.value) for member in kind)}")

    def _mapping(self, inner: tuple[Any, ...], value: object, at: str) -> dict[Any, Any]:
        names, values = inner
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise self._refused(at, "is not an object")
        return {
            self._value(names, key, _below(at, key)): self._value(values, one, _below(at, key))
            for key, one in value.items()
        }

    def _plain(self, kind: Any, value: object, at: str) -> Any:
        if kind is Any or (type(value), value) in [(type(one), one) for one in _choices(kind)]:
            return value
        if typing.get_origin(kind) in (types.UnionType, typing.Union):
            if type(value) not in typing.get_args(kind):
                raise self._refused(at, "is neither an integer nor a string")
        elif kind is Path and value and isinstance(value, str):
            return Path(value)
        elif type(value) is not kind and not (kind is float and type(value) is int):
            words = _WORDS.get(kind) or f"one of {', '.join(map(str, _choices(kind)))}"
            raise self._refused(at, f"is not {words}")
        return value

    def _check(self, value: object, limit: Mapping[str, Any], at: str) -> None:
        """The limits that also hold where no API server has looked."""
        if limit and (why := _beyond(value, limit)):
            raise self._refused(at, why)

    def _refused(self, at: str, why: str) -> ProaError:
        return ProaError(self.code, f"{at or 'the document'} {why}", at=at)


_WORDS: Final = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
}


def _choices(kind: Any) -> tuple[Any, ...]:
    """What a ``Literal`` allows."""
    return typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()


def keywords(limit: object) -> Mapping[str, Any]:
    """The keywords of one annotation of a type."""
    found = limit.keywords if isinstance(limit, Limits) else ()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found}


def _beyond(value: object, limit: Mapping[str, Any]) -> str:
    """Why a value is beyond its limits; empty if it is not."""
    if "enum" in limit and value not in limit["enum"]:
        return f"is not one of {', '.join(map(str, limit['enum']))}"
    if isinstance(value, (str, tuple)) and len(value) > (
        most := limit.get("maxLength", limit.get("maxItems", 1 << 63))
    ):
        return f"is longer than {most}"
    if isinstance(value, str):
        return "is empty" if len(value) < limit.get("minLength", 0) else _beyond_text(value, limit)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high, step = limit.get("minimum", value), limit.get("maximum", value), limit.get("multipleOf", 1)
        if not low <= value <= high:
            return f"{str(value)[:80]} is not between {limit.get('minimum', 'any')} and {limit.get('maximum', 'any')}"
        return f"{value} is not a multiple of {step}" if step > 1 and value % step else ""
    return ""


def _beyond_text(value: str, limit: Mapping[str, Any]) -> str:
    # In Python's expressions, and only there, `$` also stands before a line's end.
    if "pattern" in limit and not re.search(re.sub(r"\$$", r"\\Z", limit["pattern"]), value):
        return f"{value[:80]!r} does not match {limit['pattern']}"
    return (
        f"{value[:80]!r} is not an RFC 3339 time" if limit.get("format") == "date-time" and not _is_time(value) else ""
    )


def _is_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _below(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


# writing

_NOTHING: Final[tuple[Any, ...]] = (None, "", (), {}, False)


def document(thing: object) -> dict[str, Any]:
    """A dataclass as JSON values, a :class:`Document` with its header.

    Of one that is no :class:`Part`, what is not set, empty or false, and need not be there, is left out.
    """
    whole = isinstance(thing, Part)
    found: dict[str, Any] = dict(thing.header()) if isinstance(thing, Document) else {}
    for one in fields_of(type(thing)):
        value = getattr(thing, one.name)
        if one.about.others:
            found |= written(value)
            continue
        spare = value == one.default and (one.about.left_out if whole else value in _NOTHING)
        if one.required or not spare:
            found[one.json] = written(value)
    return found


def written(value: object) -> Any:
    """A value as JSON has it."""
    if dataclasses.is_dataclass(value):
        return document(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [written(item) for item in value]
    if isinstance(value, Mapping):
        return {written(key): written(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value
