"""The schemas of dataclasses: structural ones for the API server, JSON Schema for documents, parts of OpenAPI.

A structural schema is that of a custom resource (Kubernetes, "Extend the Kubernetes API with
CustomResourceDefinitions", section "Specifying a structural schema"); the others are of draft 2020-12. These are open,
because keys may be added at any time and readers must bear it; :func:`closed` is for tests, which want to know of all.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, Final

from proa.core.runtime.fields import Document, Part
from proa.core.schema.model import Field, fields_of, keywords, without_none, written

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: Final = {str: "string", Path: "string", int: "integer", float: "number", bool: "boolean"}
_HEADER: Final[Mapping[str, Schema]] = {
    "schema": {"description": "The name of this schema."},
    "proa": {"type": "string", "description": "The version of Proa that wrote the document."},
}


def structural(cls: type, *, defaults: bool = True) -> Schema:
    """The schema of a part of a custom resource.

    Args:
        cls: The dataclass.
        defaults: Whether the API server fills in what is not set.
    """
    return _Maker(kubernetes=True, defaults=defaults).made(cls)


def json_schema(cls: type) -> Schema:
    """The schema of a document, self-contained.

    Args:
        cls: The dataclass; where others below it have the same name, the document is like one of those.
    """
    made = [_Maker(received=issubclass(one, Document) and one.RECEIVED).made(one) for one in _shapes(cls)]
    return made[0] if len(made) == 1 else {"description": _words(cls), "anyOf": made}


def _shapes(cls: type) -> list[type]:
    if not issubclass(cls, Document):
        return [cls]
    below = [one for one in cls.__subclasses__() if one.SCHEMA == cls.SCHEMA]
    return [shape for one in below for shape in _shapes(one)] or [cls]


def components(answers: Iterable[type], requests: Iterable[type] = ()) -> dict[str, Schema]:
    """The ``components.schemas`` of an OpenAPI 3.1 document, by name of the class: these, and what they are made of.

    Args:
        answers: What is written: open.
        requests: What is read: what has a default may be missing, what is not known is refused.
    """
    found: dict[str, Schema] = {}
    for cls in answers:
        _Maker(components=found).refer(cls)
    for cls in requests:
        _Maker(components=found, received=True).refer(cls)
        found[cls.__name__]["additionalProperties"] = False
    return dict(sorted(found.items()))


def closed(schema: Schema) -> Schema:
    """The same schema with no key allowed that it does not name."""
    strict: Schema = {}
    for key, value in schema.items():
        if isinstance(value, list):
            strict[key] = [closed(item) if isinstance(item, dict) else item for item in value]
        else:
            strict[key] = closed(value) if isinstance(value, dict) else value
    # A property may itself be called "properties"; none of ours is.
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        strict.setdefault("additionalProperties", False)
    return strict


@dataclass(frozen=True)
class _Maker:
    """Makes one schema after the other in one way.

    Attributes:
        kubernetes: Whether keywords that only the API server knows are wanted.
        defaults: Whether defaults are told.
        received: Whether only what is read counts as required, not all that is written.
        components: Where dataclasses go that others refer to; None where they stand in their place.
    """

    kubernetes: bool = False
    defaults: bool = False
    received: bool = False
    components: dict[str, Schema] | None = None

    def made(self, cls: Any) -> Schema:
        header = cls.header() if issubclass(cls, Document) else {}
        head = {key: _HEADER[key] | ({"const": cls.SCHEMA} if key == "schema" else {}) for key in header}
        fields = [one for one in fields_of(cls) if not one.about.others]
        required = [*head, *(one.json for one in fields if self._is_required(cls, one))]
        rules = getattr(cls, "VALIDATIONS", ()) if self.kubernetes else ()
        return {
            "type": "object",
            "description": _words(cls),
            **({"required": required} if required else {}),
            "properties": head | {one.json: self._field(cls, one) for one in fields},
            **({"additionalProperties": True} if len(fields) < len(fields_of(cls)) else {}),
            **({"x-kubernetes-validations": [dict(rule) for rule in rules]} if rules else {}),
        }

    def refer(self, cls: Any) -> Schema:
        """A dataclass where it is used."""
        if self.components is None:
            return self.made(cls)
        if cls.__name__ not in self.components:
            self.components[cls.__name__] = {}
            self.components[cls.__name__] = self.made(cls)
        return {"$ref": f"#/components/schemas/{cls.__name__}"}

    def _is_required(self, cls: type, one: Field) -> bool:
        return one.required or (issubclass(cls, Part) and not self.received and not one.about.left_out)

    def _field(self, cls: type, one: Field) -> Schema:
        about = one.about
        own = {key: value for key, value in about.schema.items() if self.kubernetes or not key.startswith("x-")}
        found = self._type(one.type) | {"description": about.doc} | own
        for key in ("items", "additionalProperties"):
            if key in found:
                found[key] = found[key] | dict(about.items)
        if about.keys:
            value = found.pop("additionalProperties")
            found |= {"required": list(about.keys), "properties": dict.fromkeys(about.keys, value)}
        if one.nullable and issubclass(cls, Part):
            return {"anyOf": [found, {"type": "null"}], "description": about.doc}
        told = self.defaults or (self.received and self.components is not None)
        if told and not one.required and not one.nullable and one.default not in ("", (), {}):
            found["default"] = written(one.default)
        return found

    def _type(self, kind: Any) -> Schema:
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            own = {key: one for limit in inner[1:] for key, one in keywords(limit).items()}
            return self._type(inner[0]) | own
        kind, nullable = without_none(kind)
        if nullable:
            return {"anyOf": [self._type(kind), {"type": "null"}]}
        if isinstance(kind, type) and is_dataclass(kind):
            return self.refer(kind)
        if isinstance(kind, enum.EnumMeta):
            return {"type": "string", "enum": _values(kind)}
        if origin is typing.Literal:
            return {"const": inner[0]} if len(inner) == 1 else {"enum": list(inner)}
        if origin is tuple:
            return {"type": "array", "items": self._type(inner[0])}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object"} | self._mapping(*inner)
        if origin in (types.UnionType, typing.Union):
            return {"x-kubernetes-int-or-string": True} if self.kubernetes else {"type": ["integer", "string"]}
        return {} if kind is Any else {"type": _PLAIN[kind]}

    def _mapping(self, keys: Any, values: Any) -> Schema:
        if isinstance(keys, enum.EnumMeta):
            names = _values(keys)
            return {"required": names, "properties": dict.fromkeys(names, self._type(values))}
        return {} if values is Any else {"additionalProperties": self._type(values)}


def _values(kind: Any) -> list[Any]:
    return [member.value for member in kind]


def _words(cls: type) -> str:
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())
