"""What a release allows to be set: ``/usr/lib/proa/settings.json``, covered by dm-verity. Nothing else can be set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.settings.model import Key
from proa.core.settings.models.registries import Mirrors, is_authority
from proa.core.settings.registry import MODELS
from proa.core.settings.values import Whole

SCHEMA: Final = "proa.settings-allowed/v1"
FILE: Final = "settings.json"
"""Its name below ``/usr/lib/proa``."""


@dataclass(frozen=True)
class Limit:
    """How a release narrows what a key can be.

    Attributes:
        low: The lowest number; none where the model's own limit holds.
        high: The highest number.
        hosts: Hosts that may be mirrors; empty for a key that has none.
    """

    low: int | None = None
    high: int | None = None
    hosts: tuple[str, ...] = ()

    def narrowed(self, key: Key) -> Key:
        """A key with what is left of its values."""
        if isinstance(key.kind, Whole):
            return replace(key, kind=key.kind.narrowed(self.low, self.high))
        if isinstance(key.kind, Mirrors) and self.hosts:
            return replace(key, kind=key.kind.within(self.hosts))
        return key

    @property
    def written(self) -> dict[str, Any]:
        """It as JSON has it."""
        numbers = {name: one for name, one in (("min", self.low), ("max", self.high)) if one is not None}
        return {**numbers, **({"hosts": list(self.hosts)} if self.hosts else {})}


ANY: Final = Limit()


@dataclass(frozen=True)
class AllowList:
    """Which keys of which models may be set.

    Attributes:
        models: By model and key: how it is narrowed.
    """

    models: Mapping[str, Mapping[str, Limit]] = field(default_factory=dict)

    def allows(self, model: str, key: str) -> Key | None:
        """What may be set; none if the release does not allow it or nothing of that name can be."""
        limit, known = self.models.get(model, {}).get(key), MODELS.get(model)
        found = known.key(key) if known is not None and limit is not None else None
        return limit.narrowed(found) if found is not None and limit is not None else None

    def to_json(self) -> str:
        """It as the release carries it."""
        models = {
            name: {key: limit.written for key, limit in sorted(keys.items())}
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
    found: dict[str, dict[str, Limit]] = {}
    for name, keys in (models if isinstance(models, dict) else {}).items():
        if name in MODELS and isinstance(keys, dict):
            limits = {key: _limit(bounds) for key, bounds in keys.items()}
            mirrors = isinstance(MODELS[name].open_kind, Mirrors)
            found[name] = {key: one for key, one in limits.items() if one is not None and (one.hosts or not mirrors)}
    return AllowList(found)


def of_entries(entries: Mapping[str, Iterable[str]]) -> AllowList:
    """The list that a configuration asks for, by model: entries ``KEY`` or ``KEY=LOW..HIGH``.

    Raises:
        ProaError: ``CONFIG_VALUE`` with what is wrong about an entry.
    """
    return AllowList({model: dict(entry(model, one) for one in every) for model, every in entries.items() if every})


def entry(model: str, text: str) -> tuple[str, Limit]:
    """One entry of a configuration: ``KEY``, ``KEY=LOW..HIGH``, or ``REGISTRY=HOST,HOST``.

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
    if isinstance(key.kind, Mirrors):
        return name, _hosts(text, limits)
    return name, _numbers(model, name, key, limits) if limits else ANY


def _hosts(text: str, limits: str) -> Limit:
    hosts = tuple(filter(None, limits.split(",")))
    if not hosts or not all(map(is_authority, hosts)):
        what = f"{text!r}: name the hosts that may be mirrors, as REGISTRY=HOST[:PORT],HOST[:PORT]"
        raise ProaError(Code.CONFIG_VALUE, what)
    return Limit(hosts=hosts)


def _numbers(model: str, name: str, key: Key, limits: str) -> Limit:
    low, dots, high = limits.partition("..")
    text = f"{name}={limits}"
    if not isinstance(key.kind, Whole) or not dots or not (_number(low) and _number(high)):
        raise ProaError(Code.CONFIG_VALUE, f"{text!r}: limits are written as KEY=LOW..HIGH, for whole numbers only")
    limit = Limit(int(low) if low else None, int(high) if high else None)
    narrowed = key.kind.narrowed(limit.low, limit.high)
    if narrowed.low > narrowed.high:
        raise ProaError(Code.CONFIG_VALUE, f"{text!r} leaves no value; {model}.{name} can be {key.kind.allowed}")
    return limit


def _number(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and len(text) <= 18)


def _limit(bounds: object) -> Limit | None:
    """The limits of a key; none for limits that are not understood, whose key may not be set then."""
    if not isinstance(bounds, dict) or not set(bounds) <= {"min", "max", "hosts"}:
        return None
    numbers, hosts = (bounds.get("min"), bounds.get("max")), bounds.get("hosts", [])
    if any(isinstance(one, bool) or not isinstance(one, int) for name, one in bounds.items() if name != "hosts"):
        return None
    if not isinstance(hosts, list) or not all(isinstance(one, str) and is_authority(one) for one in hosts):
        return None
    return Limit(*numbers, tuple(hosts)) if hosts or "hosts" not in bounds else None
