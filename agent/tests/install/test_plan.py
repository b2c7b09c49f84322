"""The pure plan: every refusal by its code, in its order, and what is done where nothing is refused."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from proa.agent.install.actions import Arm, Complete, Disarm, Keep, Reboot, TakeBack, Write
from proa.agent.install.order import Activation
from proa.agent.install.plan import Candidate, InstallPlan, NodeFacts, Room, plan_install, refusals
from proa.agent.node.policy import Policy
from proa.agent.node.states import NodeState
from proa.core.release.document import MEDIA_TYPES, Blob, Boot, Release, Requires, Root
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.partition.boot.bootstate import BootState, Slot, arm, initial

MANIFEST = "sha256:" + "d" * 64
RELEASE = Release(
    name="os",
    version="2",
    architecture="amd64",
    compatible="worker",
    created="2026-01-01T00:00:00+00:00",
    serial=20,
    floor=10,
    root=Root("erofs", 8192, 4096, "a" * 64, "5a", 4096, 131072),
    boot=Boot(4096, "sha256:" + "b" * 64, "sha256:" + "c" * 64),
    requires=Requires(1, "0.1.0", 1),
    blobs={name: Blob("sha256:" + "e" * 64, 100) for name in MEDIA_TYPES},
)
NODE = NodeFacts(
    architecture="amd64",
    layout=1,
    loader=1,
    agent="0.1.0",
    now=datetime(2026, 6, 1, tzinfo=UTC),
    booted=Slot.A,
    room={slot: Room(12288, 4096) for slot in Slot},
)
POLICY = Policy("worker", floor=20)
HELD = dataclasses.replace(NODE, holding=frozenset({Slot.A}), same=frozenset({Slot.A}))
"""The good slot holds the release."""


def make_plan(
    release: Release = RELEASE,
    node: NodeFacts = NODE,
    policy: Policy = POLICY,
    state: BootState | None = None,
    doing: NodeState = NodeState.GOOD,
    **activation: Any,
) -> InstallPlan:
    return plan_install(Candidate(release, MANIFEST), policy, node, state or initial(), doing, Activation(**activation))


def requires(**changes: Any) -> Release:
    return dataclasses.replace(RELEASE, requires=dataclasses.replace(RELEASE.requires, **changes))


@pytest.mark.parametrize(
    ("code", "release", "policy", "node"),
    [
        (Code.INCOMPATIBLE, dataclasses.replace(RELEASE, compatible="desktop"), POLICY, NODE),
        (Code.ARCHITECTURE, dataclasses.replace(RELEASE, architecture="arm64"), POLICY, NODE),
        (Code.REQUIRES, requires(layout=2), POLICY, NODE),
        (Code.REQUIRES, requires(agent="0.2"), POLICY, NODE),
        (Code.REQUIRES, requires(agent="0.1.0.1"), POLICY, NODE),
        (Code.REQUIRES, requires(loader=2), POLICY, NODE),
        (Code.SERIAL, dataclasses.replace(RELEASE, serial=19), POLICY, NODE),
        (Code.DENIED, RELEASE, dataclasses.replace(POLICY, deny=frozenset({MANIFEST})), NODE),
        (Code.DENIED, RELEASE, dataclasses.replace(POLICY, deny=frozenset({"2"})), NODE),
        (Code.DENIED, RELEASE, dataclasses.replace(POLICY, deny=frozenset({"a" * 64})), NODE),
        (Code.EXPIRED, dataclasses.replace(RELEASE, expires="2026-05-31T23:59:59+00:00"), POLICY, NODE),
        (Code.TOO_LARGE, RELEASE, POLICY, dataclasses.replace(NODE, room={s: Room(12287, 4096) for s in Slot})),
        (Code.TOO_LARGE, RELEASE, POLICY, dataclasses.replace(NODE, room={s: Room(12288, 4095) for s in Slot})),
        (Code.SLOT_IN_USE, RELEASE, POLICY, dataclasses.replace(NODE, booted=Slot.B)),
    ],
)
def test_refusals(code: Code, release: Release, policy: Policy, node: NodeFacts) -> None:
    with pytest.raises(ProaError) as caught:
        make_plan(release, node, policy)
    assert caught.value.code is code
    assert caught.value.exit is Exit.REFUSED


@pytest.mark.parametrize(
    ("doing", "code"),
    [
        (NodeState.TRIAL, Code.IN_TRIAL),
        (NodeState.STAGING, Code.BUSY),
        (NodeState.INCONSISTENT, Code.HANDSHAKE),
        (NodeState.LEAVING, Code.SLOT_IN_USE),
    ],
)
def test_what_the_node_does_stands_in_the_way(doing: NodeState, code: Code) -> None:
    with pytest.raises(ProaError) as caught:
        make_plan(doing=doing)
    assert caught.value.code is code


def test_refusals_come_in_the_order_of_the_design() -> None:
    worst = dataclasses.replace(
        RELEASE,
        compatible="x",
        architecture="x",
        serial=1,
        floor=0,
        expires="2020-01-01T00:00:00+00:00",
        requires=Requires(9, "9", 9),
    )
    policy = dataclasses.replace(POLICY, deny=frozenset({"2"}))
    codes = [error.code for error in refusals(Candidate(worst, MANIFEST), policy, NODE)]
    wanted = [Code.INCOMPATIBLE, Code.SERIAL, Code.DENIED, Code.EXPIRED, Code.ARCHITECTURE, Code.REQUIRES]
    assert codes == wanted


def test_sizes_that_just_fit_are_taken() -> None:
    assert make_plan().target is Slot.B


def test_a_node_that_is_compatible_with_all_takes_all() -> None:
    assert make_plan(policy=Policy("", 0)).actions


def test_older_agents_are_enough_for_what_asks_for_less() -> None:
    assert make_plan(requires(agent="0.0.9")).actions


@pytest.mark.parametrize("agent", ["0.2-rc1", "v9", "9rc1", "0.0.9-rc1", "0..1", "latest"])
def test_a_needed_agent_that_is_no_number_is_refused(agent: str) -> None:
    with pytest.raises(ProaError) as caught:
        make_plan(requires(agent=agent))
    assert caught.value.code is Code.REQUIRES


@pytest.mark.parametrize("agent", ["0.1.0.dev3", "0.2rc1", "1"])
def test_our_own_version_may_be_one_in_the_making(agent: str) -> None:
    assert make_plan(node=dataclasses.replace(NODE, agent=agent)).actions


def test_the_actions_in_their_order() -> None:
    plan = make_plan(activate=True, reboot=True, tries=2)
    assert plan.actions == (
        Disarm(Slot.B),
        Write(Slot.B, "tree", 4096, 100),
        Write(Slot.B, "root", 8192, 100),
        Write(Slot.B, "boot", 4096, 100),
        Complete(Slot.B),
        Arm(Slot.B, 2),
        Reboot(),
    )
    assert (plan.fetch, plan.write, plan.keep) == (400, 16384, 0)
    assert all(str(action) for action in plan.actions)


def test_no_reboot_without_activation() -> None:
    with pytest.raises(ProaError) as caught:
        Activation(reboot=True)
    assert (caught.value.code, caught.value.at) == (Code.USAGE, "reboot")


@pytest.mark.parametrize("tries", [0, 4, 9, -1])
def test_tries_that_nobody_can_count_are_no_wish(tries: int) -> None:
    with pytest.raises(ProaError) as caught:
        Activation(activate=True, tries=tries)
    assert (caught.value.code, caught.value.at) == (Code.USAGE, "tries")


@pytest.mark.parametrize(("good", "booted"), [(Slot.A, Slot.A), (Slot.B, Slot.B), (Slot.A, None), (Slot.B, None)])
def test_the_target_is_neither_good_nor_booted(good: Slot, booted: Slot | None) -> None:
    plan = make_plan(node=dataclasses.replace(NODE, booted=booted), state=initial(good))
    assert plan.target is good.other


def test_a_release_that_the_good_slot_holds_is_not_written_again() -> None:
    plan = make_plan(node=HELD, activate=True)
    assert (plan.actions, plan.unchanged, plan.slot) == ((), True, Slot.A)


def test_the_good_release_activated_takes_back_the_arming_of_another() -> None:
    armed = arm(initial(), Slot.B)
    plan = make_plan(node=HELD, state=armed, doing=NodeState.ARMED, activate=True)
    assert (plan.actions, plan.unchanged, plan.slot) == ((TakeBack(Slot.B),), True, Slot.A)
    assert make_plan(node=HELD, state=armed, doing=NodeState.ARMED).actions == (), "only staged, it says nothing"


def test_a_root_of_the_good_slot_with_another_kernel_is_refused() -> None:
    with pytest.raises(ProaError) as caught:
        make_plan(node=dataclasses.replace(HELD, same=frozenset()))
    assert (caught.value.code, caught.value.exit) == (Code.SAME_ROOT, Exit.REFUSED)


def test_a_release_that_the_standby_holds_whole_is_kept() -> None:
    node = dataclasses.replace(NODE, holding=frozenset({Slot.B}), intact=frozenset({Slot.B}))
    plan = make_plan(node=node, activate=True)
    assert plan.actions == (Keep(Slot.B, 16384), Arm(Slot.B, 3))
    assert (plan.fetch, plan.write, plan.keep) == (0, 0, 16384)


def test_a_release_that_the_standby_holds_damaged_is_written_anew() -> None:
    plan = make_plan(node=dataclasses.replace(NODE, holding=frozenset({Slot.B})))
    assert plan.actions[0] == Disarm(Slot.B)


@pytest.mark.parametrize(
    ("serial", "newest", "taken"), [(20, 21, False), (20, 20, True), (21, 20, True), (20, 0, True)]
)
def test_s04_a_serial_below_the_highest_committed_one_has_to_be_asked_for(
    serial: int, newest: int, taken: bool
) -> None:
    release, policy = dataclasses.replace(RELEASE, serial=serial), dataclasses.replace(POLICY, newest=newest)
    found = list(refusals(Candidate(release, MANIFEST), policy, NODE))
    assert (not found) is taken
    if not taken:
        assert (found[0].code, "--allow-downgrade" in found[0].hint) == (Code.SERIAL, True)


def test_s04_below_the_floor_no_wish_helps() -> None:
    release = dataclasses.replace(RELEASE, serial=19)
    error = next(refusals(Candidate(release, MANIFEST), dataclasses.replace(POLICY, newest=25), NODE))
    assert "--allow-downgrade" not in error.hint
    assert list(refusals(Candidate(release, MANIFEST), POLICY, NODE))


def test_n11_an_expiry_names_the_clock() -> None:
    old = dataclasses.replace(RELEASE, expires="2026-05-31T23:59:59+00:00")
    (error,) = refusals(Candidate(old, MANIFEST), POLICY, NODE)
    assert "clock says 2026-06-01 00:00 UTC" in error.hint
