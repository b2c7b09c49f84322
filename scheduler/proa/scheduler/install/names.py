"""Names and labels of what is installed. Removal finds by them what there is."""

from __future__ import annotations

from typing import Any, Final

from proa.scheduler.kube.stream import Object

SCHEDULER: Final = "proa-scheduler"
"""The scheduler's account, workload, rights and lease."""
PROXY: Final = "proa-proxy"
"""The proxies' account, workload and rights."""
OWN_STATUS: Final = "proa-own-status"
"""The policy that lets a proxy write the status of its own node alone."""
COMPONENT: Final = "proa.dev/component"
"""Label of our two namespaces: ``scheduler`` or ``proxy``."""
PORT: Final = 8080
"""Where the scheduler answers for health and metrics."""


def labels(component: str) -> dict[str, str]:
    """The labels of everything that belongs to a component."""
    return {"app.kubernetes.io/name": "proa", "app.kubernetes.io/component": component.removeprefix("proa-")}


def item(api: str, kind: str, name: str, component: str, namespace: str = "", **rest: Any) -> Object:
    """A document, with what all of ours have.

    Args:
        api: Its group and version.
        kind: Its kind.
        name: Its name.
        component: ``proa-scheduler`` or ``proa-proxy``.
        namespace: Its namespace, if it is in one.
        rest: What stands beside its metadata.
    """
    place = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": name, **place, "labels": labels(component)},
        **rest,
    }


def user(account: str, namespace: str) -> str:
    """What the API server calls a service account."""
    return f"system:serviceaccount:{namespace}:{account}"
