"""Who may do what: accounts, roles and their bindings. No wildcard, no secrets, no right to make rights.

What roles cannot say, as which NodeOS is whose, the admission policies say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from proa.scheduler.install.names import PROXY, SCHEDULER, item
from proa.scheduler.install.settings import Settings
from proa.scheduler.kube.stream import Object
from proa.scheduler.spec.objects import GROUP

_RBAC: Final = "rbac.authorization.k8s.io"
_READ: Final = ("get", "list", "watch")
Rule = tuple[str, str, Sequence[str]]
"""A group, resources of it separated by blanks, and verbs."""

OF_SCHEDULER: Final[tuple[Rule, ...]] = (
    ("", "nodes", (*_READ, "patch")),
    ("", "pods", (*_READ, "delete")),
    ("", "pods/eviction", ("create",)),
    ("", "persistentvolumeclaims persistentvolumes", ("get",)),
    ("apps", "daemonsets", _READ),
    ("policy", "poddisruptionbudgets", _READ),
    ("events.k8s.io", "events", ("create", "patch")),
    (GROUP, "nodeoses", (*_READ, "create", "patch", "delete")),
    (GROUP, "osrollouts", _READ),
    (GROUP, "osrollouts/status", ("patch",)),
)
"""In the whole cluster: cordons, evictions (a plain delete is for ``onTimeout: Force``), orders, events."""
OF_PROXY: Final[tuple[Rule, ...]] = (
    (GROUP, "nodeoses", _READ),
    (GROUP, "nodeoses/status", ("patch",)),
)
"""In the whole cluster; a policy narrows the writing to the proxy's own node."""


def documents(settings: Settings) -> list[Object]:
    """Accounts, roles and bindings."""
    lease: list[Object] = [
        _rule("coordination.k8s.io", "leases", ("create",)),
        _rule("coordination.k8s.io", "leases", ("get", "patch")) | {"resourceNames": [SCHEDULER]},
    ]
    space = settings.namespace
    return [
        *_account(SCHEDULER, space, OF_SCHEDULER),
        item(f"{_RBAC}/v1", "Role", SCHEDULER, SCHEDULER, space, rules=lease),
        item(f"{_RBAC}/v1", "RoleBinding", SCHEDULER, SCHEDULER, space, **_bound("Role", SCHEDULER, space)),
        *_account(PROXY, settings.proxy_namespace, OF_PROXY),
    ]


def _account(name: str, namespace: str, rules: Sequence[Rule]) -> list[Object]:
    """An account whose token only pods get that ask for it, and what it may do in the whole cluster."""
    account = item("v1", "ServiceAccount", name, name, namespace, automountServiceAccountToken=False)
    role = item(f"{_RBAC}/v1", "ClusterRole", name, name, rules=[_rule(*rule) for rule in rules])
    bound = _bound("ClusterRole", name, namespace)
    return [account, role, item(f"{_RBAC}/v1", "ClusterRoleBinding", name, name, **bound)]


def _rule(group: str, resources: str, verbs: Sequence[str]) -> Object:
    return {"apiGroups": [group], "resources": resources.split(), "verbs": list(verbs)}


def _bound(kind: str, name: str, namespace: str) -> Object:
    return {
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
