"""What the agent's API and its verbs report of a node; light, since a mere client of the daemon reads it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proa.agent.node.health_seen import HealthSeen
from proa.agent.node.record import Bytes, LastResult, MovedBytes, Returned
from proa.agent.node.states import NodeState, SlotState
from proa.core.schema.model import Part, Report, field
from proa.core.schema.values import Count, Digest, Hash, Positive, Seconds
from proa.partition.boot.bootstate import Slot


@dataclass(frozen=True)
class SlotStatus(Part):
    """A slot."""

    state: SlotState = field("What the slot is (docs/reference/agent-states.md).")
    meaning: str = field("The same, in a sentence.")
    version: str = field("Of the release in it; empty if it is not known.", default="")
    root_hash: str = field("Of the release in it.", default="")
    manifest: str = field("The signed digest; empty for the release that the disk shipped with.", default="")
    serial: Count = field("Of the release in it.", default=0)
    complete: bool = field("Whether all of it is there.", default=False)
    name: str = field("The product line of the release in it.", default="")
    bytes: MovedBytes | None = field("What its install fetched, copied and wrote; null if unknown.", default=None)


@dataclass(frozen=True)
class Progress(Part):
    """The work that is under way."""

    verb: str = field("The verb.")
    job: Count = field("Its number.")
    slot: str = field("The slot that is being written; empty if none is.")
    step: str = field("The step that is under way.")
    done: Count = field("Bytes of it that are done.")
    total: Count = field("Bytes of it in all; 0 if that is unknown.")


@dataclass(frozen=True)
class Problem(Part):
    """Why nothing can be changed on a node."""

    code: str = field("The error's code.")
    message: str = field("The error's text.")


@dataclass(frozen=True)
class Etc(Part):
    """The release's /etc."""

    hidden: tuple[str, ...] | None = field("Files of it that the node's own files hide; null if that is unknown.")


@dataclass(frozen=True)
class GivenOrder(Part):
    """An order of the cluster (docs/explanation/orders.md)."""

    id: Positive = field("Its number; it grows.")
    action: str = field("The action of the order.")
    release: str = field("The release; empty if the action needs none.")
    result: str = field("`Running`, `Done`, `Refused` or `Failed`.")
    code: str = field("The error's code; empty if there is none.")
    message: str = field("The error's text.")
    fence: Count = field("Its fence: the node refuses orders below it.", default=0)
    forgotten: bool = field(
        "Whether root let the node forget its numbers, so that it accepts any order next.", default=False
    )


@dataclass(frozen=True)
class ForgottenOrder(Report, schema="proa.orders-forgotten/v1"):
    """`proa-agent orders forget`: the order whose numbers count no more."""

    order: GivenOrder | None = field("The last order; null if there was none.")
    dry_run: bool = field("Whether this was a dry run.")


@dataclass(frozen=True)
class SettingsInEffect(Part):
    """The node's settings; `proa-agent settings show` tells more."""

    hash: str = field("The hash of the committed document.")
    generation: Count = field("The generation in effect; 0 is the release's own.")
    phase: str = field("The state of the last document: Committed, Trial, Reverted or Failed.")
    drift: tuple[str, ...] = field("Settings that differ from the document in effect.", default=())


@dataclass(frozen=True)
class Status(Report, schema="proa.status/v1"):
    """`proa-agent status`: one look at the node."""

    state: NodeState = field("The node's state (docs/reference/agent-states.md).")
    meaning: str = field("The same, in a sentence.")
    booted: Slot | None = field("The running slot; null if none runs, as with an image file.")
    good: Slot = field("The committed slot; of a new disk the one that boots first, empty or not.")
    trial: Slot | None = field("The slot that is armed or on trial.")
    left: Count = field("Attempts that the trial has left.")
    other_good: bool = field("Whether the slot that is not good is also known to be good.")
    disk: str = field("The disk.")
    boot_id: str = field("The kernel's identifier of this boot.")
    floor: Count = field("The lowest serial that is accepted.")
    slots: Mapping[Slot, SlotStatus] = field("Both slots.")
    progress: Progress | None = field("The work that is under way; null if there is none.")
    last: LastResult | None = field("How the last job ended.")
    returned: Returned | None = field("The last trial that returned without a commit, and why.")
    problem: Problem | None = field("Why nothing can be changed on this node.")
    warnings: tuple[str, ...] = field("Warnings that do not stop anything.")
    etc: Etc = field("The release's /etc.")
    order: GivenOrder | None = field("The last order of the cluster; null if there was none.")
    health: HealthSeen | None = field("The last look at the health of this boot's trial; null if nobody has looked.")
    persist_encrypted: bool = field("Whether PERSIST is encrypted; only known of the running node.", default=False)
    settings: SettingsInEffect | None = field("The node's settings; null if it never had any of its own.", default=None)


