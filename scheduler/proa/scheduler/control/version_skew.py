"""Whether the definitions and the proxies in the cluster are those of this scheduler.

Some tools never update definitions, and an update of images may stop halfway. A scheduler of another version than the
rest works as far as it can; what it cannot store or reach then looks like something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.server import Server, items, unless
from proa.scheduler.kube.stream import part, parts
from proa.scheduler.spec.crd import RESOURCES, REVISION

_PROXIES: Final = "app.kubernetes.io/name=proa,app.kubernetes.io/component=proxy"
_ADVICE: Final = "apply the manifests of the scheduler's version"


def skew(api: Server, own_pod: str) -> tuple[str, ...]:
    """What is of another version, in sentences.

    Args:
        api: The API server, as the scheduler.
        own_pod: ``NAMESPACE/NAME`` of the scheduler's pod; empty if it runs in none, and no image is compared.

    Raises:
        ApiError: When that cannot be known now.
    """
    return (*_definitions(api), *(_proxies(api, own_pod) if own_pod else ()))


def _definitions(api: Server) -> Iterator[str]:
    """Definitions that differ, and those that may not be read: the right to do so came with this check."""
    for resource in RESOURCES.values():
        definition = resource.definition["metadata"]
        path = paths.named(paths.DEFINITIONS, definition["name"])
        try:
            found = api.get(path)
        except ApiError as error:
            if error.status != 403:
                raise
            yield f"the scheduler may not read the definition {definition['name']}, so its rights are older: {_ADVICE}"
            continue
        if part(found["metadata"], "annotations").get(REVISION) != definition["annotations"][REVISION]:
            yield f"the definition {definition['name']} is of another version than the scheduler: {_ADVICE}"


def _proxies(api: Server, own_pod: str) -> Iterator[str]:
    """Proxies whose image differs from the scheduler's own."""
    namespace, _, name = own_pod.partition("/")
    pod = unless(lambda: api.get(paths.named(paths.within(paths.PODS, namespace), name)), 403, 404)
    own = _images(pod or {})
    for one in items(api, paths.DAEMON_SETS, {"labelSelector": _PROXIES}):
        images = _images(part(part(one, "spec"), "template"))
        if own and images != own:
            yield f"the proxies run {', '.join(images)}, and the scheduler {', '.join(own)}: {_ADVICE}"


def _images(pod: Mapping[str, Any]) -> list[str]:
    return [str(container.get("image")) for container in parts(part(pod, "spec"), "containers")]
