"""No interleaving of restarts, takeovers, lagging caches, people and failing nodes breaks what the planner promises.

A few schedules run with the unit tests, a thousand with ``make test``: the same ones each time, so that a change is
judged by what it changes. ``make test-rollouts`` tries new ones each time, and as many as you like.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import OrderResult, Proof
from proa.core.settings.disruption import Disruption
from proa.core.settings.document import EMPTY, parse
from proa.core.settings.registry import disruption
from proa.scheduler.kube.times import read
from proa.scheduler.planning.actions import Action, Cordon, Give, Uncordon
from proa.scheduler.planning.ordered import SETTINGS as ORDERS_OF_SETTINGS
from proa.scheduler.planning.ordered import is_setting_out
from proa.scheduler.planning.views import IN_NO_GROUP, ZONE, NodeView
from proa.scheduler.planning.waves import group_of
from proa.scheduler.simulation.behaviour import Behaviour, NodeFate
from proa.scheduler.spec.amounts import Amount, resolve
from proa.scheduler.spec.rollout import (
    Alert,
    Approval,
    Budget,
    Canary,
    ControlPlane,
    Cordoned,
    Drain,
    FailurePolicy,
    Group,
    HealthPolicy,
    OnFailure,
    OnTimeout,
    RolloutSpec,
    Selector,
    Staging,
    Turns,
    WaitFor,
    Zones,
)
from proa.scheduler.spec.selectors import matches
from proa.scheduler.testing.lagging import FIRST, SECOND, LaggingScheduler, a_world
from proa.scheduler.testing.others import crowded

FEW = 12
"""Schedules in a unit run; the tier of rollouts has a thousand of each kind."""
READY_SECONDS = 20
FATES = (NodeFate.WELL,) * 8 + (NodeFate.RETURNS, NodeFate.UNFETCHED, NodeFate.UNDRAINABLE, NodeFate.NEVER_BACK)
EVEN_HOURS = (Budget("0 */2 * * *", "1h", "UTC", 2),)
AMOUNTS: tuple[Amount, ...] = (1, 2, "25%")
GROUPS = tuple(Group(f"group-{number}", Selector({ZONE: f"zone-{number}"}), f"{number}m") for number in (1, 0))
APPROVED_ONES = (*(group.name for group in GROUPS), IN_NO_GROUP)
ALERTS = (Alert("critical", "ALERTS"),)
JOBS = WaitFor(Selector({"job": "nightly"}), "1m")
BORNE: tuple[Amount, ...] = (0, 2, "50%")
SETTINGS: tuple[Mapping[str, Any] | None, ...] = (
    None,
    None,
    {"sysctl": {"vm.swappiness": 10}},
    {"kubelet": {"maxPods": 200}},
    {"kubelet": {"clusterDomain": "b.local"}},
    {},
)
T = TypeVar("T")


def schedules(few: int) -> settings:
    """How many schedules: ``PROA_SCHEDULES`` if it is set. New ones where ``PROA_NEW_SCHEDULES`` is."""
    number = int(os.environ.get("PROA_SCHEDULES", few))
    again = not os.environ.get("PROA_NEW_SCHEDULES")
    return settings(max_examples=number, suppress_health_check=list(HealthCheck), derandomize=again, database=None)


class Chance:
    """Choices that hypothesis makes, and makes smaller."""

    def __init__(self, tape: bytes) -> None:
        self._tape = tape
        self._at = 0

    def choice(self, among: Sequence[T]) -> T:
        self._at += 1
        return among[self._tape[self._at % len(self._tape)] % len(among)]


class Chaos:
    """One schedule: a cluster, its schedulers, all that can happen to them, and what must hold whatever happens."""

    def __init__(self, chance: Chance) -> None:
        fates: dict[str, NodeFate] = {}
        choice = self.choice = chance.choice
        behaviour = Behaviour(choice((0, 1, 20)), stage=30, drain=20, boot=40, trial=300)
        behaviour = dataclasses.replace(behaviour, fate=lambda node, _: fates.setdefault(node, choice(FATES)))
        spec = RolloutSpec(
            FIRST,
            max_unavailable=choice(AMOUNTS),
            cordoned=choice(tuple(Cordoned)),
            order=self.some_order(),
            budgets=choice(((), EVEN_HOURS)),
            canary=choice((Canary(), Canary(1, "1m"))),
            approval=choice((Approval.NOT_REQUIRED, *Approval)),
            staging=Staging(choice((1, 5))),
            drain=Drain(timeout="2m", on_timeout=choice(tuple(OnTimeout)), wait_for=choice((None, JOBS))),
            health=HealthPolicy(READY_SECONDS, choice(("3m", "20m")), alerts=choice(((), ALERTS))),
            failure=FailurePolicy(choice(BORNE), choice(tuple(OnFailure))),
            settings=choice(SETTINGS),
        )
        size, zones, control_planes = choice((1, 3, 7, 12)), choice((1, 3)), choice((0, 1, 3))
        world = a_world(size, spec, zones=zones, control_planes=control_planes, behaviour=behaviour)
        self.world = crowded(world, anew=choice((False, False, True)), repairs=timedelta(minutes=5))
        self.world.own_node = choice(("", *self.world.nodes))
        self.fence = 1
        self.cordoned_by_people: set[str] = set()
        self.leader, self.old = LaggingScheduler(self.world, self.fence), list[LaggingScheduler]()

    def some_order(self) -> Turns:
        zones, groups = self.choice(tuple(Zones)), self.choice(((), GROUPS))
        soak = "0s" if zones is Zones.IGNORE else self.choice(("0s", "2m"))
        return Turns(zones, self.choice(tuple(ControlPlane)), groups, soak)

    @property
    def spec(self) -> RolloutSpec:
        return self.world.rollouts["workers"].spec

    def run(self, steps: int, moves: Sequence[str]) -> None:
        for _ in range(steps):
            if not self.world.nodes:
                self.world.advance(self.world.now + timedelta(seconds=30))
                continue
            move: Callable[[], None] = getattr(self, self.choice(moves))
            move()
            self.check()

    # what happens

    def pass_of_the_leader(self) -> None:
        self.leader.refresh()
        self.write(self.leader)

    def cache_lags(self) -> None:
        self.leader.refresh([name for name in self.world.nodes if self.choice((False, True))])
        self.write(self.leader)

    def killed_in_a_pass(self) -> None:
        self.leader.refresh()
        self.write(self.leader, self.choice((0, 1, 2)))
        self.takeover()

    def takeover(self) -> None:
        self.old.append(self.leader)
        self.fence += 1
        self.leader = LaggingScheduler(self.world, self.fence)

    def pass_of_an_old_leader(self) -> None:
        if self.old:
            self.write(self.choice(self.old))

    def write(self, scheduler: LaggingScheduler, limit: int | None = None) -> None:
        scheduler.act(scheduler.plan(), self.fence, lambda action: self.judge(scheduler, action), limit)

    def time_passes(self) -> None:
        self.world.advance(self.world.now + timedelta(seconds=self.choice((1, 5, 30))))

    def cut_off(self) -> None:
        """Nobody plans for a while: the API server, or the scheduler, is away."""
        self.world.advance(self.world.now + timedelta(seconds=self.choice((120, 900, 3600))))
        for scheduler in (self.leader, *self.old):
            scheduler.since = self.world.now

    def node_fails(self) -> None:
        self.alter(self.some_node(), ready=False, ready_since=self.world.now)

    def nodes_are_replaced(self) -> None:
        self.world.repair()

    def node_joins(self) -> None:
        self.world.join(self.some_node())

    def virtual_node_joins(self) -> None:
        """No agent ever speaks of it."""
        self.world.join(self.some_node(), agent=False)

    def autoscaler_chooses_a_node(self) -> None:
        self.alter(self.some_node(), leaving="the cluster autoscaler removes it")

    def autoscaler_removes_nodes(self) -> None:
        self.world.shrink()

    def webhook_fails(self) -> None:
        self.world.refusing.add(self.some_node())

    def webhook_is_back(self) -> None:
        self.world.refusing.clear()

    def operator_guards_a_node(self) -> None:
        self.world.shield(self.some_node())

    def proxy_goes_away(self) -> None:
        self.world.unheard.add(self.some_node())

    def proxies_return(self) -> None:
        self.world.hear_again()

    def nodes_mend(self) -> None:
        for name, node in self.world.nodes.items():
            os = self.world.oses.get(name)
            if not node.ready and not (os and os.status and os.status.phase == "Booting"):
                self.alter(name, ready=True, ready_since=self.world.now)

    def person_cordons(self) -> None:
        name = self.some_node()
        if self.world.nodes[name].mark is None:
            self.cordoned_by_people.add(name)
            self.alter(name, unschedulable=True)

    def person_uncordons(self) -> None:
        name = self.some_node()
        self.cordoned_by_people.discard(name)
        self.alter(name, unschedulable=False)

    def person_holds(self) -> None:
        name = self.some_node()
        self.alter(name, hold=None if self.world.nodes[name].hold is not None else "debugging")

    def person_pauses(self) -> None:
        self.change(paused=not self.spec.paused)

    def person_approves(self) -> None:
        """The release that the rollout has then, for a group as well."""
        view = self.world.rollouts["workers"]
        groups = {**view.approved_groups, self.choice(APPROVED_ONES): "somebody"}
        self.world.rollouts["workers"] = dataclasses.replace(view, approved="somebody", approved_groups=groups)

    def alerts_fire(self) -> None:
        self.world.firing = ("critical: NodeDown",)

    def prometheus_goes_away(self) -> None:
        self.world.silence = "it cannot be reached"

    def all_is_quiet(self) -> None:
        self.world.firing, self.world.silence = (), ""

    def person_resumes(self) -> None:
        self.change(attempt=self.spec.attempt + 1)

    def node_made_anew(self) -> None:
        name = self.some_node()
        self.cordoned_by_people.discard(name)
        node = self.world.nodes[name]
        changes = {"uid": f"{node.uid}'", "boot_id": f"{node.boot_id}'"}
        self.alter(name, mark=None, unschedulable=False, ready=True, ready_since=self.world.now, **changes)

    def object_is_deleted(self) -> None:
        """By a person, while the node is at rest: its agent tells the next one what it runs."""
        name = self.some_node()
        os = self.world.oses.get(name)
        status = os.status if os else None
        running = status and status.observed_order and status.observed_order.result == OrderResult.RUNNING.value
        if status and status.booted and status.booted.committed and not running:
            self.world.lose_object(name)

    def another_release(self) -> None:
        self.change(release=self.choice((FIRST, SECOND)))
        view = self.world.rollouts["workers"]
        self.world.rollouts["workers"] = dataclasses.replace(view, approved="", approved_groups={})

    def other_settings(self) -> None:
        self.change(settings=self.choice(SETTINGS))

    def some_node(self) -> str:
        return self.choice(sorted(self.world.nodes))

    def alter(self, name: str, **changes: object) -> None:
        self.world.nodes[name] = dataclasses.replace(self.world.nodes[name], **changes)  # type: ignore[arg-type]

    def change(self, **changes: object) -> None:
        view = self.world.rollouts["workers"]
        spec = dataclasses.replace(view.spec, **changes)  # type: ignore[arg-type]
        self.world.rollouts["workers"] = dataclasses.replace(view, spec=spec, generation=view.generation + 1)

    # what must hold

    def followers(self) -> list[NodeView]:
        excluded = self.spec.order.control_plane is ControlPlane.EXCLUDE
        return [node for node in self.world.nodes.values() if not (excluded and node.control_plane)]

    def most(self) -> int:
        allowed = resolve(self.spec.max_unavailable, len(self.followers()))
        return min(allowed, 2) if self.spec.budgets else allowed

    def judge(self, scheduler: LaggingScheduler, action: Action) -> None:
        """Each single write, before it is there."""
        match action:
            case Cordon(name, again=True):
                assert self.world.nodes[name].mark is None, "a node that has our mark is marked again"
            case Cordon(name):
                node = self.world.nodes[name]
                assert not self.spec.budgets or self.world.now.hour % 2 == 0, "started while no window is open"
                if scheduler.fresh:
                    away = {one.name for one in self.followers() if not one.ready or one.unschedulable or one.mark}
                    assert node.mark is None, "a node that has our mark is marked again"
                    assert len(away | {name}) <= max(self.most(), len(away)), "more nodes away than may be"
                    assert node.hold is None, "a node is started that a person holds"
                    assert not node.leaving, "a node is started that is about to go"
                    assert name not in self.world.strangers, "a node is started that has no agent"
                    view = self.world.rollouts["workers"]
                    needed = self.spec.approval is Approval.REQUIRED and not view.status.halted
                    assert view.approved or not needed, "a node is started for a release that nobody approved"
                    one_by_one = self.spec.approval is Approval.EACH_GROUP and not view.status.halted
                    approved = self.group_of(node) in view.approved_groups
                    assert approved or not one_by_one, "a node is started whose group nobody approved"
                    self.no_earlier_group_is_busy(node)
                    asks = self.spec.health.alerts and not view.status.halted
                    assert not (asks and (self.world.firing or self.world.silence)), "started while alerts fire"
                    skips = self.spec.cordoned is Cordoned.SKIP
                    assert not (skips and node.unschedulable), "a node is started that a person has cordoned"
            case Give(name, number, Verb.BOOT):
                node, os = scheduler.cache.nodes[name], scheduler.cache.oses[name]
                assert node.mark is not None, "ordered to boot without our mark"
                assert node.unschedulable, "ordered to boot although it can be given pods"
                assert number == os.next_id(self.world.now)
                if os.order is not None and os.order.action is Verb.BOOT and os.status and os.status.observed_order:
                    assert os.status.observed_order.id == os.order.id, "a second boot before the first was seen"
                    assert os.status.observed_order.result != OrderResult.RUNNING.value, (
                        "a second boot during the first"
                    )
            case Give(name, _, Verb.COMMIT, _, proof):
                node, os = scheduler.cache.nodes[name], scheduler.cache.oses[name]
                booted = os.status.booted if os.status else None
                assert booted is not None
                assert not booted.committed
                assert proof == Proof(booted.boot_id, booted.root_hash)
                self.is_well(scheduler, name)
                healthy = [one.status for one in os.status.conditions if one.type == "Healthy"] if os.status else []
                assert healthy == ["True"], "committed without health checks"
                if node.mark is not None:
                    assert node.mark.boot_id != booted.boot_id, "committed without a reboot"
            case Give(name, _, Verb.CONFIGURE, settings=text):
                node, os = scheduler.cache.nodes[name], scheduler.cache.oses[name]
                assert os.status
                assert os.status.settings, "an agent is configured that does not report settings"
                if node.mark is None and scheduler.fresh:
                    assert not self.spec.budgets or self.world.now.hour % 2 == 0, "configured while no window is open"
                    assert disruption(EMPTY, parse(text)) < Disruption.DRAIN or os.status.settings.hash != EMPTY.digest
                    away = {one.name for one in self.followers() if not one.ready or one.unschedulable or one.mark}
                    away |= {other for other, its in self.world.oses.items() if is_setting_out(its)}
                    assert len(away | {name}) <= max(self.most(), len(away)), "more nodes away than may be"
                    assert node.hold is None, "a node is configured that a person holds"
            case Give(name, _, Verb.COMMIT_SETTINGS):
                assert scheduler.cache.nodes[name].ready, "settings are committed on a node that is not Ready"
            case Uncordon(name, "Done"):
                order = scheduler.cache.oses[name].order
                if order is not None and order.action in ORDERS_OF_SETTINGS:  # no reboot has to be proved
                    return
                self.is_well(scheduler, name)
                os = scheduler.cache.oses[name]
                assert os.status
                assert os.status.booted
                assert os.status.booted.committed, "uncordoned as done while on trial"

    def group_of(self, node: NodeView) -> str:
        """The name under which a person approves the node's group."""
        groups = self.spec.order.groups
        found = (one.name for one in groups if matches(one.node_selector, node.labels))
        return next(found, IN_NO_GROUP)

    def no_earlier_group_is_busy(self, node: NodeView) -> None:
        """But for canaries, the way back, groups that have proved the release in this attempt, and who has joined.

        Of those that joined after the rollout began, several of different groups may start at once.
        """
        status = self.world.rollouts["workers"].status
        if status.halted or (self.spec.canary.nodes and not (status.canary and status.canary.soaked_at)):
            return
        passed, places = {one.name for one in status.groups if one.soaked_at}, self.spec.order.groups
        for place in places[: group_of(self.spec, node)]:
            busy = [
                one.name
                for one in self.world.nodes.values()
                if one.mark is not None and matches(place.node_selector, one.labels) and not self.has_joined(one)
            ]
            assert place.name in passed or not busy, f"{node.name} is started before {busy}"

    def has_joined(self, node: NodeView) -> bool:
        """Whether its object, which may have been made anew, is later than the rollout's beginning."""
        os, began = self.world.oses.get(node.name), read(self.world.rollouts["workers"].status.started_at)
        created = os.created if os else None
        return created is not None and began is not None and created > began + timedelta(minutes=10)

    def is_well(self, scheduler: LaggingScheduler, name: str) -> None:
        """A node that is committed, or uncordoned as done, has shown what is demanded."""
        node = scheduler.cache.nodes[name]
        status = scheduler.cache.oses[name].status
        assert node.ready
        assert node.ready_since is not None
        assert self.world.now - node.ready_since >= timedelta(seconds=READY_SECONDS), "not Ready for long enough"
        assert status
        assert status.booted
        assert node.boot_id == status.booted.boot_id, "kubelet and agent do not speak of the same boot"

    def check(self) -> None:
        """Whatever happens."""
        marked = [node for node in self.world.nodes.values() if node.mark is not None]
        assert len(marked) <= self.most(), f"{len(marked)} of {self.most()} are marked"
        if self.spec.order.zones is Zones.ONE_AT_A_TIME:
            assert len({node.zone for node in marked}) <= 1, "marked in two zones"
        assert sum(node.control_plane for node in marked) <= 1, "two nodes of the control plane at once"
        assert self.world.astray == [], "rebooted by an order without our mark"
        for name in self.cordoned_by_people & self.world.nodes.keys() - self.world.registered:
            assert self.world.nodes[name].unschedulable, f"the cordon of a person is gone from {name}"

    def settle(self) -> None:
        """Nothing more goes wrong: all comes to its end, and nothing is left behind."""
        self.change(paused=False)
        view = self.world.rollouts["workers"]
        every = dict.fromkeys(APPROVED_ONES, "somebody")
        self.world.rollouts["workers"] = dataclasses.replace(view, approved="somebody", approved_groups=every)
        self.all_is_quiet()
        self.webhook_is_back()
        self.leader.resting.clear()
        for name in self.world.nodes:
            self.alter(name, hold=None, leaving="")
        self.come_to_rest()
        self.nothing_is_left()
        self.proxies_return()
        self.come_to_rest()
        self.nothing_is_left()
        self.other_settings()
        self.come_to_rest()
        self.nothing_is_left()

    def nothing_is_left(self) -> None:
        """Of the scheduler, but on nodes that do not come back from their reboot."""
        marks = {name: node.mark for name, node in self.world.nodes.items() if node.mark is not None}
        status = {name: os.status for name, os in self.world.oses.items() if os.status is not None}
        left = {name for name in marks if name in status and status[name].phase == "Booting"}
        stuck = {name for name, mark in marks.items() if self.world.now - mark.since > timedelta(hours=1)} - left
        assert stuck == set(), f"our mark is left on {stuck}"
        tried = {name for name, its in status.items() if its.settings is not None and its.settings.trial_hash}
        assert tried - left == set(), f"settings are left on trial on {tried}"
        cordoned = {name for name, node in self.world.nodes.items() if node.unschedulable} - set(marks)
        assert cordoned <= self.cordoned_by_people, f"left cordoned: {cordoned - self.cordoned_by_people}"

    def come_to_rest(self) -> None:
        for _ in range(600):
            self.nodes_mend()
            self.leader.refresh()
            plan = self.leader.plan()
            self.leader.act(plan, self.fence, lambda action: self.judge(self.leader, action))
            self.check()
            then = min((when for when in (plan.wake, self.world.next_event) if when is not None), default=None)
            if not plan.actions and then is None:
                break
            soon = self.world.now + timedelta(seconds=1)
            self.world.advance(max(soon, then) if then is not None and not plan.actions else soon)


