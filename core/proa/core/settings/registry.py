"""All models, and what they make of a whole document."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proa.core.settings.disruption import Disruption
from proa.core.settings.document import Document
from proa.core.settings.model import Base, Model
from proa.core.settings.models.files import FILES
from proa.core.settings.models.kubelet import KUBELET
from proa.core.settings.models.limits import LIMITS
from proa.core.settings.models.network import DNS, PROXY, TIME
from proa.core.settings.models.registries import REGISTRIES
from proa.core.settings.models.sysctl import SYSCTL

MODELS: Final[Mapping[str, Model]] = MappingProxyType(
    {one.name: one for one in (SYSCTL, KUBELET, LIMITS, TIME, DNS, PROXY, REGISTRIES, FILES)}
)
"""Every model by its name, in the order in which they are applied."""
DOCUMENT_FILE: Final = "document.json"
"""The document itself, in the folder of its generation."""


def render(document: Document, base: Base = lambda _: "") -> dict[str, str]:
    """The files of a generation: paths below its folder, with their content. The document has been checked."""
    found = {DOCUMENT_FILE: document.canonical() + "\n"}
    for name, model in MODELS.items():
        if part := document.models.get(name):
            found.update(model.render(part, base))
    return found


def changed(before: Document, after: Document) -> dict[str, set[str]]:
    """By model: the keys whose values differ."""
    found = {}
    for name in MODELS:
        old, new = before.models.get(name, {}), after.models.get(name, {})
        keys = {key for key in {*old, *new} if old.get(key) != new.get(key)}
        if keys:
            found[name] = keys
    return found


def disruption(before: Document, after: Document) -> Disruption:
    """The least that a change from one document to another disturbs."""
    return max((most for _, most in disturbing(before, after)), default=Disruption.NONE)


def disturbing(before: Document, after: Document) -> list[tuple[str, Disruption]]:
    """What a change from one document to another disturbs by each setting, as MODEL.KEY, that most first which does."""
    found = [
        (f"{name}.{one}", key.disruption)
        for name, keys in changed(before, after).items()
        for one in sorted(keys)
        if (key := MODELS[name].key(one)) is not None
    ]
    return sorted(found, key=lambda one: -one[1])
