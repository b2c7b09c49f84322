"""The one table of what a node and a slot can be, and what leads from one to the other.

``status`` names these states, the verbs are allowed or refused by :data:`RULES`, and
``docs/reference/agent-states.md`` is generated from both.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot.bootstate import BootState, Slot


class SlotState(enum.Enum):
    """What a slot is."""

    GOOD = "good"
    TRIAL = "trial"
    LEAVING = "leaving"
    WRITING = "writing"
    ARMED = "armed"
    FAILED = "failed"
    FALLBACK = "fallback"
    STAGED = "staged"
    PARTIAL = "partial"
    EMPTY = "empty"
    UNKNOWN = "unknown"

    @property
    def meaning(self) -> str:
        """The state in one sentence."""
        return _SLOT_MEANING[self]


_SLOT_MEANING: Mapping[SlotState, str] = {
    SlotState.GOOD: "Committed; boots by default.",
    SlotState.TRIAL: "Booted on trial, not committed yet.",
    SlotState.LEAVING: "Booted, but no longer the good slot; the next boot leaves it.",
    SlotState.WRITING: "Being written by an install.",
    SlotState.ARMED: "Complete; the next boot tries it.",
    SlotState.FAILED: "Its trial returned without a commit.",
    SlotState.FALLBACK: "Was good before and is intact; a rollback can use it.",
    SlotState.STAGED: "Complete and verified; not armed yet.",
    SlotState.PARTIAL: "An install started and did not finish.",
    SlotState.EMPTY: "Holds nothing.",
    SlotState.UNKNOWN: "Nothing is recorded about it.",
}


class NodeState(enum.Enum):
    """What a node is doing, as ``status`` says it."""

    GOOD = "good"
    EMPTY = "empty"
    PAIRED = "paired"
    STAGED = "staged"
    ARMED = "armed"
    RETURNED = "returned"
    STAGING = "staging"
    TRIAL = "trial"
    LEAVING = "leaving"
    INCONSISTENT = "inconsistent"

    @property
    def meaning(self) -> str:
        """The state in one sentence."""
        return _NODE_MEANING[self]


_NODE_MEANING: Mapping[NodeState, str] = {
    NodeState.GOOD: "Runs the good slot; the other slot holds nothing to boot.",
    NodeState.EMPTY: "A disk without a release.",
    NodeState.PAIRED: "Runs the good slot; the other slot is known to be good too.",
    NodeState.STAGED: "Runs the good slot; the other slot holds a complete release.",
    NodeState.ARMED: "Runs the good slot; the next boot tries the other slot.",
    NodeState.RETURNED: "Runs the good slot after a trial that was not committed.",
    NodeState.STAGING: "An install is writing the other slot.",
    NodeState.TRIAL: "Runs a trial that waits to be committed.",
    NodeState.LEAVING: "Runs a slot that is no longer good; a reboot leads to the good slot.",
    NodeState.INCONSISTENT: "Boot loader and boot state disagree about this boot.",
}

_BY_STANDBY: Mapping[SlotState, NodeState] = {
    SlotState.WRITING: NodeState.STAGING,
    SlotState.ARMED: NodeState.ARMED,
    SlotState.FAILED: NodeState.RETURNED,
    SlotState.FALLBACK: NodeState.PAIRED,
    SlotState.STAGED: NodeState.STAGED,
    SlotState.PARTIAL: NodeState.GOOD,
    SlotState.EMPTY: NodeState.GOOD,
    SlotState.UNKNOWN: NodeState.GOOD,
}


class Trigger(enum.Enum):
    """What leads from one node state to another: the verbs, then what happens by itself."""

    INSTALL = "install"
    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    CANCEL = "cancel"
    INSTALLED = "(install ended)"
    INSTALL_FAILED = "(install failed)"
    BOOT_TRIAL = "(boot, an attempt is left)"
    BOOT_GOOD = "(boot, no attempt is left)"

    @property
    def is_verb(self) -> bool:
        """Whether somebody can order it."""
        return not self.value.startswith("(")


_REST: Mapping[Trigger, NodeState | Code] = {
    Trigger.INSTALL: NodeState.STAGING,
    Trigger.DEACTIVATE: Code.NO_TRIAL,
    Trigger.COMMIT: Code.NO_TRIAL,
    Trigger.CANCEL: Code.NOTHING_RUNNING,
}
"""What holds for every node that runs its good slot and has nothing armed."""

_NEVER: Mapping[Trigger, NodeState | Code] = dict.fromkeys(
    (Trigger.INSTALL, Trigger.ACTIVATE, Trigger.DEACTIVATE, Trigger.COMMIT, Trigger.ROLLBACK), Code.HANDSHAKE
)

RULES: Mapping[NodeState, Mapping[Trigger, NodeState | Code]] = {
    NodeState.GOOD: {
        **_REST,
        Trigger.ACTIVATE: Code.NOT_STAGED,
        Trigger.ROLLBACK: Code.NOT_GOOD,
        Trigger.BOOT_GOOD: NodeState.GOOD,
    },
    NodeState.EMPTY: {
        **_REST,
        Trigger.ACTIVATE: Code.NOT_STAGED,
        Trigger.ROLLBACK: Code.NOT_GOOD,
        Trigger.BOOT_GOOD: NodeState.EMPTY,
    },
    NodeState.PAIRED: {
        **_REST,
        Trigger.ACTIVATE: NodeState.ARMED,
        Trigger.ROLLBACK: NodeState.LEAVING,
        Trigger.BOOT_GOOD: NodeState.PAIRED,
    },
    NodeState.STAGED: {
        **_REST,
        Trigger.ACTIVATE: NodeState.ARMED,
        Trigger.ROLLBACK: Code.NOT_GOOD,
        Trigger.BOOT_GOOD: NodeState.STAGED,
    },
    NodeState.ARMED: {
        **_REST,
        Trigger.ACTIVATE: NodeState.ARMED,
        Trigger.DEACTIVATE: NodeState.STAGED,
        Trigger.ROLLBACK: Code.NOT_GOOD,
        Trigger.BOOT_TRIAL: NodeState.TRIAL,
        Trigger.BOOT_GOOD: NodeState.RETURNED,
    },
    NodeState.RETURNED: {
        **_REST,
        Trigger.ACTIVATE: NodeState.ARMED,
        Trigger.ROLLBACK: Code.NOT_GOOD,
        Trigger.BOOT_GOOD: NodeState.RETURNED,
    },
    NodeState.STAGING: {
        Trigger.INSTALL: Code.BUSY,
        Trigger.ACTIVATE: Code.BUSY,
        Trigger.DEACTIVATE: Code.BUSY,
        Trigger.COMMIT: Code.NO_TRIAL,
        Trigger.ROLLBACK: Code.BUSY,
        Trigger.CANCEL: NodeState.GOOD,
        Trigger.INSTALLED: NodeState.STAGED,
        Trigger.INSTALL_FAILED: NodeState.GOOD,
        Trigger.BOOT_GOOD: NodeState.GOOD,
    },
    NodeState.TRIAL: {
        Trigger.INSTALL: Code.IN_TRIAL,
        Trigger.ACTIVATE: Code.IN_TRIAL,
        Trigger.DEACTIVATE: Code.IN_TRIAL,
        Trigger.COMMIT: NodeState.PAIRED,
        Trigger.ROLLBACK: NodeState.LEAVING,
        Trigger.CANCEL: Code.NOTHING_RUNNING,
        Trigger.BOOT_TRIAL: NodeState.TRIAL,
        Trigger.BOOT_GOOD: NodeState.RETURNED,
    },
    NodeState.LEAVING: {
        Trigger.INSTALL: Code.SLOT_IN_USE,
        Trigger.ACTIVATE: Code.SLOT_IN_USE,
        Trigger.DEACTIVATE: Code.NO_TRIAL,
        Trigger.COMMIT: Code.NO_TRIAL,
        Trigger.ROLLBACK: NodeState.LEAVING,
        Trigger.CANCEL: Code.NOTHING_RUNNING,
        Trigger.BOOT_GOOD: NodeState.PAIRED,
    },
    NodeState.INCONSISTENT: {
        **_NEVER,
        Trigger.CANCEL: Code.NOTHING_RUNNING,
        Trigger.BOOT_GOOD: NodeState.GOOD,
    },
}
"""From each state, where a trigger leads, or the code of the refusal. A happening that cannot be is left out."""


def follow(state: NodeState, trigger: Trigger) -> NodeState:
    """Where ``trigger`` leads from ``state``.

    Raises:
        ProaError: the code that the table gives for it.
    """
    result = RULES[state][trigger]
    if isinstance(result, Code):
        raise ProaError(result, f"cannot {trigger.value} while the node is '{state.value}': {state.meaning}")
    return result


@dataclass(frozen=True)
class StateFacts:
    """What the states are told from.

    Attributes:
        state: The boot state.
        booted: The running slot; none where nothing runs, as with an image file.
        complete: Slots that hold a complete, verified release.
        partial: Slots where an install began and did not end.
        failed: Slots whose last trial came back.
        writing: The slot that is being written now.
        consistent: Whether boot loader and boot state agree about this boot.
        empty: Slots that hold nothing at all.
    """

    state: BootState
    booted: Slot | None
    complete: frozenset[Slot] = frozenset()
    partial: frozenset[Slot] = frozenset()
    failed: frozenset[Slot] = frozenset()
    writing: Slot | None = None
    consistent: bool = True
    empty: frozenset[Slot] = frozenset()


def slot_state(seen: StateFacts, slot: Slot) -> SlotState:
    """What ``slot`` is; the first row that fits."""
    state, trial = seen.state, seen.state.trial
    rows = (
        (seen.writing is slot, SlotState.WRITING),
        (slot in seen.empty, SlotState.EMPTY),
        (state.good is slot, SlotState.GOOD if seen.consistent or seen.booted else SlotState.UNKNOWN),
        (seen.booted is slot and trial is slot, SlotState.TRIAL),
        (seen.booted is slot, SlotState.LEAVING),
        (trial is slot and state.left > 0, SlotState.ARMED),
        (slot in seen.partial, SlotState.PARTIAL),
        (trial is slot or slot in seen.failed, SlotState.FAILED),
        (state.alt, SlotState.FALLBACK),
        (slot in seen.complete, SlotState.STAGED),
    )
    return next((found for fits, found in rows if fits), SlotState.UNKNOWN)


def node_state(seen: StateFacts) -> NodeState:
    """What the node is."""
    if not seen.consistent:
        return NodeState.INCONSISTENT
    good = seen.state.good
    running = slot_state(seen, seen.booted or good)
    if running in (SlotState.TRIAL, SlotState.LEAVING):
        return NodeState(running.value)
    standby = _BY_STANDBY[slot_state(seen, good.other)]
    return NodeState.EMPTY if running is SlotState.EMPTY and standby is NodeState.GOOD else standby
