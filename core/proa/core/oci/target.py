"""Opening what a reference names, for writing too: apart from reading, since no node writes to a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proa.core.oci.access import DEFAULT, Access
from proa.core.oci.limits import DEFAULT_LIMITS, TransferLimits
from proa.core.oci.reference import Reference
from proa.core.oci.registry import open_session
from proa.core.oci.source import Target
from proa.core.runtime.clock import SYSTEM, Clock

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter


def open_target(
    reference: Reference,
    access: Access = DEFAULT,
    *,
    limits: TransferLimits = DEFAULT_LIMITS,
    clock: Clock = SYSTEM,
    transport: BaseAdapter | None = None,
) -> Target:
    """Open what a reference names, for reading and for writing; see :func:`proa.core.oci.registry.open_source`."""
    if reference.layout is not None:
        from proa.core.oci.layoutdir import LayoutDir

        return LayoutDir(reference)
    from proa.core.oci.upload import WritableRepository

    return WritableRepository(reference, open_session(reference, access, limits, clock, transport))
