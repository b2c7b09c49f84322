"""What is written for each action, under which conditions, and what each refusal means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import Condition, Order, Proof
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube.apierror import ApiError, Cause
from proa.scheduler.objects.annotations import mark_text, record_text
from proa.scheduler.objects.writing import POLICY, Outcome, Writer, Written, difference, outcome_of
from proa.scheduler.planning.actions import Action, Cordon, Create, Forget, Give, Note, Uncordon
from proa.scheduler.planning.views import (
    FENCE,
    MARK,
    RECORD,
    Mark,
    NodeOSView,
    NodeRecord,
    NodeView,
    RolloutView,
    Snapshot,
)
from proa.scheduler.spec.rollout import RolloutSpec
from proa.scheduler.spec.rolloutstatus import CanaryStatus, Counts, RolloutStatus
from proa.scheduler.testing.apiserver import ApiServer
from proa.scheduler.testing.fields import merged

SINCE = datetime(2026, 1, 31, 12, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
RELEASE = f"registry.example/node:1@{DIGEST}"
NODE, OS = "/api/v1/nodes/n1", "/apis/proa.dev/v1alpha1/nodeoses/n1"
ROLLOUT = "/apis/proa.dev/v1alpha1/osrollouts/workers"
A_MARK = Mark("workers", DIGEST, SINCE, True, "boot-1")
A_RECORD = NodeRecord("workers", DIGEST, failures=1)


@dataclass
class Leader:
    """Leads for so many requests, or for ever."""

    fence: int = 7
    terms: int = 10**9

    @property
    def leading(self) -> bool:
        self.terms -= 1
        return self.terms >= 0


class Server(ApiServer):
    """An API server with the node, marked and cordoned by the leader, its object, and the rollout.

    The rollout has version 17; the next write of something new makes version 42.
    """

    def __init__(self, error: ProaError | None = None, *, bare: bool = False) -> None:
        super().__init__()
        self.add(NODE, {"metadata": {"uid": "u1"}})
        said = {MARK: mark_text(A_MARK), FENCE: "7"}
        if not bare:
            self.apply(NODE, {"metadata": {"annotations": said}, "spec": {"unschedulable": True}}, force=True)
        self.add(OS, {"metadata": {"uid": "o1"}, "spec": {}})
        self.version = 16
        self.add(ROLLOUT, {"metadata": {"uid": "r1"}, "spec": {}})
        self.version = 41
        self.asked.clear()
        self.fail(lambda verb, path: error)

    @property
    def sent(self) -> list[tuple[str, str, Any]]:
        """What was asked: verb, path and body."""
        return [("force" if one.query.get("force") == "true" else one.verb, one.path, one.body) for one in self.asked]


def a_snapshot(fence: int = 7, *, cordoned: bool = True) -> Snapshot:
    node = NodeView("n1", "u1", {}, mark=A_MARK, fence=fence, unschedulable=cordoned)
    return Snapshot({"n1": node}, {"n1": NodeOSView("n1", "o1", "u1")}, {})


def written(action: Action, api: ApiServer, leader: Leader | None = None, fence: int = 7) -> Written:
    return Writer(api, leader or Leader(), VirtualClock()).carry_out(action, a_snapshot(fence))


def test_an_object_is_made_as_its_nodes_own() -> None:
    api = Server()
    api.remove(OS)
    api.version = 41
    assert written(Create("n1"), api) == Written(Outcome.DONE, 42)
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1", "blockOwnerDeletion": False}
    metadata = {"name": "n1", "annotations": {FENCE: "7"}, "ownerReferences": [owner]}
    body = {"apiVersion": "proa.dev/v1alpha1", "kind": "NodeOS", "metadata": metadata, "spec": {}}
    assert api.sent == [("create", "/apis/proa.dev/v1alpha1/nodeoses", body)]


def test_of_two_objects_of_a_name_the_one_that_is_meant_is_deleted() -> None:
    api = Server()
    assert written(Forget("n1", "o1"), api) == Written(Outcome.DONE)
    assert api.sent == [("delete", OS, {"uid": "o1", "propagationPolicy": "Background"})]
    assert OS not in api.items
    assert written(Forget("n1", "o0"), Server()).outcome is Outcome.STALE


def test_what_is_gone_need_not_be_deleted() -> None:
    api = Server()
    api.remove(OS)
    assert written(Forget("n1", "o0"), api).outcome is Outcome.DONE


@pytest.mark.parametrize(
    ("action", "order"),
    [
        (
            Give("n1", 3, Verb.STAGE, RELEASE, None, "1h"),
            {"id": 3, "action": "Stage", "fence": 7, "release": RELEASE, "timeout": "1h", "trial": None},
        ),
        (
            Give("n1", 3, Verb.STAGE, RELEASE, None, "1h", downgrade=True),
            {
                "id": 3,
                "action": "Stage",
                "fence": 7,
                "release": RELEASE,
                "timeout": "1h",
                "trial": None,
                "allowDowngrade": True,
            },
        ),
        (
            Give("n1", 3, Verb.STAGE, RELEASE, None, "1h", rate=1 << 20),
            {
                "id": 3,
                "action": "Stage",
                "fence": 7,
                "release": RELEASE,
                "timeout": "1h",
                "trial": None,
                "bytesPerSecond": 1 << 20,
            },
        ),
        (
            Give("n1", 4, Verb.COMMIT, "", Proof("b1", "c" * 64), "5m"),
            {
                "id": 4,
                "action": "Commit",
                "fence": 7,
                "release": None,
                "timeout": "5m",
                "trial": {"bootID": "b1", "rootHash": "c" * 64},
            },
        ),
    ],
)
def test_an_order_is_written_whole(action: Give, order: dict[str, Any]) -> None:
    """What the one before had and this one has not is taken away; nothing of two orders ever mixes."""
    api = Server()
    assert written(action, api) == Written(Outcome.DONE, 42)
    metadata = {"uid": "o1", "annotations": {FENCE: "7"}}
    absent = dict.fromkeys(("allowDowngrade", "bytesPerSecond", "settings", "settingsHash"))
    spec = {"order": {**absent, **order, "issued": "2026-01-01T00:00:00Z"}}
    assert api.sent == [("merge", OS, {"metadata": metadata, "spec": spec})]


def test_a_cordon_and_its_mark_are_one_write() -> None:
    api = Server(bare=True)
    assert written(Cordon("n1", A_MARK), api) == Written(Outcome.DONE, 42)
    metadata = {"name": "n1", "uid": "u1", "annotations": {MARK: mark_text(A_MARK), FENCE: "7"}}
    body = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"unschedulable": True}}
    assert api.sent == [("force", NODE, body)]


def test_the_cordon_of_a_person_is_not_made_ours() -> None:
    api = Server()
    written(Cordon("n1", Mark("workers", DIGEST, SINCE, False, "boot-1")), api)
    assert "spec" not in api.sent[0][2]


BARE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "u1"}}


def test_an_uncordon_applies_nothing() -> None:
    api = Server()
    assert written(Uncordon("n1", "Done"), api) == Written(Outcome.DONE, 42)
    assert api.sent == [("force", NODE, BARE)]


@pytest.mark.parametrize(("cordoned", "spec"), [(True, {"spec": {"unschedulable": True}}), (False, {})])
def test_the_mark_of_another_leader_is_made_ours_before_it_is_taken_away(cordoned: bool, spec: dict[str, Any]) -> None:
    """Taking a fence away is refused unless that was the leader's own; until then nothing else changes."""
    api = Server()
    snapshot = a_snapshot(fence=6, cordoned=cordoned)
    assert Writer(api, Leader(), VirtualClock()).carry_out(Uncordon("n1", "Done"), snapshot).outcome is Outcome.DONE
    annotations = {MARK: mark_text(A_MARK), FENCE: "7"}
    fenced = {**BARE, "metadata": {"name": "n1", "uid": "u1", "annotations": annotations}, **spec}
    assert api.sent == [("force", NODE, fenced), ("force", NODE, BARE)]


