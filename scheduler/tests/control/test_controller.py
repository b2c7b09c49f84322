"""The controller, step by step: real planner, writer, reports and pending over a small API server in memory.

Only what has a thread of its own is replaced: the reflectors, which show when the test says so, the elector, and the
drainer. The nodes' agents do at once what they are ordered to.
"""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pytest

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import Booted, Condition, NodeStatus, Observed, Order, Standby
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document
from proa.scheduler.control.controller import BLIND, GATHER, LONGEST_WAIT, Controller, Pass
from proa.scheduler.control.event_recorder import EventRecorder
from proa.scheduler.control.pending import REST, Pending
from proa.scheduler.control.sources import Sources
from proa.scheduler.drain import budgets
from proa.scheduler.drain.drainer import Wanted
from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.cache import Cache
from proa.scheduler.kube.emit import About
from proa.scheduler.objects import reading
from proa.scheduler.objects.paths import NODE_OSES, OS_ROLLOUTS
from proa.scheduler.objects.writing import POLICY, Writer
from proa.scheduler.planning.actions import Action, Uncordon
from proa.scheduler.planning.views import MARK, DrainView, Snapshot, digest_of
from proa.scheduler.spec.rollout import Drain
from proa.scheduler.spec.rolloutstatus import Blocker
from proa.scheduler.spec.times import text
from proa.scheduler.testing.apiserver import ApiServer

RELEASE = "registry.example/node:2@sha256:" + "b" * 64
NODE_RELEASE = "sha256:" + "a" * 64
SPEC = {
    "release": RELEASE,
    "maxUnavailable": 1,
    "order": {"zones": "Ignore"},
    "health": {"readySeconds": 10, "timeout": "20m"},
}


class Followed:
    """A reflector that shows what there is when the test says so."""

    def __init__(self, server: ApiServer, path: str, project: Callable[[Any, Any], Any]) -> None:
        self.server, self.path, self.project = server, path, project
        self.cache: Cache[Any] = Cache()
        self.synced = True
        self.reached = 0
        self.stale_since: float | None = None

    @property
    def objects(self) -> Mapping[str, Any]:
        return self.cache.all()

    def show(self) -> bool:
        prefix = f"{self.path}/"
        items = {path.removeprefix(prefix): one for path, one in self.server.items.items() if path.startswith(prefix)}
        self.reached = self.server.version
        return self.cache.replace(
            {name: self.project(copy.deepcopy(one), self.cache.get(name)) for name, one in items.items()}
        )


class Elector:
    """Leads, or does not."""

    def __init__(self) -> None:
        self.leading = True
        self.fence = 7
        self.resigned = 0

    def resign(self) -> None:
        self.leading, self.fence = False, -1
        self.resigned += 1


class Drains:
    """A drainer: what is wanted is done after a while."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.wanted: Mapping[str, Wanted] = {}
        self.since: dict[str, float] = {}
        self.undrainable: dict[str, tuple[Blocker, ...]] = {}
        self.looked: list[str] = []
        self.problem: ProaError | None = None
        self.seconds = 5.0
        self.daemon_sets: Mapping[str, str] = {}

    def want(self, wanted: Mapping[str, Wanted]) -> None:
        self.wanted = wanted
        self.since = {
            name: self.since.get(name, self.clock.monotonic())
            for name, one in wanted.items()
            if one.request is not None
        }

    @property
    def views(self) -> Mapping[str, DrainView]:
        now = self.clock.monotonic()
        return {name: DrainView(done=now - since >= self.seconds) for name, since in self.since.items()}

    def foresee(self, node: str, policy: Drain) -> tuple[Blocker, ...]:
        self.looked.append(node)
        if self.problem is not None:
            raise self.problem
        return self.undrainable.get(node, ())


class Ears:
    """Hears what is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def tell(self, about: About, reason: str, note: str, *, action: str = "Update", warning: bool = False) -> None:
        self.heard.append((about.name, reason))


class Eyes:
    """Sees passes and actions."""

    def __init__(self) -> None:
        self.passes: list[Pass] = []
        self.done: list[Action] = []

    def saw(self, last: Pass) -> None:
        self.passes.append(last)

    def did(self, action: Action, snapshot: Snapshot) -> None:
        self.done.append(action)


