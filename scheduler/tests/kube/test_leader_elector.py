"""The elector: one leader at most, at any time, whatever stands still, is slow, is lost or is deleted."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.leader_elector import LeaderElector
from proa.scheduler.kube.lease_timings import BootClock, LeaseTimings, Role, identity
from proa.scheduler.testing.apiserver import ApiServer, Asked

PATH = "/apis/coordination.k8s.io/v1/namespaces/proa/leases/proa-scheduler"


class Leases(ApiServer):
    """An API server with one lease. Each request takes ``seconds``; ``fault`` may raise before, ``loss`` after it."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = 0.0
        self.fault: Callable[[], None] = lambda: None
        self.loss: Callable[[], None] = lambda: None
        self.before, self.after = self._comes, self._goes

    def _comes(self, _: Asked) -> None:
        self.clock.sleep(self.seconds / 2)
        self.fault()

    def _goes(self, _: Asked) -> None:
        self.clock.sleep(self.seconds / 2)
        self.loss()

    @property
    def spec(self) -> dict[str, Any] | None:
        """Of the lease; none where there is no lease."""
        found: dict[str, Any] | None = self.items[PATH]["spec"] if PATH in self.items else None
        return found

    @spec.setter
    def spec(self, spec: dict[str, Any] | None) -> None:
        if spec is not None:
            self.add(PATH, {"spec": spec})
        elif PATH in self.items:
            self.remove(PATH)


@dataclass
class Candidate:
    """An elector, and when it does its next step."""

    elector: LeaderElector
    next: float = 0.0

    @property
    def leading(self) -> bool:
        return self.elector.leading


