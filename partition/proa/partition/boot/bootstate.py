"""The boot state: which slot is good, which is on trial, how many tries are left, and how that changes.

Everything here is pure. Two copies of the state lie in the ``STATE`` partition, each a GRUB environment block
(:mod:`proa.partition.boot.envblock`). GRUB's script, the initrd's shell functions, the agent and the reference page are
all made from two tables:

* :data:`proa.partition.boot.decisions.RULES`: what boots, by the state that GRUB reads;
* :data:`TRANSITIONS`: how the state changes, who changes it, and when that is refused.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import Part, field
from proa.core.schema.values import Count, Positive
from proa.partition.boot import envblock

SEQ_MAX = 999_999_999
"""The highest SEQ; 1 follows. Nine digits, because GRUB's ``test`` compares numbers of 32 bits."""

TRIES_MAX = 3
"""The highest LEFT."""

NO_TRIAL = "n"
"""TRY when no slot is on trial."""

REFUSED = "REFUSED"
"""A variable beside the state: LEFT at the last try whose kernel image GRUB could not start. It decides nothing."""

ROUNDS = "ROUNDS"
"""A variable beside the state: how many times in a row no slot came up. The next failure after ``ROUNDS_MAX`` of them
ends in a message that stays instead of a reboot. Whoever writes a new state forgets it; the agent does when it runs."""

ROUNDS_MAX = 5
"""The highest ROUNDS."""

COPIES = (1, 2)
"""The copies are called by these numbers: ``/env1`` and ``/env2``."""


class Slot(enum.Enum):
    """One of the two pairs of partitions."""

    A = "a"
    B = "b"

    @property
    def other(self) -> Slot:
        """The slot that this one is not."""
        return Slot.B if self is Slot.A else Slot.A

    @property
    def root_name(self) -> str:
        """The name of the slot's root partition, as ``ROOT-A``."""
        return f"ROOT-{self.value.upper()}"

    @property
    def uki_name(self) -> str:
        """The name of the slot's partition for the unified kernel image, as ``UKI-A``."""
        return f"UKI-{self.value.upper()}"


class Field(NamedTuple):
    """One variable of the block."""

    name: str
    letters: str
    """Its value is one of these letters; empty for a number from 1 to ``SEQ_MAX``."""
    meaning: str

    @property
    def pattern(self) -> str:
        """Valid values as a regular expression that GRUB's ``regexp``, ``re`` and ``grep -E`` read alike."""
        return f"[{self.letters}]" if self.letters else f"[1-9][0-9]{{0,{len(str(SEQ_MAX)) - 1}}}"


_SLOTS = "".join(slot.value for slot in Slot)

FIELDS = (
    Field("SEQ", "", "counts the changes; the copy with the higher number is in effect"),
    Field("GOOD", _SLOTS, "the committed slot"),
    Field("TRY", _SLOTS + NO_TRIAL, f"the slot on trial, or `{NO_TRIAL}` for none"),
    Field("LEFT", "".join(str(left) for left in range(TRIES_MAX + 1)), "how many more times GRUB may boot the trial"),
    Field("ALT", "yn", "`y`: the slot that is not GOOD is committed and intact"),
    Field("END", "", "equals SEQ, or the copy is invalid"),
)
"""The variables, in the order in which they stand in the block."""


@dataclass(frozen=True)
class BootState(Part):
    """What one valid copy says.

    Raises:
        ProaError: ``INTERNAL`` for a number out of range.
    """

    seq: Positive = field("The copy with the higher number is in effect.")
    good: Slot = field("The committed slot.")
    trial: Slot | None = field("The slot on trial; null for none.")
    left: Count = field(f"Attempts left, at most {TRIES_MAX}.")
    alt: bool = field("Whether the slot that is not good is also known to be good.")

    def __post_init__(self) -> None:
        if not (1 <= self.seq <= SEQ_MAX and 0 <= self.left <= TRIES_MAX):
            raise ProaError(Code.INTERNAL, f"not a boot state: SEQ {self.seq}, LEFT {self.left}")

    @property
    def on_trial(self) -> bool:
        """Whether a slot other than the good one stands for trial, tries left or not."""
        return self.trial is self.good.other

    @property
    def pending(self) -> bool:
        """Whether the next boot is one of a trial."""
        return self.on_trial and self.left > 0

    def variables(self) -> dict[str, str]:
        """The state as the variables of a block."""
        values = (
            str(self.seq),
            self.good.value,
            self.trial.value if self.trial else NO_TRIAL,
            str(self.left),
            "y" if self.alt else "n",
            str(self.seq),
        )
        return dict(zip((field.name for field in FIELDS), values, strict=True))


