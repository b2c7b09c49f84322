"""Several candidates for one lease: one leader at most, at any time."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.scheduler.kube.lease_timings import Role
from proa.scheduler.testing.apiserver import Asked
from proa.scheduler.testing.contest import PATH, Contest, away


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
