"""What would keep a node from being drained for ever: asked by the controller before a cordon, and for people."""

from __future__ import annotations

from collections.abc import Iterable

from proa.scheduler.drain import pods
from proa.scheduler.drain.budgets import BudgetView
from proa.scheduler.drain.nodedrain import undrainable
from proa.scheduler.kube import paths
from proa.scheduler.kube.server import Server
from proa.scheduler.spec.rollout import Drain
from proa.scheduler.spec.rolloutstatus import Blocker


def foresee(
    api: Server, node: str, policy: Drain, budgets: Iterable[BudgetView], own_pod: str = ""
) -> tuple[Blocker, ...]:
    """What is in the way, by what the API server has seen of the node's pods but for ``own_pod``, which stays.

    That may be a moment ago: an answer as of now takes 0.1 s, as its cache asks etcd how far it has come.

    Raises:
        ApiError: When the pods cannot be listed.
    """
    query = {"fieldSelector": f"spec.nodeName={node}", "resourceVersion": "0"}
    found = [pods.project(item) for page in api.pages(paths.PODS, query) for item in page.get("items") or ()]
    return undrainable((pod for pod in found if pod.key != own_pod), policy, budgets, node)
