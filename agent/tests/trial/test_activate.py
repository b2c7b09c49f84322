"""A staged slot is armed, and the arming is taken back."""

from __future__ import annotations

import json

import pytest

from proa.agent.node.states import NodeState
from proa.agent.testing.node import Node
from proa.agent.testing.systemctl import Systemctl
from proa.agent.testing.trials import refused, rot, watch
from proa.agent.verbs import verbs
from proa.core.runtime.errors import Code
from proa.partition.boot.bootstate import Slot


class TestActivate:
    def test_a_staged_slot(self, node: Node, release2: str, systemctl: Systemctl) -> None:
        node.install(release2)
        assert verbs.activate(node.context, tries=1, reboot=True).state is NodeState.ARMED
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
        assert refused(verbs.activate, trial.context, allow_downgrade=True).code is Code.NOT_STAGED
        assert (trial.state.good, trial.state.alt) == (Slot.B, False)

    def test_notes_that_cannot_be_removed_are_an_error_of_ours(self, node: Node, release2: str) -> None:
        node.install(release2)
        (node.paths.trial / "folder").mkdir(parents=True)
        assert refused(verbs.activate, node.context).code is Code.FILE_MISSING
        assert not node.state.on_trial

    def test_a_dry_run_changes_nothing(self, node: Node, release2: str) -> None:
        node.install(release2)
        before = node.states.read(), node.paths.record.read_bytes()
        report = verbs.activate(node.context, reboot=True, dry_run=True)
        assert report.dry_run
        assert report.actions[-1] == "reboot"
        assert (node.states.read(), node.paths.record.read_bytes()) == before

    def test_it_is_taken_back(self, node: Node, release2: str) -> None:
        node.install(release2, activate=True)
        assert verbs.deactivate(node.context).state is NodeState.STAGED
        assert node.record.trial is None
        assert refused(verbs.deactivate, node.context).code is Code.NO_TRIAL

    def test_etc_goes_along(self, node: Node, release2: str) -> None:
        node.write("persist/etc/a/upper/hostname", "mine\n")
        node.write("persist/etc/b/upper/stale", "old\n")
        node.install(release2, activate=True)
        upper = node.paths.etc_upper(Slot.B)
        assert [path.name for path in upper.iterdir()] == ["hostname"]
