"""What an install is decided from: the node as it is, what it accepts, and the release once it is believed."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.agent.install.plan import Candidate, NodeFacts, Room
from proa.agent.node.boot import own_release
from proa.agent.node.policy import Policy
from proa.agent.node.record import SlotRecord
from proa.agent.node.settings import registry_mirrors, transfer_limits
from proa.agent.node.view import Context, View, holds
from proa.agent.slot.damage import is_whole
from proa.agent.slot.region import open_for_reading
from proa.agent.slot.scrub import check_boot
from proa.agent.trial.standing import floor_of, newest_of
from proa.core import VERSION
from proa.core.artifact.release_artifact import open_release
from proa.core.oci.access import Access
from proa.core.oci.reference import parse
from proa.core.oci.registry import open_source
from proa.core.oci.source import Source
from proa.core.release.document import LAYOUT_VERSION, LOADER_VERSION, Root
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Note
from proa.core.signing import trust
from proa.core.signing.trust import Trust
from proa.partition.boot.bootstate import Slot

_DEBIAN: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Offer:
    """A release that is believed, and where its blobs come from.

    Attributes:
        candidate: The release.
        source: Where its blobs come from.
        reference: What was asked for.
        left: Which mirrors were left so far, and why.
    """

    candidate: Candidate
    source: Source
    reference: str
    left: Sequence[str] = ()


def load_trust(context: Context) -> Trust:
    """Whose signatures this node trusts, tightened by its own /etc.

    Raises:
        ProaError: ``NO_TRUST`` or ``KEY``.
    """
    return trust.load(context.paths.usr / "trust", context.paths.etc / "trust.json")


@contextmanager
def open_offer(context: Context, reference: str, registry: Access, believed: Trust, rate: int = 0) -> Iterator[Offer]:
    """Open a release: signature, manifest, document, in this order.

    Raises:
        ProaError: ``REFERENCE``, the refusals of a signature and of a document, or as the source does.
    """
    left: list[str] = []

    def tell(what: str) -> None:
        left.append(what)
        context.monitor.emit(Note(what, "warning"))

    with open_source(
        parse(reference),
        registry,
        limits=transfer_limits(context.paths).within(rate),
        clock=context.cancel.clock(context.clock),
        stop=context.cancel,
        mirrors=registry_mirrors(context.paths),
        tell=tell,
    ) as source:
        opened = open_release(source, believed)
        yield Offer(Candidate(opened.release, opened.manifest_digest, opened.signers), source, reference, left)


def policy_of(view: View, believed: Trust, *, downgrade: bool = False) -> Policy:
    """What the node accepts, with the floor of trust, record and booted release.

    Args:
        view: A look at the node.
        believed: Whom it believes.
        downgrade: Whether a release older than one that was committed is asked for.
    """
    keys = frozenset(key.id for key in believed.keys)
    floor, newest = floor_of(view, believed.floor), 0 if downgrade else newest_of(view)
    return Policy(believed.compatible, floor, frozenset(believed.deny), keys, believed.threshold, newest)


def node_facts(context: Context, view: View, candidate: Candidate) -> NodeFacts:
    """The node as far as an install of this release depends on it.

    Raises:
        ProaError: ``DEVICE`` when the good slot cannot be read; another one that cannot holds nothing.
    """
    root = candidate.release.root
    own = own_release(context.paths)
    machine = platform.machine()
    holding = {slot for slot in Slot if _holds(view, slot, root)}
    same = {slot for slot in holding if slot is view.state.good and _is_same(view, slot, candidate)}
    intact = {slot for slot in holding if _is_intact(context, view, slot, candidate)}
    return NodeFacts(
        architecture=str(own.get("architecture", _DEBIAN.get(machine, machine))),
        layout=view.record.layout or LAYOUT_VERSION,
        loader=view.record.loader or LOADER_VERSION,
        agent=VERSION,
        now=context.clock.now(),
        booted=view.booted,
        room={slot: Room(*(extent.size for extent in view.extents(slot))) for slot in Slot},
        holding=frozenset(holding),
        same=frozenset(same),
        intact=frozenset(intact),
    )


def _holds(view: View, slot: Slot, root: Root) -> bool:
    try:
        return holds(view, slot, root.root_hash, root.salt, root.size)
    except ProaError as error:
        if slot is view.state.good or error.code is not Code.DEVICE:
            raise
        return False


def _is_same(view: View, slot: Slot, candidate: Candidate) -> bool:
    """Whether a slot that has the release's root was filled with this release, or has its kernel image anyway."""
    known, boot = view.record.slots.get(slot), view.extents(slot)[1]
    if known and known.manifest == candidate.manifest:
        return True
    if candidate.release.boot.size > boot.size:
        return False
    with open_for_reading(boot) as region:
        return check_boot(region, SlotRecord.of(candidate.release, candidate.manifest)) == ""


def _is_intact(context: Context, view: View, slot: Slot, candidate: Candidate) -> bool:
    """Whether a standby that was filled with this very release still holds every block of it.

    Of what the factory has put there nobody has recorded which release it is: its content says so.
    """
    known = view.record.slots.get(slot)
    if slot is view.running or not known or not known.complete or known.manifest not in ("", candidate.manifest):
        return False
    return _is_same(view, slot, candidate) and is_whole(context, view, slot)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
