"""A node in a folder: partitions as files, a kernel that answers for them, a boot as GRUB decides it, and orders."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proa.agent.api.jobs import EventLog, Jobs
from proa.agent.install.install import install, plan_only
from proa.agent.install.order import Activation, InstallOrder
from proa.agent.node.cancel import Cancel
from proa.agent.node.paths import Paths
from proa.agent.node.record import Record, load
from proa.agent.node.view import Context, View, look
from proa.agent.orders.status_feed import StatusFeed
from proa.agent.orders.worker import OrderWorker
from proa.agent.slot.region import Opener, open_direct
from proa.agent.testing import synthetic
from proa.agent.testing.synthetic import Recipe, digest_of_range
from proa.agent.trial.health import Health
from proa.agent.trial.reconcile import reconcile
from proa.core.orders.messages import NodeStatus
from proa.core.release.document import BLOCK_SIZE, decode
from proa.core.release.verity import tree_size
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.events import Recorder, Tee
from proa.core.runtime.process import run
from proa.core.signing import trust
from proa.core.signing.keys import Algorithm, PrivateKey
from proa.partition.boot.bootstate import BootState, Slot, decide, initial
from proa.partition.boot.statefile import StateFile, make_state_image
from proa.partition.disk.layout import Layout, Request, Sizes, plan
from proa.partition.disk.system import Block
from proa.partition.disk.table import write_table

MIB = 1 << 20
ROOT_SIZE = MIB + MIB // 2
ROOM = 2 * MIB
SALT = "5a" * 32


@dataclass(frozen=True)
class World:
    """What all tests share: keys, images, releases, an empty partitioned disk."""

    folder: Path
    key: PrivateKey
    stranger: PrivateKey
    layout: Layout
    factory: Recipe
    """What slot A has when the disk leaves the factory."""

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"

    def image(self, seed: int, size: int = ROOT_SIZE) -> Path:
        path = self.folder / f"root-{seed}-{size}"
        if not path.exists():
            synthetic.make_noise(path, size, seed)
        return path

    def recipe(self, version: str = "2", **changes: Any) -> Recipe:
        recipe = dataclasses.replace(self.factory, root=self.image(int(version)), version=version, serial=int(version))
        return dataclasses.replace(recipe, **changes)

    def release(self, folder: Path, recipe: Recipe, signers: list[PrivateKey] | None = None, **lies: Any) -> str:
        """A reference to a new release in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        work = folder / "work"
        work.mkdir()
        signed_by = [self.key] if signers is None else signers
        synthetic.make_release(recipe, folder / "oci", signed_by, work, **lies)
        return f"oci:{folder / 'oci'}"