def encode(state: BootState) -> bytes:
    """The state as an environment block; all that counts lies in its first 512 bytes."""
    return envblock.format_block(state.variables())


def decode(block: bytes) -> BootState | None:
    """What a copy says, None when it is not valid. Reads any bytes, and reads them as GRUB does."""
    found = envblock.parse(block)
    values = []
    for variable in FIELDS:
        value = found.get(variable.name.encode(), b"").decode("latin-1")
        if not re.fullmatch(variable.pattern, value):
            return None
        values.append(value)
    seq, good, trial, left, alt, end = values
    if seq != end:
        return None
    return BootState(int(seq), Slot(good), None if trial == NO_TRIAL else Slot(trial), int(left), alt == "y")


def pick(copy1: bytes, copy2: bytes) -> tuple[int | None, BootState | None]:
    """Which copy counts (1 or 2), and what it says.

    The valid copy with the higher SEQ; at equal SEQ the lower LEFT, because GRUB counts tries down but cannot count
    SEQ up; at equal LEFT copy 1. ``(None, None)`` when neither is valid.
    """
    first, second = decode(copy1), decode(copy2)
    if first is None or (second is not None and (second.seq, -second.left) > (first.seq, -first.left)):
        return (None, None) if second is None else (2, second)
    return 1, first


def refused(block: bytes) -> bool:
    """Whether GRUB could not start the kernel image at the last try of the trial that this copy counts.

    Every change of the state writes a new block, so what an earlier trial left is gone.
    """
    state = decode(block)
    left = envblock.parse(block).get(REFUSED.encode(), b"").decode("latin-1")
    return state is not None and state.on_trial and left == str(state.left)


def rounds(block: bytes) -> int:
    """How many times in a row no slot came up, as this copy says; 0 where it says nothing that can be."""
    text = envblock.parse(block).get(ROUNDS.encode(), b"").decode("latin-1")
    return int(text) if text in {str(number) for number in range(1, ROUNDS_MAX + 1)} else 0


class Change(enum.Enum):
    """What a transition does to one variable."""

    KEEP = "as it was"
    NONE = "none"
    OTHER = "the slot that was not GOOD"
    ZERO = "0"
    ONE = "1"
    TRIES = "the number of attempts requested"
    YES = "yes"
    NO = "no"


@dataclass(frozen=True)
class Transition:
    """A row of the table of changes. Every change also counts SEQ up and is written to both copies."""

    name: str
    who: str
    on_trial: bool | None
    """Needs a slot on trial, or none; None: does not matter."""
    pending: bool | None
    """Needs a trial with tries left, or none; None: does not matter."""
    alt: bool | None
    """Needs this ALT; None: does not matter."""
    refused: Code | None
    """The error when what is needed is not so."""
    good: Change
    trial: Change
    left: Change
    alt_becomes: Change
    why: str

    def apply(self, state: BootState, *, tries: int = 0) -> BootState:
        """The state after it.

        Raises:
            ProaError: The code of ``refused``.
        """
        wanted = ((self.on_trial, state.on_trial), (self.pending, state.pending), (self.alt, state.alt))
        if self.refused is not None and any(want not in (None, has) for want, has in wanted):
            raise ProaError(self.refused)
        other = state.good.other
        left = {Change.KEEP: state.left, Change.ZERO: 0, Change.ONE: 1, Change.TRIES: tries}
        return BootState(
            seq=next_seq(state.seq),
            good=other if self.good is Change.OTHER else state.good,
            trial={Change.KEEP: state.trial, Change.NONE: None, Change.OTHER: other}[self.trial],
            left=left[self.left],
            alt={Change.KEEP: state.alt, Change.YES: True, Change.NO: False}[self.alt_becomes],
        )


_K = Change.KEEP