class Case:
    """A cluster of some nodes with one rollout."""

    def __init__(self, nodes: int = 3, **spec: Any) -> None:
        self.clock = VirtualClock()
        self.server = ApiServer()
        self.drains = Drains(self.clock)
        self.seen = [
            Followed(self.server, paths.NODES, lambda item, before: reading.node(item, before, self.clock.now())),
            Followed(self.server, NODE_OSES, reading.node_os),
            Followed(self.server, OS_ROLLOUTS, reading.rollout),
            Followed(self.server, paths.BUDGETS, budgets.project),
        ]
        self.ears = Ears()
        self.boots: dict[str, int] = {}
        self.most_away = 0
        for number in range(nodes):
            name = f"n{number}"
            self.server.add(self.node(name), self._a_node(name, number))
        metadata = {"name": "workers", "uid": "r1", "generation": 1}
        self.server.add(self.rollout, {"metadata": metadata, "spec": {**SPEC, **spec}})
        self.start()

    def start(self) -> None:
        """Another scheduler."""
        self.elector, self.eyes, self.changed = Elector(), Eyes(), ChangeSignal()
        self.controller = Controller(
            Sources(*self.seen),  # type: ignore[arg-type]  # each is all that is asked of a reflector
            self.elector,  # type: ignore[arg-type]
            Writer(self.server, self.elector, self.clock),
            self.drains,  # type: ignore[arg-type]
            EventRecorder(self.ears),
            Pending(self.server.get),
            self.changed,
            clock=self.clock,
            watcher=self.eyes,
        )

    rollout = paths.named(OS_ROLLOUTS, "workers")

    @staticmethod
    def node(name: str) -> str:
        return paths.named(paths.NODES, name)

    @staticmethod
    def os(name: str) -> str:
        return paths.named(NODE_OSES, name)

    def _a_node(self, name: str, number: int) -> dict[str, Any]:
        metadata = {"name": name, "uid": f"u{number}", "labels": {}}
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": text(self.clock.now())}
        return {"metadata": metadata, "spec": {}, "status": {"conditions": [ready], "nodeInfo": {"bootID": "b0"}}}

    # what happens by itself

    def show(self) -> None:
        for one in self.seen:
            one.show()

    def agents(self) -> None:
        """Every agent does what it is ordered to."""
        for path, item in list(self.server.items.items()):
            if path.startswith(NODE_OSES):
                self._agent(path, item)

    def _agent(self, path: str, item: dict[str, Any]) -> None:
        view = reading.node_os(item)
        status, order, name = view.status, view.order, view.name
        if status is None:
            booted = Booted("a", "1", NODE_RELEASE, "a" * 64, "b0", True)
            self._report(path, NodeStatus(booted=booted, standby=Standby("b")))
        elif order is not None and (status.observed_order is None or status.observed_order.id < order.id):
            assert status.booted is not None
            observed = Observed(order.id, order.action.value, "Done")
            self._report(
                path, dataclasses.replace(self._obey(name, order, status, status.booted), observed_order=observed)
            )

    def _obey(self, name: str, order: Order, status: NodeStatus, booted: Booted) -> NodeStatus:
        digest = digest_of(order.release)
        match order.action:
            case Verb.STAGE:
                return dataclasses.replace(status, standby=Standby("b", "2", digest, "b" * 64, "staged", True))
            case Verb.BOOT:
                assert self.server.items[self.node(name)]["spec"].get("unschedulable") is True
                self.boots[name] = self.boots.get(name, 0) + 1
                self.server.change(self.node(name), status={"nodeInfo": {"bootID": "b1"}})
                old = Standby("a", "1", booted.release, booted.root_hash, "fallback", True, True)
                new = Booted("b", "2", digest, "b" * 64, "b1", False)
                return dataclasses.replace(status, booted=new, standby=old, conditions=(Condition("Healthy", "True"),))
            case Verb.COMMIT:
                return dataclasses.replace(status, booted=dataclasses.replace(booted, committed=True))
            case _:
                raise AssertionError(order)

    def _report(self, path: str, status: NodeStatus) -> None:
        self.server.change(path, status=document(status))

    # what the test does

    def step(self) -> float:
        """All is shown, and one step is made."""
        self.show()
        return self.controller.step()

    def turn(self, seconds: float = 5.0) -> float:
        """One step, and what nodes make of it."""
        pause = self.step()
        self.agents()
        self.most_away = max(self.most_away, len(self.cordoned))
        self.clock.sleep(seconds)
        return pause

    def until(self, true: Callable[[], bool], turns: int = 200) -> None:
        for _ in range(turns):
            if true():
                return
            self.turn()
        raise AssertionError("it does not come to that")

    @property
    def cordoned(self) -> list[str]:
        return [
            one["metadata"]["name"]
            for one in self.server.items.values()
            if (one.get("spec") or {}).get("unschedulable")
        ]

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.server.items[self.rollout].get("status", {})
        return found

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", ""))

    def wanted_nodes(self) -> list[str]:
        return [name for name, one in self.drains.wanted.items() if one.request is not None]


