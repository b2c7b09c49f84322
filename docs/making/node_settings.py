"""The page of what can be set on nodes, and the JSON Schema of a settings document: made from the models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from making.markdown import code, page, table

from proa.core.settings.document import MAX_BYTES, MAX_REVISION, REVISION
from proa.core.settings.model import Model
from proa.core.settings.registry import MODELS

_INTRO = (
    "What `proa-agent settings apply` and a rollout can set on a node. A release allows a part of it, in the section "
    "`[settings]` of proa.toml; nothing else can be set. Keys are exact, upper and lower case included. "
    "The last column says what a change disturbs: `None` nothing, `Restart` a daemon while pods keep running, `Drain` "
    "pods, which a rollout moves away first. The [JSON Schema](settings-document.schema.json) describes a whole "
    "document."
)


def node_settings() -> str:
    """docs/reference/node-settings.md."""
    return page("Settings of nodes", _INTRO, *(part for model in MODELS.values() for part in _model(model)))


def _model(model: Model) -> Iterator[str]:
    yield f"## {model.name}"
    yield model.about
    if model.keys:
        rows = [
            [code(name), key.about, key.kind.allowed, code(key.disruption.name.capitalize())]
            for name, key in sorted(model.keys.items())
        ]
        yield table(["key", "what it is", "values", "disturbs"], rows)
    if model.open_kind:
        yield f"Values: {model.open_kind.allowed}."
    if model.never:
        yield "Never, whatever a release lists:"
        yield table(["keys", "why"], [[code(one.pattern), one.why] for one in model.never])


def _schema(model: Model) -> dict[str, Any]:
    return {
        "type": "object",
        "description": model.about,
        "properties": {
            name: key.kind.schema() | {"description": key.about} for name, key in sorted(model.keys.items())
        },
        "additionalProperties": model.open_kind.schema() if model.open_kind else False,
    }


def document_schema() -> Mapping[str, Any]:
    """The JSON Schema (2020-12) of a settings document."""
    models = {
        name: {
            "type": "object",
            "description": model.about,
            "properties": {
                key: one.kind.schema() | {"description": one.about} for key, one in sorted(model.keys.items())
            },
            "additionalProperties": model.open_kind.schema() if model.open_kind else False,
        }
        for name, model in MODELS.items()
    }
    revision = {"type": "integer", "minimum": 0, "maximum": MAX_REVISION}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of a Proa node",
        "description": f"At most {MAX_BYTES} bytes without blanks.",
        "type": "object",
        "properties": models | {REVISION: revision | {"description": "Orders the documents of a node."}},
        "additionalProperties": False,
    }
