"""The two admission policies: what roles cannot say.

A parameter is looked up before anybody asks whose request it is. Where it is missing, ``Deny`` therefore refuses
everybody's: on NodeOS objects, which the scheduler alone writes, that is right; on Nodes it would refuse kubelets and
people, too. So the policy has a binding for each, and as long as there is no lease, a cordon is not fenced.
"""

from __future__ import annotations

from typing import Final

from proa.scheduler.install.names import OWN_STATUS, PROXY, SCHEDULER, item, user
from proa.scheduler.install.settings import Settings
from proa.scheduler.kube.stream import Object
from proa.scheduler.objects.writing import POLICY as FENCE_POLICY
from proa.scheduler.planning.views import FENCE
from proa.scheduler.spec.crd import NODES
from proa.scheduler.spec.objects import GROUP, VERSION

_API: Final = "admissionregistration.k8s.io/v1"
_CLAIM: Final = "authentication.kubernetes.io/node-name"
_OLD: Final = f"(oldObject == null ? '' : oldObject.metadata.?annotations['{FENCE}'].orValue(''))"
_OURS: Final = f"{GROUP}/"
_ONLY_OURS: Final = (
    "dyn(object).spec.?taints == dyn(oldObject).spec.?taints"
    " && object.metadata.?labels == oldObject.metadata.?labels"
    " && [object, oldObject].all(one, one.metadata.?annotations.orValue({}).all(key, key.startsWith('"
    f"{_OURS}') || object.metadata.?annotations[key] == oldObject.metadata.?annotations[key]))"
)
_SAME: Final = " && ".join(
    f"object.metadata.?{key} == oldObject.metadata.?{key}"
    for key in ("annotations", "labels", "finalizers", "ownerReferences")
)


def documents(settings: Settings) -> list[Object]:
    """Policies and their bindings."""
    return [*fence(settings), *own_status(settings)]


def fence(settings: Settings) -> list[Object]:
    """Of the scheduler's account, only the leader writes: its fence is the lease's transitions.

    And of a Node it changes its cordon and its own annotations alone: a role cannot say so.

    Where the new object has no fence, the old one's counts: to take it away is the leader's right alone, too. What
    changes nothing is let through, so that it may come twice. Deletions carry no fence.
    """
    spec = {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"},
        "matchConstraints": _matching(_nodes(), _oses()),
        "matchConditions": [_by(SCHEDULER, settings.namespace)],
        "variables": [
            {"name": "lease", "expression": "string(params.?spec.?leaseTransitions.orValue(0))"},
            {"name": "fence", "expression": f"object.metadata.?annotations['{FENCE}'].orValue({_OLD})"},
            {"name": "order", "expression": "dyn(object).?spec.?order"},
            {"name": "before", "expression": "oldObject == null ? optional.none() : dyn(oldObject).?spec.?order"},
        ],
        "validations": [
            {
                "expression": "variables.fence == variables.lease"
                f" || (oldObject != null && {_SAME} && object.?spec == oldObject.?spec)",
                "messageExpression": "'another leader has the lease since: the fence is ' + variables.lease"
                " + ', this write has ' + (variables.fence == '' ? 'none' : variables.fence)",
                "message": "another leader has the lease since",
                "reason": "Forbidden",
            },
            {
                "expression": "!variables.order.hasValue() || variables.order == variables.before"
                " || string(variables.order.value().fence) == variables.lease",
                "message": "another leader has the lease since: the order's fence is not the lease's",
                "reason": "Forbidden",
            },
            {
                "expression": f"request.resource.resource != 'nodes' || ({_ONLY_OURS})",
                "message": "of a Node the scheduler changes its cordon and its own annotations alone",
                "reason": "Forbidden",
            },
        ],
    }
    return [
        item(_API, "ValidatingAdmissionPolicy", FENCE_POLICY, SCHEDULER, spec=spec),
        _fence_binding(f"{FENCE_POLICY}-nodes", _nodes(), "Allow", settings),
        _fence_binding(f"{FENCE_POLICY}-orders", _oses(), "Deny", settings),
    ]


def own_status(settings: Settings) -> list[Object]:
    """Of a NodeOS, a proxy writes the status of that node alone which its token is bound to."""
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": _matching(_rule(GROUP, VERSION, [NODES.plural, f"{NODES.plural}/*"], ["*"])),
        "matchConditions": [_by(PROXY, settings.proxy_namespace)],
        "variables": [
            {"name": "node", "expression": f"request.userInfo.?extra['{_CLAIM}'].orValue([''])[0]"},
        ],
        "validations": [
            {
                "expression": "request.operation == 'UPDATE' && request.subResource == 'status'",
                "message": "a proxy writes statuses alone",
                "reason": "Forbidden",
            },
            {
                "expression": "variables.node != '' && request.name == variables.node",
                "messageExpression": "variables.node == '' ? 'this token is bound to no node'"
                " : 'this token is bound to the node ' + variables.node",
                "message": "a proxy writes the status of its own node alone",
                "reason": "Forbidden",
            },
        ],
    }
    binding = {"policyName": OWN_STATUS, "validationActions": ["Deny"]}
    return [
        item(_API, "ValidatingAdmissionPolicy", OWN_STATUS, PROXY, spec=spec),
        item(_API, "ValidatingAdmissionPolicyBinding", OWN_STATUS, PROXY, spec=binding),
    ]


def _fence_binding(name: str, rule: Object, missing: str, settings: Settings) -> Object:
    spec = {
        "policyName": FENCE_POLICY,
        "validationActions": ["Deny"],
        "paramRef": {"name": SCHEDULER, "namespace": settings.namespace, "parameterNotFoundAction": missing},
        "matchResources": _matching(rule),
    }
    return item(_API, "ValidatingAdmissionPolicyBinding", name, SCHEDULER, spec=spec)


def _nodes() -> Object:
    return _rule("", "v1", ["nodes"], ["UPDATE"])


def _oses() -> Object:
    return _rule(GROUP, VERSION, [NODES.plural], ["CREATE", "UPDATE"])


def _matching(*rules: Object) -> Object:
    """What is matched, with all defaults written out: kubectl takes what the API server adds for somebody's change."""
    return {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "resourceRules": list(rules)}


def _rule(group: str, version: str, resources: list[str], operations: list[str]) -> Object:
    said = {"apiGroups": [group], "apiVersions": [version], "resources": resources, "operations": operations}
    return {**said, "scope": "*"}


def _by(account: str, namespace: str) -> Object:
    return {"name": "its-account", "expression": f"request.userInfo.username == '{user(account, namespace)}'"}
