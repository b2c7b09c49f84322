"""Which volume a claim is bound to: pods name claims, nodes name volumes, and nothing says both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.server import Server

_NOT_ALLOWED: Final = 403
_NOT_FOUND: Final = 404


def volume_of(api: Server, claim: str) -> str:
    """The volume of a claim, as a Node names it in ``status.volumesAttached``.

    The name is ``kubernetes.io/csi/DRIVER^HANDLE`` (Kubernetes, ``pkg/volume/csi``, ``GetVolumeName``).

    Args:
        api: The API server.
        claim: ``NAMESPACE/NAME``.

    Returns:
        The name; empty for a volume that no driver attaches, and where claims may not be read.

    Raises:
        ApiError: When that cannot be known now.
    """
    namespace, _, name = claim.partition("/")
    bound = _spec(api, paths.named(paths.within(paths.CLAIMS, namespace), name)).get("volumeName")
    csi = _spec(api, paths.named(paths.VOLUMES, str(bound))).get("csi") if bound else None
    if not isinstance(csi, Mapping):
        return ""
    return f"kubernetes.io/csi/{csi.get('driver', '')}^{csi.get('volumeHandle', '')}"


def _spec(api: Server, path: str) -> Mapping[str, Any]:
    """The spec of an object; empty where it is not there, or may not be read."""
    try:
        found = api.get(path).get("spec")
    except ApiError as error:
        if error.status in (_NOT_ALLOWED, _NOT_FOUND):
            return {}
        raise
    return found if isinstance(found, Mapping) else {}
