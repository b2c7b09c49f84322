"""One node's way, from its object to its reboot: what is done and said in each situation."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import (
    OrderResult,
)
from proa.scheduler.planning.actions import Cordon, Create, Forget, Give, Note, Uncordon
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import (
    DrainView,
    Mark,
)
from proa.scheduler.spec.rollout import (
    Cordoned,
    Drain,
    FailurePolicy,
    OnTimeout,
    Staging,
)
from proa.scheduler.spec.rolloutstatus import Blocker
from proa.scheduler.testing.situations import (
    BOOT,
    FIRST_ID,
    HAS_NEW,
    LATE,
    LATE_COUNTED,
    MARK,
    NEW,
    NOW,
    OLD,
    RELEASE,
    acts,
    change,
    marked,
    node,
    node_os,
    order,
    planned,
    ready,
    says,
    unfetched,
)

INCLUDE = change(cordoned=Cordoned.INCLUDE)


def test_a_new_node_gets_its_object() -> None:
    assert acts(planned((node(), None))) == [Create("n1")]


def test_a_node_made_anew_loses_the_object_of_the_one_before() -> None:
    assert acts(planned((node(uid="another"), node_os()))) == [Forget("n1", "os-n1")]


def test_a_node_without_the_release_fetches_it() -> None:
    assert acts(planned(unfetched())) == [Give("n1", FIRST_ID, Verb.STAGE, RELEASE, None, "1h")]


@pytest.mark.parametrize("rate", [0, 65_536, 1 << 30])
def test_a_node_fetches_at_the_rate_of_its_rollout(rate: int) -> None:
    spec = change(staging=Staging(bytes_per_second=rate))
    assert acts(planned(unfetched(), spec=spec)) == [Give("n1", FIRST_ID, Verb.STAGE, RELEASE, None, "1h", rate=rate)]


def test_a_node_that_has_it_is_cordoned() -> None:
    assert acts(planned(ready())) == [Cordon("n1", Mark("workers", NEW, NOW, True, "boot-1", HAS_NEW.root_hash))]


def test_the_cordon_of_a_person_is_not_taken_for_ours() -> None:
    (action,) = acts(planned((node(unschedulable=True), node_os()), spec=INCLUDE))
    assert isinstance(action, Cordon)
    assert not action.mark.cordoned


def test_a_node_that_is_away_already_costs_no_place_but_none_is_left_for_others() -> None:
    made = planned((node(unschedulable=True), node_os()), ready("n2"), spec=INCLUDE)
    assert [action.node for action in made.actions] == ["n1"]
    assert made.verdicts["n2"].reason is Reason.NoFreeSlot


def test_a_cordoned_node_is_drained_until_its_deadline() -> None:
    made = planned((marked(), node_os()))
    assert made.actions == ()
    assert made.drains == {"n1": MARK.since + timedelta(minutes=15)}
    assert made.wake == MARK.since + timedelta(minutes=15)


def test_a_drained_node_is_ordered_to_boot() -> None:
    made = planned((marked(), node_os()), drains={"n1": DrainView(True)})
    assert acts(made) == [Give("n1", FIRST_ID, Verb.BOOT, RELEASE, None, "20m")]


@pytest.mark.parametrize(
    ("on_timeout", "counted", "reason"),
    [(OnTimeout.PARK, (0, 1, False), Reason.Parked), (OnTimeout.ABORT, (1, 0, False), Reason.BackingOff)],
)
def test_a_drain_that_takes_too_long_ends(
    on_timeout: OnTimeout, counted: tuple[int, int, bool], reason: Reason
) -> None:
    spec = change(drain=Drain(timeout="2m", on_timeout=on_timeout))
    blocked = DrainView(False, (Blocker("n1", "shop/cart-0", "shop/cart", reason="shop/cart allows no disruption"),))
    made = planned((marked(), node_os()), spec=spec, drains={"n1": blocked})
    note, uncordon = acts(made)
    assert isinstance(note, Note)
    assert (note.record.failures, note.record.parks, note.record.failed) == counted
    assert "shop/cart allows no disruption" in note.record.message
    assert note.record.not_before == NOW + timedelta(minutes=5)
    assert uncordon == Uncordon("n1", "DrainTimeout")
    assert made.verdicts["n1"].reason is reason


def test_force_goes_on_after_the_deadline() -> None:
    spec = change(drain=Drain(timeout="2m", on_timeout=OnTimeout.FORCE))
    made = planned((marked(), node_os()), spec=spec)
    assert made.actions == ()
    assert made.forced == {"n1"}


def test_the_time_of_a_drain_begins_anew_when_the_scheduler_was_away() -> None:
    spec = change(drain=Drain(timeout="2m"))
    made = planned((marked(), node_os()), spec=spec, since=NOW - timedelta(minutes=1))
    assert made.drains == {"n1": NOW + timedelta(minutes=1)}


def test_what_blocks_a_drain_stands_in_the_status() -> None:
    blocker = Blocker("n1", "shop/cart-0", "shop/cart", reason="no disruption is allowed")
    made = planned((marked(), node_os()), drains={"n1": DrainView(False, (blocker,))})
    assert made.statuses["workers"].blockers == (blocker,)
    assert made.verdicts["n1"].detail == "no disruption is allowed"


@pytest.mark.parametrize("cordoned", [True, False])
def test_a_person_who_uncordons_is_obeyed(cordoned: bool) -> None:
    mark = dataclasses.replace(MARK, cordoned=cordoned)
    made = planned((marked(mark=mark, unschedulable=False), node_os()))
    note, uncordon = acts(made)
    assert isinstance(note, Note)
    assert (note.record.reason, note.record.parks, note.record.failures) == ("Uncordoned", 1, 0)
    assert uncordon == Uncordon("n1", "Uncordoned")


def test_a_node_that_is_held_while_it_drains_is_given_back() -> None:
    assert acts(planned((marked(hold="debugging"), node_os()))) == [Uncordon("n1", "Held")]


def test_another_release_takes_a_node_out_of_its_drain() -> None:
    mark = dataclasses.replace(MARK, release=OLD)
    assert acts(planned((marked(mark=mark), node_os()))) == [Uncordon("n1", "Revoked")]


def test_a_boot_order_is_not_given_twice() -> None:
    assert acts(planned((marked(), node_os(given=BOOT)), drains={"n1": DrainView(True)})) == []


def test_an_order_that_was_carried_out_before_the_reboot_is_waited_for() -> None:
    made = planned((marked(), node_os(status=says(seen=BOOT), given=BOOT)), drains={"n1": DrainView(True)})
    assert acts(made) == []
    assert made.verdicts["n1"].reason is Reason.Booting


def test_a_node_that_does_not_come_back_counts_against_the_release() -> None:
    late = order(Verb.BOOT, issued=NOW - timedelta(minutes=20))
    (note,) = acts(planned((marked(ready=False), node_os(given=late))))
    assert isinstance(note, Note)
    assert (note.record.reason, note.record.failed, note.record.order) == ("BootTimeout", True, 1)


def test_nobody_is_blamed_for_the_time_in_which_the_scheduler_was_away() -> None:
    late = order(Verb.BOOT, issued=NOW - timedelta(hours=3))
    made = planned((marked(ready=False), node_os(given=late)), since=NOW - timedelta(minutes=19))
    assert acts(made) == []
    assert made.wake == NOW + timedelta(minutes=1)


def test_a_dead_node_that_was_counted_is_given_back_and_holds_its_place_as_not_ready() -> None:
    dead = (
        marked(ready=False),
        node_os(status=says(seen=LATE, result=OrderResult.RUNNING), given=LATE, record=LATE_COUNTED),
    )
    made = planned(dead, ready("n2"), spec=change(failure=FailurePolicy(1)))
    assert acts(made) == [Uncordon("n1", "BootTimeout")]
    assert made.verdicts["n2"].reason is Reason.NoFreeSlot


def test_an_order_to_reboot_that_nobody_took_up_is_taken_back_before_the_node_is_given_back() -> None:
    spec = change(failure=FailurePolicy(1))
    made = planned((marked(), node_os(given=LATE, record=LATE_COUNTED)), ready("n2"), spec=spec)
    assert acts(made) == [Give("n1", 2, Verb.NONE, timeout="5m")]
    assert made.verdicts["n2"].reason is Reason.NoFreeSlot
    back = order(Verb.NONE, 2)
    assert acts(planned((marked(), node_os(given=back, record=LATE_COUNTED)), spec=spec)) == [
        Uncordon("n1", "BootTimeout")
    ]


def test_an_order_that_was_counted_is_taken_back_although_a_person_took_the_mark_away() -> None:
    made = planned(
        (node(), node_os(given=LATE, record=LATE_COUNTED)), ready("n2"), spec=change(failure=FailurePolicy(1))
    )
    assert acts(made) == [Give("n1", 2, Verb.NONE, timeout="5m")]
