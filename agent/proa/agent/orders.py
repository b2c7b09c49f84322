"""What an install is asked for. Small, so that a mere client of the daemon need not import the rest."""

from __future__ import annotations

from dataclasses import dataclass, field

from proa.agent.settings import RegistrySettings
from proa.partition.bootstate import TRIES_MAX


@dataclass(frozen=True)
class Wish:
    """What was asked for besides the release."""

    activate: bool = False
    reboot: bool = False
    tries: int = TRIES_MAX


@dataclass(frozen=True)
class InstallOrder:
    """What is asked for.

    Attributes:
        reference: The release.
        wish: Whether to arm it, and to reboot then.
        registry: How to reach the registry.
    """

    reference: str
    wish: Wish = field(default_factory=Wish)
    registry: RegistrySettings = field(default_factory=RegistrySettings)
