"""The planner: where everything lies, what does not fit, what the first boot makes of it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document
from proa.partition.cli import rendering
from proa.partition.cli.reports import PlannedDisk
from proa.partition.disk import layout
from proa.partition.disk.layout import MIB, NAMES, NOT_GROWN, LayoutRequest, Sizes, plan

GIB = 1 << 30
SMALL = Sizes(uki=8 * MIB, root=32 * MIB, persist=16 * MIB)


def refusal(request: LayoutRequest) -> ProaError:
    with pytest.raises(ProaError) as refused:
        plan(request)
    assert refused.value.code is Code.LAYOUT
    return refused.value


@settings(max_examples=50)
@given(
    boot=st.integers(layout.MIN_BOOT, GIB),
    uki=st.integers(1, GIB),
    root=st.integers(1, 16 * GIB),
    persist=st.integers(layout.MIN_PERSIST, 64 * GIB),
    sector_size=st.sampled_from(layout.SECTOR_SIZES),
)
def test_partitions_lie_aligned_one_behind_the_other(
    boot: int, uki: int, root: int, persist: int, sector_size: int
) -> None:
    sizes = Sizes(boot=boot, uki=max(uki, MIB), root=max(root, MIB), persist=persist)
    planned = plan(LayoutRequest("seed", sizes, sector_size=sector_size))
    assert [partition.name for partition in planned.partitions] == list(NAMES)
    assert [partition.number for partition in planned.partitions] == list(range(1, 8))
    assert planned.partitions[0].start == MIB
    for one, other in itertools.pairwise(planned.partitions):
        assert one.end == other.start
    for partition in planned.partitions:
        wanted = sizes.of(partition.name)
        assert partition.start % MIB == partition.size % MIB == 0
        assert wanted is not None
        assert wanted <= partition.size < wanted + MIB
    assert planned.disk_size == planned["PERSIST"].end + MIB
    assert planned.unallocated == 0


def test_both_sector_sizes_have_the_same_layout() -> None:
    small, large = (plan(LayoutRequest("seed", SMALL, sector_size=size)) for size in layout.SECTOR_SIZES)
    assert small.partitions == large.partitions
    assert (small.disk_size, small.disk_guid) == (large.disk_size, large.disk_guid)


def test_slots_are_pairs_of_equal_size() -> None:
    planned = plan(LayoutRequest("seed", SMALL))
    assert planned["UKI-A"].size == planned["UKI-B"].size == 8 * MIB
    assert planned["ROOT-A"].size == planned["ROOT-B"].size == 32 * MIB
    with pytest.raises(KeyError):
        planned["ROOT-C"]


def test_derived_disk_is_the_smallest_that_holds_everything() -> None:
    derived = plan(LayoutRequest("seed", SMALL)).disk_size
    assert plan(LayoutRequest("seed", SMALL, disk_size=derived)).disk_size == derived
    enough = derived - MIB + layout.BACKUP_SIZE
    assert plan(LayoutRequest("seed", SMALL, disk_size=enough)).disk_size == enough
    error = refusal(LayoutRequest("seed", SMALL, disk_size=enough - 512))
    assert str(derived) in error.message
    assert str(enough - 512) in error.message


def test_what_does_not_fit_is_told_with_both_numbers_and_the_difference() -> None:
    error = refusal(LayoutRequest("seed", Sizes(root=2 * GIB), disk_size=4 * GIB))
    needed = plan(LayoutRequest("seed", Sizes(root=2 * GIB, persist=layout.MIN_PERSIST))).disk_size
    for number in (needed, 4 * GIB):
        assert str(number) in error.message
    assert str(needed - 4 * GIB) in error.hint


def test_persist_takes_the_rest_of_a_given_disk() -> None:
    planned = plan(LayoutRequest("seed", Sizes(root=GIB), disk_size=16 * GIB))
    assert planned["PERSIST"].end == 16 * GIB - MIB
    assert planned.unallocated == 0


def test_a_given_persist_leaves_the_rest_for_the_first_boot() -> None:
    planned = plan(LayoutRequest("seed", SMALL, disk_size=GIB))
    assert planned["PERSIST"].size == 16 * MIB
    assert planned.unallocated == GIB - MIB - planned["PERSIST"].end


@pytest.mark.parametrize(
    ("request_", "numbers"),
    [
        (LayoutRequest("seed", Sizes(boot=256 * MIB)), (256 * MIB, 260 * MIB)),
        (LayoutRequest("seed", Sizes(state=2 * MIB)), (2 * MIB, MIB)),
        (LayoutRequest("seed", Sizes(state=512)), (512, MIB)),
        (LayoutRequest("seed", Sizes(root=0)), (0, MIB)),
        (LayoutRequest("seed", Sizes(uki=-5)), (-5, MIB)),
        (LayoutRequest("seed", Sizes(persist=15 * MIB)), (15 * MIB, 16 * MIB)),
        (LayoutRequest("seed", SMALL, disk_size=0), (0,)),
        (LayoutRequest("seed", SMALL, disk_size=GIB + 512, sector_size=4096), (GIB + 512, 4096)),
        (LayoutRequest("seed", SMALL, sector_size=520), (520,)),
        (LayoutRequest("", SMALL), ()),
    ],
)
def test_impossible_requests_are_refused(request_: LayoutRequest, numbers: tuple[int, ...]) -> None:
    error = refusal(request_)
    for number in numbers:
        assert str(number) in error.message


def test_guids_come_from_the_seed_alone() -> None:
    one, same, other = (plan(LayoutRequest(seed, SMALL)) for seed in ("seed", "seed", "other"))
    assert one == same
    guids = [one.disk_guid, *(partition.guid for partition in one.partitions)]
    others = [other.disk_guid, *(partition.guid for partition in other.partitions)]
    assert len({*guids, *others}) == 16
    assert one.disk_guid == "e29a6ba9-728b-57c3-89e0-a1bb8bc07473"  # never to change: builds would differ


def test_a_second_system_takes_no_slot_for_its_own() -> None:
    """None of systemd's discoverable types (Discoverable Partitions Specification) but the ESP."""
    discoverable = {
        "44479540-f297-41b2-9af7-d131d5f0458a",  # root, x86
        "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",  # root, x86-64
        "b921b045-1df0-41c3-af44-4c6f280d3fae",  # root, arm64
        "8484680c-9521-48c6-9c11-b0720656f69e",  # /usr, x86-64
        "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5",  # root verity, x86-64
        "4d21b016-b534-45c2-a9fb-5c16e091fd2d",  # /var
        "933ac7e1-2eb4-4f13-b844-0e14e2aef915",  # /home
        "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f",  # swap
        "bc13c2ff-59e6-4262-a352-b275fd6f7172",  # XBOOTLDR
    }
    types = {partition.name: partition.type_guid for partition in plan(LayoutRequest("seed", SMALL)).partitions}
    assert not discoverable & set(types.values())
    assert [name for name, guid in types.items() if guid == "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"] == ["BOOT"]


