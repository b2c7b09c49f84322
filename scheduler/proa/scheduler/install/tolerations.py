"""Taints that pods put up with, written as kubectl writes taints: ``KEY[=VALUE][:EFFECT]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proa.scheduler.kube.stream import Object

EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclass(frozen=True)
class Toleration:
    """Taints that are put up with.

    Attributes:
        key: Theirs.
        value: Theirs; none for all.
        effect: Theirs; empty for all.
    """

    key: str
    value: str | None = None
    effect: str = ""

    def __str__(self) -> str:
        return self.key + (f"={self.value}" if self.value is not None else "") + (f":{self.effect}" * bool(self.effect))

    @property
    def document(self) -> Object:
        """It as it stands in a pod."""
        found = {"key": self.key, "operator": "Exists" if self.value is None else "Equal"}
        found |= {"value": self.value} if self.value is not None else {}
        return found | ({"effect": self.effect} if self.effect else {})


def read(said: str) -> Toleration:
    """What a person wrote; whether it can be is seen by :func:`proa.scheduler.install.settings.check`."""
    taint, _, effect = said.partition(":")
    key, equals, value = taint.partition("=")
    return Toleration(key, value if equals else None, effect)
