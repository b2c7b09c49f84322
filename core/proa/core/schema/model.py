"""Dataclasses that describe themselves: what is read into them is checked, and their schema is made, from one place.

Kubernetes' names are in camel case and Python's in snake case; an enumeration is written as the value of its member;
what is not set is left out. The schema is that of a structural custom resource (Kubernetes, "Extend the Kubernetes API
with CustomResourceDefinitions", section "Specifying a structural schema").
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from proa.core.runtime.errors import Code, ProaError

_KEY: Final = "described"
Kind = TypeVar("Kind")
Schema = dict[str, Any]


def described(
    doc: str,
    *,
    default: Any = dataclasses.MISSING,
    name: str = "",
    items: Mapping[str, Any] = types.MappingProxyType({}),
    **schema: Any,
) -> Any:
    """A field with its description.

    Args:
        doc: What it is, as ``kubectl explain`` shows it.
        default: Its value where it is not set; a field without one is required.
        name: Its name in JSON, where it is not the field's own in camel case.
        items: Keywords of the schema for each item of a list, or each value of an object.
        schema: More keywords of the schema: ``minimum``, ``maxLength``, ``pattern``, ``x-kubernetes-validations`` ...
            written with ``_`` for ``-``.
    """
    keywords = {key.replace("_", "-") if key.startswith("x_") else key: value for key, value in schema.items()}
    metadata = {_KEY: {"doc": doc, "name": name, "schema": keywords, "items": items}}
    if isinstance(default, (list, dict, set)):
        return dataclasses.field(default_factory=lambda: default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class _Field:
    """What is known about a field."""

    name: str
    json: str
    type: Any
    optional: bool
    """Whether None stands for not set."""
    default: Any
    doc: str
    schema: Mapping[str, Any]
    items: Mapping[str, Any]

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING


def _fields(cls: Any) -> tuple[_Field, ...]:
    return _read_fields(cls)


@functools.cache
def _read_fields(cls: Any) -> tuple[_Field, ...]:
    hints = typing.get_type_hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        about = field.metadata[_KEY]
        kind, optional = _without_none(hints[field.name])
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        json = about["name"] or _camel(field.name)
        limits = about["schema"], about["items"]
        found.append(_Field(field.name, json, kind, optional, default, about["doc"], *limits))
    return tuple(found)


def _without_none(kind: Any) -> tuple[Any, bool]:
    if isinstance(kind, types.UnionType) and types.NoneType in kind.__args__:
        rest = tuple(one for one in kind.__args__ if one is not types.NoneType)
        return (rest[0] if len(rest) == 1 else typing.Union[rest]), True  # noqa: UP007 -- made at run time
    return kind, False


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


# reading


def parse(cls: type[Kind], value: object, at: str = "", *, strict: bool = False) -> Kind:
    """An object out of JSON values. Fields that are not known are passed over: a newer writer may have them.

    Args:
        cls: The dataclass.
        value: The JSON object.
        at: Where it stands, for the error.
        strict: Whether fields that are not known are refused.

    Raises:
        ProaError: ``CONFIG_VALUE`` with the place of what is not as it must be.
    """
    if not isinstance(value, Mapping):
        raise _refused(at, "is not an object")
    known = _fields(cls)
    if strict and (unknown := sorted(set(value) - {field.json for field in known})):
        raise _refused(_below(at, str(unknown[0])[:60]), "is not known here")
    found: dict[str, Any] = {}
    for field in known:
        place = _below(at, field.json)
        given = value.get(field.json)
        if given is not None:
            found[field.name] = _value(field.type, given, place, strict)
            _check(field, found[field.name], place)
        elif field.required:
            raise _refused(place, "is not there")
    return cls(**found)


def _value(kind: Any, value: object, at: str, strict: bool) -> Any:
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return parse(kind, value, at, strict=strict)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        if isinstance(value, str) and value in {member.value for member in kind}:
            return kind(value)
        raise _refused(at, f"is not one of {', '.join(str(member.value) for member in kind)}")
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _refused(at, "is not a list")
        return tuple(_value(kind.__args__[0], item, f"{at}[{number}]", strict) for number, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(item, str) for pair in value.items() for item in pair):
            raise _refused(at, "is not an object of texts")
        return dict(value)
    if origin in (types.UnionType, typing.Union):
        allowed = kind.__args__
        if isinstance(value, bool) or not isinstance(value, allowed):
            raise _refused(at, "is neither a whole number nor a text")
        return value
    if kind is Any:
        return value
    if (kind is int and isinstance(value, bool)) or not isinstance(value, kind):
        raise _refused(at, f"is not {_WORDS[kind]}")
    return value


_NOTHING: Final[tuple[Any, ...]] = (None, "", (), {}, False)
_WORDS: Final = {str: "a text", int: "a whole number", bool: "true or false"}


def _check(field: _Field, value: object, at: str) -> None:
    """The limits that also hold where no API server has looked."""
    limits = field.schema
    if isinstance(value, str) and "pattern" in limits and not re.search(limits["pattern"], value):
        raise _refused(at, f"{value[:80]!r} does not match {limits['pattern']}")
    _check_length(value, limits, at)
    if isinstance(value, tuple):
        for number, item in enumerate(value):
            _check_length(item, field.items, f"{at}[{number}]")
    if isinstance(value, int) and not isinstance(value, bool):
        low, high = limits.get("minimum", value), limits.get("maximum", value)
        if not low <= value <= high:
            raise _refused(at, f"{value} is not from {limits.get('minimum', 'any')} to {limits.get('maximum', 'any')}")


def _check_length(value: object, limits: Mapping[str, Any], at: str) -> None:
    most = limits.get("maxLength", limits.get("maxItems"))
    if most is not None and isinstance(value, (str, tuple)) and len(value) > most:
        raise _refused(at, f"is longer than {most}")


def _below(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _refused(at: str, why: str) -> ProaError:
    return ProaError(Code.CONFIG_VALUE, f"{at or 'the document'} {why}", at=at)


# writing


def document(thing: object) -> dict[str, Any]:
    """A dataclass as JSON values: what is not set, empty or false, and need not be there, is left out."""
    found: dict[str, Any] = {}
    for field in _fields(type(thing)):
        value = getattr(thing, field.name)
        if field.required or value != field.default or value not in _NOTHING:
            found[field.json] = _written(value)
    return found


def _written(value: object) -> Any:
    if dataclasses.is_dataclass(value):
        return document(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [_written(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value


# schema


def schema(cls: type, *, defaults: bool = True) -> Schema:
    """The schema of a dataclass.

    Args:
        cls: The dataclass.
        defaults: Whether the API server fills in what is not set.
    """
    properties = {field.json: _described_schema(field, defaults) for field in _fields(cls)}
    required = [field.json for field in _fields(cls) if field.required]
    rules = getattr(cls, "VALIDATIONS", ())
    return {
        "type": "object",
        "description": " ".join((cls.__doc__ or "").split("\n\n")[0].split()),
        "properties": properties,
        **({"required": required} if required else {}),
        **({"x-kubernetes-validations": [dict(rule) for rule in rules]} if rules else {}),
    }


def _described_schema(field: _Field, defaults: bool) -> Schema:
    found = _type_schema(field.type, defaults) | {"description": field.doc} | dict(field.schema)
    for key in ("items", "additionalProperties"):
        if key in found:
            found[key] = found[key] | dict(field.items)
    if defaults and not field.required and not field.optional and field.default not in ("", (), {}):
        found["default"] = _written(field.default)
    return found


def _type_schema(kind: Any, defaults: bool) -> Schema:
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return schema(kind, defaults=defaults)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"type": "string", "enum": [member.value for member in kind]}
    if origin is tuple:
        return {"type": "array", "items": _type_schema(kind.__args__[0], defaults)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": {"type": "string"}}
    if origin in (types.UnionType, typing.Union):
        return {"x-kubernetes-int-or-string": True}
    return {"type": {str: "string", int: "integer", bool: "boolean"}[kind]}
