"""Takes from a Node what is ours there: mark, cordon and annotations. What others have set stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proa.scheduler.kube import paths
from proa.scheduler.kube.api import MANAGER
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.server import Server
from proa.scheduler.kube.stream import Object, part, parts
from proa.scheduler.objects.annotations import read_mark
from proa.scheduler.planning.views import EXCLUDE, FENCE, HOLD, MARK

ANNOTATIONS: Final = (MARK, FENCE, HOLD, EXCLUDE)
"""Annotations of Nodes that are ours, or are words to us."""


def found_on(node: Object) -> list[str]:
    """What is ours on a node, in words; empty if nothing is."""
    said = [key for key in ANNOTATIONS if key in _annotations(node)]
    return [*(["cordon"] if _is_cordon_ours(node) else []), *said] or (["managed fields"] if _is_manager(node) else [])


def clean(api: Server, node: Object) -> str:
    """Take it away; what is left, in words, which is empty as a rule.

    The mark and the cordon go together, by an apply of nothing, so that a cordon that others own as well stays.

    Raises:
        ApiError: For any answer that is not 2xx; a node that has gone, or is another one by now, is no error.
    """
    try:
        return _clean(api, node)
    except ApiError as error:
        if error.status == 404 or any(cause.field == "metadata.uid" for cause in error.causes):
            return ""
        raise


def _clean(api: Server, node: Object) -> str:
    metadata = node["metadata"]
    same = {"name": metadata["name"], "uid": metadata["uid"]}
    path = paths.named(paths.NODES, metadata["name"])
    ours, left = _is_cordon_ours(node), node
    if _is_manager(node):
        left = api.apply(path, {"apiVersion": "v1", "kind": "Node", "metadata": same}, force=True)
    changes: dict[str, Any] = {}
    if said := [key for key in ANNOTATIONS if key in _annotations(left)]:
        changes["metadata"] = {"annotations": dict.fromkeys(said)}
    owners = [one for one in _managed(left) if "f:unschedulable" in part(part(one, "fieldsV1"), "f:spec")]
    others = sorted({str(one.get("manager", "")) for one in owners})
    if ours and _is_cordoned(left) and not others:  # nobody knows any more whose it is, but the mark
        changes["spec"] = {"unschedulable": None}
    if changes:
        changes["metadata"] = {**changes.get("metadata", {}), "uid": metadata["uid"]}
        left = api.merge(path, changes)
    return f"stays cordoned, because of {', '.join(others)}" if ours and _is_cordoned(left) else ""


def _is_cordon_ours(node: Object) -> bool:
    said = _annotations(node).get(MARK)
    return _is_cordoned(node) and isinstance(said, str) and read_mark(said).cordoned


def _is_cordoned(node: Object) -> bool:
    return part(node, "spec").get("unschedulable") is True


def _is_manager(node: Object) -> bool:
    """Whether something on it was applied by us, and still is."""
    return any((one.get("manager"), one.get("operation")) == (MANAGER, "Apply") for one in _managed(node))


def _managed(node: Object) -> list[Mapping[str, Any]]:
    return parts(node["metadata"], "managedFields")


def _annotations(node: Object) -> Mapping[str, Any]:
    return part(node["metadata"], "annotations")
