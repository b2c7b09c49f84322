"""The elector against the real API server: one leads at a time, and who is late writes nothing."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from proa.core.runtime.clock import SYSTEM
from proa.scheduler.install.names import SCHEDULER
from proa.scheduler.install.settings import NAMESPACE
from proa.scheduler.kube import access, paths
from proa.scheduler.kube.api import Api, ApiLimits
from proa.scheduler.kube.leader_elector import LeaderElector
from proa.scheduler.kube.lease_timings import LeaseTimings
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.installed import install, uninstall
from proa.vm.support.child import Child
from proa.vm.support.waiting import LIMIT, until

pytestmark = pytest.mark.contract
TERMS = LeaseTimings(lease=8.0, stop=6.0, renew=0.8, retry=0.5, request=2.4, settle=0.3)
"""A lease that runs out within a test, and that a busy machine can still renew."""
LONG = dataclasses.replace(TERMS, lease=1800.0, stop=1200.0)
"""A lease that does not."""
"""Seconds that a busy machine may need more."""
LEASE = f"{paths.leases(NAMESPACE)}/{SCHEDULER}"
HIGH = 2_000_000_000
"""A fence above that of any first lease."""
NODE = f"{paths.NODES}/n1"


@pytest.fixture(scope="module")
def policed(control_plane: ControlPlane) -> Iterator[Path]:
    """The kubeconfig of the scheduler's account, with its rights and held to its policies."""
    control_plane.start()
    install(control_plane)
    yield control_plane.kubeconfig_for(SCHEDULER, NAMESPACE)
    uninstall(control_plane)


