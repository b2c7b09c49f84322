"""Applies documents of any kind to an API server: their addresses are found as clients find them, by discovery."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.vm.kube.api import APPLY, KubeApi, Object
from proa.vm.support.waiting import until

MANAGER: Final = "proa-vm"
"""Who owns the fields."""
_SERVED_SECONDS: Final = 20.0
"""How long a kind may take to be served after its definition came."""


def apply(api: KubeApi, documents: Iterable[Object]) -> list[Object]:
    """Server-side apply, one after the other, by force; what came of each.

    A custom resource may follow its definition: that it is served is waited for.

    Raises:
        ProaError: ``TOOL`` for a document that is refused, or whose kind is not served.
    """
    paths = Paths(api)
    query = {"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"}
    return [
        api.call("PATCH", paths.of(document), document, query=query, content=APPLY).check().document
        for document in documents
    ]


def delete(api: KubeApi, documents: Iterable[Object]) -> None:
    """Delete what the documents name; what is gone already is no matter.

    Raises:
        ProaError: ``TOOL``.
    """
    paths = Paths(api)
    for document in documents:
        api.delete(paths.of(document))


class Paths:
    """Where the objects of an API server are.

    Args:
        api: The API server.
    """

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._groups: dict[str, dict[str, Object]] = {}

    def of(self, document: Object) -> str:
        """The path of the object that a document is about.

        Raises:
            ProaError: ``TOOL`` when its kind is not served.
        """
        version, kind, metadata = document["apiVersion"], document["kind"], document["metadata"]
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        try:
            resource = until(lambda: self._resource(base, kind), f"{kind} of {version} to be served", _SERVED_SECONDS)
        except ProaError as error:
            raise ProaError(Code.TOOL, error.message, at=f"{kind}/{metadata.get('name', '')}") from error
        if resource["namespaced"]:
            base += f"/namespaces/{metadata.get('namespace', 'default')}"
        return f"{base}/{resource['name']}/{metadata['name']}"

    def _resource(self, base: str, kind: str) -> Object | None:
        if kind not in self._groups.get(base, {}):
            found: Object = self._api.find(base) or {"resources": []}
            self._groups[base] = {item["kind"]: item for item in found["resources"] if "/" not in item["name"]}
        return self._groups[base].get(kind)