@dataclass
class Contest:
    """Candidates for one lease on one clock. Who is paused does no step, but its time goes on."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    random: Callable[[], float] = lambda: 0.5
    candidates: list[Candidate] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.leases = Leases(self.clock)

    def join(self, floor: Callable[[], int | None] = lambda: -1) -> LeaderElector:
        me = f"c{len(self.candidates)}"
        elector = LeaderElector(self.leases, "proa", floor=floor, clock=self.clock, random=self.random, me=me)
        self.candidates.append(Candidate(elector, self.clock.monotonic()))
        return elector

    def run(self, seconds: float, *paused: LeaderElector, check: Callable[[], object] = lambda: None) -> None:
        """Let time pass, in the order of the steps that come."""
        end = self.clock.monotonic() + seconds
        while True:
            awake = [one for one in self.candidates if one.elector not in paused]
            soonest = min(awake, key=lambda one: one.next, default=None)
            if soonest is None or soonest.next >= end:
                self.clock.sleep(end - self.clock.monotonic())
                check()
                return
            self.clock.sleep(soonest.next - self.clock.monotonic())
            check()
            soonest.next = soonest.elector.step() + self.clock.monotonic()
            check()
            assert sum(one.leading for one in self.candidates) <= 1


@pytest.fixture
def contest() -> Contest:
    return Contest()


# one candidate


def test_the_first_one_leads_after_it_has_settled(contest: Contest) -> None:
    one = contest.join()
    assert one.step() <= 1.0
    assert (one.role, one.leading, one.fence, one.holder) == (Role.SETTLING, False, 1, "c0")
    contest.run(0.9)
    assert not one.leading
    contest.run(0.3)
    assert (one.role, one.leading) == (Role.LEADER, True)


def test_the_lease_says_all_that_others_need(contest: Contest) -> None:
    contest.join().step()
    assert contest.leases.spec == {
        "holderIdentity": "c0",
        "leaseDurationSeconds": 20,
        "leaseTransitions": 1,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
    }


def test_it_goes_on_for_ever(contest: Contest) -> None:
    one = contest.join()
    contest.run(2)
    version = contest.leases.version
    contest.run(400, check=lambda: one.leading or pytest.fail("it stopped leading"))
    assert one.fence == 1
    assert contest.leases.version - version == 100
    assert contest.leases.log.count(("get", PATH)) == 1


def test_it_stops_by_time_alone(contest: Contest) -> None:
    one = contest.join()
    contest.run(2)
    contest.clock.sleep(13.9 - 2)
    assert one.leading
    contest.clock.sleep(0.2)
    assert (one.leading, one.role) == (False, Role.CANDIDATE)


def test_what_it_asked_for_counts_from_when_it_asked(contest: Contest) -> None:
    contest.leases.seconds, contest.leases.spec = 4, {"leaseTransitions": 1}
    one = contest.join()
    one.step()
    assert contest.clock.monotonic() == 8
    contest.clock.sleep(9.9)
    roles = [one.role]
    contest.clock.sleep(0.2)
    assert [*roles, one.role] == [Role.SETTLING, Role.CANDIDATE]


def test_a_server_that_takes_five_seconds_is_borne(contest: Contest) -> None:
    contest.leases.seconds = 5
    one = contest.join()
    contest.run(20)
    fence = one.fence
    contest.run(200, check=lambda: one.leading or pytest.fail("it stopped leading"))
    assert one.fence == fence


def away() -> None:
    raise ApiError(0, "no answer in time")


def test_a_server_that_is_away_for_a_while_is_borne(contest: Contest) -> None:
    one = contest.join()
    contest.run(2)
    contest.leases.fault = away
    contest.run(9)
    assert one.leading
    assert one.problem == "no answer in time"
    contest.leases.fault = lambda: None
    contest.run(20)
    assert (one.leading, one.fence, one.problem) == (True, 1, "")


def test_after_a_longer_while_it_leads_under_another_fence(contest: Contest) -> None:
    one = contest.join()
    contest.run(2)
    contest.leases.fault = away
    contest.run(30)
    assert (one.leading, one.fence) == (False, -1)
    contest.leases.fault = lambda: None
    contest.run(10)
    assert (one.leading, one.fence) == (True, 2)


def test_a_server_that_is_away_is_not_hammered(contest: Contest) -> None:
    contest.leases.fault = away
    contest.join()
    contest.run(600)
    assert 100 < len(contest.leases.asked) < 200


def test_a_renewal_whose_answer_was_lost_is_no_conflict(contest: Contest) -> None:
    one = contest.join()
    contest.run(2)
    contest.leases.loss = away
    contest.run(4)
    contest.leases.loss = lambda: None
    contest.run(20, check=lambda: one.leading or pytest.fail("it stopped leading"))
    assert one.fence == 1


def test_a_take_over_whose_answer_was_lost_is_begun_again(contest: Contest) -> None:
    one = contest.join()
    contest.leases.loss = away
    one.step()
    assert contest.leases.spec is not None
    assert (one.fence, contest.leases.spec["leaseTransitions"]) == (-1, 1)
    contest.leases.loss = lambda: None
    contest.run(5)
    assert (one.leading, one.fence) == (True, 2)


def test_a_wish_to_be_left_alone_is_heeded_but_not_at_the_price_of_the_lease(contest: Contest) -> None:
    one = contest.join()
    contest.run(2)

    def busy() -> None:
        raise ApiError(429, "busy", retry_after=60)

    contest.leases.fault = busy
    asked = len(contest.leases.asked)
    contest.run(7)
    assert len(contest.leases.asked) - asked <= 3
    contest.leases.fault = lambda: None
    contest.run(10, check=lambda: one.leading or pytest.fail("it stopped leading"))
    contest.leases.fault = busy
    contest.run(20)
    asked = len(contest.leases.asked)
    contest.run(59)
    assert len(contest.leases.asked) - asked <= 1


# fences


def test_a_fence_is_higher_than_any_that_was_seen(contest: Contest) -> None:
    contest.leases.spec = {"leaseTransitions": 3}
    one = contest.join(floor=lambda: 11)
    contest.run(5)
    assert (one.leading, one.fence) == (True, 12)
    assert contest.leases.spec["leaseTransitions"] == 12


def test_nothing_is_done_before_all_fences_have_been_seen(contest: Contest) -> None:
    seen: list[int | None] = [None]
    one = contest.join(floor=lambda: seen[0])
    contest.run(60)
    assert (one.role, one.leading, one.fence) == (Role.SETTLING, False, 1)
    seen[0] = 0
    contest.run(0.5)
    assert (one.leading, one.fence) == (True, 1)


def test_a_fence_that_turns_out_to_be_too_low_is_raised(contest: Contest) -> None:
    """As after somebody has deleted the lease: the orders that are out have higher ones."""
    seen: list[int | None] = [None]
    one = contest.join(floor=lambda: seen[0])
    contest.run(5)
    seen[0] = 40
    contest.run(0.9)
    assert (one.leading, one.fence) == (False, 41)
    contest.run(1.3)
    assert (one.leading, one.fence) == (True, 41)
    assert contest.leases.spec is not None
    assert contest.leases.spec["leaseTransitions"] == 41


def test_a_lease_that_is_deleted_is_made_again_with_a_higher_fence(contest: Contest) -> None:
    one = contest.join(floor=lambda: 9)
    contest.run(5)
    assert one.fence == 10
    contest.leases.spec = None
    contest.run(17)
    assert (one.role, one.fence) == (Role.SETTLING, 11)
    contest.run(4)
    assert (one.leading, one.fence) == (True, 11)


def test_a_first_lease_is_ahead_of_all_that_nodes_have_seen(contest: Contest) -> None:
    """Proa was removed and is installed again: no object tells of a fence, but nodes know theirs."""
    contest.run(3600)
    assert contest.join().step()
    assert contest.leases.spec is not None
    assert contest.leases.spec["leaseTransitions"] == 3601


def test_who_makes_a_deleted_lease_again_waits_until_the_leader_knows(contest: Contest) -> None:
    one, two = contest.join(), contest.join()
    contest.run(5)
    contest.leases.spec = None
    two.step()
    assert (one.leading, two.role, two.fence) == (True, Role.SETTLING, 2)
    contest.run(30)
    assert (one.leading, two.leading, two.fence) == (False, True, 2)


def test_a_leader_whose_fence_is_refused_takes_another(contest: Contest) -> None:
    one = contest.join()
    contest.run(5)
    one.resign()
    assert (one.leading, one.fence) == (False, -1)
    contest.run(10)
    assert (one.leading, one.fence) == (True, 2)


def test_who_is_refused_again_and_again_waits_ever_longer(contest: Contest) -> None:
    one = contest.join()
    terms = 0
    for _ in range(600):
        contest.run(1)
        if one.leading:
            terms += 1
            one.resign()
    assert terms < 20
    contest.run(200)
    assert one.leading
    one.resign()
    contest.run(10)
    assert one.leading


# several candidates


def test_the_second_one_waits(contest: Contest) -> None:
    one, two = contest.join(), contest.join()
    contest.run(300)
    assert (one.leading, two.leading, two.holder, two.fence) == (True, False, "c0", -1)
    assert one.fence == 1


def test_a_leader_that_is_gone_is_followed_after_its_lease(contest: Contest) -> None:
    one, two = contest.join(), contest.join()
    contest.run(10)
    contest.run(19, one)
    assert not two.leading
    contest.run(10, one)
    assert (two.leading, two.fence) == (True, 2)


def test_a_leader_that_stands_still_does_not_lead_when_it_wakes(contest: Contest) -> None:
    """Not even before its thread has done anything: time alone has ended its term."""
    one, two = contest.join(), contest.join()
    contest.run(10)
    assert one.leading
    contest.run(40, one)
    assert two.leading
    assert (one.leading, one.role) == (False, Role.CANDIDATE)
    contest.run(300)
    assert (two.leading, two.fence, one.leading) == (True, 2, False)


def test_a_leader_that_stood_still_alone_has_another_fence(contest: Contest) -> None:
    one = contest.join()
    contest.run(10)
    contest.run(60, one)
    assert not one.leading
    contest.run(10)
    assert (one.leading, one.fence) == (True, 2)


def test_a_candidate_that_stood_still_takes_nothing_from_a_leader(contest: Contest) -> None:
    """What it remembers of the lease is old when it wakes; it looks again first."""
    one, two = contest.join(), contest.join()
    contest.run(10)
    contest.run(500, two)
    contest.run(60, check=lambda: one.leading or pytest.fail("it stopped leading"))
    assert (one.fence, two.leading) == (1, False)


def test_of_two_that_see_a_free_lease_one_comes(contest: Contest) -> None:
    contest.leases.spec = {"leaseTransitions": 3}
    one, two = contest.join(), contest.join()

    def after(_: Asked) -> None:
        """The second one looks and takes between the first one's look and its write."""
        contest.leases.after = lambda asked: None
        two.step()

    contest.leases.after = after
    one.step()
    assert (one.fence, two.fence, one.problem) == (-1, 4, "the object has been modified")
    contest.run(10)
    assert (one.leading, two.leading) == (False, True)


