"""What an install refuses: releases that are not trusted, do not fit or are denied, and slots it must not write."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from proa.agent.install.install import plan_only
from proa.agent.install.order import InstallOrder
from proa.agent.node.states import NodeState
from proa.agent.slot.region import open_direct
from proa.agent.testing.installs import refused, standby_is
from proa.agent.testing.node import Node
from proa.agent.testing.world import MIB, World
from proa.core.release.document import BLOCK_SIZE, Requires
from proa.core.release.verity import tree_size
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import DirectFile
from proa.partition.boot import bootstate
from proa.partition.boot.bootstate import Slot


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
        assert node.install(world.release(tmp_path / "small", small))["release"]["version"] == "3"
        standby_is(node, world, small)

    def test_a_kernel_image_larger_than_its_partition(self, node: Node, world: World, tmp_path: Path) -> None:
        large = tmp_path / "large"
        with large.open("wb") as file:
            file.truncate(MIB + BLOCK_SIZE)
        refused(node, self.release(world, tmp_path, boot=large), Code.TOO_LARGE)


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
