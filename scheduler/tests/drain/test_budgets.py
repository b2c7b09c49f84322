"""Disruption budgets: which pods are under them, and which never let one go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.scheduler.drain.pods import PodView, over
from proa.scheduler.drain.pods import budget as view

POD = PodView("shop/web-1", "p1", {"app": "web", "tier": "front"})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def a_budget(name: str = "web", namespace: str = "shop", status: Any = None, **spec: Any) -> dict[str, Any]:
    spec = {"selector": {"matchLabels": {"app": "web"}}, **spec}
    return {"metadata": {"namespace": namespace, "name": name}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("budget", "is_over"),
    [
        (a_budget(), True),
        (a_budget(namespace="sho"), False),
        (a_budget(namespace="shop2"), False),
        (a_budget(selector={}), True),
        (a_budget(selector=None), False),
        (a_budget(selector={"matchLabels": {"app": "db"}}), False),
        (a_budget(selector={"matchExpressions": [{"key": "tier", "operator": "Exists"}]}), True),
        (a_budget(selector={"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["front"]}]}), False),
        (a_budget(selector={"matchExpressions": [{"key": "tier", "operator": "Resembles"}]}), False),
    ],
)
def test_which_pods_are_under_it(budget: dict[str, Any], is_over: bool) -> None:
    assert bool(over(POD, [view(budget)])) is is_over


def test_they_are_told_by_their_names() -> None:
    assert [one.key for one in over(POD, [view(a_budget("b")), view(a_budget("a"))])] == ["shop/a", "shop/b"]


@pytest.mark.parametrize(
    ("budget", "never"),
    [
        (a_budget(maxUnavailable=1), False),
        (a_budget(maxUnavailable=0), True),
        (a_budget(maxUnavailable="0%"), True),
        (a_budget(minAvailable="100%"), True),
        (a_budget(minAvailable=1), False),
        (a_budget(minAvailable=2, status={"expectedPods": 2, "desiredHealthy": 2}), True),
        (a_budget(minAvailable=2, status={"expectedPods": 3, "desiredHealthy": 2, "disruptionsAllowed": 0}), False),
        (a_budget(minAvailable=2, status={"expectedPods": 0, "desiredHealthy": 2}), False),
    ],
)
def test_which_never_let_one_go(budget: dict[str, Any], never: bool) -> None:
    assert bool(view(budget).never) is never


PARTS = st.fixed_dictionaries(
    {},
    optional={
        "selector": JSON | st.fixed_dictionaries({}, optional={"matchLabels": JSON, "matchExpressions": JSON}),
        **dict.fromkeys(("maxUnavailable", "minAvailable", "expectedPods", "desiredHealthy"), JSON),
    },
)


@settings(max_examples=40)
@given(JSON | PARTS, JSON | PARTS)
def test_no_budget_is_too_strange(spec: object, status: object) -> None:
    item = {"metadata": {"namespace": "shop", "name": "web"}, "spec": spec, "status": status}
    found = view(item)
    assert over(POD, [found]) in ([], [found])
    assert isinstance(found.never, str)
