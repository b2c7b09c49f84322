"""What a spec says that can never be meant: the rules of the custom resource, and what CEL cannot say.

It is asked before a rollout acts, because a snapshot, or an object of before a rule was there, comes past no rule.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from proa.core.orders.messages import RELEASE
from proa.core.runtime import duration
from proa.scheduler.spec import rules
from proa.scheduler.spec.amounts import Amount
from proa.scheduler.spec.labels import CONTROL_PLANE, NAME, SUBDOMAIN, is_key, is_value
from proa.scheduler.spec.rollout import Canary, ControlPlane, OnFailure, OnTimeout, Operator, RolloutSpec, Selector

Found = Iterator[tuple[str, str]]
"""Places and messages."""
_NOTHING: Final = timedelta(0)
_WEEK: Final = timedelta(hours=168)
_BY_VALUE: Final = frozenset({Operator.IN, Operator.NOT_IN})


def contradictions(spec: RolloutSpec) -> tuple[str, ...]:
    """All of them, each with its place and what to write instead.

    Args:
        spec: The spec; its times can be read.
    """
    return tuple(f"spec{at}: {message}" for look in _LOOKS for at, message in look(spec))


def _release(spec: RolloutSpec) -> Found:
    if not re.fullmatch(RELEASE, spec.release):
        yield ".release", rules.DIGEST["message"]


def _labels(spec: RolloutSpec) -> Found:
    selector, at = spec.node_selector, ".nodeSelector"
    for key, value in selector.match_labels.items():
        if not is_key(key):
            yield f"{at}.matchLabels", f"{key!r}: {rules.LABEL_KEY['message']}"
        if not is_value(value):
            yield f"{at}.matchLabels[{key}]", rules.LABEL_VALUE["message"]
    for number, one in enumerate(selector.match_expressions):
        place = f"{at}.matchExpressions[{number}]"
        if not is_key(one.key):
            yield f"{place}.key", rules.LABEL_KEY["message"]
        if not all(map(is_value, one.values)):
            yield f"{place}.values", rules.LABEL_VALUE["message"]
        if one.operator in _BY_VALUE and not one.values:
            yield place, rules.VALUES_MISSING["message"]
        if one.operator not in _BY_VALUE and one.values:
            yield place, rules.VALUES_UNUSED["message"]


def _selection(spec: RolloutSpec) -> Found:
    selector = spec.node_selector
    keys = dict.fromkeys((*selector.match_labels, *(one.key for one in selector.match_expressions)))
    for key in keys:
        if not _can_be_met(selector, key):
            yield ".nodeSelector", f"no value of the label {key} meets all requirements, so no node would be selected"


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


def _turns(spec: RolloutSpec) -> Found:
    if spec.order.control_plane is ControlPlane.EXCLUDE and _asks_for(spec.node_selector, CONTROL_PLANE):
        yield ".order.controlPlane", rules.NONE_LEFT["message"]


def _asks_for(selector: Selector, key: str) -> bool:
    """Whether nodes without a label are not selected."""
    return key in selector.match_labels or any(
        one.key == key and one.operator in (Operator.IN, Operator.EXISTS) for one in selector.match_expressions
    )


def _windows(spec: RolloutSpec) -> Found:
    for number, budget in enumerate(spec.budgets):
        lasts = duration.parse(budget.duration)
        if lasts <= _NOTHING:
            yield f".budgets[{number}].duration", rules.WINDOW_OF_NOTHING["message"]
        if lasts > _WEEK:
            yield f".budgets[{number}].duration", rules.WINDOW_OF_WEEKS["message"]
    if spec.budgets and all(map(_is_none, (budget.max_unavailable for budget in spec.budgets))):
        yield ".budgets", rules.ALL_SHUT["message"]
    if duration.parse(spec.expected_duration) > _WEEK:
        yield ".expectedDuration", rules.NO_WEEKS["message"]


def _limits(spec: RolloutSpec) -> Found:
    if _is_none(spec.canary.nodes) and duration.parse(spec.canary.soak) != duration.parse(Canary().soak):
        yield ".canary", rules.SOAK["message"]
    if duration.parse(spec.staging.timeout) <= _NOTHING:
        yield ".staging", rules.STAGING_OF_NOTHING["message"]
    if spec.drain.on_timeout is not OnTimeout.FORCE and duration.parse(spec.drain.timeout) <= _NOTHING:
        yield ".drain", rules.DRAIN_OF_NOTHING["message"]
    if timedelta(seconds=spec.health.ready_seconds) >= duration.parse(spec.health.timeout):
        yield ".health", rules.READY_TOO_LATE["message"]
    if spec.failure.action is OnFailure.ROLLBACK and spec.failure.max == "100%":
        yield ".failure", rules.NEVER_BACK["message"]


def _daemon_sets(spec: RolloutSpec) -> Found:
    at = ".health.daemonSets"
    for number, one in enumerate(spec.health.daemon_sets):
        if not re.fullmatch(NAME, one.namespace):
            yield f"{at}[{number}].namespace", rules.NAMESPACE["message"]
        if not re.fullmatch(SUBDOMAIN, one.name):
            yield f"{at}[{number}].name", rules.OBJECT_NAME["message"]
    if any(count > 1 for count in Counter(spec.health.daemon_sets).values()):
        yield at, "a DaemonSet is listed twice: leave out one of them"


_LOOKS: Final[tuple[Callable[[RolloutSpec], Found], ...]] = (
    _release,
    _labels,
    _selection,
    _turns,
    _windows,
    _limits,
    _daemon_sets,
)


def _is_none(amount: Amount) -> bool:
    return amount in (0, "0%")