def test_a_mark_that_others_have_applied_too_is_taken_away_all_the_same() -> None:
    api = Server()
    theirs: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{MARK}": {}}}}
    managed = [*api.items[NODE]["metadata"]["managedFields"], {"manager": "operator", "fieldsV1": theirs}]
    api.change(NODE, metadata={"managedFields": managed})
    assert written(Uncordon("n1", "Done"), api).outcome is Outcome.DONE
    assert api.sent[1:] == [
        ("merge", NODE, {"metadata": {"uid": "u1", "annotations": {MARK: None, FENCE: "7"}}}),
        ("merge", NODE, {"metadata": {"uid": "u1", "annotations": {FENCE: None}}}),
    ]
    assert api.items[NODE]["metadata"]["annotations"] == {}
    assert api.items[NODE]["spec"] == {}


def test_what_went_wrong_is_noted_on_the_object() -> None:
    api = Server()
    assert written(Note("n1", A_RECORD), api) == Written(Outcome.DONE, 42)
    notes = {FENCE: "7", RECORD: record_text(A_RECORD)}
    assert api.sent == [("merge", OS, {"metadata": {"uid": "o1", "annotations": notes}})]


ACTIONS: list[Action] = [
    Create("n1"),
    Forget("n1", "o0"),
    Give("n1", 3, Verb.STAGE, RELEASE),
    Cordon("n1", A_MARK),
    Uncordon("n1", "Done"),
    Note("n1", A_RECORD),
]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
def test_who_does_not_lead_writes_nothing(action: Action) -> None:
    for leader in (Leader(terms=0), Leader(fence=-1)):
        api = Server()
        assert written(action, api, leader) == Written(Outcome.NOT_LEADING)
        assert api.sent == []


def test_who_stops_leading_between_two_writes_stops_there() -> None:
    api = Server()
    assert written(Uncordon("n1", "Done"), api, Leader(terms=1), fence=6).outcome is Outcome.NOT_LEADING
    assert len(api.sent) == 1


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
def test_a_refusal_is_told_with_what_it_means(action: Action) -> None:
    error = ApiError(409, "modified", reason="Conflict")
    found = written(action, Server(error=error))
    assert found == Written(Outcome.STALE, error=error)


