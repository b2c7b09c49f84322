"""What a release shares with the good slot is copied, what an interrupted install left is kept, the rest is fetched."""

from __future__ import annotations

import dataclasses
import io
import random
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.agent.install.facts import load_trust, open_offer
from proa.agent.install.fetch import fetch_maps
from proa.agent.install.filling import MAX_BAD, REQUEST, BlobPlan, Filling, Stretch, packed, plan_frames
from proa.agent.install.install import install, plan_only
from proa.agent.install.order import InstallOrder
from proa.agent.install.seeds import BlockSeed, PlaceSeed, names
from proa.agent.node.cancel import Cancel
from proa.agent.slot.region import Half, open_for_writing
from proa.agent.slot.writer import SlotWriter
from proa.agent.testing.installs import refused, standby_is
from proa.agent.testing.node import Node, new_node
from proa.agent.testing.trials import warnings
from proa.agent.testing.world import MIB, World, fast_folder
from proa.core.oci.access import DEFAULT
from proa.core.release.document import BLOCK_SIZE, FRAME_SIZE
from proa.core.release.frames import Frame, FrameMap, content_names
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Event, Progress
from proa.partition.boot.bootstate import Slot

Edit = Callable[[bytearray], object]


def edited(world: World, folder: Path, edit: Edit, **changes: Any) -> tuple[Any, str]:
    """The factory's release with other bytes in its root: its recipe, and a reference."""
    data = bytearray(world.factory.root.read_bytes())
    edit(data)
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / "root"
    root.write_bytes(data)
    recipe = world.recipe("2", root=root, **changes)
    return recipe, world.release(folder / "release", recipe)


def one_byte(data: bytearray) -> None:
    data[700_000] ^= 1


