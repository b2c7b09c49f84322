"""Everything that is installed, in the order in which it can be applied, and its text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # it has no types

from proa.core.schema.model import Report, field
from proa.scheduler.install import policies, rights, workloads
from proa.scheduler.install.names import COMPONENT, PROXY, SCHEDULER, item
from proa.scheduler.install.settings import Settings, check
from proa.scheduler.kube.stream import Object
from proa.scheduler.spec.crd import RESOURCES

_SECURITY: Final = "pod-security.kubernetes.io"


@dataclass(frozen=True)
class Manifests(Report, schema="proa.manifests/v1"):
    """`proa-scheduler manifests`: the same as the YAML."""

    items: tuple[Mapping[str, Any], ...] = field("Objects, in an order in which they can be applied.")


def documents(settings: Settings) -> list[Object]:
    """Definitions, namespaces, rights, policies, and what runs.

    Raises:
        ProaErrors: as :func:`proa.scheduler.install.settings.check`.
    """
    check(settings)
    return [
        *(resource.definition for resource in RESOURCES.values()),
        _namespace(settings.namespace, SCHEDULER, "restricted"),
        _namespace(settings.proxy_namespace, PROXY, "privileged"),
        *rights.documents(settings),
        *policies.documents(settings),
        *workloads.documents(settings),
    ]


def text(found: Iterable[Mapping[str, Any]]) -> str:
    """Documents as YAML, for ``kubectl apply -f -``."""
    apart = json.loads(json.dumps(list(found)))  # what stands twice is written twice, not as an alias
    return str(yaml.safe_dump_all(apart, sort_keys=False, width=120, explicit_start=True))


def _namespace(name: str, component: str, level: str) -> Object:
    """A namespace, with the level of pod security that its pods are held to."""
    found = item("v1", "Namespace", name, component)
    modes = {f"{_SECURITY}/{mode}": level for mode in ("enforce", "warn", "audit")}
    found["metadata"]["labels"] |= {COMPONENT: component.removeprefix("proa-"), **modes}
    return found
