"""A node in a folder: partitions as files, a kernel that answers for them, and a boot as GRUB decides it."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from proa.agent.install.install import install
from proa.agent.install.order import Activation, InstallOrder
from proa.agent.node.paths import Paths
from proa.agent.node.record import AgentRecord, LastResult, Returned, load
from proa.agent.node.view import Context, View, look
from proa.agent.slot.region import Opener, open_direct
from proa.agent.testing.synthetic import digest_of_range
from proa.agent.testing.world import ROOT_SIZE, World
from proa.agent.trial.reconcile import reconcile
from proa.core.release.document import BLOCK_SIZE, decode
from proa.core.release.verity import build_tree, tree_size
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.events import Recorder
from proa.core.schema.model import document
from proa.core.signing import trust
from proa.partition.boot.bootstate import BootState, Slot
from proa.partition.boot.decisions import decide
from proa.partition.boot.statefile import StateFile
from proa.partition.disk.layout import Layout
from proa.partition.disk.system import Block

SALT: Final = "5a" * 32
Thing = TypeVar("Thing")


@dataclass
class FakeKernel:
    """What the kernel would say of a machine whose partitions are files."""

    disk: Path
    folder: Path
    layout: Layout
    booted: Slot
    line: str = ""
    extra: tuple[Block, ...] = ()
    encrypted: bool = False

    def cmdline(self) -> str:
        """See :class:`proa.partition.disk.system.System`."""
        return self.line

    def mapping(self, name: str) -> str | None:
        """As if the root were verity's."""
        found = {"proa-root": "253:0"} | ({"proa-persist": "253:1"} if self.encrypted else {})
        return found.get(name)

    def mapping_table(self, name: str) -> str:
        """Nothing is known of it."""
        return ""

    def slaves(self, number: str) -> tuple[str, ...]:
        """The root partition of the booted slot."""
        return (f"254:{self.layout[self.booted.root_name].number}",)

    def block(self, number: str) -> Block:
        """The disk, or a partition of it."""
        if number == "254:0":
            return Block(number, self.disk, size=self.layout.disk_size)
        return next(block for block in self.partitions("254:0") if block.number == number)

    def partitions(self, disk: str) -> tuple[Block, ...]:
        """The partitions of the layout, each a file."""
        return tuple(
            Block(f"254:{one.number}", self.folder / one.name, one.number, one.start, one.size, "254:0")
            for one in self.layout.partitions
        )

    def loader_partition(self) -> str:
        """The firmware told none."""
        return ""


def known(found: Thing | None) -> Thing:
    """What has to be there."""
    assert found is not None
    return found


@dataclass
class NodeClock(VirtualClock):
    """A virtual clock on which something else may happen whenever somebody sleeps.

    Attributes:
        instead: What happens, told the seconds; the clock moves on if none.
    """

    instead: Callable[[float], object] | None = None

    def sleep(self, seconds: float) -> None:
        """See :class:`proa.core.runtime.clock.Clock`."""
        (self.instead or self.pass_by)(seconds)

    def pass_by(self, seconds: float) -> None:
        """Move the clock on."""
        super().sleep(seconds)


