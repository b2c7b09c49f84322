"""What a spec says that can never be meant: the rules of the custom resource, and what CEL cannot say.

It is asked before a rollout acts, because a snapshot, or an object of before a rule was there, comes past no rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from proa.core.orders.messages import LEAST_RATE, RELEASE
from proa.core.runtime import duration
from proa.scheduler.spec import rules
from proa.scheduler.spec.amounts import Amount
from proa.scheduler.spec.rollout import (
    Canary,
    ControlPlane,
    OnFailure,
    OnTimeout,
    Operator,
    RolloutSpec,
    Selector,
    Zones,
)
from proa.scheduler.spec.rules import CONTROL_PLANE, NAME, SUBDOMAIN, is_key, is_value

Found = Iterator[tuple[str, str, bool]]
"""Places and messages, and whether each is so."""
_NOTHING: Final = timedelta(0)
_WEEK: Final = timedelta(hours=168)
_BY_VALUE: Final = frozenset({Operator.IN, Operator.NOT_IN})


def contradictions(spec: RolloutSpec) -> tuple[str, ...]:
    """All of them, each with its place and what to write instead.

    Args:
        spec: The spec; its times can be read.
    """
    looks = (_labels, _selection, _groups, _wait, _windows, _limits, _daemon_sets, _alerts)
    return tuple(f"spec{at}: {message}" for look in looks for at, message, broken in look(spec) if broken)


def _labels(spec: RolloutSpec) -> Found:
    yield from _label_rules(spec.node_selector, ".nodeSelector")
    if spec.drain.wait_for is not None:
        yield from _label_rules(spec.drain.wait_for.selector, ".drain.waitFor.selector")
    for number, group in enumerate(spec.order.groups):
        yield from _label_rules(group.node_selector, f".order.groups[{number}].nodeSelector")


def _label_rules(selector: Selector, at: str) -> Found:
    for key, value in selector.match_labels.items():
        yield f"{at}.matchLabels", f"{key!r}: {rules.LABEL_KEY['message']}", not is_key(key)
        yield f"{at}.matchLabels[{key}]", rules.LABEL_VALUE["message"], not is_value(value)
    for number, one in enumerate(selector.match_expressions):
        place, by_value = f"{at}.matchExpressions[{number}]", one.operator in _BY_VALUE
        yield f"{place}.key", rules.LABEL_KEY["message"], not is_key(one.key)
        yield f"{place}.values", rules.LABEL_VALUE["message"], not all(map(is_value, one.values))
        yield place, rules.VALUES_MISSING["message"], by_value and not one.values
        yield place, rules.VALUES_UNUSED["message"], not by_value and bool(one.values)


def _selection(spec: RolloutSpec) -> Found:
    selector, excludes = spec.node_selector, spec.order.control_plane is ControlPlane.EXCLUDE
    keys = dict.fromkeys((*selector.match_labels, *(one.key for one in selector.match_expressions)))
    for key in keys:
        message = f"no value of the label {key} meets all requirements, so no node would be selected"
        yield ".nodeSelector", message, not _can_be_met(selector, key)
    yield ".order.controlPlane", rules.NONE_LEFT["message"], excludes and _asks_for(selector, CONTROL_PLANE)


def _can_be_met(selector: Selector, key: str) -> bool:
    """Whether a node can have, or not have, a label as a selector asks."""
    asked = [one for one in selector.match_expressions if one.key == key]
    allowed = [set(one.values) for one in asked if one.operator is Operator.IN and one.values]
    if key in selector.match_labels:
        allowed.append({selector.match_labels[key]})
    refused = {value for one in asked if one.operator is Operator.NOT_IN for value in one.values}
    operators = {one.operator for one in asked}
    if Operator.DOES_NOT_EXIST in operators:
        return not allowed and Operator.EXISTS not in operators
    return not allowed or bool(set.intersection(*allowed) - refused)


def _asks_for(selector: Selector, key: str) -> bool:
    """Whether nodes without a label are not selected."""
    return key in selector.match_labels or any(
        one.key == key and one.operator in (Operator.IN, Operator.EXISTS) for one in selector.match_expressions
    )


def _groups(spec: RolloutSpec) -> Found:
    order, names = spec.order, [group.name for group in spec.order.groups]
    for number, group in enumerate(order.groups):
        place, selector = f".order.groups[{number}]", group.node_selector
        yield f"{place}.name", rules.GROUP_NAME["message"], not re.fullmatch(NAME, group.name)
        yield place, rules.GROUP_OF_ALL["message"], not (selector.match_labels or selector.match_expressions)
    yield ".order.groups", "a group is listed twice: leave out one of them", len(set(names)) < len(names)
    soaks = duration.parse(order.zone_soak) > _NOTHING
    yield ".order", rules.ZONE_SOAK["message"], order.zones is Zones.IGNORE and soaks


def _wait(spec: RolloutSpec) -> Found:
    if (wait := spec.drain.wait_for) is not None:
        selector, at = wait.selector, ".drain.waitFor"
        yield at, rules.WAIT_FOR_ALL["message"], not (selector.match_labels or selector.match_expressions)
        yield at, rules.WAIT_NO_TIME["message"], duration.parse(wait.timeout) <= _NOTHING


def _windows(spec: RolloutSpec) -> Found:
    for number, budget in enumerate(spec.budgets):
        place, lasts = f".budgets[{number}].duration", duration.parse(budget.duration)
        yield place, rules.WINDOW_OF_NOTHING["message"], lasts <= _NOTHING
        yield place, rules.WINDOW_OF_WEEKS["message"], lasts > _WEEK
    shut = [_is_none(budget.max_unavailable) for budget in spec.budgets]
    yield ".budgets", rules.ALL_SHUT["message"], bool(shut) and all(shut)
    yield ".expectedDuration", rules.NO_WEEKS["message"], duration.parse(spec.expected_duration) > _WEEK


def _limits(spec: RolloutSpec) -> Found:
    drain, health, failure = spec.drain, spec.health, spec.failure
    soaks = duration.parse(spec.canary.soak) != duration.parse(Canary().soak)
    in_no_time = duration.parse(drain.timeout) <= _NOTHING
    late = timedelta(seconds=health.ready_seconds) >= duration.parse(health.timeout)
    yield ".release", rules.DIGEST["message"], not re.fullmatch(RELEASE, spec.release)
    yield ".canary", rules.SOAK["message"], _is_none(spec.canary.nodes) and soaks
    yield ".staging", rules.STAGING_OF_NOTHING["message"], duration.parse(spec.staging.timeout) <= _NOTHING
    yield ".staging", rules.STAGING_TOO_SLOW["message"], 0 < spec.staging.bytes_per_second < LEAST_RATE
    yield ".drain", rules.DRAIN_OF_NOTHING["message"], drain.on_timeout is not OnTimeout.FORCE and in_no_time
    yield ".health", rules.READY_TOO_LATE["message"], late
    yield ".failure", rules.NEVER_BACK["message"], failure.action is OnFailure.ROLLBACK and failure.max == "100%"


def _daemon_sets(spec: RolloutSpec) -> Found:
    at, twice = ".health.daemonSets", len(set(spec.health.daemon_sets)) < len(spec.health.daemon_sets)
    for number, one in enumerate(spec.health.daemon_sets):
        yield f"{at}[{number}].namespace", rules.NAMESPACE["message"], not re.fullmatch(NAME, one.namespace)
        yield f"{at}[{number}].name", rules.OBJECT_NAME["message"], not re.fullmatch(SUBDOMAIN, one.name)
    yield at, "a DaemonSet is listed twice: leave out one of them", twice


def _alerts(spec: RolloutSpec) -> Found:
    at, names = ".health.alerts", [one.name for one in spec.health.alerts]
    for number, one in enumerate(spec.health.alerts):
        yield f"{at}[{number}].name", rules.ALERT_NAME["message"], not re.fullmatch(NAME, one.name)
    yield at, "an alert is listed twice: leave out one of them", len(set(names)) < len(names)


def _is_none(amount: Amount) -> bool:
    return amount in (0, "0%")
