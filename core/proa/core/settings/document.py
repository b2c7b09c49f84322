"""The settings document: models, keys and values; equal documents have equal bytes, and one hash."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json

MAX_BYTES: Final = 16 << 10
"""Bytes of a document in its canonical form: it is a field of an object in etcd."""
MAX_SOURCE: Final = 64 << 10
"""Bytes of a file that a document is read from."""
MAX_REVISION: Final = (1 << 53) - 1
REVISION: Final = "revision"
"""The key beside the models that orders the documents of a node; 0 where it is missing."""
_DEPTH: Final = 4
_MAX_NUMBER: Final = (1 << 63) - 1


@dataclass(frozen=True)
class Document:
    """What a node is to be set to.

    Attributes:
        models: For each model its keys and their values.
        revision: Orders documents: a node refuses one below that which it has committed.
    """

    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    revision: int = 0

    def canonical(self) -> str:
        """The document as JSON with sorted keys and no blanks; the same for documents that ask for the same."""
        found: dict[str, Any] = {name: dict(part) for name, part in self.models.items() if part}
        if self.revision:
            found[REVISION] = self.revision
        return json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form, in hexadecimal."""
        return hashlib.sha256(self.canonical().encode(errors="surrogatepass")).hexdigest()


EMPTY: Final = Document()


def parse(text: str | bytes, at: object = "") -> Document:
    """Read a document: JSON where it begins with ``{``, else TOML.

    Args:
        text: The file.
        at: Where it comes from, for the error.

    Raises:
        ProaError: ``SETTINGS_INVALID`` if it is neither, too large, or not a table of tables.
    """
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if len(data) > MAX_SOURCE:
        raise _invalid(f"it has {len(data)} bytes; a document has at most {MAX_SOURCE}", at)
    return of_mapping(_load(data, at), at)


def of_mapping(found: Mapping[str, Any], at: object = "") -> Document:
    """The document of a mapping, as JSON and TOML give it.

    Raises:
        ProaError: ``SETTINGS_INVALID``.
    """
    models = dict(found)
    revision = models.pop(REVISION, 0)
    if isinstance(revision, bool) or not isinstance(revision, int) or not 0 <= revision <= MAX_REVISION:
        raise _invalid(f"{REVISION} must be a whole number from 0 to {MAX_REVISION}", at)
    for name, part in models.items():
        if not isinstance(part, Mapping):
            raise _invalid(f"{name!r} is not a table of keys", at)
        for key, value in part.items():
            _check_plain(f"{name}.{key}", value, at)
    made = Document(models, revision)
    size = len(made.canonical().encode(errors="surrogatepass"))
    if size > MAX_BYTES:
        raise _invalid(f"it has {size} bytes without blanks; a document has at most {MAX_BYTES}", at)
    return made


def _load(data: bytes, at: object) -> Mapping[str, Any]:
    if data.lstrip()[:1] == b"{":
        return load_json(data, Code.SETTINGS_INVALID, at)
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise _invalid(f"it is neither JSON nor TOML: {error}", at) from error


def _check_plain(key: str, value: Any, at: object, depth: int = 0) -> None:
    """Refuse what has no place in any model: fractions, dates, nothing, and deep nesting."""
    if depth > _DEPTH:
        raise _invalid(f"{key} is nested too deeply", at)
    if isinstance(value, Mapping):
        for name, one in value.items():
            _check_plain(f"{key}.{name}", one, at, depth + 1)
    elif isinstance(value, list):
        for one in value:
            _check_plain(key, one, at, depth + 1)
    elif isinstance(value, int) and not -_MAX_NUMBER <= value <= _MAX_NUMBER:
        raise _invalid(f"{key} is a number of {value.bit_length()} bits; it may have 63", at)
    elif not isinstance(value, bool | int | str):
        raise _invalid(f"{key} is {value!r}: a value is a whole number, a text, true or false, or a list of these", at)


def _invalid(what: str, at: object) -> ProaError:
    return ProaError(Code.SETTINGS_INVALID, what, at=at)
