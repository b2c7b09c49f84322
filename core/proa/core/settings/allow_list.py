"""What a release allows to be set: ``/usr/lib/proa/settings.json``, covered by dm-verity. Nothing else can be set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.settings.model import Key
from proa.core.settings.registry import MODELS
from proa.core.settings.values import Whole

SCHEMA: Final = "proa.settings-allowed/v1"
FILE: Final = "settings.json"
"""Its name below ``/usr/lib/proa``."""
Range = tuple[int | None, int | None]
ANY: Final[Range] = (None, None)


@dataclass(frozen=True)
class AllowList:
    """Which keys of which models may be set.

    Attributes:
        models: By model and key: the lowest and the highest number, none where the model's own limits hold.
    """

    models: Mapping[str, Mapping[str, Range]] = field(default_factory=dict)

    def allows(self, model: str, key: str) -> Key | None:
        """What may be set; none if the release does not allow it or nothing of that name can be."""
        bounds, known = self.models.get(model, {}).get(key), MODELS.get(model)
        found = known.key(key) if known is not None and bounds is not None else None
        if found is None or bounds is None or bounds == ANY or not isinstance(found.kind, Whole):
            return found
        return Key(found.kind.narrowed(*bounds), found.about, found.disruption)

    def to_json(self) -> str:
        """It as the release carries it."""
        models = {
            name: {key: _bounds(bounds) for key, bounds in sorted(keys.items())}
            for name, keys in sorted(self.models.items())
        }
        return json.dumps({"schema": SCHEMA, "models": models}, indent=2) + "\n"


NOTHING: Final = AllowList()
"""The list of a release that allows nothing."""


def of_json(data: bytes, at: object = "") -> AllowList:
    """Read it; what this agent does not know is not allowed.

    Raises:
        ProaError: ``SETTINGS_REFUSED`` if it is not such a list (fail closed).
    """
    document = load_json(data, Code.SETTINGS_REFUSED, at)
    if document.get("schema") != SCHEMA:
        raise ProaError(Code.SETTINGS_REFUSED, f"the list of allowed settings is not {SCHEMA}", at=at)
    models = document.get("models")
    found: dict[str, dict[str, Range]] = {}
    for name, keys in (models if isinstance(models, dict) else {}).items():
        if name in MODELS and isinstance(keys, dict):
            ranges = {key: _range(bounds) for key, bounds in keys.items()}
            found[name] = {key: bounds for key, bounds in ranges.items() if bounds is not None}
    return AllowList(found)


def of_entries(entries: Mapping[str, Iterable[str]]) -> AllowList:
    """The list that a configuration asks for, by model: entries ``KEY`` or ``KEY=LOW..HIGH``.

    Raises:
        ProaError: ``CONFIG_VALUE`` with what is wrong about an entry.
    """
    return AllowList({model: dict(entry(model, one) for one in every) for model, every in entries.items() if every})


def entry(model: str, text: str) -> tuple[str, Range]:
    """One entry of a configuration.

    Raises:
        ProaError: ``CONFIG_VALUE``.
    """
    name, _, limits = text.partition("=")
    known = MODELS[model]
    if reason := known.forbidden(name):
        raise ProaError(Code.CONFIG_VALUE, f"{model}.{name} can never be set: {reason}")
    key = known.key(name)
    if key is None:
        near = known.nearest(name)
        raise ProaError(
            Code.CONFIG_VALUE, f"{model} has no key {name!r}" + (f"; did you mean {near!r}?" if near else "")
        )
    if not limits:
        return name, ANY
    low, dots, high = limits.partition("..")
    if not isinstance(key.kind, Whole) or not dots or not (_number(low) and _number(high)):
        raise ProaError(Code.CONFIG_VALUE, f"{text!r}: limits are written as KEY=LOW..HIGH, for whole numbers only")
    bounds = (int(low) if low else None, int(high) if high else None)
    narrowed = key.kind.narrowed(*bounds)
    if narrowed.low > narrowed.high:
        raise ProaError(Code.CONFIG_VALUE, f"{text!r} leaves no value; {model}.{name} can be {key.kind.allowed}")
    return name, bounds


def _number(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and len(text) <= 18)


def _bounds(bounds: Range) -> dict[str, int]:
    return {name: one for name, one in zip(("min", "max"), bounds, strict=True) if one is not None}


def _range(bounds: object) -> Range | None:
    """The limits of a key; none for limits that are not understood, whose key may not be set then."""
    if not isinstance(bounds, dict) or not set(bounds) <= {"min", "max"}:
        return None
    if any(isinstance(one, bool) or not isinstance(one, int) for one in bounds.values()):
        return None
    return bounds.get("min"), bounds.get("max")
