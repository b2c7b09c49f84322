"""An install on a disk of files: what it leaves behind when it ends well, is told to stop, or is not alone."""

from __future__ import annotations

import dataclasses
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from proa.agent.cli.text import describe_install
from proa.agent.install.install import install, plan_only
from proa.agent.install.order import Activation, InstallOrder
from proa.agent.node.cancel import Cancel
from proa.agent.node.record import MovedBytes
from proa.agent.node.reports import Installed
from proa.agent.node.states import NodeState
from proa.agent.orders.node_status import node_status
from proa.agent.slot.region import open_direct
from proa.agent.testing import synthetic
from proa.agent.testing.installs import refused, standby_is
from proa.agent.testing.node import Node
from proa.agent.testing.world import MIB, World
from proa.agent.verbs.status import status
from proa.agent.verbs.verbs import commit
from proa.core.orders.messages import Moved
from proa.core.release.verity import tree_size
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.runtime.events import Event, Progress
from proa.core.runtime.files import DirectFile
from proa.core.schema.model import document, parse
from proa.partition.boot import bootstate
from proa.partition.boot.bootstate import Slot


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


def test_what_it_cost_is_kept_with_the_slot(node: Node, release2: str) -> None:
    report = node.install(release2)
    told = document(status(node.context))
    moved = report["bytes"] | {"avoid": report["avoided"]}
    assert told["slots"]["b"]["bytes"] == moved
    assert told["slots"]["a"]["bytes"] is None, "nobody knows what the factory did"
    assert node.install(release2)["bytes"]["write"] == 0
    assert node.record.slots[Slot.B].bytes == MovedBytes(**moved), "what was there already cost nothing more"
    standby = node_status(node.view).standby
    assert standby
    assert standby.bytes == Moved(**moved)


def test_zeros_that_the_device_makes_are_told(node: Node, world: World, tmp_path: Path) -> None:
    data = bytearray(world.image(5).read_bytes())
    data[MIB // 2 : MIB] = bytes(MIB // 2)
    root = tmp_path / "root"
    root.write_bytes(data)
    report = node.install(world.release(tmp_path / "r", world.recipe("2", root=root)))
    holes = sum(
        not any(image[at : at + (64 << 10)])
        for image in (data, world.factory.boot.read_bytes())
        for at in range(0, len(image), 64 << 10)
    )
    assert report["avoided"] == holes * (64 << 10) >= MIB // 2
    assert report["bytes"]["write"] == len(data) + tree_size(len(data)) + MIB // 4


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
    report: dict[str, Any] = trial.install(f"oci:{world.folder / 'factory/oci'}", downgrade=True)
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
    assert plan_only(node.context, InstallOrder(factory)).slot is Slot.A


def test_the_good_release_activated_takes_back_the_arming_of_another(node: Node, world: World, release2: str) -> None:
    node.install(release2, activate=True)
    report = node.install(f"oci:{world.folder / 'factory/oci'}", activate=True)
    assert (report["unchanged"], report["taken_back"], report["activated"]) == (True, True, False)
    assert (node.state.trial, node.record.trial) == (None, None)
    assert node.view.node_state() is NodeState.STAGED, "the other release is still there"
    assert "disarmed" in describe_install(parse(Installed, report))


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
    assert plan.slot is Slot.B
    assert plan.bytes.fetch > 0
    assert plan.actions[0].startswith("disarm")
    assert contents() == before


def test_what_was_planned_is_what_is_done(node: Node, release2: str) -> None:
    order = InstallOrder(release2, Activation(activate=True))
    plan, report = plan_only(node.context, order), install(node.context, order)
    assert (plan.slot, plan.bytes, plan.release) == (report.slot, report.bytes, report.release)


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
