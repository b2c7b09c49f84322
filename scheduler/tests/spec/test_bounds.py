"""Both kinds of object are bounded: whatever is written into one fits into etcd, and into the budget of its rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from proa.scheduler.spec.crd import RESOURCES


def endless(schema: Mapping[str, Any], at: str) -> Iterator[str]:
    """Where a text, a list or a mapping has no limit."""
    limits = {"string": ("maxLength", "enum", "format"), "array": ("maxItems",)}.get(schema.get("type", ""), ())
    if limits and not any(limit in schema for limit in limits):
        yield at
    for name, below in schema.get("properties", {}).items():
        yield from endless(below, f"{at}.{name}")
    if "items" in schema:
        yield from endless(schema["items"], f"{at}[]")
    if isinstance(values := schema.get("additionalProperties"), Mapping):
        if "maxProperties" not in schema:
            yield at
        yield from endless(values, f"{at}.*")


@pytest.mark.parametrize("kind", sorted(RESOURCES))
def test_every_text_list_and_mapping_has_a_limit(kind: str) -> None:
    (version,) = RESOURCES[kind].definition["spec"]["versions"]
    assert list(endless(version["schema"]["openAPIV3Schema"], kind)) == []


def test_what_has_no_limit_is_found() -> None:
    schema = {"properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "string", "enum": []}}}}
    assert list(endless(schema, "x")) == ["x.a", "x.b"]