def test_a_lease_that_is_given_back_is_free_at_once(contest: Contest) -> None:
    one, two = contest.join(), contest.join()
    contest.run(10)
    assert one.stop()
    assert (one.role, one.leading) == (Role.STOPPED, False)
    assert contest.leases.spec is not None
    assert "holderIdentity" not in contest.leases.spec
    contest.run(5, one)
    assert (two.leading, two.fence) == (True, 2)


def test_a_lease_that_another_has_is_not_given_back(contest: Contest) -> None:
    one, two = contest.join(), contest.join()
    contest.run(10)
    contest.run(30, one)
    assert two.leading
    assert not one.stop()
    contest.run(30, one, check=lambda: two.leading or pytest.fail("it stopped leading"))


def test_a_lease_without_words_is_waited_for(contest: Contest) -> None:
    contest.leases.spec = {"holderIdentity": "somebody", "leaseDurationSeconds": 0}
    one = contest.join()
    contest.run(19)
    assert one.fence == -1
    contest.run(10)
    assert (one.leading, one.fence) == (True, 1)


def test_a_lease_with_a_longer_time_is_waited_for(contest: Contest) -> None:
    contest.leases.spec = {"holderIdentity": "somebody", "leaseDurationSeconds": 60, "leaseTransitions": 1}
    one = contest.join()
    contest.run(59)
    assert one.fence == -1
    contest.run(10)
    assert (one.leading, one.fence) == (True, 2)


