"""A delta from the release that runs: it costs less, its content is the release's, and nothing in it is believed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.agent.install.install import install, plan_only
from proa.agent.install.order import InstallOrder
from proa.agent.node.cancel import Cancel
from proa.agent.testing.deltas import Change, Making, add, attach_delta
from proa.agent.testing.installs import standby_is
from proa.agent.testing.node import Node, new_node
from proa.agent.testing.trials import rot, warnings
from proa.agent.testing.world import MIB, World, fast_folder
from proa.core.release.delta import MAX_INDEX, Delta, encode_index, pack
from proa.core.release.document import BLOCK_SIZE, FRAME_SIZE
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Event, Note, Progress


@dataclasses.dataclass(frozen=True)
class Pair:
    """The factory's release and one with a byte changed in every frame, which costs as much as all of it."""

    world: World
    recipe: Any
    reference: str
    folder: Path

    def attach(self, change: Change = id, signers: Any = None) -> Delta:
        keys = [self.world.key] if signers is None else signers
        return attach_delta(self.reference, self.world.factory, self.recipe, keys, self.folder / "delta", change)


def make_pair(world: World, folder: Path, places: Any = range(100, 1536 * 1024, FRAME_SIZE)) -> Pair:
    data = bytearray(world.factory.root.read_bytes())
    for place in places:
        data[place] ^= 1
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "root").write_bytes(data)
    recipe = world.recipe("2", root=folder / "root")
    return Pair(world, recipe, world.release(folder / "release", recipe), folder)


@pytest.fixture
def pair(world: World, tmp_path: Path) -> Pair:
    return make_pair(world, tmp_path)


def told(node: Node) -> str:
    return "\n".join(event.text for event in node.events.events if isinstance(event, Note))


def test_a_delta_that_costs_less_is_fetched_instead(node: Node, pair: Pair) -> None:
    without = plan_only(node.context, InstallOrder(pair.reference)).bytes
    delta = pair.attach()
    planned = plan_only(node.context, InstallOrder(pair.reference)).bytes
    report = node.install(pair.reference)
    standby_is(node, pair.world, pair.recipe)
    assert report["bytes"] == dataclasses.asdict(planned)
    assert without.fetch - planned.fetch > MIB // 2
    assert delta.size < 20_000
    assert f"a delta from {delta.old[:12]} is fetched" in told(node)
    assert not warnings(node)


def test_a_delta_is_read_from_where_an_interrupted_install_stopped(node: Node, pair: Pair) -> None:
    delta, cancel = pair.attach(), Cancel()

    class Monitor:
        def emit(self, event: Event) -> None:
            if isinstance(event, Progress) and event.step.startswith("root") and event.done >= MIB:
                cancel.ask(Code.CANCELLED)

    with pytest.raises(ProaError):
        install(dataclasses.replace(node.context, cancel=cancel, monitor=Monitor()), InstallOrder(pair.reference))
    planned = plan_only(node.context, InstallOrder(pair.reference)).bytes
    report = node.install(pair.reference)
    standby_is(node, pair.world, pair.recipe)
    assert report["bytes"] == dataclasses.asdict(planned)
    assert report["bytes"]["keep"] >= MIB
    assert delta.size > 0


def test_a_few_bytes_are_not_worth_to_look_for_a_delta(node: Node, world: World, tmp_path: Path) -> None:
    pair = make_pair(world, tmp_path, [100])
    pair.attach()
    node.install(pair.reference)
    standby_is(node, world, pair.recipe)
    assert "delta" not in told(node)


def test_a_delta_that_costs_more_is_left(node: Node, pair: Pair) -> None:
    def swell(made: Making) -> None:
        new = pair.recipe.root.read_bytes()
        made.units.clear()
        made.data.clear()
        for number in range(12):
            content = new[number * FRAME_SIZE : (number + 1) * FRAME_SIZE]
            add(made, range(number, number + 1), range(0), pack(content, b"", 1))

    pair.attach(swell)
    report = node.install(pair.reference)
    standby_is(node, pair.world, pair.recipe)
    assert report["bytes"]["fetch"] > MIB // 2
    assert "delta" not in told(node)


def without_units(count: int) -> Change:
    def change(made: Making) -> None:
        del made.units[count:]
        del made.data[sum(unit.compressed for unit in made.units) :]

    return change


def of_unit(**fields: Any) -> Change:
    """Another last unit."""

    def change(made: Making) -> None:
        made.units[-1] = dataclasses.replace(made.units[-1], **fields)

    return change


def said(**fields: Any) -> Change:
    return lambda made: made.document.update(fields)


def bomb(made: Making) -> None:
    """A unit of 4 MiB where half a MiB is promised."""
    last = made.units.pop()
    del made.data[last.offset :]
    add(made, last.frames, range(1), pack(bytes(4 * MIB), b"", 3))


def other_content(made: Making) -> None:
    """What is signed is not what the release has."""
    last = made.units.pop()
    del made.data[last.offset :]
    add(made, last.frames, range(0), pack(bytes(len(last.frames) * FRAME_SIZE), b"", 3))