def shift(data: bytearray) -> None:
    """Nothing stays in its place: a block more at the start."""
    data[BLOCK_SIZE:] = data[:-BLOCK_SIZE]
    data[:BLOCK_SIZE] = b"new!" * (BLOCK_SIZE // 4)


def others(reference: str, node: Node) -> int:
    """What is fetched whatever the root: map and tree."""
    with open_offer(node.context, reference, DEFAULT, load_trust(node.context)) as offer:
        return sum(offer.candidate.release.blobs[name].size for name in ("map", "tree"))


def test_one_byte_costs_the_frame_that_it_is_in(node: Node, world: World, tmp_path: Path) -> None:
    recipe, reference = edited(world, tmp_path, one_byte)
    report = node.install(reference)
    standby_is(node, world, recipe)
    fetched = report["bytes"]["fetch"] - others(reference, node)
    assert 0 < fetched < FRAME_SIZE
    assert report["bytes"]["copy"] == recipe.root.stat().st_size + recipe.boot.stat().st_size - FRAME_SIZE


def test_blocks_are_found_wherever_they_lie(node: Node, world: World, tmp_path: Path) -> None:
    recipe, reference = edited(world, tmp_path, shift)
    report = node.install(reference)
    standby_is(node, world, recipe)
    assert report["bytes"]["copy"] == recipe.root.stat().st_size + recipe.boot.stat().st_size - FRAME_SIZE


def test_another_product_line_shares_no_block(node: Node, world: World, tmp_path: Path) -> None:
    recipe, reference = edited(world, tmp_path, one_byte, salt="77" * 32)
    report = node.install(reference)
    standby_is(node, world, recipe)
    assert report["bytes"]["copy"] == recipe.boot.stat().st_size


@pytest.mark.parametrize("told", [True, False])
def test_a_boot_image_costs_the_frames_that_differ(node: Node, world: World, tmp_path: Path, told: bool) -> None:
    """A release that does not tell them is fetched whole."""
    boot = tmp_path / "boot"
    data = bytearray(world.factory.boot.read_bytes())
    data[-1] ^= 1
    boot.write_bytes(data)
    recipe = world.recipe("2", boot=boot)
    lies: Any = {} if told else {"content": ""}
    report = node.install(world.release(tmp_path / "r", recipe, **lies))
    standby_is(node, world, recipe)
    assert report["bytes"]["copy"] == (len(data) - FRAME_SIZE if told else 0)


def test_frames_that_a_release_lies_about_are_no_boot_image(node: Node, world: World, tmp_path: Path) -> None:
    """The digest of the whole image tells."""
    boot = tmp_path / "boot"
    data = bytearray(world.factory.boot.read_bytes())
    data[0] ^= 1
    boot.write_bytes(data)
    with world.factory.boot.open("rb") as file:
        lie = content_names(file)
    error = refused(node, world.release(tmp_path / "r", world.recipe("2", boot=boot), content=lie), Code.DIGEST)
    assert "the boot image does not match" in error.message


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 383), st.integers(1, 64), st.booleans()), max_size=6), st.integers(0, 9))
def test_what_is_printed_is_what_is_done(world: World, edits: Any, seed: int) -> None:
    noise = random.Random(seed)

    def edit(data: bytearray) -> None:
        for first, count, copied in edits:
            at, size = first * BLOCK_SIZE, min(count, 384 - first) * BLOCK_SIZE
            source = noise.randrange(384 - size // BLOCK_SIZE + 1) * BLOCK_SIZE
            data[at : at + size] = data[source : source + size] if copied else noise.randbytes(size)
        data[0] ^= 1  # never the good release itself

    with fast_folder() as folder:
        node = new_node(world, folder / "node")
        recipe, reference = edited(world, folder / "made", edit)
        planned = plan_only(node.context, InstallOrder(reference)).bytes
        report = node.install(reference)
        standby_is(node, world, recipe)
    assert report["bytes"] == dataclasses.asdict(planned)


def rot(node: Node, name: str, *places: int) -> None:
    with node.part(name).open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(b"rotten")


def test_f10_a_good_slot_that_does_not_hold_what_its_tree_says_costs_requests(
    node: Node, world: World, tmp_path: Path
) -> None:
    recipe, reference = edited(world, tmp_path, one_byte)
    planned = plan_only(node.context, InstallOrder(reference)).bytes
    rot(node, "ROOT-A", 3 * FRAME_SIZE + 5, 9 * FRAME_SIZE + 70_000)
    report = node.install(reference)
    standby_is(node, world, recipe)
    assert report["bytes"]["copy"] == planned.copy - 2 * FRAME_SIZE
    assert report["bytes"]["fetch"] > planned.fetch


def test_a_good_slot_that_is_worn_out_is_asked_no_more(node: Node, world: World, tmp_path: Path) -> None:
    recipe, reference = edited(world, tmp_path, lambda data: data.__setitem__(-1, data[-1] ^ 1))
    rot(node, "ROOT-A", *range(0, MAX_BAD * FRAME_SIZE, FRAME_SIZE))
    report = node.install(reference)
    standby_is(node, world, recipe)
    assert report["bytes"]["copy"] == recipe.boot.stat().st_size


def test_a_good_slot_whose_tree_is_damaged_is_told_of_and_all_is_fetched(
    node: Node, world: World, tmp_path: Path
) -> None:
    recipe, reference = edited(world, tmp_path, one_byte)
    rot(node, "ROOT-A", recipe.root.stat().st_size + BLOCK_SIZE)
    report = node.install(reference)
    standby_is(node, world, recipe)
    assert report["bytes"]["copy"] == recipe.boot.stat().st_size
    assert "slot a cannot be copied from" in warnings(node)


class TestInterrupted:
    """An install goes on where it was stopped, by what stands in the slot."""

    def stopped(self, node: Node, reference: str, at: int) -> None:
        cancel = Cancel()

        class Monitor:
            def emit(self, event: Event) -> None:
                if isinstance(event, Progress) and event.step.startswith("root") and event.done >= at:
                    cancel.ask(Code.CANCELLED)

        context = dataclasses.replace(node.context, cancel=cancel, monitor=Monitor())
        with pytest.raises(ProaError) as caught:
            install(context, InstallOrder(reference))
        assert caught.value.code is Code.CANCELLED

    @pytest.fixture
    def large(self, node: Node, world: World, tmp_path: Path) -> tuple[Any, str]:
        recipe = world.recipe("2")
        return recipe, world.release(tmp_path / "large", recipe)

    def test_what_stands_in_its_place_is_kept(self, node: Node, world: World, large: tuple[Any, str]) -> None:
        recipe, reference = large
        self.stopped(node, reference, MIB)
        planned = plan_only(node.context, InstallOrder(reference)).bytes
        report = node.install(reference)
        standby_is(node, world, recipe)
        assert report["bytes"]["keep"] == planned.keep >= MIB
        assert report["bytes"]["fetch"] == planned.fetch
        assert report["bytes"]["write"] == planned.write

    def test_f45_what_was_altered_meanwhile_is_brought_anew(
        self, node: Node, world: World, large: tuple[Any, str]
    ) -> None:
        recipe, reference = large
        self.stopped(node, reference, MIB)
        rot(node, "ROOT-B", 5 * FRAME_SIZE + 1)
        report = node.install(reference)
        standby_is(node, world, recipe)
        assert report["bytes"]["keep"] == 5 * FRAME_SIZE

    def test_f45_another_release_begins_anew(
        self, node: Node, world: World, large: tuple[Any, str], tmp_path: Path
    ) -> None:
        self.stopped(node, large[1], MIB)
        recipe = world.recipe("3")
        report = node.install(world.release(tmp_path / "third", recipe))
        standby_is(node, world, recipe)
        assert report["bytes"]["keep"] == 0


class WithoutRanges:
    """A source that reads all that lies before a part as well, and says so once it was asked for one."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.ranges = True
        self.asked: list[tuple[int, int]] = []

    def turn(self) -> Any:
        return nullcontext(self)

    def blob(self, digest: str, size: int, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self.ranges = False
        self.asked.append((start, size if end is None else end))
        yield from self._source.blob(digest, size, start=start, end=end)


def test_a_registry_without_ranges_is_asked_for_all_the_rest_at_once(node: Node, world: World, tmp_path: Path) -> None:
    def edit(data: bytearray) -> None:
        for number in (1, 6, 11):
            data[number * FRAME_SIZE] ^= 1

    recipe, reference = edited(world, tmp_path, edit)
    content, given = recipe.root.read_bytes(), [number for number in range(12) if number not in (1, 6, 11)]
    with (
        open_offer(node.context, reference, DEFAULT, load_trust(node.context)) as offer,
        open_for_writing(node.context, Slot.B, Half.ROOT) as region,
        SlotWriter(region) as writer,
    ):
        plain: Any = WithoutRanges(offer.source)
        frames = fetch_maps(offer.source, offer.candidate.release)["root"]

        def give(frame: Frame, room: memoryview) -> bool:
            room[:] = content[frame.start : frame.start + frame.size]
            return True

        filling = Filling(plain, offer.candidate.release.blobs["root"], frames, give, Cancel())
        filling.run(scattered(frames, given), writer)
    assert plain.asked == [
        (frames.frames[1].offset, frames.frames[2].offset),
        (frames.frames[2].offset, frames.compressed),
    ]
    assert node.part("ROOT-B").read_bytes().startswith(content)
    assert (filling.copied, filling.fetched) == (FRAME_SIZE, packed(frames, range(1, 12)))


def scattered(frames: FrameMap, given: list[int]) -> BlobPlan:
    """A plan without regard for the price of a request."""
    return BlobPlan(frames, 0, tuple(Stretch(range(n, n + 1), n in given) for n in range(len(frames.frames))))


@dataclasses.dataclass(frozen=True)
class _Frame:
    offset: int
    compressed: int


def uniform(count: int, compressed: int) -> Any:
    """A map of frames that are all alike."""
    frames = [_Frame(number * compressed, compressed) for number in range(count)]
    return SimpleNamespace(
        frame_size=BLOCK_SIZE,
        frames=frames,
        blob_size=count * compressed,
        extent=lambda part: (part.start * compressed, part.stop * compressed),
    )


@pytest.mark.parametrize(
    ("compressed", "known", "fetched"),
    [
        (REQUEST, range(10), []),
        (REQUEST, (0, 1, 2, 5, 6, 7, 8, 9), [(3, 5)]),
        (REQUEST, (0, 1, 2, 4, 5, 6, 7, 8), [(3, 4), (9, 10)]),
        (REQUEST - 1, (0, 1, 2, 4, 6, 7, 8, 9), [(3, 6)]),  # what lies between costs less than a request
        (REQUEST - 1, (9,), [(0, 9)]),
        (1, (0, 2, 4, 6, 9), [(1, 9)]),
        (REQUEST, (), [(0, 10)]),
    ],
)
def test_a_request_has_a_price(compressed: int, known: Any, fetched: list[tuple[int, int]]) -> None:
    plan = plan_frames(uniform(10, compressed), known)
    assert [(one.frames.start, one.frames.stop) for one in plan.stretches if not one.local] == fetched


def test_names_are_the_first_eight_bytes_of_each_hash() -> None:
    digests = bytes(range(64))
    assert [name.to_bytes(8, "little") for name in names(digests)] == [digests[:8], digests[32:40]]


def test_blocks_of_one_name_are_found_and_others_are_not() -> None:
    seed = BlockSeed(None, [7 << 32, 9 << 32, 7 << 32])
    assert seed.places([9 << 32]) == [1]
    assert seed.places([7 << 32])[0] in (0, 2)
    assert seed.places([9 << 32, 8 << 32]) == BlockSeed().places([9 << 32]) == []


def test_a_partition_that_is_smaller_gives_what_it_has(node: Node) -> None:
    content = content_names(io.BytesIO(bytes(3 * MIB)))
    frames = SimpleNamespace(
        frame_size=FRAME_SIZE, frames=[SimpleNamespace(start=n * FRAME_SIZE, size=FRAME_SIZE) for n in range(24)]
    )
    with open_for_writing(node.context, Slot.B, Half.BOOT) as region:  # 1 MiB of zeros
        seed = PlaceSeed(region, frames, content)  # type: ignore[arg-type]  # as much of a map as it looks at
        assert seed.given(Cancel()) == list(range(8))
        assert not seed.give(frames.frames[8], memoryview(bytearray(FRAME_SIZE)))
