"""Disruption budgets (``policy/v1``): which of them a pod is under, and which never let anything go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from proa.core.runtime.errors import ProaError
from proa.core.schema.model import parse
from proa.scheduler.drain.pods import PodView
from proa.scheduler.kube.stream import Object, part
from proa.scheduler.spec.rollout import Selector
from proa.scheduler.spec.selectors import matches


@dataclass(frozen=True, slots=True)
class BudgetView:
    """A PodDisruptionBudget.

    Attributes:
        key: ``NAMESPACE/NAME``.
        selector: Its pods; none if it cannot be read, then nobody is told to be under it.
        never: Whether it lets no pod go even when all of them are well; the wording of why.
    """

    key: str
    selector: Selector | None
    never: str = ""


def project(item: Object, _: BudgetView | None = None) -> BudgetView:
    """What is kept of a budget."""
    metadata, spec, status = item["metadata"], part(item, "spec"), part(item, "status")
    return BudgetView(f"{metadata.get('namespace', '')}/{metadata['name']}", _selector(spec), _never(spec, status))


def over(pod: PodView, budgets: Iterable[BudgetView]) -> list[BudgetView]:
    """The budgets that a pod is under, by their names."""
    prefix = f"{pod.namespace}/"
    found = [
        budget
        for budget in budgets
        if budget.key.startswith(prefix) and budget.selector is not None and matches(budget.selector, pod.labels)
    ]
    return sorted(found, key=lambda budget: budget.key)


def _selector(spec: Mapping[str, Any]) -> Selector | None:
    """An empty selector means all pods of the namespace, none at all means no pod."""
    if not isinstance(spec.get("selector"), Mapping):
        return None
    try:
        return parse(Selector, spec["selector"], "selector")
    except ProaError:
        return None


def _never(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """Whether it can never let a pod go: as many must be healthy as there are."""
    most, least = spec.get("maxUnavailable"), spec.get("minAvailable")
    if most in (0, "0%"):
        return f"maxUnavailable is {most}"
    expected, desired = status.get("expectedPods"), status.get("desiredHealthy")
    if isinstance(expected, int) and isinstance(desired, int) and 0 < expected <= desired:
        return f"{desired} pods must be healthy, and there are only {expected}"
    return f"minAvailable is {least}" if least == "100%" else ""
