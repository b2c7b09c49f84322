"""One elector: when it leads and for how long, whatever stands still, is slow or is lost."""

from __future__ import annotations

import threading

import pytest

from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.leader_elector import LeaderElector
from proa.scheduler.kube.lease_timings import BootClock, LeaseTimings, Role, identity
from proa.scheduler.testing.contest import PATH, Contest, Leases, away


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


def test_a_renewal_counts_from_when_it_was_asked_for(contest: Contest) -> None:
    one = contest.join()
    contest.run(2)
    contest.clock.sleep(4)
    asked, contest.leases.seconds = contest.clock.monotonic(), 4
    one.step()
    assert contest.clock.monotonic() == asked + 4
    contest.clock.sleep(9.9)
    assert one.leading
    contest.clock.sleep(0.2)
    assert not one.leading


def test_a_server_that_takes_five_seconds_is_borne(contest: Contest) -> None:
    contest.leases.seconds = 5
    one = contest.join()
    contest.run(20)
    fence = one.fence
    contest.run(200, check=lambda: one.leading or pytest.fail("it stopped leading"))
    assert one.fence == fence


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