@dataclass
class Node:
    """A running node, or with ``image`` a disk that nothing runs from."""

    folder: Path
    world: World
    clock: NodeClock = field(default_factory=NodeClock)
    events: Recorder = field(default_factory=Recorder)
    booted: Slot = Slot.A
    encrypted: bool = False
    boots: int = 0
    releases: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """Its file system."""
        return self.folder / "root"

    @property
    def paths(self) -> Paths:
        """Its paths."""
        return Paths(self.root)

    @property
    def kernel(self) -> FakeKernel:
        """What its kernel says."""
        line = (self.root / "proc/cmdline").read_text()
        found = FakeKernel(self.world.disk, self.folder, self.world.layout, self.booted, line)
        return dataclasses.replace(found, encrypted=self.encrypted)

    @functools.cached_property
    def context(self) -> Context:
        """Of this boot."""
        return Context(self.paths, self.events, self.clock, self.kernel)

    @property
    def view(self) -> View:
        """What the agent sees."""
        return look(self.context)

    @property
    def record(self) -> AgentRecord:
        """The agent's record."""
        return load(self.paths.record)[0]

    @property
    def last(self) -> LastResult:
        """What became of the last verb."""
        return known(self.record.last)

    @property
    def returned(self) -> Returned:
        """What is known of the trial that came back."""
        return known(self.record.returned)

    @property
    def states(self) -> StateFile:
        """The boot state on its disk."""
        return StateFile.within(self.folder / "STATE", 0)

    @property
    def state(self) -> BootState:
        """The boot state that counts."""
        return self.states.current()

    def part(self, name: str) -> Path:
        """The file of a partition."""
        return self.folder / name

    def bytes_of(self, *slots: Slot) -> list[str]:
        """A digest of all bytes of the slots."""
        names = [name for slot in slots for name in (slot.root_name, slot.uki_name)]
        return [digest_of_range(self.part(name), 0, self.world.layout[name].size) for name in names]

    def install(
        self, reference: str, *, opener: Opener = open_direct, downgrade: bool = False, **activation: Any
    ) -> dict[str, Any]:
        """Install a release, by the agent's own code."""
        order = InstallOrder(reference, Activation(**activation), downgrade=downgrade)
        return document(install(self.context, order, opener))

    def reconcile(self) -> View:
        """What the agent does when it starts."""
        return reconcile(self.context)

    def reboot(self, *, agent: bool = True) -> Slot:
        """Boot as GRUB would; what is in /run is gone, and the agent settles unless it never starts."""
        pair = self.states.read()
        decision = decide(*pair, default=Slot.A)
        if decision.write:
            self.states.write(decision.write[1])
        shutil.rmtree(self.root / "run", ignore_errors=True)
        self.boot(decision.slot)
        if agent:
            self.reconcile()
        return decision.slot

    def boot(self, slot: Slot) -> None:
        """What the initrd and the kernel leave behind when ``slot`` is booted."""
        self.booted = slot
        self.boots += 1
        self.__dict__.pop("context", None)
        release = self.contents(slot)
        state = self.states.read().state
        report = {
            "schema": "proa.boot/v1",
            "slot": slot.value,
            "disk": str(self.world.disk),
            "root": str(self.part(slot.root_name)),
            "root_hash": release["root_hash"],
            "trial": bool(state and state.trial is slot and state.good is not slot),
            "left": state.left if state else 0,
            "first_boot": False,
        }
        line = f"proa.root_hash={release['root_hash']} proa.salt={SALT} proa.data_blocks={release['blocks']} quiet\n"
        self.write("run/proa/boot.json", json.dumps(report))
        self.write("proc/cmdline", line)
        self.write("proc/sys/kernel/random/boot_id", f"boot-{self.boots}\n")
        keys = ("name", "version", "serial", "floor", "compatible", "architecture", "expires")
        own = {key: release.get(key, "") for key in keys}
        self.write("usr/lib/proa/release.json", json.dumps(own | {"layout": 1, "loader": 1}))

    def contents(self, slot: Slot) -> dict[str, Any]:
        """What the release that lies in the slot says of itself, found by its root hash."""
        known = self.record.slots.get(slot)
        root_hash = known.root_hash if known else next(iter(self.releases))
        return self.releases[root_hash]

    def know(self, reference: str) -> dict[str, Any]:
        """Remember what a release says of itself, for when it is booted."""
        found = release_document(reference)
        self.releases[found["root_hash"]] = found
        return found

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Write a file below its root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def trust(self, **changes: Any) -> None:
        """Replace whom the node believes."""
        believed = trust.Trust(**({"keys": (self.world.key.public,), "compatible": "test"} | changes))
        shutil.rmtree(self.paths.usr / "trust", ignore_errors=True)
        trust.save(self.paths.usr / "trust", believed)


@functools.cache
def release_document(reference: str) -> dict[str, Any]:
    """What a release in an OCI layout says of itself."""
    for path in sorted((Path(reference.removeprefix("oci:")) / "blobs/sha256").iterdir()):
        if path.stat().st_size < 4096 and b'"proa.release/v1"' in path.read_bytes():
            release = decode(path.read_bytes())
            named = {"root_hash": release.root.root_hash, "blocks": release.root.size // BLOCK_SIZE}
            return dataclasses.asdict(release) | named
    raise AssertionError


def new_node(world: World, folder: Path) -> Node:
    """Make a node in a folder that runs slot A as it left the factory."""
    node = Node(folder, world)
    node.folder.mkdir()
    for one in world.layout.partitions:
        with node.part(one.name).open("wb") as file:
            file.truncate(one.size)
    shutil.copyfile(world.folder / "state", node.part("STATE"))
    fill(node, Slot.A)
    node.trust()
    node.write("usr/lib/proa/agent.toml", "[health]\nseconds = 5\n")
    node.know(f"oci:{world.folder / 'factory/oci'}")
    node.boot(Slot.A)
    return node


def fill(node: Node, slot: Slot) -> None:
    """Put the factory's release into a slot, as the builder does."""
    world = node.world
    with node.part(slot.root_name).open("r+b") as file:
        file.write(world.factory.root.read_bytes())
        work = world.folder / "factory/plain"
        if not work.exists():
            with world.factory.root.open("rb") as image, work.open("wb+") as tree:
                build_tree(image, tree, bytes.fromhex(SALT))
        file.write(work.read_bytes())
        assert work.stat().st_size == tree_size(ROOT_SIZE)
    with node.part(slot.uki_name).open("r+b") as file:
        file.write(world.factory.boot.read_bytes())
