"""What a dataclass that becomes JSON says of itself: a sentence and limits for each field, and what kind it is.

A plain dataclass is written as Kubernetes writes objects: names in camel case, what is not set left out. A
:class:`Part` is ours: its keys are the names of its fields, and all of them are written. ``proa.core.schema`` reads and
writes them and makes their schemas.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from proa.core import VERSION

ABOUT: Final = "about"
"""The key of a field's metadata."""


@dataclass(frozen=True)
class Limits:
    """Keywords of JSON Schema that a value keeps to; to be used in ``Annotated``."""

    keywords: tuple[tuple[str, Any], ...]


def limits(**keywords: Any) -> Limits:
    """What a value is held to: to stand behind its type in ``Annotated``."""
    return Limits(tuple(keywords.items()))


@dataclass(frozen=True)
class About:
    """What was passed to :func:`field`."""

    doc: str
    name: str
    keys: tuple[str, ...]
    left_out: bool
    others: bool
    schema: Mapping[str, Any]
    items: Mapping[str, Any]


def field(
    doc: str,
    *,
    default: Any = dataclasses.MISSING,
    name: str = "",
    keys: Iterable[str] = (),
    left_out: bool = False,
    others: bool = False,
    items: Mapping[str, Any] = types.MappingProxyType({}),
    **schema: Any,
) -> Any:
    """A field with its description.

    Args:
        doc: What it is, in a sentence: for references and ``kubectl explain``.
        default: Its value where it is not set; a field without one must be there when it is read.
        name: Its name in JSON, where it is not the field's own.
        keys: The keys that an object always has; without them, any.
        left_out: Whether a :class:`Part` is written without it as long as it has its default.
        others: Whether it holds all keys of its object that no other field has, and has no key of its own.
        items: Keywords of the schema for each item of a list, or each value of an object.
        schema: More keywords of the schema: ``minimum``, ``maxLength``, ``pattern``, ``enum`` ..., with ``_`` for
            ``-`` as in ``x_kubernetes_validations``.
    """
    keywords = {key.replace("_", "-") if key.startswith("x_") else key: value for key, value in schema.items()}
    metadata = {ABOUT: About(doc, name, tuple(keys), left_out, others, keywords, items)}
    if isinstance(default, (list, dict, set)):
        return dataclasses.field(default_factory=lambda: default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Part:
    """An object in a document of ours: its keys are its fields' names, and null and empty ones are written too."""


class Document(Part):
    """A whole document, which begins with the name of its schema: ``class Trust(Document, schema="proa.trust/v1")``.

    Where documents of one name have several shapes, these are subclasses of the class that has the name.
    """

    SCHEMA: ClassVar[str] = ""
    RECEIVED: ClassVar[bool] = False

    def __init_subclass__(cls, schema: str = "", received: bool | None = None, **rest: Any) -> None:
        """Describe the class, and those below it.

        Args:
            schema: The name.
            received: Whether others write it too, who may leave out what has a default.
            rest: For other bases.
        """
        super().__init_subclass__(**rest)
        cls.SCHEMA = schema or cls.SCHEMA
        cls.RECEIVED = cls.RECEIVED if received is None else received

    @classmethod
    def header(cls) -> dict[str, str]:
        """The keys that stand before all others."""
        return {"schema": cls.SCHEMA}


class Report(Document):
    """A document that a command prints or an API answers; the version of Proa comes second in it."""

    @classmethod
    def header(cls) -> dict[str, str]:
        """The keys that stand before all others."""
        return {"schema": cls.SCHEMA, "proa": VERSION}
