"""The way back to the other slot, by order of a person."""

from __future__ import annotations

import dataclasses
import os

import pytest

from proa.agent.node import record as records
from proa.agent.node.states import NodeState, SlotState
from proa.agent.testing.node import Node
from proa.agent.testing.systemctl import Systemctl
from proa.agent.testing.trials import refused, rot, watch
from proa.agent.verbs import verbs
from proa.core.runtime.errors import Code, Exit
from proa.core.runtime.files import sha256
from proa.partition.boot.bootstate import Slot


class TestRollback:
    def test_a_trial_is_given_up(self, trial: Node, systemctl: Systemctl) -> None:
        assert verbs.rollback(trial.context, reboot=True).state is NodeState.LEAVING
        assert systemctl.calls[-1] == "reboot"
        assert trial.reboot() is Slot.A
        assert "withdrawn by order" in trial.returned.reason

    def test_after_a_commit_it_leads_to_the_slot_before(self, trial: Node, systemctl: Systemctl) -> None:
        watch(trial)
        trial.reboot()
        report = verbs.rollback(trial.context)
        assert (report.good, report.state) == (Slot.A, NodeState.LEAVING)
        assert trial.reboot() is Slot.A
        assert trial.view.node_state() is NodeState.PAIRED
        assert verbs.rollback(trial.context).good is Slot.B, "and back again"

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
        assert verbs.rollback(trial.context).good is Slot.A

    def test_there_must_be_a_good_slot_to_go_to(self, node: Node, release2: str) -> None:
        assert refused(verbs.rollback, node.context).code is Code.NOT_GOOD
        node.install(release2)
        assert refused(verbs.rollback, node.context).code is Code.NOT_GOOD