@pytest.fixture
def case() -> Case:
    return Case()


def assert_all_is_well(case: Case) -> None:
    assert case.phase == "Complete"
    assert case.boots == {"n0": 1, "n1": 1, "n2": 1}
    assert case.most_away == 1
    assert case.cordoned == []
    assert not any(MARK in (one["metadata"].get("annotations") or {}) for one in case.server.items.values())


def test_a_whole_rollout(case: Case) -> None:
    case.until(lambda: case.phase == "Complete")
    assert_all_is_well(case)
    assert [reason for _, reason in case.ears.heard if reason == "UpdateDone"] == ["UpdateDone"] * 3
    assert len([one for one in case.eyes.done if isinstance(one, Uncordon)]) == 3
    case.clock.sleep(10)
    case.step()
    assert len(case.status["recentSeconds"]) == 3
    before = len(case.server.log)
    pauses = {case.turn() for _ in range(5)}
    assert len(case.server.log) == before  # nothing is asked for any more
    assert min(pauses) > 1


def test_it_never_waits_for_nothing_at_all_without_having_done_something(case: Case) -> None:
    """A step that gives no pause has written something, or something has changed; else it is a busy loop."""
    for _ in range(150):
        case.show()
        before = case.server.version
        pause = case.controller.step()
        if pause < 0.01:
            case.show()
            again, known = case.controller.step(), case.server.version
            assert again >= 0.01 or known != before
        case.agents()
        case.clock.sleep(5)
    assert case.phase == "Complete"


@pytest.mark.parametrize("turns", range(2, 40, 3))
def test_another_leader_goes_on_from_anywhere(turns: int) -> None:
    case = Case()
    for _ in range(turns):
        case.turn()
    fence = case.elector.fence + 1
    case.start()
    case.elector.fence = fence
    case.until(lambda: case.phase == "Complete")
    assert_all_is_well(case)


def test_who_does_not_lead_does_nothing(case: Case) -> None:
    case.elector.leading = False
    assert case.step() == LONGEST_WAIT
    assert case.server.log == []


def test_who_leads_no_more_drains_no_more(case: Case) -> None:
    case.until(lambda: case.wanted_nodes() != [])
    case.elector.leading = False
    before = len(case.server.log)
    case.step()
    assert (case.drains.wanted, case.controller.last) == ({}, None)
    assert len(case.server.log) == before


@pytest.mark.parametrize("number", range(4))
def test_nothing_is_done_before_all_was_seen(case: Case, number: int) -> None:
    case.seen[number].synced = False
    assert 0 < case.step() < 1
    assert case.server.log == []


@pytest.mark.parametrize("number", range(4))
def test_nothing_is_done_on_what_is_old(case: Case, number: int) -> None:
    case.until(lambda: case.wanted_nodes() != [])
    case.clock.sleep(60)
    case.seen[number].stale_since = case.clock.monotonic() - 1
    before = len(case.server.log)
    assert 0 < case.step() < 1
    assert len(case.server.log) == before
    case.seen[number].stale_since = None
    case.step()
    assert len(case.server.log) > before


def since(case: Case) -> datetime | None:
    assert case.controller.last is not None
    return case.controller.last.snapshot.since


