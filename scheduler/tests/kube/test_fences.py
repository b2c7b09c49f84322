"""Fences: each term has a higher one than any that was seen."""

from __future__ import annotations

import pytest

from proa.scheduler.kube.lease_timings import Role
from proa.scheduler.testing.contest import Contest


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


@pytest.mark.parametrize("lowest", [0, 40])
def test_a_fence_that_turns_out_to_be_too_low_is_raised(contest: Contest, lowest: int) -> None:
    """As after somebody has deleted the lease: the orders that are out have higher ones."""
    seen: list[int | None] = [None]
    one = contest.join(floor=lambda: seen[0])
    contest.run(5)
    seen[0] = floor = max(one.fence, lowest)
    contest.run(0.9)
    assert (one.leading, one.fence) == (False, floor + 1)
    contest.run(1.3)
    assert (one.leading, one.fence) == (True, floor + 1)
    assert contest.leases.spec is not None
    assert contest.leases.spec["leaseTransitions"] == floor + 1


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
