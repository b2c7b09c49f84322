"""What one object's writes are answered is no news about the API server: that object rests, the others go on."""

from __future__ import annotations

import pytest

from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.report.explain import explain
from proa.scheduler.report.source import snapshot_of
from proa.scheduler.testing.controlled import Case, assert_all_is_well

ANSWERS = [
    ApiError(500, "failed calling webhook", reason="InternalError"),
    ApiError(503, "the webhook is unavailable", reason="ServiceUnavailable"),
    ApiError(504, "the webhook gave no answer in time", reason="Timeout"),
    ApiError(429, "the webhook wants to be left alone", reason="TooManyRequests"),
    ApiError(429, "too many requests", retry_after=30),
    ApiError(502, "answered 502, but not as an API server does"),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda one: f"{one.status}-{one.reason or one.retry_after}")
@pytest.mark.parametrize("of_node", [True, False], ids=["node", "nodeos"])
def test_c04_the_others_go_on_without_a_pause(answer: ApiError, of_node: bool) -> None:
    case = Case(nodes=3)
    bad = case.node("n0") if of_node else case.os("n0")
    case.server.fail(lambda verb, path: answer if path == bad and verb in ("apply", "merge") else None)
    began = case.clock.monotonic()
    case.until(lambda: {"n1", "n2"} <= case.boots.keys(), turns=80)
    case.until(lambda: not set(case.cordoned) & {"n1", "n2"}, turns=80)
    assert case.clock.monotonic() - began < 1500
    tries = len([one for one in case.server.log if one[1] == bad and one[0] in ("apply", "merge")])
    assert 1 <= tries <= 12
    assert ("n0", "WriteFailed") in case.ears.heard
    case.server.mend()
    case.until(lambda: case.phase == "Complete", turns=800)
    assert_all_is_well(case)


def test_c04_it_is_a_blocker_and_explained_to_people() -> None:
    case = Case(nodes=2)
    answer = ApiError(500, "failed calling webhook guard", reason="InternalError")
    case.server.fail(lambda verb, path: answer if (verb, path) == ("merge", case.os("n0")) else None)
    case.until(lambda: "n1" in case.boots, turns=80)
    status = case.server.items[case.rollout]["status"]
    assert [(one["node"], one["reason"]) for one in status["blockers"]] == [
        ("n0", "a write was not accepted: failed calling webhook guard")
    ]
    found = explain(snapshot_of(case.server), "n0", case.clock.now())
    assert found.reason is not None
    assert found.reason.reason == Reason.WriteRefused.name
    assert "failed calling webhook guard" in found.reason.detail


def test_c04_what_fails_for_several_objects_in_a_row_is_the_servers_trouble() -> None:
    case = Case(nodes=6)
    answer = ApiError(500, "etcdserver: leader changed", reason="InternalError")
    case.server.fail(lambda verb, path: answer if verb == "create" else None)
    case.step()
    assert len([one for one in case.server.log if one[0] == "create"]) == 2
