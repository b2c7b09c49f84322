"""The agent comes to terms with what it finds when it starts; scrubbing; what a daemon survives."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from proa.agent.daemon.daemon import Daemon
from proa.agent.node.lock import held
from proa.agent.node.states import NodeState
from proa.agent.testing.node import Node, known
from proa.agent.testing.systemctl import Systemctl
from proa.agent.testing.trials import healthy, refused, rot, warnings, watch
from proa.agent.testing.world import World
from proa.agent.trial.reconcile import reconcile
from proa.agent.verbs import verbs
from proa.core.runtime.errors import Code, Exit
from proa.partition.boot import envblock
from proa.partition.boot.bootstate import ROUNDS, Slot, encode
from proa.partition.boot.statefile import ENV_OFFSETS


class TestSettle:
    def test_it_knows_what_the_factory_wrote(self, node: Node) -> None:
        node.reconcile()
        known = node.record.slots[Slot.A]
        assert (known.version, known.complete, known.serial) == ("1", True, 1)
        assert (node.record.layout, node.record.loader) == (1, 1)
        assert verbs.scrub_slot(node.context).ok

    def test_again_is_harmless(self, node: Node) -> None:
        node.reconcile()
        before = node.paths.record.read_bytes(), node.states.read()
        node.reconcile()
        assert (node.paths.record.read_bytes(), node.states.read()) == before

    def test_a_state_that_is_lost_is_made_again(self, node: Node, release2: str) -> None:
        node.part("STATE").write_bytes(bytes(1 << 20))
        view = node.reconcile()
        assert view.problem is None
        assert node.state.good is Slot.A
        assert node.install(release2)["slot"] == "b"

    def test_a_state_that_is_lost_with_a_report_that_is_none_is_left_alone(self, trial: Node) -> None:
        trial.part("STATE").write_bytes(bytes(1 << 20))
        trial.paths.boot.write_text("{}")
        trial.reconcile()
        assert known(trial.view.problem).code is Code.HANDSHAKE
        assert trial.states.read().state is None

    def test_a_slot_that_can_boot_has_an_etc(self, node: Node, release2: str) -> None:
        node.write("persist/etc/a/upper/machine-id", "mine\n")
        node.install(release2, activate=True)
        shutil.rmtree(node.paths.etc_upper(Slot.B))
        node.reconcile()
        assert (node.paths.etc_upper(Slot.B) / "machine-id").read_text() == "mine\n"
        verbs.deactivate(node.context)
        shutil.rmtree(node.paths.etc_upper(Slot.B))
        node.reconcile()
        assert not node.paths.etc_upper(Slot.B).exists(), "not armed yet"

    def test_a_good_slot_that_grub_cannot_load_is_given_up(self, trial: Node, systemctl: Systemctl) -> None:
        watch(trial)
        trial.boot(Slot.A)
        trial.reconcile()
        assert (trial.state.good, trial.state.alt) == (Slot.A, False)
        assert trial.view.node_state() is NodeState.STAGED

    def test_a_disk_that_nothing_runs_from_is_left_alone(self, node: Node, world: World, tmp_path: Path) -> None:
        paths = dataclasses.replace(node.paths, disk=world.disk)
        context = dataclasses.replace(node.context, paths=paths)
        assert reconcile(context).booted is None


def test_scrub_finds_what_is_damaged(node: Node, release2: str) -> None:
    node.install(release2)
    with node.part("ROOT-B").open("r+b") as file:
        file.seek(4096 * 10 + 1)
        file.write(b"x")
        file.seek(4096 * 200)
        file.write(b"x" * 5000)
    error = refused(verbs.scrub_slot, node.context, "b")
    assert (error.code, error.exit) == (Code.VERITY, Exit.REFUSED)
    assert "3 blocks of 384, the first: 10, 200, 201" in error.message


def test_scrub_finds_a_damaged_tree(node: Node, release2: str) -> None:
    node.install(release2)
    with node.part("ROOT-B").open("r+b") as file:
        file.seek(3 * (1 << 19) + 4096 * 2)
        file.write(b"x")
    assert "tree" in refused(verbs.scrub_slot, node.context, "b").message


def test_scrub_needs_to_know_what_should_be_there(node: Node) -> None:
    assert refused(verbs.scrub_slot, node.context, "b").code is Code.NOT_STAGED


def test_scrub_leaves_the_running_slot_what_it_is(trial: Node, systemctl: Systemctl) -> None:
    watch(trial)
    rot(trial, "ROOT-B", 8192)
    before = trial.states.read()
    assert refused(verbs.scrub_slot, trial.context, "b").code is Code.VERITY
    assert trial.states.read() == before
    assert trial.record.slots[Slot.B].complete


class TestDaemon:
    def test_a_lock_that_is_held_too_long_does_not_leave_the_boot_unsettled(
        self, trial: Node, systemctl: Systemctl
    ) -> None:
        trial.reboot(agent=False)
        assert trial.reboot(agent=False) is Slot.A
        daemon = Daemon(trial.context)
        with held(trial.paths.lock):
            daemon._settle(patience=2.0)
        assert "BUSY" in warnings(trial)
        daemon.watch_trial()
        assert trial.returned.version == "2"

    def test_a_defect_is_told_and_tried_again(self, trial: Node, systemctl: Systemctl) -> None:
        systemctl.answer("is-system-running", "starting\n", 1)
        slept = trial.clock.pass_by

        def defect(seconds: float) -> None:
            slept(seconds)
            healthy(systemctl)
            trial.clock.instead = None
            raise ZeroDivisionError("oh")

        trial.clock.instead = defect
        watch(trial)
        assert "INTERNAL: ZeroDivisionError: oh" in warnings(trial)
        assert trial.state.good is Slot.B

    def test_it_gives_up_with_the_initrds_deadline(
        self, trial: Node, systemctl: Systemctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kernel = trial.kernel
        monkeypatch.setattr(kernel, "mapping", lambda name: None)
        Daemon(dataclasses.replace(trial.context, system=kernel, found=[])).watch_trial()
        assert 600 <= trial.clock.at < 640
        assert "NO_DISK" in warnings(trial)

    def test_a_record_of_wrong_values_does_not_stop_it(self, node: Node, release2: str) -> None:
        node.install(release2, activate=True)
        document = json.loads(node.paths.record.read_text())
        document["trial"]["slot"] = "c"
        node.paths.record.write_text(json.dumps(document))
        daemon = Daemon(node.context)
        daemon._settle(patience=1.0)
        assert daemon.settled
        assert "trial.slot is not one of a, b" in warnings(node)

    def test_a_lost_reader_of_its_words_does_not_stop_it(self, trial: Node, systemctl: Systemctl) -> None:
        class Gone:
            def emit(self, event: Any) -> None:
                raise BrokenPipeError(32, "Broken pipe")

        systemctl.answer("is-system-running", "starting\n", 1)
        slept = trial.clock.pass_by

        def later(seconds: float) -> None:
            slept(seconds)
            healthy(systemctl)

        trial.clock.instead = later
        Daemon(dataclasses.replace(trial.context, monitor=Gone())).watch_trial()
        assert trial.state.good is Slot.B


def test_n21_rounds_without_a_slot_are_forgotten_once_one_runs(node: Node) -> None:
    state = node.state
    block = known(envblock.assign(encode(state), ROUNDS, "3"))
    with node.part("STATE").open("r+b") as file:
        for offset in ENV_OFFSETS:
            file.seek(offset)
            file.write(block)
    assert node.states.read().rounds == 3
    node.reboot()
    assert (node.states.read().rounds, node.state) == (0, state)
