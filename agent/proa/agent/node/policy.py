"""What a node accepts, at which door it asks that, and which of its slots may be written. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from proa.agent.node.record import SlotRecord
from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot.bootstate import BootState, Slot


class Door(enum.Enum):
    """Where a release gets a step further on a node."""

    INSTALL = "install"
    """It is written to the standby slot."""
    ARM = "arm"
    """The next boot tries it."""
    COMMIT = "commit"
    """Its trial becomes the good slot."""
    ROLL_BACK = "roll back"
    """The other slot, which was committed before, becomes the good one by order."""
    HEAL = "heal"
    """The other slot stays the one that boots by itself when the good one cannot."""


class Question(enum.Enum):
    """What may be asked of a release."""

    SIGNATURE = "signature"
    """Have keys signed it that the node believes now?"""
    COMPATIBLE = "compatible"
    """Is it for this kind of node?"""
    FLOOR = "floor"
    """Is its serial not below the floor?"""
    NEWEST = "newest"
    """Is its serial not below the highest that was committed, unless it was asked for by name?"""
    DENY = "deny"
    """Is it on no deny list?"""
    EXPIRY = "expiry"
    """Has it not expired?"""


_EVERYTHING: Final = frozenset(Question)
_STANDING: Final = frozenset({Question.FLOOR, Question.DENY})
ASKED: Final[Mapping[Door, frozenset[Question]]] = {
    Door.INSTALL: _EVERYTHING,
    Door.ARM: _EVERYTHING,
    Door.COMMIT: _STANDING,
    Door.ROLL_BACK: _STANDING,
    Door.HEAL: _STANDING,
}
"""What is asked at which door.

Floor and deny list say that a release must not run any more, so they are asked at every door. The others say what may
come in: a release that ran before was let in once, and keys that were rotated, a renamed product line or a date that
passed must not bar the way back to it.
"""


@dataclass(frozen=True)
class Subject:
    """A release as the policy sees it; what is not known of it is empty, and not asked.

    Attributes:
        what: What it is called in an error.
        compatible: The kind of node that it is for.
        serial: Orders the releases of a product line.
        names: Manifest digest, root hash and version.
        expires: When it expires (RFC 3339).
        signers: Ids of the keys that signed it.
        downgrade: Whether it was asked for by name when it was installed, although it is older.
    """

    what: str
    compatible: str = ""
    serial: int = 0
    names: tuple[str, ...] = ()
    expires: str = ""
    signers: tuple[str, ...] = ()
    downgrade: bool = False

    @classmethod
    def of_slot(cls, slot: Slot, known: SlotRecord) -> Subject:
        """What is recorded of a slot."""
        names = tuple(name for name in (known.manifest, known.root_hash, known.version) if name)
        what = f"slot {slot.value}"
        return cls(what, known.compatible, known.serial, names, known.expires, known.signers, known.downgrade)


@dataclass(frozen=True)
class Policy:
    """What this node accepts.

    Attributes:
        compatible: The kind of node it is; empty accepts any.
        floor: The lowest serial that may be installed: the highest of the trust folder, the booted release and
            the record.
        deny: Manifest digests, root hashes and versions that are never installed.
        keys: Ids of the keys that are believed; none where nobody asks for signatures.
        threshold: How many different ones of them must have signed.
        newest: The highest serial that was committed; 0 where a release below it was asked for by name.
    """

    compatible: str = ""
    floor: int = 0
    deny: frozenset[str] = frozenset()
    keys: frozenset[str] | None = None
    threshold: int = 1
    newest: int = 0

    def objections(self, door: Door, subject: Subject, now: datetime) -> Iterator[ProaError]:
        """Every reason why a release does not get through a door, in the order of the questions."""
        for question in Question:
            if question in ASKED[door] and (error := _ANSWERS[question](self, subject, now)):
                yield error

    def check(self, door: Door, subject: Subject, now: datetime) -> None:
        """Raise the first reason.

        Raises:
            ProaError: ``SIGNATURE``, ``INCOMPATIBLE``, ``SERIAL``, ``DENIED`` or ``EXPIRED``.
        """
        for error in self.objections(door, subject, now):
            raise error


def _signature(policy: Policy, subject: Subject, _: datetime) -> ProaError | None:
    if policy.keys is None or not subject.signers:
        return None
    left = len(policy.keys.intersection(subject.signers))
    if left >= policy.threshold:
        return None
    what = f"of the keys that signed {subject.what}, {left} are still trusted, but {policy.threshold} are required"
    return ProaError(Code.SIGNATURE, what)


def _compatible(policy: Policy, subject: Subject, _: datetime) -> ProaError | None:
    if "" in (policy.compatible, subject.compatible) or policy.compatible == subject.compatible:
        return None
    what = f"{subject.what} is for '{subject.compatible}', this node is '{policy.compatible}'"
    return ProaError(Code.INCOMPATIBLE, what)


def _floor(policy: Policy, subject: Subject, _: datetime) -> ProaError | None:
    if subject.serial >= policy.floor:
        return None
    return ProaError(Code.SERIAL, f"{subject.what} has serial {subject.serial}, but the floor is {policy.floor}")


def _newest(policy: Policy, subject: Subject, _: datetime) -> ProaError | None:
    if subject.downgrade or subject.serial >= policy.newest:
        return None
    what = f"{subject.what} has serial {subject.serial}, but serial {policy.newest} was committed before"
    hint = "If you mean it, add --allow-downgrade (in a rollout: allowDowngrade), or go back with 'rollback'."
    return ProaError(Code.SERIAL, what, hint=hint)


def _deny(policy: Policy, subject: Subject, _: datetime) -> ProaError | None:
    name = next((name for name in subject.names if name in policy.deny), "")
    return ProaError(Code.DENIED, f"{subject.what} is on the deny list as '{name}'") if name else None


def _expiry(_: Policy, subject: Subject, now: datetime) -> ProaError | None:
    if not subject.expires or now < datetime.fromisoformat(subject.expires):
        return None
    clock = f"{now:%Y-%m-%d %H:%M} UTC"
    hint = f"This node's clock says {clock}: set it if that is wrong, else install a newer release."
    return ProaError(Code.EXPIRED, f"{subject.what} expired at {subject.expires}", hint=hint)


_ANSWERS: Final[Mapping[Question, Callable[[Policy, Subject, datetime], ProaError | None]]] = {
    Question.SIGNATURE: _signature,
    Question.COMPATIBLE: _compatible,
    Question.FLOOR: _floor,
    Question.NEWEST: _newest,
    Question.DENY: _deny,
    Question.EXPIRY: _expiry,
}


def choose_target(state: BootState, booted: Slot | None) -> Slot:
    """The slot that may be written: neither good nor booted.

    Raises:
        ProaError: ``SLOT_IN_USE`` when there is none.
    """
    target = state.good.other
    if booted is target:
        raise ProaError(
            Code.SLOT_IN_USE,
            f"slot {target.value} is booted and slot {state.good.value} is good, so neither may be written",
        )
    return target