@pytest.mark.parametrize(("seconds", "blames"), [(BLIND - 1, True), (BLIND + 1, False)])
def test_who_was_blind_blames_nobody_for_that_time(case: Case, seconds: float, blames: bool) -> None:
    case.step()
    begun = since(case)
    case.clock.sleep(seconds)
    case.seen[0].stale_since = case.clock.monotonic() - seconds
    case.step()
    case.seen[0].stale_since = None
    case.step()
    assert since(case) == (begun if blames else case.clock.now())


class Stop(threading.Event):
    """Is set after so many looks; its waits take no time."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def is_set(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == GATHER
        return False


class Sleeper(ChangeSignal):
    """Lets the clock go on instead of waiting."""

    def __init__(self, clock: VirtualClock, extra: float) -> None:
        super().__init__()
        self.clock, self.extra = clock, extra

    def wait(self, heard: int, seconds: float | None = None) -> int:
        assert seconds is not None
        assert seconds <= LONGEST_WAIT
        self.clock.sleep(seconds + self.extra)
        return self.count


@pytest.mark.parametrize(("extra", "blames"), [(1.0, True), (BLIND + 1, False)])
def test_who_stood_still_blames_nobody_for_that_time(case: Case, extra: float, blames: bool) -> None:
    case.show()
    begun = case.clock.now()
    case.controller.changed = Sleeper(case.clock, extra)
    case.controller.run(Stop(2))
    assert len(case.eyes.passes) == 2
    found = case.eyes.passes[-1].snapshot.since
    assert (found == begun) is blames
    assert case.controller.last is None  # it has laid down what it did
    assert case.drains.wanted == {}


def test_a_write_without_an_answer_is_looked_at_before_anything_else(case: Case) -> None:
    case.server.lose(lambda verb, path: (verb, path) == ("apply", case.node("n0")))
    case.until(lambda: case.cordoned != [])
    case.server.mend()
    before = len(case.server.log)
    case.controller.step()  # before it shows: the cordon is known from its being read alone
    assert case.server.log[before] == ("get", case.node("n0"))
    assert case.cordoned == ["n0"]
    case.until(lambda: case.phase == "Complete")
    assert_all_is_well(case)


def test_as_long_as_it_cannot_be_looked_at_nothing_is_written(case: Case) -> None:
    case.server.lose(lambda verb, path: verb == "create")
    case.step()
    case.server.fail(lambda verb, path: ApiError(0, "refused"))
    writes = len(case.server.writes)
    pauses = []
    for _ in range(7):
        pauses.append(case.step())
        assert case.step() <= pauses[-1] + 0.001  # news in between change nothing
        case.clock.sleep(pauses[-1] + 0.001)
    assert len([one for one in case.server.log if one[0] == "get"]) <= 7
    assert len(case.server.writes) == writes
    assert pauses[0] < 1 < pauses[-1]
    case.server.mend()
    case.until(lambda: case.phase == "Complete")
    assert_all_is_well(case)


def test_a_pass_ends_where_the_server_is_away(case: Case) -> None:
    case.server.fail(lambda verb, path: ApiError(503, "busy", retry_after=20) if verb == "create" else None)
    assert case.step() >= 20
    assert [one for one in case.server.log if one[0] == "create"] == [("create", NODE_OSES)]


def test_a_pass_ends_when_writes_take_long_and_the_next_goes_on() -> None:
    case = Case(nodes=12)
    beats: list[float] = []

    def slow(verb: str, path: str) -> None:
        beats.append(case.controller.beat)
        case.clock.sleep(2)

    case.server.fail(slow)
    assert case.step() == 0
    made = [one for one in case.server.items if one.startswith(NODE_OSES)]
    assert 1 <= len(made) <= 3
    assert beats == sorted(set(beats))  # each write is a sign of life
    for _ in range(12):
        case.step()
    assert len([one for one in case.server.items if one.startswith(NODE_OSES)]) == 12


def test_a_node_whose_writes_always_fail_does_not_keep_others_from_theirs(case: Case) -> None:
    """As where a webhook that is away is asked about that one."""
    bad = ("merge", case.os("n0"))
    case.server.fail(lambda verb, path: ApiError(500, "failed calling webhook") if (verb, path) == bad else None)
    case.until(lambda: {("merge", case.os("n1")), ("merge", case.os("n2"))} <= set(case.server.log), turns=40)
    assert bad in case.server.log
    case.server.mend()
    case.until(lambda: case.phase == "Complete")
    assert_all_is_well(case)


def test_who_is_fenced_resigns_and_stops(case: Case) -> None:
    said = f"ValidatingAdmissionPolicy '{POLICY}' with binding 'x' denied request: stale leader"
    case.server.fail(lambda verb, path: ApiError(403, said, reason="Forbidden") if verb == "create" else None)
    assert case.step() == 0
    assert case.elector.resigned == 1
    assert len([one for one in case.server.log if one[0] == "create"]) == 1
    assert case.step() == LONGEST_WAIT
    assert case.drains.wanted == {}


def test_who_is_fenced_by_a_status_writes_nothing_else(case: Case) -> None:
    said = f"ValidatingAdmissionPolicy '{POLICY}' with binding 'x' denied request: stale leader"
    case.server.fail(lambda verb, path: ApiError(403, said, reason="Forbidden") if "/status" in path else None)
    assert case.step() == 0
    assert (case.elector.resigned, len(case.server.log)) == (1, 1)


def test_a_node_whose_write_is_refused_rests_and_the_others_go_on(case: Case) -> None:
    path = case.node("n0")
    right = ApiError(403, "no right", reason="Forbidden")
    case.server.fail(lambda verb, asked: right if (verb, asked) == ("apply", path) else None)
    case.until(lambda: case.boots.keys() == {"n1", "n2"}, turns=60)
    refused = len([one for one in case.server.log if one == ("apply", path)])
    assert 1 <= refused <= 1 + case.clock.monotonic() / (REST / 2)
    assert ("n0", "WriteRefused") in case.ears.heard
    case.server.mend()
    case.until(lambda: case.phase == "Complete", turns=800)
    assert_all_is_well(case)


def test_a_node_that_could_never_be_drained_is_not_even_cordoned(case: Case) -> None:
    case.drains.undrainable = {"n0": (Blocker("n0", "shop/web-1", reason="never lets one go"),)}
    case.until(lambda: case.boots.keys() == {"n1", "n2"})
    assert ("apply", case.node("n0")) not in case.server.log
    assert case.changed.count  # another one had its turn at once
    case.until(lambda: "never lets one go" in str(case.status.get("blockers")))
    case.drains.undrainable = {}
    case.until(lambda: case.phase == "Complete")
    assert_all_is_well(case)


def test_a_rollout_that_waits_for_nodes_that_could_never_be_drained_does_not_seem_to_go_on(case: Case) -> None:
    case.drains.undrainable = {
        name: (Blocker(name, "shop/web-1", reason="never lets one go"),) for name in ("n0", "n1", "n2")
    }
    case.until(lambda: case.phase == "Waiting" and len(case.status.get("blockers", ())) == 3)
    heard, since = len(case.ears.heard), case.status
    looked = case.drains.looked.count("n0")
    case.until(lambda: case.drains.looked.count("n0") == looked + 2, turns=600)
    assert case.ears.heard[heard:] == []
    assert case.status == since


def test_a_node_that_could_never_be_drained_is_told_once_and_for_how_long(case: Case) -> None:
    case.drains.undrainable = {
        name: (Blocker(name, "shop/web-1", reason="never lets one go"),) for name in ("n0", "n1")
    }
    case.until(lambda: ("n0", "DrainBlocked") in case.ears.heard)
    began = case.clock.now()
    case.until(lambda: case.drains.looked.count("n0") == 3, turns=600)
    assert [one for one in case.ears.heard if one[1] == "DrainBlocked"] == [
        ("n0", "DrainBlocked"),
        ("n1", "DrainBlocked"),
    ]
    last = case.eyes.passes[-1]
    assert [one.node for one in last.blockers] == ["n0", "n1"]
    assert all(one.since <= text(began) for one in last.blockers)
    case.until(lambda: [one["since"] for one in case.status["blockers"]] == [one.since for one in last.blockers])
    case.server.remove(case.rollout)
    case.step()
    assert case.eyes.passes[-1].blockers == ()


@pytest.mark.parametrize("problem", [ApiError(0, "refused"), ProaError(Code.KUBECONFIG, "the token cannot be read")])
def test_without_a_look_ahead_no_node_is_begun(case: Case, problem: ProaError) -> None:
    case.drains.problem = problem
    case.until(lambda: case.drains.looked != [])
    for _ in range(3):
        assert case.turn() > 0
    assert case.cordoned == []
    case.drains.problem = None
    case.until(lambda: case.phase == "Complete")


def test_a_defect_of_a_part_ends_the_controller(case: Case) -> None:
    case.drains.problem = ProaError(Code.INTERNAL, "nobody follows budgets any more")
    with pytest.raises(ProaError, match="nobody follows"):
        case.until(lambda: False)


def test_a_node_is_drained_on_while_a_write_of_ours_does_not_show() -> None:
    """What is under way for a node in the drainer is not dropped because a write about it is under way, too."""
    case = Case()
    case.drains.seconds = 1000
    case.until(lambda: case.wanted_nodes() != [])
    (name,) = case.wanted_nodes()
    case.controller.pending._versions[NODE_OSES, name] = 10**9
    case.step()
    assert case.controller.last is not None
    assert name in case.controller.last.snapshot.pending
    assert name not in case.controller.last.plan.drains
    assert case.wanted_nodes() == [name]


def test_a_node_that_is_given_back_is_drained_no_more_from_that_moment() -> None:
    """Also while its uncordon does not show: nothing is evicted for a node that takes pods again."""
    case = Case()
    case.drains.seconds = 1000
    case.until(lambda: case.wanted_nodes() != [])
    (name,) = case.wanted_nodes()
    case.server.change(case.node(name), metadata={"annotations": {"proa.dev/hold": "wait"}})
    case.step()
    assert case.cordoned == []
    assert case.wanted_nodes() == []
    case.controller.step()
    assert case.wanted_nodes() == []


def test_nothing_is_planned_from_what_is_before_a_write_of_ours(case: Case) -> None:
    case.until(lambda: case.cordoned != [])
    before = list(case.cordoned)
    writes = len(case.server.writes)
    for number in (0, 1):
        case.seen[number].reached = 0
    for _ in range(3):
        case.controller.step()  # without a show
        case.clock.sleep(1)
    nodes = [one for one in case.server.writes[writes:] if one.path.startswith((paths.NODES, NODE_OSES))]
    assert (case.cordoned, nodes) == (before, [])


def test_a_person_who_pauses_while_a_status_is_written_loses_nothing(case: Case) -> None:
    case.until(lambda: len(case.boots) == 2)
    case.until(lambda: len(case.status.get("recentSeconds", ())) > 0)
    known = case.status["recentSeconds"]
    case.show()
    case.server.change(case.rollout, metadata={"generation": 2}, spec={"paused": True})
    case.controller.step()
    case.until(lambda: case.phase == "Paused")
    assert case.status["recentSeconds"][: len(known)] == known
    case.server.change(case.rollout, metadata={"generation": 3}, spec={"paused": False})
    case.until(lambda: case.phase == "Complete")
    case.turn()
    assert len(case.status["recentSeconds"]) == 3


def test_what_belongs_to_a_refused_write_is_not_written_either(case: Case) -> None:
    """A node is not given back before what went wrong on it is noted: else it would be started again at once."""
    case.drains.seconds = 10_000
    case.until(lambda: case.cordoned != [])
    (name,) = case.cordoned
    case.clock.sleep(1000)
    case.server.fail(lambda verb, path: ApiError(403, "no right") if path == case.os(name) else None)
    case.step()
    assert ("merge", case.os(name)) in case.server.log
    assert case.cordoned == [name]
    case.server.mend()
    case.clock.sleep(REST)
    case.step()
    assert case.cordoned == []


def test_a_term_that_follows_at_once_is_another_term(case: Case) -> None:
    case.step()
    case.clock.sleep(5)
    case.step()
    assert since(case) != case.clock.now()
    case.elector.fence += 2
    case.step()
    assert since(case) == case.clock.now()
