"""Rollouts, one at a time: read, created, and changed."""

from __future__ import annotations

from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.server import Server, unless
from proa.scheduler.kube.stream import Object, part
from proa.scheduler.objects import reading
from proa.scheduler.planning.views import RolloutView
from proa.scheduler.report.patches import SpecChange
from proa.scheduler.spec.crd import GROUP, OS_ROLLOUTS, ROLLOUTS, VERSION

_REVIEWS: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
"""Where the API server says who asks (Kubernetes, "Authenticating", "API access to authentication information")."""


def find(api: Server, name: str) -> RolloutView | None:
    """A rollout; none if there is none of the name.

    Raises:
        ProaError: ``CLUSTER_MISSING`` where Proa is not installed, and what else the API server answers.
    """
    try:
        return reading.rollout(api.get(paths.named(OS_ROLLOUTS, name)))
    except ApiError as error:
        if error.status != 404:
            raise
        if error.reason != "NotFound" or name not in error.message:  # an unknown kind has no name in it
            hint = "Install Proa: proa-scheduler manifests | kubectl apply -f -"
            raise ProaError(
                Code.CLUSTER_MISSING, "the cluster does not know OSRollouts", at=error.at, hint=hint
            ) from error
        return None


def need(api: Server, name: str) -> RolloutView:
    """A rollout that must be there.

    Raises:
        ProaError: ``CLUSTER_MISSING``, and as :func:`find`.
    """
    found = find(api, name)
    if found is None:
        hint = "List rollouts with 'kubectl proa status', or create one with 'kubectl proa start'."
        raise ProaError(Code.CLUSTER_MISSING, f"there is no OSRollout {name!r}", at=name, hint=hint)
    return found


def person(api: Server) -> str:
    """Who the API server takes us for; ``unknown`` where it does not tell."""
    head = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    found = unless(lambda: api.create(_REVIEWS, head), 403, 404)
    return str(part(part(found or {}, "status"), "userInfo").get("username") or "unknown")


def body_of(name: str, change: SpecChange, before: RolloutView | None) -> Object:
    """What is sent: an object that is to be made, or the patch of one."""
    if before is None:
        head = {"apiVersion": f"{GROUP}/{VERSION}", "kind": ROLLOUTS.kind, "metadata": {"name": name}}
        return head | {"spec": dict(change.spec)}
    annotations = {"annotations": dict(change.annotations)} if change.annotations else {}
    spec = {"spec": dict(change.spec)} if change.spec else {}
    return {"metadata": {"uid": before.uid, **annotations}, **spec}


def carry_out(api: Server, name: str, body: Object, before: RolloutView | None) -> RolloutView:
    """Make or change a rollout; as it is then.

    Raises:
        ProaError: ``CLUSTER_INVALID`` with the field, and what else the API server answers.
    """
    if before is None:
        return reading.rollout(api.create(OS_ROLLOUTS, body))
    return reading.rollout(api.merge(paths.named(OS_ROLLOUTS, name), body))
