"""Dataclasses from JSON that was read from a disk: what a field's type does not allow never gets in.

A field of type ``Annotated[..., check]`` has only values that ``check`` says yes to.
"""

from __future__ import annotations

import dataclasses
import enum
import re
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, TypeVar

_Kind = TypeVar("_Kind")


def _is_time(text: str) -> bool:
    return datetime.fromisoformat(text).tzinfo is not None


Count = Annotated[int, range(1 << 63).__contains__]
"""A number that is not below zero and not absurd."""
Hex = Annotated[str, re.compile(r"(?:[0-9a-fA-F]{2}){0,64}").fullmatch]
"""Up to 64 bytes in hexadecimal."""
Letter = Annotated[str, re.compile("[ab]").fullmatch]
"""A slot."""
Word = Annotated[str, re.compile("[A-Z_]{0,64}").fullmatch]
"""The name of an error's code, which may be one of a newer version; empty for none."""
Label = Annotated[str, re.compile("[a-z-]{0,64}").fullmatch]
"""A word of a list that may have grown since; empty for none."""
Time = Annotated[str, _is_time]
"""A point in time (RFC 3339)."""


def build(kind: type[_Kind], values: object) -> _Kind:
    """A dataclass from JSON keys and values; keys that it does not have are left out.

    Raises:
        TypeError, ValueError: When a key is missing or a value is not one of its field's.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{str(values)[:40]!r} is no object")
    hints = _hints(kind)  # type: ignore[arg-type]  # classes are hashable
    return kind(**{name: checked(value, hints[name]) for name, value in values.items() if name in hints})


def checked(value: Any, hint: Any) -> Any:
    """A JSON value as a field of type ``hint`` has it.

    Raises:
        TypeError, ValueError: When it has no such value.
    """
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if hasattr(hint, "__metadata__"):
        value = checked(value, inner[0])
        if not all(check(value) for check in hint.__metadata__):
            raise ValueError(f"{str(value)[:40]!r} is not a value it can have")
        return value
    if isinstance(origin, enum.EnumType):
        return origin(value)
    if origin is types.UnionType:
        return None if value is None else checked(value, inner[0])
    if dataclasses.is_dataclass(origin):
        return build(typing.cast("type", origin), value)
    if origin is tuple:
        return tuple(checked(item, inner[0]) for item in checked(value, list))
    if not isinstance(value, origin) or (origin is int and isinstance(value, bool)):
        raise TypeError(f"{str(value)[:40]!r} is not {hint}")
    return value


@lru_cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)