@pytest.mark.parametrize(
    "action", [one for one in ACTIONS if not isinstance(one, Forget)], ids=lambda action: type(action).__name__
)
def test_what_is_not_there_any_more_is_not_written_to(action: Action) -> None:
    api = Server()
    found = Writer(api, Leader()).carry_out(action, Snapshot({}, {}, {}))
    assert (found, api.sent) == (Written(Outcome.STALE), [])


def invalid(message: str, field: str = "spec.order") -> ApiError:
    return ApiError(422, f"NodeOS is invalid: {message}", reason="Invalid", causes=(Cause("", message, field),))


def denied(policy: str) -> ApiError:
    message = f"nodes \"n1\" is forbidden: ValidatingAdmissionPolicy '{policy}' with binding 'x' denied request: no"
    return ApiError(403, message, reason="Forbidden")


FALLS, TAKEN = (rule["message"] for rule in Order.VALIDATIONS[:2])


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ApiError(0, "no answer in time"), Outcome.AWAY),
        (ApiError(429, "busy", retry_after=3), Outcome.AWAY),
        (ApiError(500, "not as an API server does"), Outcome.AWAY),
        (ApiError(504, "timeout", reason="Timeout"), Outcome.AWAY),
        (ApiError(401, "who", reason="Unauthorized"), Outcome.AWAY),
        (ProaError(Code.KUBECONFIG, "the token cannot be read again"), Outcome.AWAY),
        (ApiError(409, "modified", reason="Conflict"), Outcome.STALE),
        (ApiError(409, "there already", reason="AlreadyExists"), Outcome.STALE),
        (ApiError(404, "gone", reason="NotFound"), Outcome.STALE),
        (ApiError(404, "404 page not found"), Outcome.REFUSED),
        (denied(POLICY), Outcome.FENCED),
        (denied("their-own"), Outcome.REFUSED),
        (ApiError(403, 'User "x" cannot patch resource "nodes"', reason="Forbidden"), Outcome.REFUSED),
        (invalid(f"Invalid value: {FALLS}"), Outcome.FENCED),
        (invalid(f"Invalid value: {TAKEN}"), Outcome.STALE),
        (invalid("Invalid value: field is immutable", "metadata.uid"), Outcome.STALE),
        (invalid("spec.order.release in body should match"), Outcome.REFUSED),
        (ApiError(400, "bad", reason="BadRequest"), Outcome.REFUSED),
    ],
)
def test_each_refusal_has_its_meaning(error: ProaError, outcome: Outcome) -> None:
    assert outcome_of(error) is outcome


# the status of a rollout


def a_view(status: RolloutStatus) -> RolloutView:
    return RolloutView("workers", "r1", 1, RolloutSpec(RELEASE), status, version="17")


def report(old: RolloutStatus, new: RolloutStatus, api: ApiServer, leader: Leader | None = None) -> Written:
    return Writer(api, leader or Leader()).report(a_view(old), new)


def test_a_status_is_written_as_far_as_it_has_changed() -> None:
    api = Server()
    old = RolloutStatus(phase="Staging", counts=Counts(3, 1, 2), canary=CanaryStatus("x"), halted="no")
    new = RolloutStatus(phase="Progressing", counts=Counts(3, 2), conditions=(Condition("Valid", "True"),))
    assert report(old, new, api) == Written(Outcome.DONE, 42)
    changes = {
        "phase": "Progressing",
        "counts": {"upToDate": 2, "staged": None},
        "conditions": [{"type": "Valid", "status": "True"}],
        "canary": None,
        "halted": None,
    }
    body = {"metadata": {"uid": "r1", "resourceVersion": "17"}, "status": changes}
    assert api.sent == [("merge", "/apis/proa.dev/v1alpha1/osrollouts/workers/status", body)]


def test_a_status_that_is_the_same_is_not_written() -> None:
    api = Server()
    assert report(RolloutStatus(phase="x"), RolloutStatus(phase="x"), api, Leader(terms=0)) == Written(Outcome.DONE)
    assert api.sent == []


def test_a_status_is_a_leaders_to_write() -> None:
    api = Server()
    assert report(RolloutStatus(), RolloutStatus(phase="x"), api, Leader(terms=0)).outcome is Outcome.NOT_LEADING
    assert api.sent == []


def test_a_status_that_somebody_else_has_written_is_stale() -> None:
    error = ApiError(409, "modified", reason="Conflict")
    assert report(RolloutStatus(), RolloutStatus(phase="x"), Server(error=error)).outcome is Outcome.STALE


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, 3) | st.text(max_size=2) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES)


@settings(max_examples=40)
@given(OBJECTS, OBJECTS)
def test_a_difference_makes_the_new_of_the_old(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = difference(old, new)
    assert merged(old, patch) == new
    assert bool(patch) is (old != new)


def test_writers_are_what_they_are_asked_to_be() -> None:
    """The real ones fit where the fakes do."""
    from proa.scheduler.kube.api import Api
    from proa.scheduler.kube.leader_elector import LeaderElector

    make: Callable[[Api, LeaderElector], Writer] = Writer
    assert make is Writer