@contextlib.contextmanager
def fast_folder() -> Iterator[Path]:
    """A folder in memory where that can be, for the many flushes."""
    memory = Path("/dev/shm")  # noqa: S108 -- a folder of our own is made in it
    with tempfile.TemporaryDirectory(prefix="proa-agent-", dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with fast_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with fast_folder() as folder:
        yield new_world(folder)


def new_world(folder: Path) -> World:
    uki, boot = folder / "uki", folder / "boot"
    synthetic.make_noise(uki, 100_000, 7)
    synthetic.make_boot_image(boot, uki, MIB // 4)
    layout = plan(Request("test", Sizes(uki=MIB, root=ROOM, persist=16 * MIB)))
    write_table(folder / "disk.img", layout)
    make_state_image(folder / "state", initial())
    keys = [Algorithm.ED25519.generate(), Algorithm.ECDSA_P256.generate()]
    world = World(folder, keys[0], keys[1], layout, Recipe(folder / "root", boot, uki, level=1))
    world = dataclasses.replace(world, factory=dataclasses.replace(world.factory, root=world.image(1)))
    world.release(folder / "factory", world.factory)
    return world


@pytest.fixture(scope="session")
def release2(world: World) -> str:
    """A good release, newer than the factory's."""
    return world.release(world.folder / "release2", world.recipe("2"))


@dataclass
class FakeKernel:
    """What the kernel would say of a machine whose partitions are files."""

    disk: Path
    folder: Path
    layout: Layout
    booted: Slot
    line: str = ""
    extra: tuple[Block, ...] = ()

    def cmdline(self) -> str:
        return self.line

    def mapping(self, name: str) -> str | None:
        return "253:0" if name == "proa-root" else None

    def mapping_table(self, name: str) -> str:
        return ""

    def slaves(self, number: str) -> tuple[str, ...]:
        return (f"254:{self.layout[self.booted.root_name].number}",)

    def block(self, number: str) -> Block:
        if number == "254:0":
            return Block(number, self.disk, size=self.layout.disk_size)
        return next(block for block in self.partitions("254:0") if block.number == number)

    def partitions(self, disk: str) -> tuple[Block, ...]:
        return tuple(
            Block(f"254:{one.number}", self.folder / one.name, one.number, one.start, one.size, "254:0")
            for one in self.layout.partitions
        )

    def loader_partition(self) -> str:
        return ""


@dataclass
class Node:
    """A running node, or with ``image`` a disk that nothing runs from."""

    folder: Path
    world: World
    clock: VirtualClock = field(default_factory=VirtualClock)
    events: Recorder = field(default_factory=Recorder)
    booted: Slot = Slot.A
    boots: int = 0
    releases: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def paths(self) -> Paths:
        return Paths(self.root)

    @property
    def kernel(self) -> FakeKernel:
        line = (self.root / "proc/cmdline").read_text()
        return FakeKernel(self.world.disk, self.folder, self.world.layout, self.booted, line)

    @functools.cached_property
    def context(self) -> Context:
        """Of this boot."""
        return Context(self.paths, self.events, self.clock, self.kernel)

    @property
    def view(self) -> View:
        return look(self.context)

    @property
    def record(self) -> Record:
        return load(self.paths.record)[0]

    @property
    def states(self) -> StateFile:
        return StateFile.within(self.folder / "STATE", 0)

    @property
    def state(self) -> BootState:
        return self.states.current()

    def part(self, name: str) -> Path:
        return self.folder / name

    def bytes_of(self, *slots: Slot) -> list[str]:
        """A digest of all bytes of the slots."""
        names = [name for slot in slots for name in (slot.root_name, slot.uki_name)]
        return [digest_of_range(self.part(name), 0, self.world.layout[name].size) for name in names]

    def install(self, reference: str, *, opener: Opener = open_direct, **activation: Any) -> dict[str, Any]:
        return install(self.context, InstallOrder(reference, Activation(**activation)), opener)

    def reconcile(self) -> View:
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
        own = {key: release[key] for key in ("name", "version", "serial", "floor", "compatible", "architecture")}
        self.write("usr/lib/proa/release.json", json.dumps(own | {"layout": 1, "loader": 1}))

    def contents(self, slot: Slot) -> dict[str, Any]:
        """What the release that lies in the slot says of itself, found by its root hash."""
        known = self.record.slots.get(slot)
        root_hash = known.root_hash if known else next(iter(self.releases))
        return self.releases[root_hash]

    def know(self, reference: str) -> dict[str, Any]:
        """Remember what a release says of itself, for when it is booted."""
        found = document(reference)
        self.releases[found["root_hash"]] = found
        return found

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
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
def document(reference: str) -> dict[str, Any]:
    for path in sorted((Path(reference.removeprefix("oci:")) / "blobs/sha256").iterdir()):
        if path.stat().st_size < 4096 and b'"proa.release/v1"' in path.read_bytes():
            release = decode(path.read_bytes())
            named = {"root_hash": release.root.root_hash, "blocks": release.root.size // BLOCK_SIZE}
            return dataclasses.asdict(release) | named
    raise AssertionError


@pytest.fixture
def node(world: World, tmp_path: Path) -> Node:
    """A node that runs slot A as it left the factory."""
    return new_node(world, tmp_path / "node")


def new_node(world: World, folder: Path) -> Node:
    node = Node(folder, world)
    node.folder.mkdir()
    for one in world.layout.partitions:
        with node.part(one.name).open("wb") as file:
            file.truncate(one.size)
    shutil.copyfile(world.folder / "state", node.part("STATE"))
    fill(node, Slot.A)
    node.trust()
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
            from proa.core.release.verity import build_tree

            with world.factory.root.open("rb") as image, work.open("wb+") as tree:
                build_tree(image, tree, bytes.fromhex(SALT))
        file.write(work.read_bytes())
        assert work.stat().st_size == tree_size(ROOT_SIZE)
    with node.part(slot.uki_name).open("r+b") as file:
        file.write(world.factory.boot.read_bytes())


@dataclass
class Systemctl:
    """A program ``systemctl`` on PATH that writes down what it is asked and answers from files."""

    folder: Path

    @property
    def calls(self) -> list[str]:
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def log(self, call: str) -> None:
        """As if it had been asked for something."""
        with (self.folder / "calls").open("a") as file:
            file.write(call + "\n")

    def answer(self, verb: str, text: str, status: int = 0) -> None:
        (self.folder / verb).write_text(text)
        (self.folder / f"{verb}.status").write_text(str(status))


_SYSTEMCTL = """#!/bin/sh
here=${0%/*}/answers status=0
echo "$*" >>"$here/calls"
[ -e "$here/$1" ] && cat "$here/$1"
[ -e "$here/$1.status" ] && read -r status <"$here/$1.status"
exit "$status"
"""


_SYSTEMD_RUN = """#!/bin/sh
# Does at once what would be done in a moment.
while [ "$1" != systemctl ]; do shift; done
exec "$@"
"""


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemctl:
    """A healthy system."""
    programs = tmp_path / "bin"
    (programs / "answers").mkdir(parents=True)
    for name, script in (("systemctl", _SYSTEMCTL), ("systemd-run", _SYSTEMD_RUN)):
        program = programs / name
        program.write_text(script)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    fake = Systemctl(programs / "answers")
    fake.answer("is-system-running", "running\n")
    return fake


@pytest.fixture(scope="session")
def trial_folder(world: World, release2: str) -> Iterator[Node]:
    """A node that runs a trial of release 2 in slot B, of two tries; :func:`trial` copies it."""
    with fast_folder() as folder:
        node = new_node(world, folder / "node")
        node.know(release2)
        node.reconcile()
        node.install(release2, activate=True, tries=2)
        assert node.reboot() is Slot.B
        yield node


@pytest.fixture
def trial(trial_folder: Node, systemctl: Systemctl, tmp_path: Path) -> Node:
    """A node that runs a trial of release 2 in slot B, of two tries."""
    run(["cp", "--archive", "--sparse=always", trial_folder.folder, tmp_path / "node"])
    found = dataclasses.replace(
        trial_folder, folder=tmp_path / "node", clock=VirtualClock(), events=Recorder(), releases=trial_folder.releases
    )
    found.write("run/proa/boot.json", found.paths.boot.read_text())
    return found


@dataclass
class Agent:
    """The part of a daemon that carries orders out, in one boot of a node."""

    node: Node
    places: dict[str, str]
    """Where the releases lie that orders name, by manifest digest."""
    health: Health | None = None
    cancel: Cancel = field(default_factory=Cancel)
    monitors: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.changed = ChangeSignal()
        log = EventLog(changed=self.changed)
        monitor = Tee((self.node.events, log, *self.monitors))
        self.context = dataclasses.replace(self.node.context, monitor=monitor, cancel=self.cancel)
        feed = StatusFeed(self.context, Jobs(log), self.changed, health=lambda: self.health)
        self.worker = OrderWorker(feed, install=self.install)

    def install(self, context: Context, order: InstallOrder, begins: Callable[[], None]) -> dict[str, Any]:
        """The real one, from where the release lies."""
        digest = order.reference.rpartition("@")[2]
        place = self.places.get(digest, "oci:/nowhere")
        return install(context, dataclasses.replace(order, reference=f"{place}@{digest}"), begins=begins)

    def order(self, number: int, action: str, digest: str = "", fence: int = 1, **more: Any) -> NodeStatus:
        """Give an order, and see it as far as it comes in this boot."""
        self.worker.put(Site.order(number, action, digest, fence, **more))
        return self.work()

    def work(self) -> NodeStatus:
        """Let the worker work until only time, a boot or an order brings it on."""
        for _ in range(50):
            known = self.changed.count
            pause = self.worker.step()
            job = self.worker.feed.jobs.current
            if job and job.thread:
                job.thread.join(30)
            elif self.changed.count == known and pause != 0.0:
                return self.status
        raise AssertionError(pause)

    @property
    def status(self) -> NodeStatus:
        return self.worker.feed.status()


@dataclass
class Site:
    """A node, and the releases that there are."""

    node: Node
    systemctl: Systemctl
    places: dict[str, str]
    new: str
    """The manifest digest of release 2."""
    factory: str
    kept: Path
    """A node with a trial, once there was one."""

    @staticmethod
    def order(number: int, action: str, digest: str = "", fence: int = 1, **more: Any) -> dict[str, Any]:
        """An order as it comes through the socket."""
        release = {"release": f"registry.example/os/node:2@{digest}"} if digest else {}
        return {"id": number, "action": action, "fence": fence} | release | more

    @staticmethod
    def proof(status: NodeStatus) -> dict[str, str]:
        """What a commit of what runs has to say."""
        assert status.booted
        return {"bootID": status.booted.boot_id, "rootHash": status.booted.root_hash}

    def agent(self, **options: Any) -> Agent:
        return Agent(self.node, self.places, **options)

    @property
    def reboots(self) -> int:
        return self.systemctl.calls.count("reboot")

    def reboot(self, *, agent: bool = True) -> Slot:
        self.node.clock.at = 20.0
        return self.node.reboot(agent=agent)

    def on_trial(self) -> Agent:
        """Stage and boot release 2 by orders; the agent of its trial. What that leaves is kept for the next test."""
        if not self.kept.exists():
            self.agent().order(1, "Stage", self.new)
            self.agent().order(2, "Boot", self.new)
            assert self.reboot() is Slot.B
            assert self.agent().work().phase == "Trial"
            run(["cp", "--archive", "--sparse=always", self.node.folder, self.kept])
            return self.agent()
        shutil.rmtree(self.node.folder)
        run(["cp", "--archive", "--sparse=always", self.kept, self.node.folder])
        self.node.clock.at, self.node.booted, self.node.boots = 20.0, Slot.B, 2
        self.node.__dict__.pop("context", None)
        self.systemctl.log("reboot")
        return self.agent()

    def committed(self) -> Agent:
        agent = self.on_trial()
        agent.health = Health(())
        assert agent.order(3, "Commit", trial=self.proof(agent.status)).phase == "Good"
        return agent


@pytest.fixture(scope="session")
def digests(world: World, release2: str) -> dict[str, str]:
    return {release2: "", f"oci:{world.folder / 'factory/oci'}": ""}


@pytest.fixture
def site(node: Node, world: World, release2: str, systemctl: Systemctl, digests: dict[str, str]) -> Site:
    for reference in digests:
        if not digests[reference]:
            digests[reference] = plan_only(node.context, InstallOrder(reference))["release"]["manifest"]
    node.know(release2)
    node.reconcile()
    new, factory = digests.values()
    places = {digest: place for place, digest in digests.items()}
    return Site(node, systemctl, places, new, factory, world.folder / "on-trial")