MOMENTS = st.lists(
    st.tuples(
        st.sampled_from(["run", "pause0", "pause1", "pause2", "away", "lost", "slow", "delete", "resign", "steal"]),
        st.floats(0.1, 40),
        st.floats(0, 1),
    ),
    max_size=15,
)


@settings(max_examples=int(os.environ.get("PROA_SCHEDULES", "25")))
@given(MOMENTS)
def test_there_is_never_more_than_one_leader_and_no_fence_comes_twice(moments: list[tuple[str, float, float]]) -> None:
    chance = [0.5]
    contest = Contest(random=lambda: chance[0])
    written = -1
    """The highest fence of anything that a leader may have written by now."""
    electors = [contest.join(floor=lambda: written) for _ in range(3)]
    fences: dict[int, str] = {}

    def check() -> None:
        nonlocal written
        leaders = [one for one in electors if one.leading]
        assert len(leaders) <= 1
        for one in leaders:
            assert fences.setdefault(one.fence, one.me) == one.me
            assert one.fence >= written
            written = one.fence

    contest.run(3, check=check)
    for what, seconds, number in moments:
        chance[0] = number
        leases = contest.leases
        paused = [electors[int(what[-1])]] if what.startswith("pause") else []
        leases.fault = away if what == "away" else lambda: None
        leases.loss = away if what == "lost" else lambda: None
        leases.seconds = 5.5 * number if what == "slow" else 0.0
        if what == "delete":
            leases.spec = None
        if what == "steal" and leases.spec is not None:
            fence = leases.spec["leaseTransitions"] + 1
            leases.change(PATH, spec={"holderIdentity": "thief", "leaseTransitions": fence})
        if what == "resign":
            electors[int(number * 2.99)].resign()
        contest.run(seconds, *paused, check=check)
    contest.leases.fault = contest.leases.loss = lambda: None
    contest.leases.seconds = 0.0
    contest.run(120, check=check)
    assert any(one.leading for one in electors)


# the shell


def test_it_works_in_a_thread_and_tells_of_it() -> None:
    leases = Leases(VirtualClock())
    elector = LeaderElector(leases, "proa", terms=LeaseTimings(settle=0.05))
    elector.start()
    heard = 0
    while not elector.leading:
        heard = elector.changed.wait(heard, 300)
    assert elector.stop(300)
    assert (elector.leading, elector.role) == (False, Role.STOPPED)
    assert leases.spec is not None
    assert "holderIdentity" not in leases.spec
    assert not [thread for thread in threading.enumerate() if thread.name == "elector"]


def test_a_defect_is_not_hidden_and_ends_the_term() -> None:
    def fail() -> int:
        raise ZeroDivisionError

    elector = LeaderElector(Leases(VirtualClock()), "proa", floor=fail)
    elector.start()
    elector.changed.wait(0, 300)
    with pytest.raises(ProaError) as caught:
        assert elector.leading
    assert caught.value.code is Code.INTERNAL
    assert elector.stop()


def test_a_machine_that_sleeps_does_not_stop_the_clock() -> None:
    clock = BootClock()
    assert 0 < clock.monotonic() <= clock.monotonic()


def test_nobody_has_the_name_of_another() -> None:
    assert identity() != identity()