TRANSITIONS = (
    Transition(
        "disarm", "agent", None, None, None, None, _K, Change.NONE, Change.ZERO, Change.NO,
        "before the first byte goes to the other slot, and when that slot turns out to be damaged",
    ),
    Transition(
        "arm", "agent", None, None, None, None, _K, Change.OTHER, Change.TRIES, _K,
        "the other slot is complete and verified, and may be tried",
    ),
    Transition(
        "commit", "agent", True, None, None, Code.NO_TRIAL, Change.OTHER, Change.NONE, Change.ZERO, Change.YES,
        "the trial proved healthy; the slot that it came from stays intact",
    ),
    Transition(
        "retire", "agent", True, None, None, Code.NO_TRIAL, _K, Change.NONE, Change.ZERO, _K,
        "the trial is given up: used up, failed, or withdrawn",
    ),
    Transition(
        "swap", "agent", False, None, True, Code.NOT_GOOD, Change.OTHER, Change.NONE, Change.ZERO, Change.YES,
        "a rollback by command or order, to a slot that is known to be good",
    ),
    Transition(
        "vouch", "agent", False, None, None, Code.IN_TRIAL, _K, Change.NONE, Change.ZERO, Change.YES,
        "the slot that was good before the trial has been read again and is intact",
    ),
    Transition(
        "heal", "initrd", None, False, True, Code.NOT_GOOD, _K, Change.OTHER, Change.ONE, _K,
        "the good slot's root cannot be opened: the other slot is tried, once for every boot of the good one",
    ),
)  # fmt: skip
"""The table of changes. Besides these, GRUB counts LEFT down (and nothing else)."""

_BY_NAME = {transition.name: transition for transition in TRANSITIONS}


def next_seq(seq: int) -> int:
    """The SEQ of the next state.

    After ``SEQ_MAX`` comes 1. That is safe because both copies are always written: until the second is, the old
    state counts, as if the change had not been made yet.
    """
    return seq % SEQ_MAX + 1


def is_before(one: int, two: int) -> bool:
    """Whether SEQ ``one`` was counted before ``two``: the shorter way round counts, since 1 follows ``SEQ_MAX``."""
    return 0 < (two - one) % SEQ_MAX < SEQ_MAX // 2


def initial(good: Slot = Slot.A, *, alt: bool = False) -> BootState:
    """The state of a disk that leaves the factory with one slot filled."""
    return BootState(1, good, None, 0, alt)


def disarm(state: BootState) -> BootState:
    """No trial, and the other slot is nothing to return to: before the first byte is written to it."""
    return _BY_NAME["disarm"].apply(state)


def arm(state: BootState, slot: Slot, tries: int = TRIES_MAX) -> BootState:
    """Put the other slot on trial, for up to ``tries`` boots.

    Raises:
        ProaError: ``SLOT_IN_USE`` when ``slot`` is the good one, ``USAGE`` for tries out of 1 to ``TRIES_MAX``.
    """
    if slot is state.good:
        raise ProaError(Code.SLOT_IN_USE, f"slot {slot.value} is the good slot; only the other one can be on trial")
    check_tries(tries)
    return _BY_NAME["arm"].apply(state, tries=tries)


def check_tries(tries: int) -> None:
    """Check how many boots a trial is to get.

    Raises:
        ProaError: ``USAGE`` out of 1 to ``TRIES_MAX``.
    """
    if not 1 <= tries <= TRIES_MAX:
        raise ProaError(Code.USAGE, f"{tries} attempts; choose 1 to {TRIES_MAX}", at="tries")


def commit(state: BootState, *, alt: bool = True) -> BootState:
    """The slot on trial becomes the good one.

    Args:
        state: The state, with a slot on trial.
        alt: Whether the slot that was good until now is whole. When ``state.alt`` was set beside the trial, the
            initrd may have armed it because the good slot could not be opened: look at that slot, then :func:`vouch`.

    Raises:
        ProaError: ``NO_TRIAL``.
    """
    return replace(_BY_NAME["commit"].apply(state), alt=alt)


def retire(state: BootState) -> BootState:
    """Give the trial up; the good slot stays good, and ALT stays what it was.

    Raises:
        ProaError: ``NO_TRIAL``.
    """
    return _BY_NAME["retire"].apply(state)


def rollback(state: BootState) -> BootState:
    """Go back: give up a trial, or else make the other slot the good one.

    Raises:
        ProaError: ``NOT_GOOD`` when there is no trial and the other slot is not known to be good.
    """
    return _BY_NAME["retire" if state.on_trial else "swap"].apply(state)


def vouch(state: BootState) -> BootState:
    """The slot that is not good is whole after all.

    Raises:
        ProaError: ``IN_TRIAL`` while a slot is on trial.
    """
    return _BY_NAME["vouch"].apply(state)


def heal(state: BootState) -> BootState:
    """Try the other slot once because the good one cannot be opened; the initrd's shell does the same.

    A boot of the other slot that was cut off costs nothing: the good slot's initrd may do it again.

    Raises:
        ProaError: ``NOT_GOOD`` when the other slot is not known to be good, or when GRUB is to try it anyway.
    """
    return _BY_NAME["heal"].apply(state)
