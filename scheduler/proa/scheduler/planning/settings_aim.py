"""What a rollout sets its nodes to, and how much a change to it disturbs a node."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proa.core.runtime.errors import ProaError
from proa.core.settings import allow_list, checking
from proa.core.settings.allow_list import AllowList
from proa.core.settings.disruption import Disruption
from proa.core.settings.document import EMPTY, Document, of_mapping, parse
from proa.core.settings.registry import MODELS, disturbing
from proa.scheduler.spec.rollout import RolloutSpec, SettingsDisruption
from proa.scheduler.spec.rolloutstatus import RolloutStatus


@dataclass(frozen=True)
class SettingsAim:
    """The settings of a rollout.

    Attributes:
        text: The document, in its canonical form.
        hash: Its hash.
        least: By the hash of what a node has: what a change disturbs at least, and the setting that does.
        most: What it may disturb; none where that is not limited.
    """

    text: str
    hash: str
    least: tuple[tuple[str, Disruption, str], ...]
    most: Disruption | None = None

    def disturbs(self, present: str) -> Disruption:
        """What a change disturbs of a node with the settings of a hash: of unknown ones, pods."""
        least = self.least_of(present)
        return max(least, self.most) if self.most is not None else least

    def least_of(self, present: str) -> Disruption:
        """What it disturbs at least."""
        return next((least for known, least, _ in self.least if known == present), Disruption.DRAIN)

    def why(self, present: str) -> str:
        """Why it disturbs that much, in words."""
        needs = self.least_of(present).name.capitalize()
        key = next((key for known, _, key in self.least if known == present), "")
        return f"{key} needs {needs}" if key else f"what the node has is not known, so it needs {needs}"


def settings_aim(spec: RolloutSpec, status: RolloutStatus) -> SettingsAim | None:
    """What a rollout sets its nodes to; none if it leaves their settings alone, or they cannot be read."""
    if spec.settings is None:
        return None
    return _aim(
        json.dumps(spec.settings, sort_keys=True, default=str), status.settings_before, spec.settings_disruption
    )


@functools.lru_cache(maxsize=64)
def _aim(text: str, before: str, most: SettingsDisruption | None) -> SettingsAim | None:
    try:
        document = of_mapping(json.loads(text))
        known = [EMPTY, *([parse(before)] if before else []), document]
    except (ProaError, ValueError):
        return None
    least = {one.digest: next(iter(disturbing(one, document)), ("", Disruption.NONE)) for one in known}
    table = tuple((known, level, key) for known, (key, level) in least.items())
    return SettingsAim(document.canonical(), document.digest, table, Disruption[most.name] if most else None)


def hash_of(spec: RolloutSpec) -> str:
    """The hash of a rollout's settings; empty where it has none, or they cannot be read."""
    found = settings_aim(spec, RolloutStatus())
    return found.hash if found else ""


def wrong_settings(settings: Mapping[str, Any] | None) -> tuple[str, ...]:
    """All that no release could allow; what a node's own release allows, the node says."""
    if settings is None:
        return ()
    try:
        document = of_mapping(settings)
    except ProaError as error:
        return (error.message,)
    return tuple(one.text for one in checking.check(document, _everything(document)))


def _everything(document: Document) -> AllowList:
    """The list of a release that allows all that a document asks for and that can be allowed."""
    models = {
        name: {key: allow_list.ANY for key in part if MODELS[name].key(key) is not None}
        for name, part in document.models.items()
        if name in MODELS
    }
    return AllowList(models)
