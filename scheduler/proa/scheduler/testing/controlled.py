"""A controller, step by step: real planner, writer, reports and pending over the simulated API server.

Only what has a thread of its own is replaced: the reflectors, which show when the test says so, the elector, and the
drainer. The nodes' agents do at once what they are ordered to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import Booted, Condition, NodeStatus, Observed, Order, Standby
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import ProaError
from proa.core.schema.model import document
from proa.scheduler.control.controller import Controller, Pass
from proa.scheduler.control.event_recorder import EventRecorder
from proa.scheduler.control.pending import Pending
from proa.scheduler.control.sources import Sources
from proa.scheduler.drain import pods
from proa.scheduler.drain.drainer import Wanted
from proa.scheduler.kube import paths
from proa.scheduler.kube.emit import About
from proa.scheduler.kube.reflector import Cache
from proa.scheduler.kube.times import text
from proa.scheduler.objects import reading
from proa.scheduler.objects.writing import Writer
from proa.scheduler.planning.actions import Action
from proa.scheduler.planning.views import MARK, DrainView, NodeOSView, Snapshot, digest_of
from proa.scheduler.spec.crd import NODE_OSES, OS_ROLLOUTS
from proa.scheduler.spec.rollout import Drain
from proa.scheduler.spec.rolloutstatus import Blocker
from proa.scheduler.testing.apiserver import ApiServer
from proa.scheduler.testing.fields import copied

RELEASE = "registry.example/node:2@sha256:" + "b" * 64
NODE_RELEASE = "sha256:" + "a" * 64
SPEC = {
    "release": RELEASE,
    "maxUnavailable": 1,
    "order": {"zones": "Ignore"},
    "health": {"readySeconds": 10, "timeout": "20m"},
}


class Followed:
    """A reflector that shows what there is when the test says so. As a real one it looks at what has changed."""

    def __init__(self, server: ApiServer, path: str, project: Callable[[Any, Any], Any]) -> None:
        self.server, self.path, self.project = server, path, project
        self.cache: Cache[Any] = Cache()
        self._items: dict[str, Any] = {}
        self.synced = True
        self.reached = 0
        self.stale_since: float | None = None

    @property
    def objects(self) -> Mapping[str, Any]:
        """What is shown."""
        return self.cache.all()

    def show(self) -> bool:
        """Show what there is now."""
        prefix = f"{self.path}/"
        items = {path.removeprefix(prefix): one for path, one in self.server.items.items() if path.startswith(prefix)}
        self.reached = self.server.version
        views = {name: self._look(name, one) for name, one in items.items()}
        self._items = {name: one for name, one in self._items.items() if name in items}
        return self.cache.replace(views)

    def _look(self, name: str, item: Any) -> Any:
        before = self.cache.get(name)
        if before is not None and self._items.get(name) == item:
            return before
        self._items[name] = copied(item)
        return self.project(copied(item), before)


class Elector:
    """Leads, or does not."""

    def __init__(self) -> None:
        self.leading = True
        self.fence = 7
        self.resigned = 0

    def resign(self) -> None:
        """Lead no more."""
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
        """See :class:`proa.scheduler.drain.drainer.Drainer`."""
        self.wanted = wanted
        self.since = {
            name: self.since.get(name, self.clock.monotonic())
            for name, one in wanted.items()
            if one.request is not None
        }

    @property
    def views(self) -> Mapping[str, DrainView]:
        """What is drained, and what is done."""
        now = self.clock.monotonic()
        return {name: DrainView(done=now - since >= self.seconds) for name, since in self.since.items()}

    def foresee(self, node: str, policy: Drain) -> tuple[Blocker, ...]:
        """What would be in the way of a drain."""
        self.looked.append(node)
        if self.problem is not None:
            raise self.problem
        return self.undrainable.get(node, ())


class Ears:
    """Hears what is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def tell(self, about: About, reason: str, note: str, *, action: str = "Update", warning: bool = False) -> None:
        """Hear of an event."""
        self.heard.append((about.name, reason))


class Eyes:
    """Sees passes and actions."""

    def __init__(self) -> None:
        self.passes: list[Pass] = []
        self.done: list[Action] = []

    def saw(self, last: Pass) -> None:
        """Hear of a pass."""
        self.passes.append(last)

    def did(self, action: Action, snapshot: Snapshot) -> None:
        """Hear of an action."""
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
            Followed(self.server, paths.BUDGETS, pods.budget),
            Followed(self.server, paths.STATIC_PODS, reading.host),
        ]
        self._orders = Followed(self.server, NODE_OSES, reading.node_os)
        """What the nodes' agents see of theirs, at once."""
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
            Pending(self.server),
            self.changed,
            clock=self.clock,
            watcher=self.eyes,
        )

    rollout = paths.named(OS_ROLLOUTS, "workers")

    @staticmethod
    def node(name: str) -> str:
        """The path of a node."""
        return paths.named(paths.NODES, name)

    @staticmethod
    def os(name: str) -> str:
        """The path of a node's object."""
        return paths.named(NODE_OSES, name)

    def _a_node(self, name: str, number: int) -> dict[str, Any]:
        metadata = {"name": name, "uid": f"u{number}", "labels": {}}
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": text(self.clock.now())}
        return {"metadata": metadata, "spec": {}, "status": {"conditions": [ready], "nodeInfo": {"bootID": "b0"}}}

    # what happens by itself

    def show(self) -> None:
        """Let all reflectors show what there is now."""
        for one in self.seen:
            one.show()

    def agents(self) -> None:
        """Every agent does what it is ordered to."""
        self._orders.show()
        for view in self._orders.objects.values():
            self._agent(self.os(view.name), view)

    def _agent(self, path: str, view: NodeOSView) -> None:
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
        """Take turns until something is true."""
        for _ in range(turns):
            if true():
                return
            self.turn()
        raise AssertionError("it does not come to that")

    @property
    def cordoned(self) -> list[str]:
        """The nodes that are cordoned."""
        return [
            one["metadata"]["name"]
            for one in self.server.items.values()
            if (one.get("spec") or {}).get("unschedulable")
        ]

    @property
    def status(self) -> dict[str, Any]:
        """The rollout's status."""
        found: dict[str, Any] = self.server.items[self.rollout].get("status", {})
        return found

    @property
    def phase(self) -> str:
        """The rollout's phase."""
        return str(self.status.get("phase", ""))

    def wanted_nodes(self) -> list[str]:
        """The nodes whose drain is wanted."""
        return [name for name, one in self.drains.wanted.items() if one.request is not None]


def assert_all_is_well(case: Case) -> None:
    """Every node has booted once into the release and is given back, and never were too many away."""
    assert case.phase == "Complete"
    assert case.boots == {"n0": 1, "n1": 1, "n2": 1}
    assert case.most_away == 1
    assert case.cordoned == []
    assert not any(MARK in (one["metadata"].get("annotations") or {}) for one in case.server.items.values())


def since(case: Case) -> datetime | None:
    """Since when this scheduler has seen all."""
    assert case.controller.last is not None
    return case.controller.last.snapshot.since
