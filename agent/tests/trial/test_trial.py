"""Stories of several boots: a trial that is committed, comes back, or is taken back, as GRUB's table decides it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from proa.agent.cli.text import describe_status
from proa.agent.daemon.daemon import Daemon
from proa.agent.node import record as records
from proa.agent.node.failure import Failure
from proa.agent.node.lock import held
from proa.agent.node.states import NodeState, SlotState
from proa.agent.testing.node import Node, known
from proa.agent.testing.systemctl import Systemctl
from proa.agent.testing.world import World
from proa.agent.trial.health import Health
from proa.agent.trial.reconcile import reconcile
from proa.agent.trial.trial import TrialLog, load_notes
from proa.agent.verbs import verbs
from proa.agent.verbs.status import status
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.runtime.events import Note
from proa.core.runtime.files import sha256
from proa.partition.boot import bootstate, envblock
from proa.partition.boot.bootstate import SEQ_MAX, Slot
from proa.partition.boot.statefile import ENV_OFFSETS


def watch(node: Node) -> Daemon:
    """Let the daemon watch this boot's trial to its end."""
    daemon = Daemon(node.context)
    daemon.watch_trial()
    return daemon


def refused(verb: Any, *arguments: Any, **options: Any) -> ProaError:
    with pytest.raises(ProaError) as caught:
        verb(*arguments, **options)
    return caught.value


def unhealthy(node: Node, systemctl: Systemctl) -> None:
    """Watch a boot with a unit that failed."""
    systemctl.answer("is-system-running", "degraded\n", 1)
    systemctl.answer("list-units", "bad.service loaded failed failed Bad thing\n")
    systemctl.answer("show", "exit-code\n")
    node.write("etc/proa/agent.toml", "[health]\ninterval = 270\n")
    watch(node)


def healthy(systemctl: Systemctl) -> None:
    systemctl.answer("is-system-running", "running\n")
    systemctl.answer("list-units", "")


def no_room(*_: Any, **__: Any) -> Any:
    """A file system that takes no new file."""
    raise OSError(28, "No space left on device")


def warnings(node: Node) -> str:
    return "\n".join(event.text for event in node.events.events if isinstance(event, Note) and event.level == "warning")


