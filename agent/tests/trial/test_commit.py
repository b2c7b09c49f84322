"""A trial that proves healthy is committed, and a damaged slot heals."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from proa.agent.node.states import NodeState, SlotState
from proa.agent.testing.node import Node, known
from proa.agent.testing.systemctl import Systemctl
from proa.agent.testing.trials import healthy, no_room, refused, rot, unhealthy, warnings, watch
from proa.agent.testing.world import World
from proa.agent.trial.trial import load_notes
from proa.agent.verbs import verbs
from proa.core.runtime.errors import Code, Exit
from proa.core.runtime.events import Note
from proa.partition.boot import bootstate
from proa.partition.boot.bootstate import Slot


class TestCommit:
    def test_a_healthy_trial_is_committed(self, trial: Node, systemctl: Systemctl) -> None:
        assert trial.view.node_state() is NodeState.TRIAL
        assert (trial.state.left, trial.view.slot_state(Slot.B)) == (1, SlotState.TRIAL)
        watch(trial)
        assert (trial.state.good, trial.state.trial, trial.state.alt) == (Slot.B, None, True)
        assert "stop proa-deadline.timer" in systemctl.calls
        assert trial.view.node_state() is NodeState.PAIRED
        assert trial.record.trial is None
        assert trial.record.slots[Slot.B].version == "2"
        assert load_notes(trial.paths) is None

    def test_a_committed_slot_stays_through_any_number_of_boots(self, trial: Node) -> None:
        watch(trial)
        before = trial.states.read()
        assert [trial.reboot() for _ in range(5)] == [Slot.B] * 5
        assert trial.states.read() == before, "a committed boot writes nothing"

    def test_commit_by_order_asks_no_check(self, trial: Node, systemctl: Systemctl) -> None:
        systemctl.answer("is-system-running", "degraded\n", 1)
        systemctl.answer("list-units", "bad.service loaded failed failed Bad\n")
        assert verbs.commit(trial.context).state is NodeState.PAIRED

    def test_n22_units_that_had_failed_before_do_not_send_it_back(
        self, node: Node, release2: str, systemctl: Systemctl
    ) -> None:
        """As on a machine with hardware that a unit of either release cannot cope with."""
        systemctl.answer("is-system-running", "degraded\n", 1)
        systemctl.answer("list-units", "tpm.service loaded failed failed TPM\n")
        node.know(release2)
        node.install(release2, activate=True)
        assert known(node.record.trial).failed_before == ("tpm.service",)
        node.reboot()
        watch(node)
        assert node.state.good is Slot.B
        told = [event.text for event in node.events.events if isinstance(event, Note)]
        assert "failed before the upgrade as well: tpm.service" in told

    def test_n22_a_unit_that_fails_only_in_the_trial_sends_it_back(
        self, node: Node, release2: str, systemctl: Systemctl
    ) -> None:
        systemctl.answer("list-units", "tpm.service loaded failed failed TPM\n")
        node.know(release2)
        node.install(release2, activate=True)
        node.reboot()
        unhealthy(node, systemctl)
        assert not node.state.on_trial
        assert node.state.good is Slot.A

    def test_there_must_be_a_trial(self, node: Node) -> None:
        error = refused(verbs.commit, node.context)
        assert (error.code, error.exit) == (Code.NO_TRIAL, Exit.STATE)

    def test_the_floor_of_a_committed_release_is_recorded(
        self, node: Node, world: World, tmp_path: Path, systemctl: Systemctl
    ) -> None:
        reference = world.release(tmp_path / "r", world.recipe("2", floor=2))
        node.know(reference)
        node.install(reference, activate=True)
        node.reboot()
        assert node.record.floor == 0, "a trial forbids nothing yet"
        watch(node)
        assert node.record.floor == 2
        error = refused(verbs.rollback, node.context)
        assert error.code is Code.SERIAL, "the factory's serial is 1"

    def test_a_timer_that_cannot_be_stopped_is_told(self, trial: Node, systemctl: Systemctl) -> None:
        systemctl.answer("stop", "no\n", 1)
        verbs.commit(trial.context)
        assert trial.state.good is Slot.B
        assert any(isinstance(event, Note) and "could not be stopped" in event.text for event in trial.events.events)

    def test_power_lost_between_commit_and_record(self, trial: Node) -> None:
        trial.states.write(bootstate.commit(trial.state))
        assert trial.reboot() is Slot.B
        assert trial.record.trial is None
        assert trial.record.returned is None
        assert trial.view.node_state() is NodeState.PAIRED

    def test_a_slot_that_healed_itself_is_not_called_whole(self, trial: Node, systemctl: Systemctl) -> None:
        """The initrd armed the other slot because the good one could not be opened: ALT stands beside the trial."""
        watch(trial)
        trial.states.write(bootstate.heal(trial.state))
        with trial.part("ROOT-B").open("r+b") as file:
            file.write(b"rot")
        assert trial.reboot() is Slot.A
        watch(trial)
        assert (trial.state.good, trial.state.alt) == (Slot.A, False)
        assert trial.view.slot_state(Slot.B) is SlotState.PARTIAL

    def test_a_slot_that_was_only_thought_damaged_is_kept(self, trial: Node, systemctl: Systemctl) -> None:
        watch(trial)
        trial.states.write(bootstate.heal(trial.state))
        assert trial.reboot() is Slot.A
        watch(trial)
        assert (trial.state.good, trial.state.alt) == (Slot.A, True)

    def test_the_deadline_is_stopped_by_whoever_comes_after_a_cut(self, trial: Node, systemctl: Systemctl) -> None:
        """The agent was killed between the commit and the timer: a healthy, committed node must not be rebooted."""
        trial.states.write(bootstate.commit(trial.state))
        trial.reconcile()
        assert systemctl.calls == ["stop proa-deadline.timer"]

    def test_a_stop_while_the_old_slot_is_read_undoes_nothing(self, trial: Node, systemctl: Systemctl) -> None:
        watch(trial)
        trial.states.write(bootstate.heal(trial.state))
        assert trial.reboot() is Slot.A
        trial.context.cancel.ask(Code.INTERRUPTED)
        calls = len(systemctl.calls)
        assert refused(verbs.commit, trial.context).code is Code.INTERRUPTED
        assert (trial.state.good, trial.state.trial, trial.state.alt) == (Slot.A, None, False)
        assert systemctl.calls[calls:] == ["stop proa-deadline.timer"]
        assert trial.record.slots[Slot.B].complete, "nobody found anything wrong with it"
        assert trial.last.verb == "commit"

    def test_a_full_disk_does_not_make_a_commit_look_undone(
        self, trial: Node, systemctl: Systemctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as full:
            full.setattr(tempfile, "mkstemp", no_room)
            assert verbs.commit(trial.context).good is Slot.B
        assert "cannot be recorded" not in str(trial.record.last)
        assert "No space left" in warnings(trial)
        assert trial.reboot() is Slot.B
        assert trial.record.trial is None

    def test_a_full_disk_bars_no_way_back(
        self, trial: Node, systemctl: Systemctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as full:
            full.setattr(tempfile, "mkstemp", no_room)
            assert verbs.rollback(trial.context).state is NodeState.LEAVING
        assert trial.reboot() is Slot.A


class TestHeal:
    """The good slot cannot be opened, and its initrd turns to the other one."""

    def broken(self, node: Node) -> None:
        watch(node)
        rot(node, "ROOT-B")

    def heal(self, node: Node, *, agent: bool = True) -> None:
        node.states.write(bootstate.heal(node.state))
        assert node.reboot(agent=agent) is Slot.A
        node.clock.at = 0.0

    def test_a_second_heal_is_judged_by_itself(self, trial: Node, systemctl: Systemctl) -> None:
        self.broken(trial)
        self.heal(trial)
        unhealthy(trial, systemctl)
        assert (trial.state.good, trial.state.trial) == (Slot.B, None)
        healthy(systemctl)
        self.heal(trial)
        watch(trial)
        assert (trial.state.good, trial.state.trial, trial.state.alt) == (Slot.A, None, False)

    def test_a_cut_in_the_middle_is_healed_again(self, trial: Node, systemctl: Systemctl) -> None:
        self.broken(trial)
        self.heal(trial, agent=False)
        assert known(trial.states.read().state).left == 0
        self.heal(trial)
        watch(trial)
        assert (trial.state.good, trial.state.trial) == (Slot.A, None)