@dataclass(frozen=True)
class ReturnedTrial(Report, schema="proa.returned/v1"):
    """`proa-agent returned`: the last trial that returned without a commit."""

    returned: Returned = field("The trial, and why it returned.")


@dataclass(frozen=True)
class Change(Report, schema="proa.change/v1"):
    """`proa-agent activate`, `deactivate`, `commit` and `rollback`: the node after it, or before a dry run."""

    state: NodeState = field("The node's state now (docs/reference/agent-states.md).")
    booted: Slot | None = field("The running slot; null if none runs, as with an image file.")
    good: Slot = field("The committed slot.")
    trial: Slot | None = field("The slot that is armed or on trial.")
    left: Count = field("Attempts that the trial has left.")
    version: str = field("The version in the other slot.")
    dry_run: bool = field("Whether this was a dry run.")
    actions: tuple[str, ...] = field("What was done, or would be, in order.")


@dataclass(frozen=True)
class Scrubbed(Report, schema="proa.scrub/v1"):
    """`proa-agent scrub`, if the slot is intact; otherwise the document is `proa.error/v1` with `VERITY`."""

    slot: Slot = field("The slot.")
    ok: bool = field("Whether the slot is intact.")
    blocks: Count = field("Blocks that were read.")
    bad: Count = field("Blocks that do not match the tree.")
    first: tuple[int, ...] = field("The first of them.", items={"minimum": 0})
    tree: str = field("What is wrong with the tree; empty if nothing is.")
    boot: str = field("What is wrong with the image of `UKI-x`; empty if nothing is.")


@dataclass(frozen=True)
class ReleaseFacts(Part):
    """A release."""

    name: str = field("The product line.")
    version: str = field("The label for people.")
    serial: Count = field("Orders the releases of a product line.")
    root_hash: Hash = field("The root hash, which identifies the release.")
    manifest: Digest = field("The signed manifest digest.")


@dataclass(frozen=True)
class Installed(Report, schema="proa.install/v1"):
    """`proa-agent install`."""

    release: ReleaseFacts = field("The release.")
    slot: Slot = field("The slot that holds it.")
    bytes: Bytes = field("Bytes by origin.")
    unchanged: bool = field("Whether nothing was written, because the good slot holds it.")
    activated: bool = field("Whether the next boot tries it.")
    taken_back: bool = field("Whether the good slot's release was activated, so that the other slot was disarmed.")
    reboot: bool = field("Whether a reboot was ordered.")
    seconds: Seconds = field("Duration of the whole install.")
    peak_memory: Count = field("Peak memory of the installing process, in bytes.")
    avoided: Count = field("Bytes of the written that are zeros, which the device made itself.", default=0)
    mirrors_left: tuple[str, ...] = field("Mirrors that were left, and why.", default=())


@dataclass(frozen=True)
class PlannedInstall(Report, schema="proa.install-plan/v1"):
    """`proa-agent install --dry-run`: what an install would do, once the release is verified."""

    release: ReleaseFacts = field("The release.")
    slot: Slot = field("The slot that would hold it.")
    bytes: Bytes = field("Bytes by origin.")
    actions: tuple[str, ...] = field("The actions, in order; empty if there is nothing to do.")


@dataclass(frozen=True)
class StartedJob(Report, schema="proa.job/v1"):
    """`proa-agent cancel`: what was asked to stop."""

    job: Count = field("Its number; without a daemon, the process id.")
    verb: str = field("Its verb; empty if that is unknown.", default="")
    since: Count = field("The number of its first event.", default=0)
