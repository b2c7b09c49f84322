"""What goes wrong between the scheduler and the API server (F61, F68), and schedulers that are away or two at a time.

The scheduler has its own account, rights and policies, and speaks through a proxy that spoils what a test wants
spoiled. Whatever that is: every node is booted once, and nothing of ours is left on it. What breaks watches comes
early and late: one that breaks soon again is waited for.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

import pytest

from proa.core.orders.messages import Phase
from proa.scheduler.install.names import SCHEDULER
from proa.scheduler.kube import paths
from proa.scheduler.spec.crd import NODE_OSES, OS_ROLLOUTS
from proa.vm.kube.api import MERGE
from proa.vm.kube.apifate import LOST, UNANSWERED, Ask, RequestFate, plain, refusal
from proa.vm.kube.apiproxy import ApiProxy
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.rollouts import NEW, Witness, marked, record
from proa.vm.simulated.scenarios import Scenarios, Ward, opened
from proa.vm.simulated.scheduler import NAMESPACE, Scheduler
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
LEASE = f"{paths.leases(NAMESPACE)}/proa-scheduler"
ONE_AWAY = {"maxUnavailable": 1}


@pytest.fixture(scope="module")
def ward(control_plane: ControlPlane) -> Iterator[Ward]:
    with opened(control_plane) as found:
        yield found


def gives(action: str) -> Callable[[Ask], bool]:
    """Whether a request gives an order."""

    def asks(ask: Ask) -> bool:
        order = ask.body.get("spec", {}).get("order") if ask.method == "PATCH" else None
        return bool(order and order["action"] == action)

    return asks


is_boot, is_commit = gives("Boot"), gives("Commit")


def is_cordon(ask: Ask) -> bool:
    """Whether a request marks a node."""
    metadata = ask.body.get("metadata", {})
    return ask.is_write and "/nodes/" in ask.path and "proa.dev/mark" in (metadata.get("annotations") or {})


def is_status(ask: Ask) -> bool:
    """Whether a request writes the status of a rollout."""
    return ask.is_write and ask.path.startswith(OS_ROLLOUTS)


class Once:
    """A rule that is for the first request of each kind only.

    Args:
        fate: What becomes of it.
        kinds: Which requests; each that asks for a change by default.
    """

    def __init__(self, fate: RequestFate, *kinds: Callable[[Ask], bool]) -> None:
        self.fate = fate
        self.kinds = kinds
        self.hit: list[Ask] = []
        self._known: set[object] = set()

    def __call__(self, ask: Ask) -> RequestFate | None:
        key = self._key(ask)
        if key is None or key in self._known:
            return None
        self._known.add(key)
        self.hit.append(ask)
        return self.fate

    def _key(self, ask: Ask) -> object:
        if self.kinds:
            return next((number for number, kind in enumerate(self.kinds) if kind(ask)), None)
        order = ask.body.get("spec", {}).get("order") or {}
        return (ask.method, ask.path, order.get("action"), is_cordon(ask)) if ask.is_write else None


def well(one: Scenarios, witness: Witness) -> None:
    """It came to its end, with nothing done twice."""
    one.wait("Complete")
    assert one.boots == [1] * len(one.names)
    for name in one.names:
        assert witness.orders(name) == ["Stage", "Boot", "Commit"]
        assert witness.seen(name).notes == []
    assert witness.wrong == []
    assert one.traces == []


# F61: the API server


def test_f61_no_watch_can_be_taken_up_where_it_was_cut(ward: Ward) -> None:
    def goes_on(path: str) -> Callable[[Ask], bool]:
        return lambda ask: ask.is_watch and ask.path == path and "resourceVersion" in ask.query

    with ward.scenarios("gone") as one, ward.witness() as witness:
        three = (paths.NODES, NODE_OSES, OS_ROLLOUTS)
        until(lambda: ward.proxy.watched.issuperset(three), "all to be watched")
        rule = ward.proxy.rule = Once(refusal(410, "Expired"), *map(goes_on, three))
        ward.proxy.cut()
        until(lambda: len(rule.hit) == 3, "all to be refused")
        assert {ask.path for ask in rule.hit} == set(three)
        one.start()
        well(one, witness)


def test_f61_watches_are_cut_in_the_middle(ward: Ward) -> None:
    with ward.scenarios("cut") as one, ward.witness() as witness:
        rule = ward.proxy.rule = Once(RequestFate(after=ward.proxy.cut), is_boot)
        one.start()
        well(one, witness)
        assert rule.hit


def test_f61_every_answer_gets_lost(ward: Ward) -> None:
    with ward.scenarios("lost") as one, ward.witness() as witness:
        rule = ward.proxy.rule = Once(UNANSWERED)
        one.start()
        well(one, witness)
        assert len(rule.hit) >= 6


def test_f61_every_request_gets_lost_once(ward: Ward) -> None:
    with ward.scenarios("unheard") as one, ward.witness() as witness:
        rule = ward.proxy.rule = Once(LOST)
        one.start()
        well(one, witness)
        assert len(rule.hit) >= 6


def test_f61_somebody_else_was_quicker(ward: Ward) -> None:
    with ward.scenarios("conflict") as one, ward.witness() as witness:
        rule = ward.proxy.rule = Once(refusal(409, "Conflict"), is_cordon, is_boot, is_commit, is_status)
        one.start()
        well(one, witness)
        assert len(rule.hit) == 4


def test_f61_a_server_that_wants_to_be_left_alone_is(ward: Ward) -> None:
    """Whether it says so itself, or something before it that speaks no JSON; the other objects have no part in it."""
    itself = Once(refusal(429, "TooManyRequests", **{"Retry-After": "2"}), is_cordon)
    before = Once(plain(429, "slow down", **{"Retry-After": "2"}), is_boot)
    with ward.scenarios("busy") as one, ward.witness() as witness:
        ward.proxy.rule = lambda ask: itself(ask) or before(ask)
        one.start()
        well(one, witness)
        for refused in (*itself.hit, *before.hit):
            again = [ask.at for ask in ward.proxy.asked if ask.is_write and ask.path == refused.path]
            assert min(at for at in again if at > refused.at) - refused.at >= 2.0
        assert len(itself.hit) == len(before.hit) == 1


def test_f61_answers_that_take_five_seconds(ward: Ward) -> None:
    def renews(ask: Ask) -> bool:
        return ask.method == "PATCH" and ask.path == LEASE

    with ward.scenarios("slow") as one, ward.witness() as witness:
        rule = ward.proxy.rule = Once(RequestFate(delay=5.0), renews, is_boot)
        one.start()
        well(one, witness)
        assert len(rule.hit) == 2
        assert ward.scheduler.leading


def test_f61_the_api_server_is_killed_in_the_middle(ward: Ward) -> None:
    with ward.scenarios("killed", 2) as two, ward.witness() as witness:
        load = two.load(replicas=2, budget=ONE_AWAY)
        two.start()
        until(lambda: marked(ward.cluster, two.name), "the drain")
        ward.cluster.kill_apiserver()
        ward.cluster.start_apiserver()
        load.unguard()
        well(two, witness)
        assert witness.most_away == 1


def test_f61_what_was_watched_is_too_old_in_the_middle(ward: Ward) -> None:
    with ward.scenarios("old") as one, ward.witness() as witness:
        rule = ward.proxy.rule = Once(RequestFate(after=ward.proxy.expire), is_boot)
        one.start()
        well(one, witness)
        assert rule.hit


# F61: schedulers


def test_f61_a_leader_that_stood_still_writes_nothing_any_more(ward: Ward) -> None:
    """It is stopped with a cordon on its way, for longer than its lease; another one takes over and does all of it."""
    held = Event()
    with ward.scenarios("still", 2) as two, ward.witness() as witness:
        rule = ward.proxy.rule = Once(RequestFate(hold=held), is_cordon)
        with second(ward) as other:
            two.start()
            until(lambda: rule.hit, "the cordon to be on its way")
            assert not other.leading
            ward.scheduler.pause()
            try:
                other.wait_leading(40.0)
                well(two, witness)
            finally:
                held.set()
                until(lambda: answers(ward.proxy, rule.hit[0]), "the late cordon to be answered")
                ward.scheduler.resume()
            assert answers(ward.proxy, rule.hit[0]) == [403]
            until(lambda: "fenced: this one" in ward.scheduler.said or not ward.scheduler.leading, "it to notice")
            time.sleep(1.0)
            assert (ward.scheduler.leading, other.leading) == (False, True)
            assert two.traces == []
        ward.scheduler.wait_leading(30.0)


def test_f61_a_scheduler_that_was_away_during_a_trial_blames_nobody(ward: Ward) -> None:
    with ward.scenarios("away") as one:
        agent = ward.fleet.machines[one.name].agent
        agent.timing = dataclasses.replace(agent.timing, trial=1.0)
        one.start(retry={"limit": 2, "backoff": "1s"}, health={"readySeconds": 2, "timeout": "60s"})
        until(lambda: ward.fleet.status(one.name).phase == Phase.TRIAL, "the trial")
        ward.scheduler.kill()
        until(lambda: ward.fleet.status(one.name).phase == Phase.ROLLED_BACK, "it to go back by itself")
        agent.timing = dataclasses.replace(agent.timing, trial=600.0)
        ward.cluster.api.patch(LEASE, {"spec": {"holderIdentity": None}}, MERGE)  # it need not be waited for
        ward.scheduler.start()
        one.wait("Complete")
        found = record(ward.cluster, one.name)
        assert (found["reason"], found["failures"], found.get("failed", False)) == ("RolledBack", 1, False)
        assert one.boots == [3]
        assert one.runs(NEW) == [True]
        assert one.traces == []


# F68: orders of others


def test_f68_the_commit_of_another_node_commits_nothing(ward: Ward) -> None:
    with ward.scenarios("replay", 2) as two, ward.witness() as witness:
        first, later = two.names
        two.start(health={"readySeconds": 2, "timeout": "60s"})
        until(lambda: ward.fleet.status(later).phase == Phase.TRIAL, "the other one's trial")
        mine, theirs = (ward.cluster.api.get(f"{NODE_OSES}/{name}")["spec"]["order"] for name in (first, later))
        assert mine["action"] == "Commit"
        forged = {"spec": {"order": {**mine, "id": theirs["id"] + 1, "fence": theirs["fence"]}}}
        ward.cluster.api.patch(f"{NODE_OSES}/{later}", forged, MERGE)
        until(lambda: ward.fleet.status(later).last_error, "it to be refused")
        booted = ward.fleet.status(later).booted
        assert booted is not None
        assert not booted.committed
        two.wait("Complete")
        assert witness.orders(later) == ["Stage", "Boot", "Commit", "Commit"]
        assert two.boots == [1, 1]


@contextmanager
def second(ward: Ward) -> Iterator[Scheduler]:
    """A second scheduler of the same account, past the proxy, as long as the block."""
    found = Scheduler(ward.cluster, kubeconfig=ward.cluster.kubeconfig_for(SCHEDULER, NAMESPACE))
    found.start()
    try:
        until(lambda: "started" in found.said, "the second scheduler to run")
        yield found
    finally:
        found.stop()


def answers(proxy: ApiProxy, ask: Ask) -> list[int]:
    """What the API server answered to a request."""
    return [status for asked, status in proxy.answered if asked is ask]
