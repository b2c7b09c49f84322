"""What a spec may not say: times that cannot be read, and contradictions. Each is told with what to write instead."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from proa.core.schema.model import parse
from proa.scheduler.planning.problems import INVALID_SCHEDULE, INVALID_SPEC, Problem, problem_of
from proa.scheduler.spec import rules
from proa.scheduler.spec.contradictions import contradictions
from proa.scheduler.spec.rollout import Budget, Drain, RolloutSpec, Selector, WaitFor
from proa.scheduler.spec.rules import CONTROL_PLANE, is_key, is_value

RELEASE = "registry.example/node@sha256:" + "1" * 64
NIGHT = {"schedule": "0 22 * * *", "duration": "2h"}
EVEN = {"schedule": "0 */6 * * *", "duration": "3h"}
FIRST = {"controlPlane": "First"}
PROXY = {"namespace": "kube-system", "name": "kube-proxy"}


JOBS = {"selector": {"matchLabels": {"job": "nightly"}}, "timeout": "1h"}
CRITICAL = {"name": "critical", "query": "ALERTS"}
EDGE = {"name": "edge", "nodeSelector": {"matchLabels": {"tier": "edge"}}}


def read(**spec: Any) -> RolloutSpec:
    return parse(RolloutSpec, {"release": RELEASE, **spec}, "spec", strict=True)


def asks(*expressions: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {"matchLabels": labels, "matchExpressions": list(expressions)}


def one(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


WRONG: dict[str, tuple[dict[str, Any], str, rules.Rule]] = {
    "no digest": ({"release": "registry.example/node:1"}, ".release", rules.DIGEST),
    "a key": ({"nodeSelector": asks(one("my role", "Exists"))}, "matchExpressions[0].key", rules.LABEL_KEY),
    "a label's key": ({"nodeSelector": {"matchLabels": {"a/b/c": ""}}}, "'a/b/c'", rules.LABEL_KEYS),
    "a label's value": ({"nodeSelector": asks(role="-x")}, ".matchLabels[role]", rules.LABEL_VALUE),
    "a value": ({"nodeSelector": asks(one("role", "In", "a b"))}, "[0].values", rules.LABEL_VALUE),
    "In what": ({"nodeSelector": asks(one("role", "In"))}, "matchExpressions[0]", rules.VALUES_MISSING),
    "not in what": ({"nodeSelector": asks(one("role", "NotIn"))}, "matchExpressions[0]", rules.VALUES_MISSING),
    "there with values": ({"nodeSelector": asks(one("a", "Exists", "x"))}, "matchExpressions[0]", rules.VALUES_UNUSED),
    "nowhere with values": (
        {"nodeSelector": asks(one("a", "Exists"), one("b", "DoesNotExist", "x"))},
        "matchExpressions[1]",
        rules.VALUES_UNUSED,
    ),
    "a window of nothing": ({"budgets": [NIGHT | {"duration": "0s"}]}, "budgets[0].duration", rules.WINDOW_OF_NOTHING),
    "a window of weeks": ({"budgets": [NIGHT | {"duration": "169h"}]}, "budgets[0].duration", rules.WINDOW_OF_WEEKS),
    "windows that bear none": (
        {"budgets": [NIGHT | {"maxUnavailable": none} for none in (0, "0%")]},
        ".budgets",
        rules.ALL_SHUT,
    ),
    "weeks for a node": ({"expectedDuration": "169h"}, ".expectedDuration", rules.NO_WEEKS),
    "soak": ({"canary": {"soak": "1h"}}, ".canary", rules.SOAK),
    "soak of nobody": ({"canary": {"nodes": "0%", "soak": "1h"}}, ".canary", rules.SOAK),
    "an alert's name": (
        {"health": {"alerts": [CRITICAL | {"name": "Critical"}]}},
        ".health.alerts[0].name",
        rules.ALERT_NAME,
    ),
    "a group of all": ({"order": {"groups": [EDGE | {"nodeSelector": {}}]}}, ".order.groups[0]", rules.GROUP_OF_ALL),
    "a group's name": ({"order": {"groups": [EDGE | {"name": "Edge"}]}}, "groups[0].name", rules.GROUP_NAME),
    "a group's key": (
        {"order": {"groups": [EDGE, EDGE | {"name": "b", "nodeSelector": asks(one("my role", "Exists"))}]}},
        ".order.groups[1].nodeSelector.matchExpressions[0].key",
        rules.LABEL_KEY,
    ),
    "zones that soak out of turn": ({"order": {"zones": "Ignore", "zoneSoak": "1m"}}, ".order", rules.ZONE_SOAK),
    "no time to stage": ({"staging": {"timeout": "0s"}}, ".staging", rules.STAGING_OF_NOTHING),
    "too slow to stage": ({"staging": {"bytesPerSecond": 65_535}}, ".staging", rules.STAGING_TOO_SLOW),
    "wait for all": ({"drain": {"waitFor": JOBS | {"selector": {}}}}, ".drain.waitFor", rules.WAIT_FOR_ALL),
    "wait no time": ({"drain": {"waitFor": JOBS | {"timeout": "0s"}}}, ".drain.waitFor", rules.WAIT_NO_TIME),
    "wait for a label's value": (
        {"drain": {"waitFor": JOBS | {"selector": asks(a="-")}}},
        ".drain.waitFor.selector",
        rules.LABEL_VALUE,
    ),
    "no time to drain": ({"drain": {"timeout": "0s", "onTimeout": "Abort"}}, ".drain", rules.DRAIN_OF_NOTHING),
    "ready too late": ({"health": {"readySeconds": 1200}}, ".health", rules.READY_TOO_LATE),
    "no time to prove": ({"health": {"readySeconds": 0, "timeout": "0s"}}, ".health", rules.READY_TOO_LATE),
    "never back": ({"failure": {"max": "100%", "action": "Rollback"}}, ".failure", rules.NEVER_BACK),
    "none but those": (
        {"nodeSelector": asks(one(CONTROL_PLANE, "Exists")), "order": {"controlPlane": "Exclude"}},
        ".order.controlPlane",
        rules.NONE_LEFT,
    ),
    "none but those by label": (
        {"nodeSelector": asks(**{CONTROL_PLANE: ""}), "order": {"controlPlane": "Exclude"}},
        ".order.controlPlane",
        rules.NONE_LEFT,
    ),
    "a namespace": ({"health": {"daemonSets": [PROXY | {"namespace": "Kube"}]}}, "[0].namespace", rules.NAMESPACE),
    "a name": ({"health": {"daemonSets": [PROXY, PROXY | {"name": "a_b"}]}}, "[1].name", rules.OBJECT_NAME),
}
"""By name: a spec, part of the place, and the rule of the custom resource that says the same."""


@pytest.mark.parametrize("what", WRONG)
def test_what_the_custom_resource_refuses_is_a_contradiction_here_too(what: str) -> None:
    spec, at, rule = WRONG[what]
    (found,) = contradictions(read(**spec))
    assert found.startswith("spec.")
    assert at in found
    assert found.endswith(rule["message"])
    assert problem_of(read(**spec)) == Problem(INVALID_SPEC, found)


def test_every_rule_is_asked_here_too() -> None:
    known = [rule for rule in vars(rules).values() if isinstance(rule, dict) and "rule" in rule]
    assert len(known) >= 18
    assert [rule for rule in known if rule not in [entry[2] for entry in WRONG.values()]] == []


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"canary": {"nodes": 1, "soak": "1h"}},
        {"canary": {"nodes": 0}},
        {"canary": {"nodes": 0, "soak": "600s"}},
        {"drain": {"timeout": "0s", "onTimeout": "Force"}},
        {"drain": {"waitFor": JOBS}},
        {"order": {"groups": [EDGE], "zoneSoak": "1h"}},
        {"order": {"zones": "Ignore", "zoneSoak": "0s"}},
        {"health": {"readySeconds": 1199}},
        {"failure": {"max": "100%"}},
        {"failure": {"max": "99%", "action": "Rollback"}},
        {"maxUnavailable": 0},
        {"budgets": [NIGHT | {"maxUnavailable": 50}, NIGHT | {"maxUnavailable": 0}]},
        {"nodeSelector": asks(one(CONTROL_PLANE, "Exists")), "order": FIRST},
        {"nodeSelector": asks(one(CONTROL_PLANE, "DoesNotExist")), "order": {"controlPlane": "Exclude"}},
        {"nodeSelector": asks(one("role", "In", "a", "b"), one("role", "NotIn", "a"), one("role", "Exists"))},
        {"nodeSelector": asks(one("role", "NotIn", "a"), one("role", "DoesNotExist"))},
        {"nodeSelector": asks(one("example.com/role", "In", ""), role="")},
        {"health": {"daemonSets": [PROXY, PROXY | {"name": "cni"}]}},
        {"budgets": [NIGHT], "expectedDuration": "2h"},
        {"budgets": [NIGHT, {"schedule": "0 0 * * *", "duration": "2h"}], "expectedDuration": "4h"},
        {"budgets": [{"schedule": "0 * * * *", "duration": "1h"}], "expectedDuration": "5h"},
        {"budgets": [{"schedule": "0 0 * * *", "duration": "23h"}], "expectedDuration": "30h"},
        {"budgets": [EVEN, EVEN | {"schedule": "0 3-21/6 * * *"}], "expectedDuration": "7h"},
    ],
)
def test_what_may_be_meant_is_taken(spec: dict[str, Any]) -> None:
    assert problem_of(read(**spec)) is None


@pytest.mark.parametrize(
    "selector",
    [
        asks(one("role", "DoesNotExist"), role="a"),
        asks(one("role", "DoesNotExist"), one("role", "Exists")),
        asks(one("role", "In", "a"), one("role", "In", "b")),
        asks(one("role", "NotIn", "a"), role="a"),
        asks(one("role", "In", "b", "c"), role="a"),
    ],
)
def test_a_selector_that_no_node_can_meet_is_refused(selector: dict[str, Any]) -> None:
    (found,) = contradictions(read(nodeSelector=selector))
    assert found.startswith("spec.nodeSelector: no value of the label role meets")


def test_a_daemon_set_stands_there_once() -> None:
    (found,) = contradictions(read(health={"daemonSets": [PROXY, PROXY]}))
    assert found == "spec.health.daemonSets: a DaemonSet is listed twice: leave out one of them"


def test_an_alert_stands_there_once() -> None:
    (found,) = contradictions(read(health={"alerts": [CRITICAL, CRITICAL]}))
    assert found == "spec.health.alerts: an alert is listed twice: leave out one of them"


def test_a_group_stands_there_once() -> None:
    (found,) = contradictions(read(order={"groups": [EDGE, EDGE]}))
    assert found == "spec.order.groups: a group is listed twice: leave out one of them"


def test_windows_that_are_all_too_short_are_refused() -> None:
    found = problem_of(read(budgets=[NIGHT], expectedDuration="3h"))
    assert found
    assert found.reason == INVALID_SPEC
    assert found.message.startswith("spec.expectedDuration: 3h is longer than all windows")


def test_all_that_is_wrong_is_told_at_once() -> None:
    found = problem_of(read(canary={"soak": "1h"}, staging={"timeout": "0s"}))
    assert found
    assert rules.SOAK["message"] in found.message
    assert rules.STAGING_OF_NOTHING["message"] in found.message


@pytest.mark.parametrize(
    ("budget", "at", "instead"),
    [
        (Budget("0 0 31 2 *", "1h"), "spec.budgets[0].schedule: ", "such as '0 22 * * 1-5'"),
        (Budget("61 * * * *", "1h"), "spec.budgets[0].schedule: ", "such as '0 22 * * 1-5'"),
        (Budget("0 0 * * *", "1h", "Mars/Base"), "spec.budgets[0].timeZone: ", "such as Europe/Berlin"),
        (Budget("0 0 * * *", "long"), "spec.budgets[0].duration: ", "such as '90s'"),
    ],
)
def test_a_window_that_cannot_be_read_has_a_reason_of_its_own(budget: Budget, at: str, instead: str) -> None:
    found = problem_of(RolloutSpec(RELEASE, budgets=(budget,)))
    assert found
    assert found.reason == INVALID_SCHEDULE
    assert found.message.startswith(at)
    assert instead in found.message


def test_a_time_to_wait_that_cannot_be_read_names_its_field() -> None:
    found = problem_of(dataclasses.replace(RolloutSpec(RELEASE), drain=Drain(wait_for=WaitFor(Selector(), "soon"))))
    assert found
    assert found.message.startswith("spec.drain.waitFor.timeout: ")


def test_another_time_that_cannot_be_read_names_its_field() -> None:
    spec = dataclasses.replace(RolloutSpec(RELEASE), drain=Drain(timeout="soon"))
    found = problem_of(spec)
    assert found
    assert found.reason == INVALID_SPEC
    assert found.message.startswith("spec.drain.timeout: ")


@pytest.mark.parametrize("key", ["role", "a.b-c_D", "example.com/role", CONTROL_PLANE, "a" * 63, "x/" + "a" * 63])
def test_keys_of_labels(key: str) -> None:
    assert is_key(key)


@pytest.mark.parametrize("key", ["", "/role", "a/", "A.com/x", "-a", "a_", "a b", "a" * 64, "a." * 127 + "a/x", "a\n"])
def test_what_is_no_key_of_a_label(key: str) -> None:
    assert not is_key(key)


def test_values_of_labels() -> None:
    assert all(map(is_value, ("", "a", "v1.2_3-4", "A" * 63)))
    assert not any(map(is_value, ("-a", "a.", "a/b", "a b", "A" * 64, "a\n")))
