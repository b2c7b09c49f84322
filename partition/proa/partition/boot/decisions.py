"""What GRUB boots, by the boot state that it reads: the decision table, and what follows from it. All of it is pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from proa.partition.boot import envblock
from proa.partition.boot.bootstate import BootState, Slot, decode, pick


class Boots(enum.Enum):
    """Which slot a rule boots."""

    TRIAL = "TRY"
    GOOD = "GOOD"
    DEFAULT = "default"


class Otherwise(enum.Enum):
    """What follows when the unified kernel image of the chosen slot cannot be loaded."""

    REBOOT = "reboot"
    OTHER_IF_ALT = "the other slot if ALT=y; otherwise a message and, a few times, a reboot"
    OTHER = "the other slot; then a message and, a few times, a reboot"


@dataclass(frozen=True)
class Rule:
    """A row of the decision table; the first row that fits decides."""

    name: str
    valid: bool
    """A valid copy is there."""
    on_trial: bool | None
    """TRY is the slot that is not GOOD; None: does not matter."""
    tries: bool | None
    """LEFT is above 0; None: does not matter."""
    boots: Boots
    spends: bool
    """LEFT is counted down first, in the copy that counts. If that fails, the rules go on as if LEFT were 0."""
    otherwise: Otherwise
    why: str

    def fits(self, state: BootState | None, tries: int) -> bool:
        """Whether the rule is for this state with this many tries."""
        if state is None:
            return not self.valid
        wanted = ((self.on_trial, state.on_trial), (self.tries, tries > 0))
        return self.valid and all(want is None or want is has for want, has in wanted)


RULES = (
    Rule(
        "trial", True, True, True, Boots.TRIAL, True, Otherwise.REBOOT,
        "an attempt is used up before it is made, so a trial cannot outlive a crash",
    ),
    Rule(
        "tries-used-up", True, True, False, Boots.GOOD, False, Otherwise.OTHER_IF_ALT,
        "the trial did not commit in time, or GRUB could not write",
    ),
    Rule(
        "committed", True, False, None, Boots.GOOD, False, Otherwise.OTHER_IF_ALT,
        "a normal boot writes nothing",
    ),
    Rule(
        "no-state", False, None, None, Boots.DEFAULT, False, Otherwise.OTHER,
        "neither copy is valid: the default that GRUB was built with",
    ),
)  # fmt: skip
"""The decision table."""


@dataclass(frozen=True)
class Decision:
    """What GRUB does with a pair of copies."""

    rule: str
    """The name of the rule that decided."""
    copy: int | None
    """The copy that counted."""
    slot: Slot
    trial: bool
    """Whether this boot is a trial."""
    write: tuple[int, BootState] | None
    """The copy that is written before the boot, and what it says then. The boot is as told only once it reads so."""
    fallback: Slot | None
    """The slot that boots when the chosen one's kernel image cannot be loaded; None: reboot."""
    unwritten: Decision | None = None
    """What holds instead when the write fails."""


def decide(copy1: bytes, copy2: bytes, default: Slot) -> Decision:
    """What GRUB does with these two copies (empty bytes for one that cannot be read).

    A write that GRUB itself is going to refuse, because the block is too damaged to be changed, has failed already:
    ``decide`` then gives the decision that holds without it.
    """
    copy, state = pick(copy1, copy2)
    if state is None or copy is None:
        return _apply(_rule(None, 0), None, None, default)
    decision = _apply(_rule(state, state.left), copy, state, default)
    if decision.write is None:
        return decision
    without = _apply(_rule(state, 0), copy, state, default)
    changed = envblock.assign((copy1, copy2)[copy - 1], "LEFT", str(decision.write[1].left))
    if changed is None or decode(changed) != decision.write[1]:
        return without
    return replace(decision, unwritten=without)


def _rule(state: BootState | None, tries: int) -> Rule:
    return next(rule for rule in RULES if rule.fits(state, tries))


def _apply(rule: Rule, copy: int | None, state: BootState | None, default: Slot) -> Decision:
    slot = default
    if state is not None:
        slot = state.good.other if rule.boots is Boots.TRIAL else state.good
    write = None
    if rule.spends and state is not None and copy is not None:
        write = (copy, replace(state, left=state.left - 1))
    other = rule.otherwise is Otherwise.OTHER or (
        rule.otherwise is Otherwise.OTHER_IF_ALT and state is not None and state.alt
    )
    return Decision(rule.name, copy, slot, rule.boots is Boots.TRIAL, write, slot.other if other else None)
