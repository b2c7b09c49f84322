"""Which nodes are left alone, and for how long, because of a write that may not show yet."""

from __future__ import annotations

import pytest

from proa.core.orders.messages import FIRST
from proa.core.orders.messages import Action as Verb
from proa.scheduler.control.pending import LONGEST_REST, REST, Pending, collection_of
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.paths import NODES
from proa.scheduler.objects.writing import Outcome, Written
from proa.scheduler.planning.actions import Action, Cordon, Create, Forget, Give, Note, Uncordon
from proa.scheduler.planning.views import Mark, NodeRecord
from proa.scheduler.spec.crd import NODE_OSES
from proa.scheduler.testing.apiserver import ApiServer

CORDON = Cordon("n1", Mark("workers", "d", FIRST, True, "b"))
GIVE = Give("n1", 1, Verb.STAGE, "r")


@pytest.fixture
def server() -> ApiServer:
    """One whose node has version 30, and its object none yet."""
    api = ApiServer()
    api.version = 29
    api.add(f"{NODES}/n1", {})
    return api


@pytest.fixture
def pending(server: ApiServer) -> Pending:
    return Pending(server)


@pytest.mark.parametrize(
    ("action", "collection"),
    [
        (CORDON, NODES),
        (Uncordon("n1", "Done"), NODES),
        (GIVE, NODE_OSES),
        (Create("n1"), NODE_OSES),
        (Forget("n1", "u"), NODE_OSES),
        (Note("n1", NodeRecord("workers", "d")), NODE_OSES),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_action_writes_to_one_collection(action: Action, collection: str) -> None:
    assert collection_of(action) == collection


def test_a_write_is_pending_until_its_collection_has_reached_it(pending: Pending) -> None:
    pending.note(CORDON, Written(Outcome.DONE, 20), 0)
    assert pending.nodes({NODES: 19, NODE_OSES: 99}, 0) == {"n1"}
    assert pending.nodes({NODES: 20}, 0) == frozenset()
    assert pending.nodes({}, 0) == frozenset()


def test_of_two_writes_both_must_show(pending: Pending) -> None:
    pending.note(CORDON, Written(Outcome.DONE, 20), 0)
    pending.note(GIVE, Written(Outcome.DONE, 25), 0)
    assert pending.nodes({NODES: 30, NODE_OSES: 24}, 0) == {"n1"}
    assert pending.nodes({NODES: 30, NODE_OSES: 25}, 0) == frozenset()


def test_of_two_writes_to_one_object_the_later_one_counts(pending: Pending) -> None:
    pending.note(GIVE, Written(Outcome.DONE, 25), 0)
    pending.note(GIVE, Written(Outcome.DONE, 20), 0)
    assert pending.nodes({NODE_OSES: 24}, 0) == {"n1"}


def test_a_write_without_an_answer_is_pending_until_it_was_read(pending: Pending, server: ApiServer) -> None:
    pending.note(CORDON, Written(Outcome.AWAY), 0)
    assert pending.unknown
    assert pending.nodes({NODES: 10**9}, 10**9) == {"n1"}
    pending.resolve()
    assert server.log == [("get", f"{NODES}/n1")]
    assert pending.nodes({NODES: 29}, 0) == {"n1"}
    assert pending.nodes({NODES: 30}, 0) == frozenset()


def test_an_unknown_write_stays_unknown_while_it_cannot_be_read(pending: Pending, server: ApiServer) -> None:
    pending.note(CORDON, Written(Outcome.AWAY), 0)
    server.fail(lambda verb, path: ApiError(0, "refused"))
    with pytest.raises(ApiError):
        pending.resolve()
    assert pending.unknown


def test_what_is_gone_is_pending_no_more(pending: Pending) -> None:
    pending.note(GIVE, Written(Outcome.AWAY), 0)
    pending.resolve()
    assert pending.nodes({}, 0) == frozenset()


def test_who_has_moved_on_rests_for_a_moment(pending: Pending) -> None:
    pending.note(CORDON, Written(Outcome.STALE), 100)
    assert pending.nodes({}, 100) == {"n1"}
    assert pending.due(100) == 1
    assert pending.nodes({}, 101) == frozenset()
    assert pending.due(101) is None


def test_who_is_refused_rests_longer_each_time(pending: Pending) -> None:
    now, waits = 0.0, []
    for _ in range(8):
        pending.note(CORDON, Written(Outcome.REFUSED), now)
        wait = pending.due(now)
        assert wait is not None
        waits.append(wait)
        now += wait
        assert pending.nodes({}, now) == frozenset()
    assert REST / 2 <= waits[0] <= REST
    assert LONGEST_REST / 2 <= waits[-1] <= LONGEST_REST
    pending.note(CORDON, Written(Outcome.DONE, 0), now)
    pending.note(CORDON, Written(Outcome.REFUSED), now)
    assert (pending.due(now) or 0) <= REST


def test_a_node_rests_only_if_nothing_else_of_it_is_under_way(pending: Pending) -> None:
    def left_alone(reached: int) -> tuple[list[str], list[str]]:
        return list(pending.nodes({NODE_OSES: reached}, 0)), list(pending.resting())

    pending.note(GIVE, Written(Outcome.DONE, 20), 0)
    pending.note(CORDON, Written(Outcome.REFUSED), 0)
    assert left_alone(19) == (["n1"], [])
    assert left_alone(20) == (["n1"], ["n1"])
    pending.note(CORDON, Written(Outcome.STALE), 0)
    assert left_alone(20) == (["n1"], [])


@pytest.mark.parametrize("outcome", [Outcome.FENCED, Outcome.NOT_LEADING])
def test_what_was_not_written_is_not_pending(pending: Pending, outcome: Outcome) -> None:
    pending.note(CORDON, Written(outcome), 0)
    assert pending.nodes({}, 0) == frozenset()


def test_another_term_still_waits_for_what_was_written(pending: Pending) -> None:
    """Else it would plan from what was before its own last writes."""
    pending.note(CORDON, Written(Outcome.DONE, 20), 0)
    pending.note(Create("n2"), Written(Outcome.AWAY), 0)
    pending.note(Create("n3"), Written(Outcome.REFUSED), 0)
    pending.clear()
    assert pending.nodes({NODES: 19}, 0) == {"n1", "n2"}
    assert pending.unknown
