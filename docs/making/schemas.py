"""The page of the JSON reports, and the schemas themselves as files."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

from making.markdown import code, page, table

import proa
from proa.core.runtime import events
from proa.core.runtime.fields import Document
from proa.core.schema.json_schema import DIALECT, Schema, json_schema

_EVENTS = (events.StepStarted, events.StepFinished, events.StepFailed, events.Progress, events.Note)
_INTRODUCTION = """\
What the commands print with `--json`, and what they leave in files. Every document of a command has `schema` and `proa`
(the version) as its first keys. Keys may be added at any time, so readers must accept unknown ones; what a
key means never changes under the same schema name. The schemas themselves (JSON Schema, draft 2020-12) are in
[schemas/](schemas); that of `proa.toml`, for editors, is [proa.toml.schema.json](proa.toml.schema.json). The agent's
API and its [order socket](../explanation/orders.md) are described by OpenAPI documents of their own,
[the API](openapi-agent.json) and [orders](openapi-orders.json), which they also serve at `/v1/openapi.json`."""


def every_schema() -> dict[str, Schema]:
    """All schemas by name, in order: of every document that a class of the packages is."""
    for module in pkgutil.walk_packages(proa.__path__, "proa."):
        importlib.import_module(module.name)
    return {name: json_schema(cls) for name, cls in sorted(_documents(Document).items())}


def _documents(base: type[Document]) -> dict[str, type[Document]]:
    """Name to class: the one that others of the same name are below of."""
    found: dict[str, type[Document]] = {}
    for cls in base.__subclasses__():
        ours = {cls.SCHEMA: cls} if cls.SCHEMA and cls.__module__.startswith("proa.") else {}
        found = _documents(cls) | found | ours
    return found


def files() -> dict[str, str]:
    """File name to content, below docs/reference/schemas."""
    return {file_name(name): _text({"$schema": DIALECT, "title": name} | one) for name, one in every_schema().items()}


def file_name(schema: str) -> str:
    """``proa.disk/v1`` is in ``disk-v1.json``."""
    return schema.removeprefix("proa.").replace("/", "-") + ".json"


def json_page() -> str:
    """docs/reference/json.md."""
    chapters = [part for name, schema in every_schema().items() for part in _chapter(name, schema)]
    return page("JSON documents", _INTRODUCTION, *chapters, "## Events", *_events())


def _chapter(name: str, schema: Schema) -> Iterator[str]:
    yield f"## {name}"
    yield f"[schema](schemas/{file_name(name)})"
    variants = schema.get("anyOf", [schema])
    if variants != [schema]:
        yield schema["description"]
    for variant in variants:
        if variant.get("description"):
            yield variant["description"]
        yield table(["key", "type", "what"], rows(variant, schema.get("$defs", {}), skip=("schema", "proa")))


def _events() -> Iterator[str]:
    yield (
        "`--progress json` writes these documents to standard error, one a line; `event` says which. "
        "The agent's API gives the same, numbered."
    )
    yield table(
        ["event", "keys", "what"],
        [
            [code(one.__name__), ", ".join(code(field.name) for field in dataclasses.fields(one)), one.__doc__ or ""]
            for one in _EVENTS
        ],
    )


def rows(
    schema: Schema, definitions: Mapping[str, Schema] | None = None, prefix: str = "", skip: tuple[str, ...] = ()
) -> list[list[str]]:
    """A row for every key of an object and of what lies below it: path, type, description."""
    known = definitions or {}
    found = []
    required = set(schema.get("required", ()))
    for name, value in schema["properties"].items():
        if name in skip:
            continue
        inner, kind, path = _unfold(value, known, f"{prefix}{name}")
        optional = "" if name in required else ", optional"
        what = value.get("description") or inner.get("description", "")
        found.append([code(path), kind + optional, what])
        if inner.get("properties"):
            found += rows(inner, known, f"{path}.")
    return found


def _unfold(value: Schema, known: Mapping[str, Schema], path: str) -> tuple[Schema, str, str]:
    """What a value is in the end: through references, null and lists; its type in words; its path."""
    if "$ref" in value:
        return _unfold(known[value["$ref"].removeprefix("#/$defs/")], known, path)
    if "anyOf" in value:
        real = [one for one in value["anyOf"] if one.get("type") != "null"]
        inner, kind, path = _unfold(real[0], known, path)
        return inner, kind + (" or null" if len(real) < len(value["anyOf"]) else ""), path
    if value.get("type") == "array":
        inner, kind, path = _unfold(value.get("items", {}), known, path + "[]")
        return inner, f"list of {kind}", path
    return value, _kind(value), path


def _kind(value: Schema) -> str:
    if "const" in value:
        return code(json.dumps(value["const"]))
    if "enum" in value:
        words = [code(word) for word in value["enum"]]
        return ", ".join(words) if len(words) <= 12 else "one of a list"
    kinds = value.get("type", "any")
    words = {"integer": "number", "boolean": "true or false"}
    return " or ".join(words.get(kind, kind) for kind in (kinds if isinstance(kinds, list) else [kinds]))


def _text(document: Any) -> str:
    return json.dumps(document, indent=1) + "\n"
