"""Etcd's own API (its gateway from JSON to gRPC), to write what the API server would take minutes for."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final, Self, TypeVar

from proa.core.runtime.errors import Code, ProaError
from proa.vm.kube.access import ApiAccess
from proa.vm.kube.api import KubeApi, Object

T = TypeVar("T")
BATCH: Final = 100
"""Values a transaction; etcd takes 128, and 1.5 MB."""
_CONNECTIONS: Final = 4


class Etcd:
    """An etcd.

    Args:
        access: How it is reached.
    """

    def __init__(self, access: ApiAccess) -> None:
        self._api = KubeApi(access, connections=_CONNECTIONS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._api.close()

    def read(self, key: str) -> bytes:
        """The value of a key.

        Raises:
            ProaError: ``NOT_FOUND``; ``TOOL``, ``NETWORK``.
        """
        found = self._call("/v3/kv/range", {"key": _coded(key.encode())}).get("kvs")
        if not found:
            raise ProaError(Code.NOT_FOUND, "etcd does not hold it", at=key)
        return base64.b64decode(found[0]["value"])

    def write(self, values: Iterable[tuple[str, bytes]]) -> None:
        """Write many values, over several connections.

        Raises:
            ProaError: ``TOOL``, ``NETWORK``.
        """
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            for group in batches(batches(values, BATCH), 4 * _CONNECTIONS):
                list(pool.map(self._put, group))

    def compact(self) -> int:
        """Forget all but what there is now, so that nobody can watch from before; the revision of now.

        Raises:
            ProaError: ``TOOL``, ``NETWORK``.
        """
        revision = int(self._call("/v3/kv/range", {"key": _coded(b"\0")})["header"]["revision"])
        self._call("/v3/kv/compaction", {"revision": str(revision), "physical": True})
        return revision

    def _put(self, values: list[tuple[str, bytes]]) -> None:
        puts = [{"requestPut": {"key": _coded(key.encode()), "value": _coded(value)}} for key, value in values]
        self._call("/v3/kv/txn", {"success": puts})

    def _call(self, path: str, body: Object) -> Object:
        return self._api.call("POST", path, body).check().document


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most ``size``."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def _coded(data: bytes) -> str:
    return base64.b64encode(data).decode()
