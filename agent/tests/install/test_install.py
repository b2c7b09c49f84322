"""An install on a disk of files: what it leaves behind when it ends well, is refused, fails, or is told to stop."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proa.agent.cli.text import describe_install
from proa.agent.install.install import install, plan_only
from proa.agent.install.order import Activation, InstallOrder
from proa.agent.node.cancel import Cancel
from proa.agent.node.states import NodeState
from proa.agent.slot.region import open_direct
from proa.agent.testing import synthetic
from proa.agent.testing.node import Node
from proa.agent.testing.world import World
from proa.agent.verbs.verbs import commit, scrub_slot
from proa.core.release.document import BLOCK_SIZE, Requires
from proa.core.release.verity import tree_size
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.runtime.events import Event, Progress
from proa.core.runtime.files import DirectFile
from proa.partition.boot import bootstate
from proa.partition.boot.bootstate import Slot

MIB = 1 << 20


def refused(node: Node, reference: str, code: Code, **options: Any) -> ProaError:
    """Install, and see it refused: with that code, the slot unarmed, the good slot's bytes untouched."""
    before = node.bytes_of(Slot.A)
    with pytest.raises(ProaError) as caught:
        node.install(reference, activate=True, **options)
    assert caught.value.code is code, caught.value
    assert not node.state.on_trial
    assert node.state.good is Slot.A
    assert node.bytes_of(Slot.A) == before
    assert node.last.code == code.name
    return caught.value


def standby_is(node: Node, world: World, recipe: Any) -> None:
    """The standby holds this release, byte for byte, and its tree agrees."""
    root = node.part("ROOT-B").read_bytes()
    assert root.startswith(recipe.root.read_bytes())
    assert node.part("UKI-B").read_bytes().startswith(recipe.boot.read_bytes())
    assert scrub_slot(node.context, "b")["ok"]


