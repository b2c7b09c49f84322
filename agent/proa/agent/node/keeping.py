"""What an agent must not lose of a file that a newer one wrote: what it neither understood nor changed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_IDENTITY: Final[Mapping[str, tuple[str, ...]]] = {
    "a": ("root_hash", "manifest"),
    "b": ("root_hash", "manifest"),
    "trial": ("root_hash", "seq"),
    "last": ("verb", "time"),
    "returned": ("root_hash", "time"),
}
"""What makes an object of the record the same thing as before; whatever else is an object is always the same one."""


def kept(raw: Mapping[str, Any], known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What to write: ``new``, and of ``raw`` everything that was not understood and is still about the same thing.

    Args:
        raw: The document as it lies there.
        known: The same document as this agent writes what it understood of it.
        new: The document as this agent wants it now.
    """
    strange = {key: value for key, value in raw.items() if key not in known and key not in new}
    return {key: _value(key, raw, known, value) for key, value in new.items()} | strange


def _value(key: str, raw: Mapping[str, Any], known: Mapping[str, Any], new: Any) -> Any:
    if key not in raw or key not in known:
        return new
    if new == known[key]:
        return raw[key]
    objects = all(isinstance(one, Mapping) for one in (raw[key], known[key], new))
    same = objects and all(known[key].get(name) == new.get(name) for name in _IDENTITY.get(key, ()))
    return kept(raw[key], known[key], new) if same and key != "order" else new