SCHEDULER = ("pass_of_the_leader",) * 6 + ("time_passes",) * 5
RESTARTS = ("cut_off", "cut_off", "killed_in_a_pass", "takeover", "pass_of_an_old_leader") + ("cache_lags",) * 4
PEOPLE = (
    "alerts_fire",
    "prometheus_goes_away",
    "all_is_quiet",
    "all_is_quiet",
    "person_approves",
    "person_cordons",
    "person_uncordons",
    "person_holds",
    "person_pauses",
    "person_resumes",
    "another_release",
    "other_settings",
)
NODES = ("node_fails", "nodes_mend", "nodes_are_replaced", "node_made_anew", "object_is_deleted")
OTHERS = (
    "node_joins",
    "virtual_node_joins",
    "autoscaler_chooses_a_node",
    "autoscaler_removes_nodes",
    "webhook_fails",
    "webhook_is_back",
    "operator_guards_a_node",
)
PROXIES = ("proxy_goes_away", "proxy_goes_away", "proxies_return")


@schedules(FEW)
@given(st.binary(min_size=300, max_size=300))
def test_no_schedule_breaks_a_promise(tape: bytes) -> None:
    chaos = Chaos(Chance(tape))
    chaos.run(100, SCHEDULER + RESTARTS + PEOPLE + NODES + PROXIES + OTHERS)
    chaos.settle()
    chaos.check()


@schedules(FEW // 2)
@given(st.binary(min_size=300, max_size=300))
def test_where_nodes_and_people_do_well_every_node_boots_once(tape: bytes) -> None:
    chaos = Chaos(Chance(tape))
    chaos.world.behaviour = dataclasses.replace(chaos.world.behaviour, fate=lambda *_: NodeFate.WELL, trial=10.0**7)
    chaos.change(health=HealthPolicy(READY_SECONDS))
    chaos.run(60, SCHEDULER + RESTARTS)
    chaos.settle()
    assert chaos.world.rollouts["workers"].status.phase == ("Complete" if chaos.followers() else "Pending")
    assert set(chaos.world.boots.values()) <= {1}
    assert len(chaos.world.boots) == len(chaos.followers())