def long_index(made: Making) -> None:
    made.index = encode_index(made.units).ljust(MAX_INDEX + 1, b"\0")


HOSTILE: dict[str, tuple[Change, Code]] = {
    "of-another-release": (said(new="7" * 64), Code.DELTA),
    "of-another-size": (said(old_size=2 * BLOCK_SIZE), Code.DELTA),
    "of-other-frames": (said(frame_size=2 * FRAME_SIZE), Code.DELTA),
    "without-a-frame": (without_units(2), Code.DELTA),
    "outside-the-root": (of_unit(frames=range(8, 13)), Code.DELTA),
    "out-of-order": (lambda made: made.units.reverse(), Code.DELTA),
    "too-many-frames": (of_unit(frames=range(8, 8 + (1 << 20))), Code.DELTA),
    "outside-the-older-root": (of_unit(prefix=(range(380, 385),)), Code.DELTA),
    "too-much-memory": (of_unit(prefix=(range(384),) * 2), Code.DELTA),
    "an-index-without-end": (long_index, Code.DELTA),
    "half-an-index": (lambda made: setattr(made, "index", encode_index(made.units)[:-3]), Code.DELTA),
    "more-than-the-index": (lambda made: setattr(made, "index", encode_index(made.units) + b"\0"), Code.DELTA),
    "a-bomb": (bomb, Code.DELTA),
    "another-digest": (of_unit(digest=bytes(32)), Code.DIGEST),
    "another-content": (other_content, Code.VERITY),
    "another-prefix": (of_unit(prefix=(range(128),)), Code.VERITY),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_f46_a_hostile_delta_costs_time_and_no_byte(node: Node, pair: Pair, name: str) -> None:
    change, code = HOSTILE[name]
    pair.attach(change)
    report = node.install(pair.reference)
    standby_is(node, pair.world, pair.recipe)
    assert f"the delta is not used, so frames are fetched: {code.name}: " in warnings(node)
    assert report["bytes"]["fetch"] > 100_000


@pytest.mark.parametrize(("signer", "code"), [("", Code.UNSIGNED), ("stranger", Code.SIGNATURE)])
def test_f46_a_delta_needs_the_signatures_of_a_release(node: Node, pair: Pair, signer: str, code: Code) -> None:
    pair.attach(signers=[pair.world.stranger] if signer else [])
    node.install(pair.reference)
    standby_is(node, pair.world, pair.recipe)
    assert f"frames are fetched: {code.name}: " in warnings(node)


def test_f46_of_two_deltas_the_one_that_is_good_is_used(node: Node, pair: Pair) -> None:
    pair.attach(signers=[])
    pair.attach(without_units(0), signers=[pair.world.stranger])
    pair.attach(lambda made: made.document.update(old_size=2 * BLOCK_SIZE))
    pair.attach()
    report = node.install(pair.reference)
    standby_is(node, pair.world, pair.recipe)
    assert report["bytes"]["fetch"] < MIB // 2


def test_f46_a_blob_with_other_bytes_is_no_delta(node: Node, pair: Pair) -> None:
    delta = pair.attach()
    path = pair.folder / "release/oci/blobs/sha256" / delta.blobs["units"].digest.removeprefix("sha256:")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    node.install(pair.reference)
    standby_is(node, pair.world, pair.recipe)
    assert "frames are fetched: DIGEST: " in warnings(node)


@pytest.mark.parametrize("part", ["index", "units"])
def test_a_delta_that_is_deleted_is_not_missed(node: Node, pair: Pair, part: str) -> None:
    delta = pair.attach()
    (pair.folder / "release/oci/blobs/sha256" / delta.blobs[part].digest.removeprefix("sha256:")).unlink()
    node.install(pair.reference)
    standby_is(node, pair.world, pair.recipe)
    assert "frames are fetched: " in warnings(node)


def test_an_older_root_that_is_damaged_gives_no_byte(node: Node, pair: Pair) -> None:
    """The second unit is packed against it."""
    pair.attach()
    rot(node, "ROOT-A", 5 * FRAME_SIZE + 9000)
    node.install(pair.reference)
    standby_is(node, pair.world, pair.recipe)
    assert "frames are fetched: VERITY: " in warnings(node)


Edits = list[tuple[int, int]]


@settings(max_examples=12)
@given(st.lists(st.tuples(st.integers(0, 1535), st.integers(1, 200)), min_size=1, max_size=40))
def test_whatever_differs_the_root_is_that_of_the_release(world: World, edits: Edits) -> None:
    places = {at for first, count in edits for at in range(first << 10, min(first + count, 1536) << 10, 511)}
    with fast_folder() as folder:
        node = new_node(world, folder / "node")
        pair = make_pair(world, folder / "made", sorted(places))
        pair.attach()
        planned = plan_only(node.context, InstallOrder(pair.reference)).bytes
        report = node.install(pair.reference)
        standby_is(node, world, pair.recipe)
    assert report["bytes"] == dataclasses.asdict(planned)
    assert not warnings(node)
