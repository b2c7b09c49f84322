"""What may stand in the body of a request: these fields, and nothing else."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from proa.agent.install.order import Activation, InstallOrder
from proa.core.oci.access import Access
from proa.core.schema.model import Part, field, limits
from proa.core.schema.values import Count, Seconds
from proa.core.settings.document import MAX_BYTES
from proa.partition.boot.bootstate import TRIES_MAX, Slot

Tries = Annotated[int, limits(minimum=1, maximum=TRIES_MAX)]


@dataclass(frozen=True, kw_only=True)
class InstallRequest(Access):
    """The body of ``POST /v1/install``."""

    reference: str = field("HOST[:PORT]/NAME[:TAG][@sha256:...] or oci:PATH[:TAG] with an absolute path.")
    activate: bool = field("Whether to arm the slot when it is complete.", default=False)
    reboot: bool = field("Whether to reboot the node then.", default=False)
    tries: Tries = field("Boot attempts for the trial.", default=TRIES_MAX)
    allow_downgrade: bool = field("Whether the release may have a serial below one that was committed.", default=False)

    def order(self, defaults: Access) -> InstallOrder:
        """What it asks for, ``registry.toml`` standing in for what it does not say."""
        given = {one.name: value for one in dataclasses.fields(Access) if (value := getattr(self, one.name))}
        activation = Activation(self.activate, self.reboot, self.tries)
        registry = dataclasses.replace(defaults, **given)
        return InstallOrder(self.reference, activation, registry, self.allow_downgrade)


@dataclass(frozen=True)
class ActivateRequest(Part):
    """The body of ``POST /v1/activate``."""

    tries: Tries = field("Boot attempts for the trial.", default=TRIES_MAX)
    reboot: bool = field("Whether to reboot the node then.", default=False)
    allow_downgrade: bool = field("Whether the release may have a serial below one that was committed.", default=False)


@dataclass(frozen=True)
class RollbackRequest(Part):
    """The body of ``POST /v1/rollback``."""

    reboot: bool = field("Whether to reboot the node then.", default=False)


@dataclass(frozen=True)
class ScrubRequest(Part):
    """The body of ``POST /v1/scrub``."""

    slot: str = field("The slot; empty for the running one.", default="", enum=["", *(slot.value for slot in Slot)])


@dataclass(frozen=True)
class CancelRequest(Part):
    """The body of ``POST /v1/cancel``."""

    job: Count = field("The number of the job; 0 for any job under way.", default=0)


@dataclass(frozen=True)
class SettingsRequest(Part):
    """The body of ``POST /v1/settings``."""

    document: str = field("The settings document as JSON.", maxLength=MAX_BYTES)
    within: Seconds = field("Seconds in which it must be committed.", default=600.0, minimum=10, maximum=86400)
    commit: bool = field("Whether to commit it at once if it takes effect.", default=False)


@dataclass(frozen=True)
class EmptyRequest(Part):
    """The body of the requests that have nothing to say."""