def test_an_install_fills_the_standby_and_touches_nothing_else(node: Node, world: World, release2: str) -> None:
    names = ("UKI-A", "ROOT-A", "PERSIST")
    before = [node.part(name).read_bytes() for name in names]
    report = node.install(release2)
    standby_is(node, world, world.recipe("2"))
    assert [node.part(name).read_bytes() for name in names] == before
    assert node.view.node_state() is NodeState.STAGED
    assert not node.state.on_trial
    assert report["bytes"]["write"] == world.recipe("2").root.stat().st_size + tree_size(3 * MIB // 2) + MIB // 4
    assert report["seconds"] > 0
    assert report["peak_memory"] > MIB
    assert node.last.ok


def test_activation_arms_it(node: Node, release2: str) -> None:
    report = node.install(release2, activate=True, tries=2)
    assert report["activated"]
    assert (node.state.trial, node.state.left, node.state.alt) == (Slot.B, 2, False)
    assert node.view.node_state() is NodeState.ARMED


def test_both_copies_are_disarmed_before_the_first_byte(node: Node, release2: str) -> None:
    node.states.write(bootstate.arm(dataclasses.replace(node.state, alt=True), Slot.B, 3))
    seen: list[bootstate.BootState | None] = []

    def look_first(path: Path, writable: bool) -> DirectFile:
        if writable:
            pair = node.states.read()
            seen.extend(bootstate.decode(copy) for copy in pair)
            assert not node.record.slots[Slot.B].complete
        return open_direct(path, writable)

    node.install(release2, opener=look_first)
    assert len(seen) == 4
    assert all(state and state.trial is None and not state.alt for state in seen)


def test_a_release_in_the_standby_is_kept(node: Node, release2: str) -> None:
    node.install(release2)

    def no_writing(path: Path, writable: bool) -> DirectFile:
        assert not writable
        return open_direct(path, writable)

    report = node.install(release2, opener=no_writing, activate=True)
    assert report["bytes"]["write"] == report["bytes"]["fetch"] == 0
    assert report["bytes"]["keep"] > 3 * MIB // 2
    assert node.state.trial is Slot.B


def test_a_damaged_release_in_the_standby_is_written_anew(node: Node, world: World, release2: str) -> None:
    node.install(release2)
    with node.part("ROOT-B").open("r+b") as file:
        file.seek(MIB // 2)
        file.write(b"rot")
    assert node.install(release2)["bytes"]["keep"] == 0
    standby_is(node, world, world.recipe("2"))


def back_to_the_factory(trial: Node, world: World) -> dict[str, Any]:
    """Commit the trial, and install the release that the factory has put into the other slot."""
    commit(trial.context)
    assert trial.record.slots[Slot.A].manifest == ""
    report: dict[str, Any] = trial.install(f"oci:{world.folder / 'factory/oci'}")
    return report


def test_what_the_factory_has_put_into_the_standby_is_kept(trial: Node, world: World) -> None:
    before = trial.bytes_of(Slot.A)
    report = back_to_the_factory(trial, world)
    assert report["bytes"]["write"] == report["bytes"]["fetch"] == 0
    assert report["bytes"]["keep"] > 3 * MIB // 2
    assert trial.bytes_of(Slot.A) == before
    assert trial.record.slots[Slot.A].manifest == report["release"]["manifest"] != ""


@pytest.mark.parametrize("part", ["ROOT-A", "UKI-A"])
def test_what_is_left_of_the_factorys_is_written_anew(trial: Node, world: World, part: str) -> None:
    before = trial.bytes_of(Slot.A)
    with trial.part(part).open("r+b") as file:
        file.seek(40_000)
        file.write(b"rot")
    report = back_to_the_factory(trial, world)
    assert report["bytes"]["keep"] == 0
    assert trial.bytes_of(Slot.A) == before


def test_the_good_release_is_not_installed_again(node: Node, world: World) -> None:
    before = node.states.read()
    report = node.install(f"oci:{world.folder / 'factory/oci'}", activate=True)
    assert report["unchanged"]
    assert not report["activated"]
    assert node.states.read() == before


@pytest.mark.parametrize("settled", [True, False])
def test_a_good_release_with_another_kernel_is_refused(node: Node, world: World, tmp_path: Path, settled: bool) -> None:
    """The initrd finds a slot by its root: two equal ones must not be there."""
    if settled:
        node.reconcile()
    uki, boot = tmp_path / "uki", tmp_path / "boot"
    synthetic.make_noise(uki, 90_000, 99)
    synthetic.make_boot_image(boot, uki, MIB // 4)
    recipe = dataclasses.replace(world.factory, boot=boot, uki=uki, serial=9, floor=9)
    error = refused(node, world.release(tmp_path / "r", recipe), Code.SAME_ROOT)
    assert error.exit is Exit.REFUSED
    larger = dataclasses.replace(recipe, boot=world.image(3, MIB))
    refused(node, world.release(tmp_path / "larger", larger), Code.SAME_ROOT)


def test_the_good_release_is_reported_where_it_is(node: Node, world: World) -> None:
    factory = f"oci:{world.folder / 'factory/oci'}"
    report = node.install(factory)
    assert (report["unchanged"], report["slot"]) == (True, "a")
    assert plan_only(node.context, InstallOrder(factory))["slot"] == "a"


def test_the_good_release_activated_takes_back_the_arming_of_another(node: Node, world: World, release2: str) -> None:
    node.install(release2, activate=True)
    report = node.install(f"oci:{world.folder / 'factory/oci'}", activate=True)
    assert (report["unchanged"], report["taken_back"], report["activated"]) == (True, True, False)
    assert (node.state.trial, node.record.trial) == (None, None)
    assert node.view.node_state() is NodeState.STAGED, "the other release is still there"
    assert "taken back" in describe_install(report)


def test_a_release_that_was_good_by_its_record_is_unchanged(trial: Node, release2: str, systemctl: Any) -> None:
    """Its kernel image need not be read."""
    commit(trial.context)
    with trial.part("UKI-B").open("r+b") as file:
        file.write(b"rot")
    assert trial.install(release2)["unchanged"]


def test_a_dry_run_touches_nothing(node: Node, release2: str) -> None:
    def contents() -> dict[Path, bytes]:
        files = (path for path in node.folder.rglob("*") if path.is_file() and path.name != "BOOT")
        return {path: path.read_bytes() for path in files}

    before = contents()
    plan = plan_only(node.context, InstallOrder(release2, Activation(activate=True)))
    assert plan["slot"] == "b"
    assert plan["bytes"]["fetch"] > 0
    assert plan["actions"][0].startswith("disarm")
    assert contents() == before


def test_what_was_planned_is_what_is_done(node: Node, release2: str) -> None:
    order = InstallOrder(release2, Activation(activate=True))
    plan, report = plan_only(node.context, order), install(node.context, order)
    assert (plan["slot"], plan["bytes"], plan["release"]) == (report["slot"], report["bytes"], report["release"])


class TestRefusals:
    """Nothing here may cost the good slot a byte (rules 5 and 6 of the house)."""

    def release(self, world: World, tmp_path: Path, **changes: Any) -> str:
        found: str = world.release(tmp_path / "release", world.recipe("2", **changes))
        return found

    def test_f11_unsigned(self, node: Node, world: World, tmp_path: Path) -> None:
        refused(node, world.release(tmp_path / "r", world.recipe("2"), []), Code.UNSIGNED)

    def test_f13_signed_by_a_stranger(self, node: Node, world: World, tmp_path: Path) -> None:
        refused(node, world.release(tmp_path / "r", world.recipe("2"), [world.stranger]), Code.SIGNATURE)

    def test_f17_one_signature_of_two(self, node: Node, world: World, release2: str) -> None:
        node.trust(keys=(world.key.public, world.stranger.public), threshold=2)
        refused(node, release2, Code.SIGNATURE)

    def test_f17_two_signatures_of_two(self, node: Node, world: World, tmp_path: Path) -> None:
        node.trust(keys=(world.key.public, world.stranger.public), threshold=2)
        reference = world.release(tmp_path / "r", world.recipe("2"), [world.key, world.stranger])
        assert node.install(reference)["slot"] == "b"

    def test_no_key_is_no_trust(self, node: Node, release2: str) -> None:
        for key in (node.paths.usr / "trust").glob("*.pub"):
            key.unlink()
        refused(node, release2, Code.NO_TRUST)

    def test_the_owner_can_only_tighten(self, node: Node, release2: str) -> None:
        node.write("etc/proa/trust.json", '{"schema": "proa.trust/v1", "compatible": "other"}')
        refused(node, release2, Code.NO_TRUST)

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"compatible": "other"}, Code.INCOMPATIBLE),
            ({"architecture": "riscv64"}, Code.ARCHITECTURE),
            ({"requires": Requires(2, "0.1.0", 1)}, Code.REQUIRES),
            ({"requires": Requires(1, "99", 1)}, Code.REQUIRES),
            ({"requires": Requires(1, "0.1.0", 2)}, Code.REQUIRES),
            ({"expires": "2025-12-31T00:00:00+00:00"}, Code.EXPIRED),
        ],
    )
    def test_f8_f19_another_kind_of_release(
        self, node: Node, world: World, tmp_path: Path, changes: dict[str, Any], code: Code
    ) -> None:
        refused(node, self.release(world, tmp_path, **changes), code)

    def test_f18_older_than_the_trusts_floor(self, node: Node, release2: str) -> None:
        node.trust(floor=3)
        refused(node, release2, Code.SERIAL)

    def test_f18_older_than_the_owners_floor(self, node: Node, release2: str) -> None:
        node.write("etc/proa/trust.json", '{"schema": "proa.trust/v1", "floor": 3}')
        refused(node, release2, Code.SERIAL)

    def test_f18_f22_older_than_the_booted_releases_floor_though_the_record_is_lost(
        self, node: Node, release2: str
    ) -> None:
        own = node.paths.release
        own.write_text(own.read_text().replace('"floor": 0', '"floor": 3'))
        node.reconcile()
        assert node.record.floor == 3
        node.paths.record.unlink()
        refused(node, release2, Code.SERIAL)

    def test_f22_a_damaged_record_is_set_aside_and_forgives_nothing(self, node: Node, release2: str) -> None:
        node.install(release2)
        node.paths.record.write_text("{ no JSON")
        assert node.view.warning
        assert node.view.node_state() is NodeState.GOOD
        node.trust(floor=3)
        refused(node, release2, Code.SERIAL)
        assert node.paths.record.with_name("agent.json.damaged").read_text() == "{ no JSON"

    @pytest.mark.parametrize("name", ["2", "manifest", "root"])
    def test_denied(self, node: Node, release2: str, name: str) -> None:
        known = node.install(release2)["release"]
        denied = {"2": "2", "manifest": known["manifest"], "root": known["root_hash"]}[name]
        node.write("etc/proa/trust.json", f'{{"schema": "proa.trust/v1", "deny": ["{denied}"]}}')
        refused(node, release2, Code.DENIED)

    def test_f9_a_root_of_just_the_slots_size_fits(self, node: Node, world: World, tmp_path: Path) -> None:
        size = next(size for size in range(2 * MIB, 0, -BLOCK_SIZE) if size + tree_size(size) <= 2 * MIB)
        recipe = world.recipe("2", root=world.image(9, size))
        node.install(world.release(tmp_path / "fits", recipe))
        standby_is(node, world, recipe)
        recipe = world.recipe("3", root=world.image(9, size + BLOCK_SIZE))
        error = refused(node, world.release(tmp_path / "larger", recipe), Code.TOO_LARGE)
        assert str(2 * MIB) in error.message

    def test_f9_what_lay_in_the_slot_before_does_not_matter(self, node: Node, world: World, tmp_path: Path) -> None:
        node.install(world.release(tmp_path / "large", world.recipe("2")))
        small = world.recipe("3", root=world.image(3, MIB // 2))
        node.install(world.release(tmp_path / "small", small))
        standby_is(node, world, small)

    def test_a_kernel_image_larger_than_its_partition(self, node: Node, world: World, tmp_path: Path) -> None:
        large = tmp_path / "large"
        with large.open("wb") as file:
            file.truncate(MIB + BLOCK_SIZE)
        refused(node, self.release(world, tmp_path, boot=large), Code.TOO_LARGE)


class TestDigests:
    """Wrong bytes at every level (F12, F15, F20, F30)."""

    def copy(self, reference: str, folder: Path) -> str:
        """A copy of a release that may be damaged."""
        shutil.copytree(reference.removeprefix("oci:"), folder / "copy")
        return f"oci:{folder / 'copy'}"

    def blob(self, reference: str, name: str) -> Path:
        """The file of a blob in a layout folder."""
        folder = Path(reference.removeprefix("oci:")) / "blobs/sha256"
        by_size = sorted(folder.iterdir(), key=lambda path: path.stat().st_size)
        texts = {path: path.read_bytes() for path in by_size}
        if name == "config":
            return next(path for path, data in texts.items() if b'"proa.release/v1"' in data)
        if name == "manifest":
            return next(path for path, data in texts.items() if b"org.opencontainers.image.version" in data)
        if name == "map":
            return next(path for path, data in texts.items() if data.startswith(b"PROAMAP1"))
        payload = [path for path, data in texts.items() if data.startswith(b"\x28\xb5\x2f\xfd")]
        return {"tree": payload[0], "boot": payload[1], "root": payload[2]}[name]

    @pytest.mark.parametrize("name", ["manifest", "config", "map", "tree", "root", "boot"])
    @pytest.mark.parametrize("place", [0, 0.5, 1])
    def test_f12_f15_f30_one_byte_of_a_blob(
        self, node: Node, release2: str, tmp_path: Path, name: str, place: float
    ) -> None:
        reference = self.copy(release2, tmp_path)
        path = self.blob(reference, name)
        data = bytearray(path.read_bytes())
        data[int(place * (len(data) - 1))] ^= 1
        path.write_bytes(data)
        with pytest.raises(ProaError) as caught:
            node.install(reference, activate=True)
        assert caught.value.exit is Exit.REFUSED, caught.value
        assert not node.state.on_trial
        assert not (record := node.record.slots.get(Slot.B)) or not record.complete

    @pytest.mark.parametrize("name", ["map", "tree", "root", "boot"])
    @pytest.mark.parametrize("size", [0, 70_000])
    def test_f1_a_blob_that_is_cut(self, node: Node, release2: str, tmp_path: Path, name: str, size: int) -> None:
        reference = self.copy(release2, tmp_path)
        os.truncate(self.blob(reference, name), size)
        with pytest.raises(ProaError):
            node.install(reference, activate=True)
        assert not node.state.on_trial

    @pytest.mark.parametrize("name", ["root", "boot", "tree"])
    def test_f3_a_blob_with_more_behind_its_end(self, node: Node, release2: str, tmp_path: Path, name: str) -> None:
        reference = self.copy(release2, tmp_path)
        with self.blob(reference, name).open("ab") as file:
            file.write(b"more")
        refused(node, reference, Code.DIGEST)

    def test_f20_a_tree_of_another_root_hash(self, node: Node, world: World, tmp_path: Path) -> None:
        reference = world.release(tmp_path / "r", world.recipe("2"), root_hash="ab" * 32)
        refused(node, reference, Code.VERITY)

    def test_f20_a_root_of_another_tree(self, node: Node, world: World, tmp_path: Path) -> None:
        reference = world.release(tmp_path / "r", world.recipe("2", tree_of=world.image(5)))
        refused(node, reference, Code.VERITY)

    def test_one_block_that_the_tree_does_not_know(self, node: Node, world: World, tmp_path: Path) -> None:
        image = tmp_path / "image"
        data = bytearray(world.image(2).read_bytes())
        data[MIB + 5000] ^= 1
        image.write_bytes(data)
        reference = world.release(tmp_path / "r", world.recipe("2", root=image, tree_of=world.image(2)))
        error = refused(node, reference, Code.VERITY)
        assert f"block {(MIB + 5000) // BLOCK_SIZE} " in error.message
        written = node.part("ROOT-B").read_bytes()[MIB : 3 * MIB // 2]
        assert written == bytes(MIB // 2), "a block that was not verified was written"

    @pytest.mark.parametrize("field", ["digest", "uki_digest"])
    def test_a_kernel_image_of_another_digest(self, node: Node, world: World, tmp_path: Path, field: str) -> None:
        reference = world.release(tmp_path / "r", world.recipe("2"), None, **{field: "sha256:" + "0" * 64})
        refused(node, reference, Code.DIGEST)

    def test_a_tree_size_that_the_image_does_not_have(self, node: Node, world: World, tmp_path: Path) -> None:
        reference = world.release(tmp_path / "r", world.recipe("2"), tree_size=BLOCK_SIZE)
        refused(node, reference, Code.RELEASE)

    def test_f20_a_boot_image_without_a_kernel(self, node: Node, world: World, tmp_path: Path) -> None:
        reference = world.release(tmp_path / "r", world.recipe("2", boot=world.image(5, MIB // 4)))
        refused(node, reference, Code.DIGEST)


class TestTarget:
    """The good and the booted slot are sacred (F38, rule 6)."""

    def test_a_trial_blocks_installs(self, trial: Node, release2: str) -> None:
        before = trial.bytes_of(*Slot)
        with pytest.raises(ProaError) as caught:
            trial.install(release2)
        assert caught.value.code is Code.IN_TRIAL
        assert trial.bytes_of(*Slot) == before

    def test_a_slot_that_is_booted_though_another_is_good(self, trial: Node, release2: str) -> None:
        trial.states.write(bootstate.retire(trial.state))
        trial.paths.leaving.touch()
        with pytest.raises(ProaError) as caught:
            trial.install(release2)
        assert caught.value.code is Code.SLOT_IN_USE

    def test_f53_a_boot_that_the_state_does_not_explain(self, trial: Node, release2: str) -> None:
        trial.states.write(bootstate.retire(trial.state))
        before = trial.bytes_of(*Slot)
        with pytest.raises(ProaError) as caught:
            trial.install(release2)
        assert caught.value.code is Code.HANDSHAKE
        assert trial.bytes_of(*Slot) == before

    def test_f53_a_boot_without_a_report(self, node: Node, release2: str) -> None:
        node.paths.boot.unlink()
        refused(node, release2, Code.HANDSHAKE)

    def test_both_copies_of_the_state_damaged(self, node: Node, release2: str) -> None:
        """A plan says so; under the lock the state is made again first, as the daemon does it."""
        node.part("STATE").write_bytes(bytes(MIB))
        with pytest.raises(ProaError) as caught:
            plan_only(node.context, InstallOrder(release2))
        assert caught.value.code is Code.NO_STATE
        assert node.install(release2)["slot"] == "b"
        assert (node.state.good, node.state.alt) == (Slot.A, False)

    def test_a_slot_that_becomes_good_meanwhile_is_not_written(self, node: Node, release2: str) -> None:
        """Looked at once more right before each partition is opened."""
        opened: list[Path] = []

        def commit_meanwhile(path: Path, writable: bool) -> DirectFile:
            if writable:
                opened.append(path)
                state = node.state
                node.states.write(dataclasses.replace(state, good=Slot.B, seq=state.seq + 1))
            return open_direct(path, writable)

        with pytest.raises(ProaError) as caught:
            node.install(release2, opener=commit_meanwhile)
        assert caught.value.code in (Code.SLOT_IN_USE, Code.HANDSHAKE)
        assert [path.name for path in opened] == ["ROOT-B"]


class Faulty(DirectFile):
    """A device that fails, lies or stalls from some write on."""

    failing: Callable[[Faulty, int, Any], bool] = lambda *_: False
    writes = 0

    def write(self, offset: int, data: Any) -> None:
        type(self).writes += 1
        if not type(self).failing(self, offset, data):
            super().write(offset, data)


def faulty(fail: Callable[[Faulty, int, Any], bool]) -> Callable[[Path, bool], DirectFile]:
    """Devices whose ``fail`` is called instead of each write; it returns whether the write is to be left out."""
    kind = type("FaultyNow", (Faulty,), {"failing": staticmethod(fail), "writes": 0})

    def opener(path: Path, writable: bool) -> DirectFile:
        found: DirectFile = kind(path, writable=writable)
        return found

    return opener


class TestDevices:
    """F34 to F37: a device that fails costs the install, never the good slot; the next install works."""

    def fails(self, node: Node, reference: str, opener: Any, code: Code) -> None:
        refused(node, reference, code, opener=opener)
        assert not node.record.slots[Slot.B].complete
        assert node.view.node_state() is NodeState.GOOD
        assert node.install(reference)["slot"] == "b"
        assert scrub_slot(node.context, "b")["ok"]

    @pytest.mark.parametrize(
        ("number", "error", "code"),
        [(1, 5, Code.DEVICE), (2, 5, Code.DEVICE), (4, 5, Code.DEVICE), (2, 28, Code.DISK_FULL), (1, 30, Code.DEVICE)],
    )
    def test_f34_a_write_that_fails(self, node: Node, release2: str, number: int, error: int, code: Code) -> None:
        def fail(device: Faulty, offset: int, data: Any) -> bool:
            if type(device).writes == number:
                from proa.core.runtime.files import os_errors

                with os_errors(device.path):
                    raise OSError(error, os.strerror(error))
            return False

        self.fails(node, release2, faulty(fail), code)

    def test_f35_a_write_that_is_lost(self, node: Node, release2: str) -> None:
        self.fails(node, release2, faulty(lambda device, *_: type(device).writes == 3), Code.READ_BACK)

    def test_f36_a_bit_that_flips_on_its_way(self, node: Node, release2: str) -> None:
        def flip(device: Faulty, offset: int, data: Any) -> bool:
            if type(device).writes != 3:
                return False
            with DirectFile.buffer(len(data)) as other:
                other[:] = data
                other[77] ^= 4
                DirectFile.write(device, offset, other)
            return True

        self.fails(node, release2, faulty(flip), Code.READ_BACK)

    def test_f37_a_flush_that_fails(self, node: Node, release2: str) -> None:
        class Unflushed(DirectFile):
            def flush(self) -> None:
                raise ProaError(Code.DEVICE, "Input/output error", at=self.path)

        self.fails(node, release2, lambda path, writable: Unflushed(path, writable=writable), Code.DEVICE)

    def test_f34_a_read_that_fails(self, node: Node, release2: str) -> None:
        class Unread(DirectFile):
            def read_into(self, offset: int, data: Any) -> None:
                raise ProaError(Code.DEVICE, "Input/output error", at=self.path)

        self.fails(node, release2, lambda path, writable: Unread(path, writable=writable), Code.DEVICE)

    def test_f42_a_partition_shorter_than_the_table_says(self, node: Node, release2: str) -> None:
        os.truncate(node.part("ROOT-B"), MIB // 2)
        written: list[int] = []

        def ends(device: Faulty, offset: int, data: Any) -> bool:
            """What a block device says to a write behind its end."""
            written.append(offset)
            if offset + len(data) > MIB // 2:
                raise ProaError(Code.DISK_FULL, "no room at the end", at=device.path)
            return False

        refused(node, release2, Code.DISK_FULL, opener=faulty(ends))
        assert written
        assert not node.record.slots[Slot.B].complete

    def test_a_device_that_is_read_only(self, node: Node, release2: str) -> None:
        asked: list[str] = []

        def read_only(path: Path, writable: bool) -> DirectFile:
            asked.append(path.name)
            raise ProaError(Code.DEVICE, "Read-only file system", at=path)

        refused(node, release2, Code.DEVICE, opener=read_only)
        assert asked == ["ROOT-B"]

    @pytest.mark.parametrize("filled", [True, False])
    def test_a_standby_that_cannot_be_read_is_written_anew(self, node: Node, release2: str, filled: bool) -> None:
        if filled:
            node.install(release2)
        os.truncate(node.part("ROOT-B"), MIB // 2)
        assert node.install(release2)["bytes"]["keep"] == 0
        assert scrub_slot(node.context, "b")["ok"]

    def test_a_good_slot_that_cannot_be_read_is_told(self, node: Node, release2: str) -> None:
        os.truncate(node.part("ROOT-A"), MIB // 2)
        refused(node, release2, Code.DEVICE)

    def test_a_file_that_became_another_device_is_not_written(self, node: Node, release2: str) -> None:
        class Other(DirectFile):
            number = "7:9"

        error = refused(node, release2, Code.AMBIGUOUS, opener=lambda path, writable: Other(path, writable=writable))
        assert "7:9 now, the partition is 254:6" in error.message

    def test_f40_a_state_folder_that_cannot_be_written(self, node: Node, release2: str) -> None:
        before = node.states.read()
        node.write("var/lib/proa", "no folder")
        with pytest.raises(ProaError):
            node.install(release2)
        assert node.states.read() == before, "the slot was disarmed though nothing can be recorded"


class Stopper:
    """A monitor that asks for a stop once a step has come some way."""

    def __init__(self, node: Node, code: Code, step: str) -> None:
        self.context = dataclasses.replace(node.context, monitor=self, cancel=Cancel())
        self.code = code
        self.step = step

    def emit(self, event: Event) -> None:
        if isinstance(event, Progress) and event.step.startswith(self.step):
            self.context.cancel.ask(self.code)


@pytest.mark.parametrize("step", ["tree", "root"])
@pytest.mark.parametrize("code", [Code.CANCELLED, Code.INTERRUPTED])
def test_a_stop_is_clean_and_the_next_install_works(
    node: Node, world: World, release2: str, step: str, code: Code
) -> None:
    stopper = Stopper(node, code, step)
    with pytest.raises(ProaError) as caught:
        install(stopper.context, InstallOrder(release2, Activation(activate=True)))
    assert caught.value.code is code
    assert caught.value.exit is Exit.INTERRUPTED
    assert not node.state.on_trial
    assert node.view.node_state() is NodeState.GOOD
    node.install(release2)
    standby_is(node, world, world.recipe("2"))


def test_a_defect_is_remembered_too(node: Node, release2: str) -> None:
    class Broken:
        def emit(self, event: Event) -> None:
            if isinstance(event, Progress):
                raise ZeroDivisionError("oh")

    with pytest.raises(ZeroDivisionError):
        install(dataclasses.replace(node.context, monitor=Broken()), InstallOrder(release2))
    assert (node.last.code, node.last.message) == ("INTERNAL", "ZeroDivisionError: oh")
    assert node.view.node_state() is NodeState.GOOD


def test_a_full_disk_at_the_end_does_not_undo_an_install(
    node: Node, release2: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.install(release2)

    def no_room(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", no_room)
    assert node.install(release2)["slot"] == "b"


def test_f43_a_second_install_finds_the_lock(node: Node, release2: str) -> None:
    inside, codes = threading.Event(), []

    def second(path: Path, writable: bool) -> DirectFile:
        if not inside.is_set():
            inside.set()
            with pytest.raises(ProaError) as caught:
                node.install(release2)
            codes.append(caught.value.code)
        return open_direct(path, writable)

    node.install(release2, opener=second)
    assert codes == [Code.BUSY]


def test_f59_an_install_while_armed_disarms_first(node: Node, world: World, release2: str, tmp_path: Path) -> None:
    node.install(release2, activate=True)
    node.install(world.release(tmp_path / "three", world.recipe("3")))
    assert not node.state.on_trial
    assert node.record.trial is None
    assert node.record.slots[Slot.B].version == "3"


def test_no_thread_is_left(node: Node, world: World, release2: str, tmp_path: Path) -> None:
    before = threading.active_count()
    node.install(release2)
    refused(node, world.release(tmp_path / "r", world.recipe("3", tree_of=world.image(5))), Code.VERITY)
    assert threading.active_count() == before