def rot(node: Node, name: str, place: int = 0) -> None:
    with node.part(name).open("r+b") as file:
        file.seek(place)
        file.write(b"rot" * 2000)


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
        assert verbs.commit(trial.context)["state"] == "paired"

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
            assert verbs.commit(trial.context)["good"] == "b"
        assert "cannot be recorded" not in str(trial.record.last)
        assert "No space left" in warnings(trial)
        assert trial.reboot() is Slot.B
        assert trial.record.trial is None

    def test_a_full_disk_bars_no_way_back(
        self, trial: Node, systemctl: Systemctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as full:
            full.setattr(tempfile, "mkstemp", no_room)
            assert verbs.rollback(trial.context)["state"] == "leaving"
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


class TestReturn:
    def test_an_unhealthy_trial_is_taken_back_at_its_deadline(self, trial: Node, systemctl: Systemctl) -> None:
        unhealthy(trial, systemctl)
        assert trial.clock.at == pytest.approx(540, abs=1)
        assert not trial.state.on_trial
        assert systemctl.calls[-1] == "reboot"
        assert trial.view.node_state() is NodeState.LEAVING
        assert trial.reboot() is Slot.A
        returned = trial.returned
        assert "not healthy within 540 s" in returned.reason
        assert (returned.failures[0].what, returned.cause) == ("unit bad.service", "unhealthy")
        assert trial.view.node_state() is NodeState.RETURNED
        assert trial.view.slot_state(Slot.B) is SlotState.FAILED
        assert trial.last.code == "TRIAL_RETURNED"
        assert "bad.service" in describe_status(status(trial.context))

    def test_a_trial_that_gets_well_in_time_is_committed(self, trial: Node, systemctl: Systemctl) -> None:
        systemctl.answer("is-system-running", "starting\n", 1)
        slept = trial.clock.pass_by

        def later(seconds: float) -> None:
            slept(seconds)
            if trial.clock.at > 60:
                systemctl.answer("is-system-running", "running\n")

        trial.clock.instead = later
        watch(trial)
        assert trial.state.good is Slot.B
        assert 60 < trial.clock.at < 70

    def test_the_deadline_follows_the_signed_one(self, trial: Node, systemctl: Systemctl) -> None:
        cmdline = trial.paths.cmdline
        cmdline.write_text(cmdline.read_text().strip() + " proa.deadline=50 proa.deadline=100")  # the last one counts
        unhealthy(trial, systemctl)
        assert trial.clock.at == pytest.approx(90, abs=1)

    def test_settings_that_cannot_be_read_are_not_healthy(self, trial: Node, systemctl: Systemctl) -> None:
        trial.write("etc/proa/agent.toml", "[health]\ndeadlin = 3\n")
        trial.clock.at = 530.0
        watch(trial)
        assert not trial.state.on_trial
        trial.reboot()
        assert trial.returned.failures[0].what == "settings"

    def test_a_trial_whose_agent_never_starts(self, trial: Node) -> None:
        """The initrd's deadline ends it; GRUB counts; the good slot tells."""
        trial.paths.trial.unlink(missing_ok=True)
        assert trial.reboot(agent=False) is Slot.B
        assert trial.state.left == 0
        assert trial.reboot() is Slot.A
        assert "never came as far as its agent; 2 of 2 tries used" in trial.returned.reason
        assert trial.returned.cause == "silent"
        assert not trial.state.on_trial, "the agent of the good slot ends what is left of it"

    def test_a_trial_that_only_waits_at_its_deadline_is_not_unhealthy(self, trial: Node, systemctl: Systemctl) -> None:
        """The release is slow, or the machine is: nothing was found wrong."""
        systemctl.answer("is-system-running", "starting\n", 1)
        watch(trial)
        trial.reboot()
        returned = trial.returned
        assert (returned.cause, returned.code) == ("deadline", "TRIAL_RETURNED")
        assert "system: is still starting" in returned.reason

    def test_a_kernel_image_that_cannot_be_started(self, trial: Node) -> None:
        """GRUB leaves a word beside the state, in the copy that counts."""
        trial.reboot(agent=False)
        pair = trial.states.read()
        block = envblock.assign(pair[pair.copy - 1], bootstate.REFUSED, "0")
        with trial.part("STATE").open("r+b") as file:
            file.seek(ENV_OFFSETS[pair.copy - 1])
            file.write(block)
        assert trial.reboot() is Slot.A
        assert (trial.returned.cause, trial.returned.used) == ("refused", 2)
        assert not trial.states.read().refused

    def test_what_the_initrd_wrote_down_is_told(self, trial: Node) -> None:
        trial.reboot(agent=False)
        note = {"schema": "proa.try/v1", "root_hash": known(trial.record.trial).root_hash, "seq": trial.state.seq, "left": 0}
        words = {"cause": "deadline", "what": "the trial was not committed in time; rebooting"}
        trial.write("persist/.proa/trial", json.dumps(note | words))
        trial.reboot()
        assert trial.returned.cause == "deadline"

    def test_a_trial_that_is_cut_off_tells_what_it_saw(self, trial: Node, systemctl: Systemctl) -> None:
        systemctl.answer("is-system-running", "starting\n", 1)
        daemon = Daemon(trial.context)
        trial.clock.instead = lambda _: daemon.context.cancel.ask(Code.INTERRUPTED)
        daemon.watch_trial()
        assert trial.state.on_trial
        trial.reboot(agent=False)
        trial.reboot()
        returned = trial.returned
        assert "cut off before it was committed, its last look found: system: is still starting" in returned.reason
        assert returned.used == 2

    def test_kernel_messages_of_a_crash_are_told(self, trial: Node) -> None:
        trial.reboot(agent=False)
        trial.write("var/lib/systemd/pstore/177/001/dmesg.txt", "one\nKernel panic - not syncing: broken\n")
        trial.write("var/lib/systemd/pstore/177/001/dmesg-efi_pstore-17700001", "a piece of it\n")
        trial.write("var/lib/systemd/pstore/177/001/dmesg-efi_pstore-17700002.enc.z", "no text\n")
        trial.reboot()
        assert trial.returned.kernel[-1] == "Kernel panic - not syncing: broken"
        assert trial.returned.cause == "panic"
        assert "Kernel panic" in describe_status(status(trial.context))

    def test_what_the_trial_made_of_etc_is_set_aside(self, trial: Node) -> None:
        trial.write("persist/etc/b/upper/hostname", "changed\n")
        trial.reboot(agent=False)
        trial.reboot()
        etc = known(trial.returned.etc)
        assert etc.files == ("hostname",)
        assert (Path(etc.kept) / "hostname").read_text() == "changed\n"

    def test_no_room_for_what_the_trial_made_of_etc(self, trial: Node, tmp_path: Path, systemctl: Systemctl) -> None:
        """``cp`` says so in words; nothing half copied is left, and the return is told."""
        fake = tmp_path / "bin/cp"
        fake.write_text('#!/bin/sh\nmkdir -p "$4"\necho "cp: error: No space left on device" >&2\nexit 1\n')
        fake.chmod(0o755)
        trial.write("persist/etc/b/upper/hostname", "changed\n")
        trial.write("persist/etc/a/upper/hostname", "mine\n")
        trial.reboot(agent=False)
        assert trial.reboot() is Slot.A
        assert (trial.returned.version, trial.returned.etc) == ("2", None)
        assert (trial.paths.etc_upper(Slot.B) / "hostname").read_text() == "changed\n"
        assert sorted(path.name for path in trial.paths.etc_uppers.iterdir()) == ["a", "b"]

    def test_the_report_stays_until_the_next_activation(self, trial: Node, release2: str) -> None:
        trial.reboot(agent=False)
        trial.reboot()
        trial.reboot()
        assert trial.record.returned
        assert verbs.activate(trial.context)["state"] == "armed", "the same release may be tried again, by order"
        assert trial.record.returned is None

    def test_a_loader_that_cannot_count_down(self, trial: Node, systemctl: Systemctl) -> None:
        """F53: LEFT was not taken off. Such a trial would never end, so the agent ends it."""
        report = json.loads(trial.paths.boot.read_text()) | {"left": 2}
        trial.paths.boot.write_text(json.dumps(report))
        assert trial.view.node_state() is NodeState.INCONSISTENT
        assert refused(verbs.commit, trial.context).code is Code.HANDSHAKE
        watch(trial)
        assert not trial.state.on_trial
        assert systemctl.calls[-1] == "reboot"

    def test_a_second_boot_of_a_trial_with_as_many_tries_left(self, trial: Node, systemctl: Systemctl) -> None:
        systemctl.answer("is-system-running", "starting\n", 1)
        daemon = Daemon(trial.context)
        trial.clock.instead = lambda _: daemon.context.cancel.ask(Code.INTERRUPTED)
        daemon.watch_trial()
        trial.boot(Slot.B)
        watch(trial)
        assert not trial.state.on_trial
        trial.reboot()
        assert "1 tries were left before this boot, 1 now" in trial.returned.reason

    @pytest.mark.parametrize("seq", [1, SEQ_MAX - 1, SEQ_MAX])
    def test_a_trial_that_could_write_nothing_is_told_of(
        self, node: Node, release2: str, systemctl: Systemctl, monkeypatch: pytest.MonkeyPatch, seq: int
    ) -> None:
        """Also where SEQ begins again at 1 meanwhile."""
        node.states.write(dataclasses.replace(node.state, seq=seq))
        node.know(release2)
        node.install(release2, activate=True)
        node.states.write(dataclasses.replace(node.state, seq=known(node.record.trial).seq))
        assert node.reboot() is Slot.B
        with monkeypatch.context() as full:
            full.setattr(tempfile, "mkstemp", no_room)
            unhealthy(node, systemctl)
        assert load_notes(node.paths) is None
        assert node.reboot() is Slot.A
        assert "nothing could be written down about it; 1 of 3 tries" in node.returned.reason
        assert node.view.node_state() is NodeState.RETURNED

    def test_a_state_that_is_lost_leaves_a_trial_one(self, trial: Node, systemctl: Systemctl) -> None:
        trial.part("STATE").write_bytes(bytes(1 << 20))
        trial.reconcile()
        assert (trial.state.good, trial.state.trial, trial.state.left, trial.state.alt) == (Slot.A, Slot.B, 0, False)
        assert trial.view.node_state() is NodeState.TRIAL
        watch(trial)
        assert trial.state.good is Slot.B

    def test_a_state_that_is_lost_takes_no_commit_back(self, trial: Node, systemctl: Systemctl) -> None:
        watch(trial)
        trial.part("STATE").write_bytes(bytes(1 << 20))
        trial.reconcile()
        assert (trial.state.good, trial.state.trial) == (Slot.B, None)

    def test_a_command_that_is_faster_than_the_daemon_hides_nothing(
        self, trial: Node, world: World, systemctl: Systemctl, tmp_path: Path
    ) -> None:
        trial.reboot(agent=False)
        assert trial.reboot(agent=False) is Slot.A
        trial.install(world.release(tmp_path / "three", world.recipe("3")))
        assert trial.returned.version == "2"
        assert trial.last.verb == "install"

    def test_an_order_keeps_what_the_trial_saw(self, trial: Node, systemctl: Systemctl) -> None:
        trial_log = TrialLog(trial.context, trial.view)
        trial_log.saw(Health((Failure("unit bad.service", "failed (exit-code)"),)))
        verbs.rollback(trial.context)
        trial_log.saw(Health((Failure("unit bad.service", "failed (other)"),)))  # a watch in the middle of its look
        assert trial.reboot() is Slot.A
        assert "taken back by order" in trial.returned.reason
        assert [failure.why for failure in trial.returned.failures] == ["failed (exit-code)"]

    def test_what_a_fallback_made_of_etc_is_set_aside_and_it_still_has_one(
        self, trial: Node, systemctl: Systemctl
    ) -> None:
        trial.write("persist/etc/a/upper/machine-id", "id-a\n")
        trial.write("persist/etc/b/upper/machine-id", "id-b\n")
        watch(trial)
        verbs.activate(trial.context, tries=1)
        assert trial.reboot() is Slot.A
        trial.write("persist/etc/a/upper/x", "by the trial\n")
        assert trial.reboot() is Slot.B
        assert trial.state.alt, "GRUB still turns to it when the good slot cannot be loaded"
        assert (trial.paths.etc_upper(Slot.A) / "machine-id").read_text() == "id-b\n"
        assert (Path(known(trial.returned.etc).kept) / "x").exists()

    def test_power_lost_while_arming_is_no_return(self, node: Node, release2: str) -> None:
        """The trial was recorded but not armed yet."""
        node.know(release2)
        node.install(release2)
        before = node.states.read()
        verbs.activate(node.context)
        for offset, copy in zip(ENV_OFFSETS, before, strict=True):
            with node.part("STATE").open("r+b") as file:
                file.seek(offset)
                file.write(copy)
        assert node.reboot() is Slot.A
        assert (node.record.returned, node.record.trial) == (None, None)
        assert node.view.node_state() is NodeState.STAGED

    def test_a_restart_of_the_agent_while_armed_is_no_return(self, node: Node, release2: str) -> None:
        node.install(release2, activate=True)
        node.reconcile()
        assert node.view.node_state() is NodeState.ARMED
        assert node.record.trial


class TestRollback:
    def test_a_trial_is_given_up(self, trial: Node, systemctl: Systemctl) -> None:
        assert verbs.rollback(trial.context, reboot=True)["state"] == "leaving"
        assert systemctl.calls[-1] == "reboot"
        assert trial.reboot() is Slot.A
        assert "taken back by order" in trial.returned.reason

    def test_after_a_commit_it_leads_to_the_slot_before(self, trial: Node, systemctl: Systemctl) -> None:
        watch(trial)
        trial.reboot()
        report = verbs.rollback(trial.context)
        assert (report["good"], report["state"]) == ("a", "leaving")
        assert trial.reboot() is Slot.A
        assert trial.view.node_state() is NodeState.PAIRED
        assert verbs.rollback(trial.context)["good"] == "b", "and back again"

    def test_only_the_reboot_is_left(self, trial: Node, systemctl: Systemctl) -> None:
        watch(trial)
        verbs.rollback(trial.context)
        state = trial.states.read()
        verbs.rollback(trial.context, reboot=True)
        assert trial.states.read() == state
        assert systemctl.calls[-1] == "reboot"

    @pytest.mark.parametrize("found_before", [True, False])
    @pytest.mark.parametrize("name", ["ROOT-A", "UKI-A"])
    def test_a_damaged_slot_is_nothing_to_go_back_to(
        self, trial: Node, systemctl: Systemctl, name: str, found_before: bool
    ) -> None:
        self.pair(trial)
        rot(trial, name, 20_000)
        if found_before:
            assert refused(verbs.scrub_slot, trial.context, "a").code is Code.VERITY
            assert (trial.state.alt, trial.record.slots[Slot.A].complete) == (False, False)
        error = refused(verbs.rollback, trial.context)
        assert (error.code, error.exit) == (Code.NOT_GOOD, Exit.STATE)
        assert (trial.state.good, trial.state.alt) == (Slot.B, False)
        assert trial.view.slot_state(Slot.A) is SlotState.PARTIAL
        assert trial.record.returned is None

    def pair(self, node: Node) -> None:
        """Commit the trial; of the factory's kernel image the digest is not known, so give it one."""
        watch(node)
        node.reboot()
        known = node.record.slots[Slot.A]
        boot = node.world.factory.boot
        digest = f"sha256:{sha256(boot)}"
        changed = dataclasses.replace(known, boot_size=boot.stat().st_size, boot_digest=digest)
        records.save(node.paths.record, node.record.with_slot(Slot.A, changed))

    def test_a_slot_that_cannot_be_read_is_nothing_to_go_back_to(self, trial: Node, systemctl: Systemctl) -> None:
        self.pair(trial)
        os.truncate(trial.part("ROOT-A"), 1 << 20)
        assert refused(verbs.rollback, trial.context).code is Code.NOT_GOOD
        assert not trial.state.alt

    def test_a_slot_of_which_nothing_is_known_is_nothing_to_go_back_to(self, trial: Node, systemctl: Systemctl) -> None:
        self.pair(trial)
        trial.paths.record.unlink()
        assert refused(verbs.rollback, trial.context).code is Code.NOT_GOOD
        assert trial.state.alt, "nobody found anything wrong with it"

    def test_a_stop_while_it_is_read_says_nothing_about_it(self, trial: Node, systemctl: Systemctl) -> None:
        self.pair(trial)
        before = trial.states.read()
        trial.context.cancel.ask(Code.INTERRUPTED)
        assert refused(verbs.rollback, trial.context).code is Code.INTERRUPTED
        assert trial.states.read() == before
        assert trial.record.slots[Slot.A].complete

    def test_a_dry_run_is_refused_as_the_real_one(self, trial: Node, systemctl: Systemctl) -> None:
        self.pair(trial)
        trial.trust(floor=2)
        for dry_run in (True, False):
            assert refused(verbs.rollback, trial.context, dry_run=dry_run).code is Code.SERIAL
        trial.trust()
        rot(trial, "ROOT-A", 20_000)
        before = trial.states.read(), trial.paths.record.read_bytes()
        assert refused(verbs.rollback, trial.context, dry_run=True).code is Code.NOT_GOOD
        assert (trial.states.read(), trial.paths.record.read_bytes()) == before

    def test_a_broken_trust_bars_no_way_back(self, trial: Node, systemctl: Systemctl) -> None:
        self.pair(trial)
        trial.write("etc/proa/trust.json", "{ no JSON")
        assert verbs.rollback(trial.context)["good"] == "a"

    def test_there_must_be_a_good_slot_to_go_to(self, node: Node, release2: str) -> None:
        assert refused(verbs.rollback, node.context).code is Code.NOT_GOOD
        node.install(release2)
        assert refused(verbs.rollback, node.context).code is Code.NOT_GOOD


class TestActivate:
    def test_a_staged_slot(self, node: Node, release2: str, systemctl: Systemctl) -> None:
        node.install(release2)
        assert verbs.activate(node.context, tries=1, reboot=True)["state"] == "armed"
        assert node.state.left == 1
        assert systemctl.calls == ["reboot"]

    def test_nothing_staged(self, node: Node) -> None:
        assert refused(verbs.activate, node.context).code is Code.NOT_STAGED

    def test_f45_a_slot_that_was_changed_since(self, node: Node, release2: str) -> None:
        node.install(release2)
        with node.part("UKI-B").open("r+b") as file:
            file.seek(200_000)
            file.write(b"rot")
        assert refused(verbs.activate, node.context).code is Code.NOT_STAGED
        assert not node.state.on_trial
        assert not node.record.slots[Slot.B].complete

    def test_f45_a_slot_whose_root_is_another(self, node: Node, release2: str) -> None:
        node.install(release2)
        node.part("ROOT-B").write_bytes(bytes(2 << 20))
        assert refused(verbs.activate, node.context).code is Code.NOT_STAGED

    def test_a_slot_below_the_floor(self, node: Node, release2: str) -> None:
        node.install(release2)
        node.trust(floor=3)
        assert refused(verbs.activate, node.context).code is Code.SERIAL

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_a_release_that_is_denied_meanwhile(self, node: Node, release2: str, dry_run: bool) -> None:
        node.install(release2)
        for name in ("2", node.record.slots[Slot.B].manifest, node.record.slots[Slot.B].root_hash):
            node.write("etc/proa/trust.json", json.dumps({"schema": "proa.trust/v1", "deny": [name]}))
            assert refused(verbs.activate, node.context, dry_run=dry_run).code is Code.DENIED
        node.write("etc/proa/trust.json", json.dumps({"schema": "proa.trust/v1", "floor": 3}))
        assert refused(verbs.activate, node.context, dry_run=dry_run).code is Code.SERIAL
        node.write("etc/proa/trust.json", '{"schema": "proa.trust/v1", "floor": 3')
        assert refused(verbs.activate, node.context, dry_run=dry_run).code is Code.NO_TRUST
        assert not node.state.on_trial

    def test_a_dry_run_finds_damage_and_writes_nothing(self, node: Node, release2: str) -> None:
        node.install(release2)
        rot(node, "UKI-B", 100_000)
        before = node.states.read(), node.paths.record.read_bytes()
        assert refused(verbs.activate, node.context, dry_run=True).code is Code.NOT_STAGED
        assert refused(verbs.activate, node.context, dry_run=True, tries=9).code is Code.USAGE
        assert (node.states.read(), node.paths.record.read_bytes()) == before

    def test_a_fallback_that_is_found_damaged_is_one_no_more(self, trial: Node, systemctl: Systemctl) -> None:
        watch(trial)
        trial.reboot()
        rot(trial, "ROOT-A", 3 * (1 << 19))
        assert refused(verbs.activate, trial.context).code is Code.NOT_STAGED
        assert (trial.state.good, trial.state.alt) == (Slot.B, False)

    def test_notes_that_cannot_be_removed_are_an_error_of_ours(self, node: Node, release2: str) -> None:
        node.install(release2)
        (node.paths.trial / "folder").mkdir(parents=True)
        assert refused(verbs.activate, node.context).code is Code.DEVICE
        assert not node.state.on_trial

    def test_a_dry_run_changes_nothing(self, node: Node, release2: str) -> None:
        node.install(release2)
        before = node.states.read(), node.paths.record.read_bytes()
        report = verbs.activate(node.context, reboot=True, dry_run=True)
        assert report["dry_run"]
        assert report["actions"][-1] == "reboot"
        assert (node.states.read(), node.paths.record.read_bytes()) == before

    def test_it_is_taken_back(self, node: Node, release2: str) -> None:
        node.install(release2, activate=True)
        assert verbs.deactivate(node.context)["state"] == "staged"
        assert node.record.trial is None
        assert refused(verbs.deactivate, node.context).code is Code.NO_TRIAL

    def test_etc_goes_along(self, node: Node, release2: str) -> None:
        node.write("persist/etc/a/upper/hostname", "mine\n")
        node.write("persist/etc/b/upper/stale", "old\n")
        node.install(release2, activate=True)
        upper = node.paths.etc_upper(Slot.B)
        assert [path.name for path in upper.iterdir()] == ["hostname"]


class TestSettle:
    def test_it_knows_what_the_factory_wrote(self, node: Node) -> None:
        node.reconcile()
        known = node.record.slots[Slot.A]
        assert (known.version, known.complete, known.serial) == ("1", True, 1)
        assert (node.record.layout, node.record.loader) == (1, 1)
        assert verbs.scrub_slot(node.context)["ok"]

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
        assert not node.paths.etc_upper(Slot.B).exists(), "nothing boots it"

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
        assert "damaged" in warnings(node)

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