@pytest.fixture
def plane(policed: Path, cluster: ControlPlane) -> ControlPlane:
    """With one node."""
    cluster.api.post(paths.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    return cluster


Compete = Callable[..., LeaderElector]
Start = Callable[..., Child]


@pytest.fixture
def compete(policed: Path) -> Iterator[Compete]:
    """Start electors; they end with the test."""
    started: list[tuple[LeaderElector, Api]] = []

    def start(terms: LeaseTimings = TERMS, **words: Any) -> LeaderElector:
        half = terms.request / 2
        api = Api(access.find(str(policed)), limits=ApiLimits(connect=half, read=half))
        made = LeaderElector(api, NAMESPACE, SCHEDULER, terms=terms, **words)
        started.append((made, api))
        made.start()
        return made

    yield start
    for one, api in started:
        one.stop()
        api.close()


def leads(*electors: LeaderElector, seconds: float = LIMIT) -> LeaderElector:
    """The one that leads, once one does."""
    until(lambda: any(one.leading for one in electors), "one to lead", seconds)
    return next(one for one in electors if one.leading)


def lease(plane: ControlPlane) -> dict[str, Any]:
    return dict(plane.api.get(LEASE)["spec"])


def renewed(plane: ControlPlane) -> datetime:
    """When the lease was last renewed or taken."""
    return datetime.fromisoformat(lease(plane)["renewTime"])


def test_of_two_one_leads_and_the_other_follows_at_once(plane: ControlPlane, compete: Compete) -> None:
    one, other = compete(LONG), compete(LONG)
    first = leads(one, other)
    second = other if first is one else one
    assert lease(plane)["holderIdentity"] == first.me
    assert lease(plane)["leaseTransitions"] == first.fence
    SYSTEM.sleep(2 * TERMS.renew)
    assert first.leading
    assert not second.leading
    assert second.holder == first.me
    fence = first.fence
    assert first.stop()
    leads(second)  # the lease was given back: it would last much longer than anybody waits here
    assert second.fence == fence + 1
    second.stop()
    assert lease(plane).get("holderIdentity", "") == ""
    assert lease(plane)["leaseTransitions"] == fence + 1


def test_nobody_leads_twice_however_often_they_come_and_go(plane: ControlPlane, compete: Compete) -> None:
    fences: list[int] = []
    watching, both = threading.Event(), list[str]()
    electors = [compete(LONG) for _ in range(3)]

    def watch() -> None:
        while not watching.is_set():
            leading = [one.me for one in electors if one.leading]
            if len(leading) > 1:
                both.append(" and ".join(leading))
            watching.wait(0.002)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for number in range(6):
            leader = leads(*electors)
            fences.append(leader.fence)
            if number % 2:
                leader.resign()
            else:
                leader.stop()
                electors.append(compete(LONG))
    finally:
        watching.set()
        thread.join()
    assert both == []
    assert fences == sorted(set(fences))


def test_a_fence_is_higher_than_all_that_was_seen(plane: ControlPlane, compete: Compete) -> None:
    one = compete(floor=lambda: HIGH)
    leads(one)
    assert one.fence == HIGH + 1
    assert lease(plane)["leaseTransitions"] == HIGH + 1


def test_as_long_as_not_all_has_been_seen_nobody_leads(plane: ControlPlane, compete: Compete) -> None:
    seen: list[int | None] = [None]
    one = compete(floor=lambda: seen[0])
    until(lambda: one.fence >= 0, "the lease to be taken")
    SYSTEM.sleep(TERMS.settle + 2 * TERMS.renew)
    assert not one.leading
    first = one.fence
    seen[0] = HIGH
    leads(one)
    assert one.fence == HIGH + 1 > first


def test_a_leader_outlives_an_api_server_that_is_soon_back(plane: ControlPlane, compete: Compete) -> None:
    one = compete(LONG)
    leads(one)
    fence = one.fence
    plane.pause_apiserver()
    SYSTEM.sleep(TERMS.stop / 4)
    plane.resume_apiserver()
    SYSTEM.sleep(TERMS.stop)
    assert one.leading
    assert one.fence == fence


def test_a_leader_without_an_api_server_stops_by_itself(plane: ControlPlane, compete: Compete) -> None:
    one, other = compete(), compete()
    first = leads(one, other)
    fence = first.fence
    plane.kill_apiserver()
    SYSTEM.sleep(TERMS.stop)
    assert not first.leading, "it goes by the clock, not by a thread that has its turn"
    plane.start_apiserver()
    assert leads(one, other).fence > fence


def test_a_lease_that_a_person_deletes_ends_a_term(plane: ControlPlane, compete: Compete) -> None:
    one = compete()
    leads(one)
    fence = one.fence
    plane.api.delete(LEASE)
    until(lambda: one.fence > fence, "another term")
    leads(one)
    assert lease(plane)["leaseTransitions"] == one.fence


# processes

PROCESS = """
import json, sys, time
from pathlib import Path
from datetime import UTC, datetime
from dataclasses import dataclass
from proa.scheduler.kube import access
from proa.scheduler.kube.api import Api, ApiLimits
from proa.scheduler.kube.leader_elector import LeaderElector
from proa.scheduler.kube.lease_timings import LeaseTimings
from proa.scheduler.objects.writing import Writer
from proa.scheduler.planning.actions import Cordon, Uncordon
from proa.scheduler.planning.views import Mark
from proa.scheduler.report import source

kubeconfig, namespace, name, folder, timings = sys.argv[1:]
terms = LeaseTimings(**json.loads(timings))
half = terms.request / 2
api = Api(access.find(kubeconfig), limits=ApiLimits(connect=half, read=half))
slow = Api(access.find(kubeconfig))
elector = LeaderElector(api, namespace, name, terms=terms)


@dataclass(frozen=True)
class Before:
    'What was asked before the process was paused.'
    fence: int
    leading: bool = True


def say(**words):
    print(json.dumps(words), flush=True)


def wait(file):
    while not (Path(folder) / file).exists():
        time.sleep(0.01)


elector.start()
while not elector.leading:
    time.sleep(0.005)
asked, seen = Before(elector.fence), source.snapshot_of(slow)
say(leading=elector.me, fence=elector.fence)
wait('write')
mark = Mark('workers', 'sha256:' + '1' * 64, datetime(2026, 1, 5, tzinfo=UTC), True, 'boot-1')
said = {'leading': elector.leading}
said['late'] = Writer(slow, asked).carry_out(Cordon('n1', mark), seen).outcome.value
said['honest'] = Writer(slow, elector).carry_out(Cordon('n1', mark), seen).outcome.value
say(**said)
wait('end')
elector.stop()
"""


@pytest.fixture
def process(policed: Path, tmp_path: Path) -> Iterator[Start]:
    """Start an elector in a process of its own, that writes when it is told to."""
    started: list[Child] = []

    def start(name: str, terms: LeaseTimings = TERMS) -> Child:
        folder = tmp_path / name
        folder.mkdir()
        words = [
            sys.executable,
            "-c",
            PROCESS,
            str(policed),
            NAMESPACE,
            SCHEDULER,
            str(folder),
            json.dumps(dataclasses.asdict(terms)),
        ]
        made = Child(name, words, tmp_path / f"{name}.log")
        made.start()
        started.append(made)
        return made

    yield start
    for one in started:
        one.kill()


def told(child: Child, line: int, seconds: float = LIMIT) -> dict[str, Any]:
    """A line that a process has written."""

    def found() -> str:
        lines = [one for one in child.said.splitlines() if one.startswith("{")]
        return lines[line] if len(lines) > line else ""

    until(lambda: bool(found()) or not child.alive, f"{child.name} to speak", seconds)
    if not found():
        raise child.failure("it ended")
    return dict(json.loads(found()))


def test_a_leader_that_was_paused_beyond_its_lease_is_fenced(
    plane: ControlPlane, process: Start, compete: Compete, tmp_path: Path
) -> None:
    paused = process("paused")
    fence = told(paused, 0)["fence"]
    paused.pause()
    (tmp_path / "paused/write").touch()
    last = renewed(plane)
    next_one = compete()
    leads(next_one)
    assert renewed(plane) - last >= timedelta(seconds=TERMS.lease), "the lease was still the other one's"
    assert next_one.fence == fence + 1
    paused.resume()
    said = told(paused, 1)
    assert said == {"leading": False, "late": "fenced", "honest": "not-leading"}
    assert not plane.api.get(NODE).get("spec", {}).get("unschedulable")
    assert next_one.leading


def test_a_leader_that_was_paused_for_a_moment_goes_on(plane: ControlPlane, process: Start, tmp_path: Path) -> None:
    paused = process("paused", LONG)
    told(paused, 0)
    paused.pause()
    SYSTEM.sleep(0.5)
    paused.resume()
    (tmp_path / "paused/write").touch()
    assert told(paused, 1) == {"leading": True, "late": "done", "honest": "done"}
    assert plane.api.get(NODE)["spec"]["unschedulable"] is True


def test_a_leader_that_is_killed_is_followed_after_its_lease(
    plane: ControlPlane, process: Start, compete: Compete
) -> None:
    killed = process("killed")
    fence = told(killed, 0)["fence"]
    next_one = compete()
    SYSTEM.sleep(TERMS.renew)
    assert not next_one.leading
    killed.kill()
    last = renewed(plane)
    leads(next_one)
    assert renewed(plane) - last >= timedelta(seconds=TERMS.lease), "the lease was still the other one's"
    assert next_one.fence == fence + 1