@settings(max_examples=50)
@given(root=st.integers(1, 8 * GIB), uki=st.integers(1, GIB))
def test_derived_sizes_have_head_room(root: int, uki: int) -> None:
    sizes = layout.sizes_for(root, uki)
    assert sizes.root >= max(root * 3 // 2, root + 64 * MIB)
    assert sizes.uki >= max(uki * 3 // 2, uki + 8 * MIB)
    assert sizes.root % MIB == sizes.uki % MIB == 0


def test_content_larger_than_its_partition_is_refused_with_both_sizes() -> None:
    planned = plan(LayoutRequest("seed", SMALL))
    layout.check_contents(planned, {"ROOT-A": 32 * MIB, "UKI-A": 1})
    with pytest.raises(ProaError) as refused:
        layout.check_contents(planned, {"UKI-A": 1, "ROOT-A": 32 * MIB + 1})
    assert refused.value.code is Code.TOO_LARGE
    assert refused.value.at == "ROOT-A"
    assert str(32 * MIB + 1) in refused.value.message
    assert str(32 * MIB) in refused.value.message
    assert "1 bytes" in refused.value.hint


def test_the_first_boot_grows_persist_and_renames_all_but_boot() -> None:
    factory = plan(LayoutRequest("seed", SMALL))
    fresh = (f"00000000-0000-4000-8000-{number:012X}" for number in itertools.count())
    grown = layout.grow(factory, GIB, lambda: next(fresh))
    assert grown["PERSIST"].end == GIB - MIB
    assert grown["BOOT"] == factory["BOOT"]
    assert (factory.grown, grown.grown) == (False, True)
    assert grown.disk_guid != factory.disk_guid
    for before, after in zip(factory.partitions[1:], grown.partitions[1:], strict=True):
        assert after.guid != before.guid
        assert after.guid == after.guid.lower()
        assert (after.name, after.start, after.type_guid) == (before.name, before.start, before.type_guid)
        assert after.name == "PERSIST" or after.size == before.size


def test_growing_never_shrinks() -> None:
    factory = plan(LayoutRequest("seed", SMALL))
    with pytest.raises(ProaError) as refused:
        layout.grow(factory, factory.disk_size - MIB, lambda: "guid")
    assert refused.value.code is Code.LAYOUT
    assert layout.grow(factory, factory.disk_size, lambda: "guid")["PERSIST"].size == factory["PERSIST"].size


def test_only_persist_carries_the_factory_mark() -> None:
    for partition in plan(LayoutRequest("seed", SMALL)).partitions:
        assert partition.attributes == (NOT_GROWN if partition.name == "PERSIST" else 0)


def test_text_tells_every_offset_size_and_what_is_free() -> None:
    planned = plan(LayoutRequest("seed", SMALL, disk_size=GIB))
    lines = rendering.text(planned, used={"ROOT-A": 30 * MIB}, holds={"BOOT": "fat"}).splitlines()
    assert lines[0].split() == ["#", "name", "offset", "size", "used", "free", "holds"]
    assert len(lines) == 9
    for line, partition in zip(lines[1:], planned.partitions, strict=False):
        assert line.split()[:4] == [str(partition.number), partition.name, str(partition.start), str(partition.size)]
    assert "30.0 MiB  2.0 MiB" in lines[5]
    assert lines[1].endswith("fat")
    assert str(GIB) in lines[8]
    assert "unallocated" in lines[8]


def test_document_has_bytes_and_guids() -> None:
    planned = plan(LayoutRequest("seed", SMALL))
    told = document(PlannedDisk.of(planned))
    root = told["partitions"][4]
    assert root == {
        "number": 5,
        "name": "ROOT-A",
        "offset": planned["ROOT-A"].start,
        "size": 32 * MIB,
        "type": layout.TYPE_GUIDS["ROOT-A"],
        "guid": planned["ROOT-A"].guid,
    }
    assert told["grown"] is False
