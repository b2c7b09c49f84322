"""Settings of a rollout: which nodes get them, in which turn, how they are proved, and what becomes of bad ones."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import NodeStatus, Order, OrderResult, SettingsState
from proa.core.settings.document import EMPTY, Document
from proa.scheduler.kube.times import text
from proa.scheduler.planning.actions import Cordon, Give, Uncordon
from proa.scheduler.planning.planner import Plan
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import DrainView, NodeRecord, RolloutView
from proa.scheduler.simulation.behaviour import Behaviour, NodeFate
from proa.scheduler.simulation.node_status import UNSET, configured, reverted, tried
from proa.scheduler.simulation.simulate import Course, Run, run
from proa.scheduler.simulation.world import World, make_nodes
from proa.scheduler.spec.rollout import (
    Canary,
    FailurePolicy,
    HealthPolicy,
    OnFailure,
    RolloutSpec,
    SettingsDisruption,
    Turns,
    Zones,
)
from proa.scheduler.spec.rolloutstatus import RolloutPhase, RolloutStatus
from proa.scheduler.testing.situations import (
    HAS_NEW,
    HAS_OLD,
    NEW,
    NOW,
    RELEASE,
    RUNS_NEW,
    Part,
    change,
    marked,
    node,
    node_os,
    planned,
    says,
)

CALM = {"sysctl": {"vm.swappiness": 10}}
PODS = {"kubelet": {"maxPods": 200}}
DNS = {"kubelet": {"clusterDomain": "b.local"}}
CALM_DOCUMENT = Document(CALM)
ORDER = Order(7, Verb.CONFIGURE, 1, issued=text(NOW - timedelta(minutes=2)), settings=CALM_DOCUMENT.canonical())
COMMIT = Order(8, Verb.COMMIT_SETTINGS, 1, issued=text(NOW), settings_hash=CALM_DOCUMENT.digest)
RUNS: NodeStatus = says(RUNS_NEW, HAS_OLD, settings=UNSET)
ALONE = RolloutStatus(release=RELEASE, settings=CALM_DOCUMENT.digest, settings_alone=True)


def seen(status: NodeStatus, order: Order, result: OrderResult = OrderResult.DONE) -> NodeStatus:
    return dataclasses.replace(status, observed_order=says(seen=order, result=result).observed_order)


def has(status: NodeStatus, order: Order | None = None, name: str = "n1", **rest: Any) -> Part:
    return node(name, boot_id="boot-2", **rest), node_os(name, status, order)


def of(settings: dict[str, Any], **rest: Any) -> RolloutSpec:
    return change(settings=settings, **rest)


def given(made: Plan) -> list[tuple[str, Verb]]:
    return [(one.node, one.verb) for one in made.actions if isinstance(one, Give)]


class TestOneNode:
    def test_it_gets_what_it_lacks_without_a_cordon(self) -> None:
        made = planned(has(RUNS), spec=of(CALM))
        assert list(made.actions) == [
            Give("n1", made.actions[0].id, Verb.CONFIGURE, timeout="20m", settings=CALM_DOCUMENT.canonical())  # type: ignore[union-attr]
        ]
        assert made.verdicts["n1"].reason is Reason.Configuring

    def test_what_it_has_is_not_given_again(self) -> None:
        made = planned(has(configured(RUNS, CALM_DOCUMENT)), spec=of(CALM))
        assert (given(made), made.verdicts["n1"].reason) == ([], Reason.UpToDate)
        assert made.statuses["workers"].phase == RolloutPhase.COMPLETE
        assert made.statuses["workers"].settings_before == CALM_DOCUMENT.canonical()

    def test_without_settings_they_are_left_alone_and_an_empty_document_takes_them_back(self) -> None:
        configured_once = has(configured(RUNS, CALM_DOCUMENT))
        assert given(planned(configured_once)) == []
        made = planned(configured_once, spec=of({}), status=dataclasses.replace(ALONE, settings=EMPTY.digest))
        assert [type(one) for one in made.actions] == [Cordon], "what it has is not known: pods go first"

    def test_a_drain_comes_first_where_pods_are_disturbed(self) -> None:
        spec = of(DNS)
        made = planned(has(RUNS), spec=spec)
        (cordon,) = made.actions
        assert isinstance(cordon, Cordon)
        here = marked(mark=cordon.mark, boot_id="boot-2")
        waits = planned((here, node_os(status=RUNS)), spec=spec)
        assert (given(waits), waits.verdicts["n1"].reason) == ([], Reason.Draining)
        drained = planned((here, node_os(status=RUNS)), spec=spec, drains={"n1": DrainView(True)})
        assert given(drained) == [("n1", Verb.CONFIGURE)]
        done = planned((here, node_os(status=configured(RUNS, Document(DNS)))), spec=spec)
        assert list(done.actions) == [Uncordon("n1", "NotNeeded")]

    def test_it_is_proved_before_it_is_committed(self) -> None:
        on_trial = seen(tried(RUNS, CALM_DOCUMENT), ORDER)
        assert given(planned(has(on_trial, ORDER), spec=of(CALM), status=ALONE)) == [("n1", Verb.COMMIT_SETTINGS)]
        for view, status, words in (
            ({"ready": False}, on_trial, "not Ready"),
            ({"ready_since": NOW - timedelta(seconds=20)}, on_trial, "Ready for 20 s"),
            ({}, _drifts(on_trial), "vm.swappiness: 60"),
        ):
            made = planned(has(status, ORDER, **view), spec=of(CALM), status=ALONE)
            assert (given(made), made.verdicts["n1"].reason) == ([], Reason.ProvingSettings)
            assert words in made.verdicts["n1"].detail
        made = planned(has(seen(on_trial, COMMIT, OrderResult.RUNNING), COMMIT), spec=of(CALM), status=ALONE)
        assert (given(made), made.verdicts["n1"].reason) == ([], Reason.Committing)

    @pytest.mark.parametrize("result", [OrderResult.FAILED, OrderResult.REFUSED])
    def test_what_a_node_does_not_take_halts_at_once(self, result: OrderResult) -> None:
        status = seen(reverted(RUNS, CALM_DOCUMENT.digest, "kubelet does not start"), ORDER, result)
        made = planned(has(status, ORDER), spec=of(CALM), status=ALONE)
        (note,) = made.actions
        record = getattr(note, "record")  # noqa: B009
        assert (record.failed, record.settings, record.message) == (
            True,
            CALM_DOCUMENT.digest,
            "Reverted: kubelet does not start",
        )
        after = planned(
            (node(boot_id="boot-2"), node_os(status=status, given=ORDER, record=record)), spec=of(CALM), status=ALONE
        )
        told = after.statuses["workers"]
        assert (given(after), told.phase, told.failed_digests) == ([], RolloutPhase.HALTED, ())

    def test_what_others_try_returns_when_it_halts(self) -> None:
        halted = dataclasses.replace(ALONE, halted="failed on 1 nodes")
        made = planned(has(seen(tried(RUNS, CALM_DOCUMENT), ORDER), ORDER), spec=of(CALM), status=halted)
        assert given(made) == [("n1", Verb.REVERT_SETTINGS)]

    def test_a_failure_of_settings_alone_takes_no_release_back(self) -> None:
        spec = of(CALM, failure=FailurePolicy(0, OnFailure.ROLLBACK))
        halted = dataclasses.replace(ALONE, halted="failed on 1 nodes")
        made = planned(has(RUNS), spec=spec, status=halted)
        assert (list(made.actions), made.statuses["workers"].phase) == ([], RolloutPhase.HALTED)

    def test_a_failure_of_other_settings_counts_for_nothing(self) -> None:
        record = NodeRecord("workers", NEW, failures=9, failed=True, settings="0" * 64)
        made = planned((node(boot_id="boot-2"), node_os(status=RUNS, record=record)), spec=of(CALM), status=ALONE)
        assert given(made) == [("n1", Verb.CONFIGURE)]

    def test_an_agent_that_reports_none_is_not_configured(self) -> None:
        made = planned(has(says(RUNS_NEW, HAS_OLD)), spec=of(CALM))
        assert (given(made), made.verdicts["n1"].reason) == ([], Reason.CannotBeSet)
        assert made.statuses["workers"].phase != RolloutPhase.COMPLETE

    def test_they_ride_along_with_a_release(self) -> None:
        drains = {"n1": DrainView(True)}
        for settings, carried in ((UNSET, CALM_DOCUMENT.canonical()), (None, "")):
            told = node_os(status=says(standby=HAS_NEW, settings=settings))
            (boot,) = planned((marked(), told), spec=of(CALM), drains=drains).actions
            assert isinstance(boot, Give)
            assert (boot.verb, boot.settings) == (Verb.BOOT, carried)


def _drifts(status: NodeStatus) -> NodeStatus:
    assert status.settings is not None
    drifting = dataclasses.replace(status.settings, drift=("sysctl.vm.swappiness: 60, not 10",))
    return dataclasses.replace(status, settings=drifting)


class TestDisruption:
    @pytest.mark.parametrize(
        ("settings", "most", "starts"),
        [
            (CALM, SettingsDisruption.NONE, True),
            (PODS, SettingsDisruption.NONE, False),
            (PODS, SettingsDisruption.RESTART, True),
            (DNS, SettingsDisruption.RESTART, False),
            (DNS, SettingsDisruption.DRAIN, True),
            (CALM, SettingsDisruption.DRAIN, True),
        ],
    )
    def test_less_than_the_least_starts_nothing(
        self, settings: dict[str, Any], most: SettingsDisruption, starts: bool
    ) -> None:
        made = planned(has(RUNS), spec=of(settings, settings_disruption=most))
        assert bool(made.actions) is starts
        if not starts:
            assert made.verdicts["n1"].reason is Reason.DisturbsMore
            (model,) = settings
            (key,) = settings[model]
            words = f"{model}.{key} needs {'Restart' if settings is PODS else 'Drain'}; settingsDisruption is"
            assert words in made.verdicts["n1"].detail
            (told,) = (one for one in made.statuses["workers"].conditions if one.type == "Progressing")
            assert f"1 nodes are not set: {words}" in told.message
        elif most is SettingsDisruption.DRAIN:
            assert isinstance(made.actions[0], Cordon), "more than the least is what the spec says"

    def test_only_what_changes_counts(self) -> None:
        """A node that has the settings of before gets the difference."""
        before = Document({**DNS, **CALM})
        after: dict[str, dict[str, Any]] = {**DNS, "sysctl": {"vm.swappiness": 20}}
        status = RolloutStatus(
            release=RELEASE, settings=Document(after).digest, settings_before=before.canonical(), settings_alone=True
        )
        made = planned(has(configured(RUNS, before)), spec=of(after), status=status)
        assert given(made) == [("n1", Verb.CONFIGURE)]


def test_nodes_take_turns() -> None:
    made = planned(has(RUNS), has(RUNS, name="n2"), has(RUNS, name="n3"), spec=of(CALM, max_unavailable=2))
    assert [name for name, _ in given(made)] == ["n1", "n2"]
    busy = has(seen(RUNS, ORDER, OrderResult.RUNNING), ORDER)
    made = planned(busy, has(RUNS, name="n2"), has(RUNS, name="n3"), spec=of(CALM, max_unavailable=2), status=ALONE)
    assert [name for name, _ in given(made)] == ["n2"]
    assert made.statuses["workers"].counts.updating == 1


def test_new_settings_begin_anew_and_the_release_is_not_blamed() -> None:
    before = RolloutStatus(release=RELEASE, phase=RolloutPhase.COMPLETE, started_at=text(NOW))
    made = planned(has(RUNS), spec=of(CALM), status=before)
    told = made.statuses["workers"]
    assert (told.settings, told.settings_alone, len(told.history)) == (CALM_DOCUMENT.digest, True, 1)
    unfinished = planned(has(RUNS), spec=of(CALM), status=dataclasses.replace(before, phase=RolloutPhase.HALTED))
    assert not unfinished.statuses["workers"].settings_alone


def test_settings_that_no_release_can_allow_are_refused_all_at_once() -> None:
    wrong = {"sysctl": {"kernel.core_pattern": "|/x", "vm.swappiness": 999}, "kubelets": {}, "revision": -1}
    made = planned(has(RUNS), spec=of({**wrong, "revision": 0}))
    told = made.statuses["workers"]
    assert (list(made.actions), told.phase) == ([], RolloutPhase.INVALID)
    message = next(one.message for one in told.conditions if one.type == "Valid")
    assert all(word in message for word in ("kernel.core_pattern", "vm.swappiness", "kubelets"))
    told = planned(has(RUNS), spec=of(wrong)).statuses["workers"]
    assert "revision" in next(one.message for one in told.conditions if one.type == "Valid")
    (valid,) = (one for one in told.conditions if one.type == "Valid")
    assert valid.reason == "InvalidSettings"


# whole rollouts in virtual time

START = datetime(2026, 1, 5, tzinfo=UTC)
WHOLE = RolloutSpec(
    RELEASE,
    settings=CALM,
    max_unavailable=4,
    canary=Canary(1, "30s"),
    health=HealthPolicy(ready_seconds=10),
    order=Turns(zones=Zones.IGNORE),
)


def world(spec: RolloutSpec = WHOLE, count: int = 12, **behaviour: Any) -> World:
    return World(START, make_nodes(count), {"workers": RolloutView("workers", "uid", 1, spec)}, Behaviour(**behaviour))


def hashes(found: World) -> set[str]:
    return {_settings(one.status).hash for one in found.oses.values()}


def _settings(status: NodeStatus | None) -> SettingsState:
    assert status is not None
    assert status.settings is not None
    return status.settings


def again(found: World, **changes: Any) -> Course:
    """The same cluster with another spec."""
    view = found.rollouts["workers"]
    found.rollouts["workers"] = dataclasses.replace(view, spec=dataclasses.replace(view.spec, **changes), generation=2)
    return run(found)


def test_release_and_settings_come_together_and_settings_alone_reboot_nothing() -> None:
    found = world()
    course = run(found)
    assert course.statuses["workers"].phase == RolloutPhase.COMPLETE
    assert hashes(found) == {CALM_DOCUMENT.digest}
    assert set(found.boots.values()) == {1}
    course = again(found, settings={"sysctl": {"vm.swappiness": 20}})
    assert course.statuses["workers"].phase == RolloutPhase.COMPLETE
    assert hashes(found) == {Document({"sysctl": {"vm.swappiness": 20}}).digest}
    assert set(found.boots.values()) == {1}
    assert course.most_away <= 4
    course = again(found, settings=DNS)
    assert (course.statuses["workers"].phase, hashes(found)) == (RolloutPhase.COMPLETE, {Document(DNS).digest})
    assert all(not one.unschedulable and one.mark is None for one in found.nodes.values())


@pytest.mark.parametrize("action", [OnFailure.HALT, OnFailure.ROLLBACK])
def test_bad_settings_stop_at_the_canary(action: OnFailure) -> None:
    bad = Document(PODS).digest

    def fate(_: str, what: str) -> NodeFate:
        return NodeFate.RETURNS if what == bad else NodeFate.WELL

    found = world(dataclasses.replace(WHOLE, failure=FailurePolicy(0, action)), fate=fate)
    run(found)
    course = again(found, settings=PODS)
    told = course.statuses["workers"]
    assert (told.phase, hashes(found)) == (RolloutPhase.HALTED, {CALM_DOCUMENT.digest})
    assert sum(_settings(one.status).failed_hash == bad for one in found.oses.values()) == 1
    assert {trouble.reason for trouble in course.troubles} == {"SETTINGS_FAILED"}
    assert again(found, settings=CALM).statuses["workers"].phase == RolloutPhase.COMPLETE


def test_an_order_that_nobody_hears_of_holds_no_place_for_ever() -> None:
    found = world(count=3)
    run(found)
    view = found.rollouts["workers"]
    spec = dataclasses.replace(view.spec, settings=PODS)
    found.rollouts["workers"] = dataclasses.replace(view, spec=spec, generation=2)
    found.behaviour = Behaviour(settle=1e9)
    simulation = Run(found)
    while found.now < START + timedelta(days=1) and simulation.step():
        pass
    assert simulation.course.statuses["workers"].phase == RolloutPhase.HALTED
    assert {trouble.reason for trouble in simulation.course.troubles} == {"SettingsTimeout"}


def test_a_kernel_parameter_is_on_all_nodes_within_a_minute_a_twentieth_at_a_time() -> None:
    """As 5,000 nodes at 250 at a time: the rounds count, not the nodes."""
    spec = dataclasses.replace(WHOLE, settings=None, max_unavailable="5%", health=HealthPolicy(ready_seconds=0))
    found = world(dataclasses.replace(spec, canary=Canary()), count=400)
    run(found)
    began = found.now
    course = again(found, settings=CALM)
    assert (course.statuses["workers"].phase, hashes(found)) == (RolloutPhase.COMPLETE, {CALM_DOCUMENT.digest})
    assert (found.now - began).total_seconds() <= 60
    assert course.most_away <= 20
