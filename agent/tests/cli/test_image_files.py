"""A disk image worked on beside the node: by an ordinary user, and with the truth about what it holds (n20)."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from proa.agent.cli.text import describe_status
from proa.agent.node.lock import locked
from proa.agent.node.paths import Paths
from proa.agent.node.states import NodeState, SlotState
from proa.agent.node.view import Context
from proa.agent.testing.node import Node
from proa.agent.testing.synthetic import make_boot_image
from proa.agent.testing.trials import refused
from proa.agent.testing.world import World
from proa.agent.verbs import verbs
from proa.agent.verbs.status import status
from proa.core.runtime.errors import Code
from proa.core.runtime.process import run
from proa.partition.boot.bootstate import Slot
from proa.partition.cli import showing
from proa.partition.disk.kernelimage import KernelImage, read_kernel_image
from proa.partition.disk.slots import Extent, open_image
from proa.partition.disk.slots import Node as DiskNode

MIB = 1 << 20
HASH = "ab" * 32


@pytest.fixture
def blank(world: World, node: Node, tmp_path: Path) -> Path:
    """A disk with its table and its boot state, and nothing in the slots."""
    path = tmp_path / "blank"
    run(["cp", "--sparse=always", world.disk, path])
    with path.open("r+b") as disk:
        disk.seek(world.layout["STATE"].start)
        disk.write(node.part("STATE").read_bytes())
    return path


def kernel_image(osrel: str, line: str, sections: int = 2) -> bytes:
    """As little of a PE file as has the two sections, the way ukify and objcopy lay them out."""
    texts = [(b".osrel", osrel.encode()), (b".cmdline", line.encode())]
    head = bytearray(512)
    head[0:2], head[0x3C:0x40], head[64:68] = b"MZ", struct.pack("<I", 64), b"PE\0\0"
    struct.pack_into("<H12xH", head, 70, sections, 0)
    place, body = 512, b""
    for number, (name, text) in enumerate(texts):
        stored = text.ljust(-(-len(text) // 512) * 512, b"\0")
        struct.pack_into("<8sIIII", head, 88 + 40 * number, name, len(text), 0, len(stored), place + len(body))
        body += stored
    return bytes(head) + body


def put(disk: Path, world: World, folder: Path, slot: Slot, kernel: bytes) -> None:
    """Put a kernel image, and something of a root, into a slot."""
    (folder / "uki").write_bytes(kernel)
    make_boot_image(folder / "boot", folder / "uki", MIB // 2)
    with disk.open("r+b") as file:
        file.seek(world.layout[slot.uki_name].start)
        file.write((folder / "boot").read_bytes())
        file.seek(world.layout[slot.root_name].start)
        file.write(b"root")


GOOD = kernel_image(
    'ID=debian\nIMAGE_ID=worker\nIMAGE_VERSION=2.1\nPRETTY_NAME="x"\n', f"quiet proa.root_hash={HASH} x=1"
)


def test_n20_a_blank_disk_does_not_say_good(blank: Path, tmp_path: Path) -> None:
    context = Context(Paths(tmp_path / "root", blank))
    told = status(context)
    assert told.state is NodeState.EMPTY
    assert {slot.state for slot in told.slots.values()} == {SlotState.EMPTY}
    assert "good" not in describe_status(told)
    shown = showing.text(showing.look(DiskNode(open_image(blank))))
    assert "slot a: empty, boots first" in shown
    assert refused(verbs.activate, context).code is Code.NOT_STAGED
    assert refused(verbs.rollback, context).code is Code.NOT_GOOD


def test_n20_without_a_boot_state_no_slot_is_called_good(world: World, blank: Path, tmp_path: Path) -> None:
    put(blank, world, tmp_path, Slot.A, GOOD)
    with blank.open("r+b") as disk:
        disk.seek(world.layout["STATE"].start)
        disk.write(bytes(world.layout["STATE"].size))
    found = status(Context(Paths(tmp_path / "root", blank)))
    assert {name: slot.state for name, slot in found.slots.items()} == {
        Slot.A: SlotState.UNKNOWN,
        Slot.B: SlotState.EMPTY,
    }


def test_s12_a_disk_whose_links_lead_in_a_circle_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    error = refused(lambda: status(Context(Paths(disk=tmp_path / "loop"))))
    assert (error.code, error.at) == (Code.FILE_MISSING, str(tmp_path / "loop"))


def test_n20_slots_say_which_release_lies_in_them(blank: Path, world: World, tmp_path: Path) -> None:
    put(blank, world, tmp_path, Slot.A, GOOD)
    told = status(Context(Paths(tmp_path / "root", blank))).slots
    assert (told[Slot.A].name, told[Slot.A].version, told[Slot.A].root_hash) == ("worker", "2.1", HASH)
    assert (told[Slot.A].state, told[Slot.B].state) == (SlotState.GOOD, SlotState.EMPTY)
    view = showing.look(DiskNode(open_image(blank)))
    assert f"slot a: filled, worker 2.1, root {HASH}, good" in showing.text(view)
    assert showing.report(view).slots[Slot.A].release == KernelImage("worker", "2.1", HASH)
    assert showing.report(view).slots[Slot.B].release is None


@pytest.mark.parametrize(
    "kernel",
    [
        b"",
        b"MZ",
        b"no program" * 1000,
        kernel_image("", ""),
        kernel_image("IMAGE_ID", "proa.root_hash=short"),
        kernel_image("x", "y", sections=65535),
        GOOD[:300],
        GOOD[:512],
        bytes(0x3C) + b"\xff\xff\xff\x7f" + bytes(1000),
        bytes(0x3C) + b"\xff\xff\xff\xff",
    ],
)
def test_n20_a_kernel_image_that_is_none_says_nothing(blank: Path, world: World, tmp_path: Path, kernel: bytes) -> None:
    put(blank, world, tmp_path, Slot.A, kernel)
    told = status(Context(Paths(tmp_path / "root", blank)))
    assert (told.slots[Slot.A].version, told.slots[Slot.A].root_hash) == ("", "")


def test_n20_escapes_of_a_foreign_image_stay_out_of_the_terminal(blank: Path, world: World, tmp_path: Path) -> None:
    put(blank, world, tmp_path, Slot.A, kernel_image("IMAGE_ID=\x1b[31mred\nIMAGE_VERSION=1\n", ""))
    assert "\x1b" not in showing.text(showing.look(DiskNode(open_image(blank))))
    assert "\x1b" not in describe_status(status(Context(Paths(tmp_path / "root", blank))))


def test_n20_a_partition_without_a_file_system_holds_no_kernel_image(tmp_path: Path) -> None:
    for content in (b"", bytes(MIB), b"\xff" * MIB):
        (tmp_path / "part").write_bytes(content)
        assert read_kernel_image(Extent(tmp_path / "part", 0, len(content))) is None


@pytest.fixture
def user(blank: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An ordinary user with a home, and a disk image in it."""
    with tempfile.TemporaryDirectory(prefix="proa-user-") as name:
        home = Path(name)
        for variable in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("HOME", name)
        run(["cp", "--sparse=always", blank, home / "disk.img"])
        for path in (home, home / "disk.img"):
            os.chown(path, 65534, 65534)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield home
        finally:
            if root:
                os.seteuid(0)


def test_n20_an_ordinary_user_works_on_an_own_image(user: Path) -> None:
    paths = Paths(disk=user / "disk.img")
    assert status(Context(paths)).state is NodeState.EMPTY
    assert refused(verbs.deactivate, Context(paths)).code is Code.NO_TRIAL, "not that a folder is root's"
    with locked(paths):
        assert paths.lock.is_relative_to(user / ".local/state/proa")
    assert paths.state != paths.run
    for place in (paths.record, paths.trial, paths.socket, paths.leaving):
        assert place.is_relative_to(user)


def test_n20_its_records_stand_where_the_user_wants_state(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(user / "state"))
    one, two = Paths(disk=user / "one"), Paths(disk=user / "two")
    assert one.record.is_relative_to(user / "state/proa")
    assert one.record != two.record


def test_n20_root_and_the_node_keep_their_places(tmp_path: Path) -> None:
    assert Paths().record == Path("/var/lib/proa/agent.json")
    assert Paths(tmp_path, tmp_path / "x").record == tmp_path / "var/lib/proa/agent.json"
