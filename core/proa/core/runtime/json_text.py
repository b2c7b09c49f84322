"""JSON from strangers: a document is read whole, within bounds, or refused."""

from __future__ import annotations

import json
from typing import Any, Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.parsing import foreign

MAX_DOCUMENT: Final = 1 << 20
"""Bytes of a document or manifest beyond which it is refused unread."""


def load_json(data: bytes, code: Code, at: object = "") -> dict[str, Any]:
    """A JSON object from untrusted bytes: UTF-8, no duplicate keys, no NaN, bounded in size and depth.

    Raises:
        ProaError: ``code``.
    """
    if len(data) > MAX_DOCUMENT:
        raise ProaError(code, f"the document has {len(data)} bytes, more than {MAX_DOCUMENT}", at=at)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = dict(pairs)
        if len(keys) != len(pairs):
            raise ValueError("an object has the same key twice")
        return keys

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    with foreign(code, "it is not valid JSON", at):
        document = json.loads(data.decode(), object_pairs_hook=unique, parse_constant=refuse)
    if not isinstance(document, dict):
        raise ProaError(code, "it is not a JSON object", at=at)
    return document
