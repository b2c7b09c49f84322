"""A trial that comes back: by its deadline, by the loader, or with nobody to tell of it."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import pytest

from proa.agent.cli.text import describe_status
from proa.agent.daemon.daemon import Daemon
from proa.agent.node.failure import HealthFailure
from proa.agent.node.states import NodeState, SlotState
from proa.agent.testing.node import Node, known
from proa.agent.testing.systemctl import Systemctl
from proa.agent.testing.trials import no_room, refused, unhealthy, watch
from proa.agent.testing.world import World
from proa.agent.trial.health import HealthReport
from proa.agent.trial.trial import TrialLog, load_notes
from proa.agent.verbs import verbs
from proa.agent.verbs.status import status
from proa.core.runtime.errors import Code
from proa.partition.boot import bootstate, envblock
from proa.partition.boot.bootstate import SEQ_MAX, Slot
from proa.partition.boot.statefile import ENV_OFFSETS


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

    @pytest.mark.usefixtures("systemctl")
    def test_a_check_that_gives_up_ends_the_trial_at_its_first_look(self, trial: Node) -> None:
        check = trial.context.paths.health[0] / "10-hopeless"
        check.parent.mkdir(parents=True, exist_ok=True)
        check.write_text("#!/bin/sh\nexit 100\n")
        check.chmod(0o755)
        watch(trial)
        assert trial.clock.at == 0
        assert trial.reboot() is Slot.A
        assert trial.returned.cause == "unhealthy"
        assert "not healthy and never will be: check 10-hopeless" in trial.returned.reason

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
        assert 60 < trial.clock.at < 80

    def test_the_deadline_follows_the_signed_one(self, trial: Node, systemctl: Systemctl) -> None:
        cmdline = trial.paths.cmdline
        cmdline.write_text(cmdline.read_text().strip() + " proa.deadline=100")
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
        assert "never reached its agent; 2 of 2 attempts used" in trial.returned.reason
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
        copy = known(pair.copy)
        block = known(envblock.assign(known(pair[copy - 1]), bootstate.REFUSED, "0"))
        with trial.part("STATE").open("r+b") as file:
            file.seek(ENV_OFFSETS[copy - 1])
            file.write(block)
        assert trial.reboot() is Slot.A
        assert (trial.returned.cause, trial.returned.used) == ("refused", 2)
        assert not trial.states.read().refused

    def test_what_the_initrd_wrote_down_is_told(self, trial: Node) -> None:
        trial.reboot(agent=False)
        note = {
            "schema": "proa.try/v1",
            "root_hash": known(trial.record.trial).root_hash,
            "seq": trial.state.seq,
            "left": 0,
        }
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
        assert "cut off before it was committed; its last check found: system: is still starting" in returned.reason
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
        assert verbs.activate(trial.context).state is NodeState.ARMED, "the same release may be tried again, by order"
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
        assert "1 attempts were left before this boot, 1 are left now" in trial.returned.reason

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
        assert "nothing could be recorded about it; 1 of 3 attempts" in node.returned.reason
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
        trial_log.saw(HealthReport((HealthFailure("unit bad.service", "failed (exit-code)"),)))
        verbs.rollback(trial.context)
        trial_log.saw(
            HealthReport((HealthFailure("unit bad.service", "failed (other)"),))
        )  # a watch in the middle of its look
        assert trial.reboot() is Slot.A
        assert "withdrawn by order" in trial.returned.reason
        assert [failure.why for failure in trial.returned.failures] == ["failed (exit-code)"]

    def test_what_a_fallback_made_of_etc_is_set_aside_and_it_still_has_one(
        self, trial: Node, systemctl: Systemctl
    ) -> None:
        trial.write("persist/etc/a/upper/machine-id", "id-a\n")
        trial.write("persist/etc/b/upper/machine-id", "id-b\n")
        watch(trial)
        verbs.activate(trial.context, tries=1, allow_downgrade=True)
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
