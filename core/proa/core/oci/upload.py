"""Writing to a registry's repository: no node does. oras knows the protocol; requests go by our own session's rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import requests
from oras.container import Container
from oras.provider import Registry

from proa.core.oci.failures import safe_url
from proa.core.oci.remote import RemoteRepository
from proa.core.oci.session import Call, linked
from proa.core.oci.source import Descriptor, Payload, describe_manifest, write_index
from proa.core.release.document import INDEX_TYPE, Blob
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.printable import one_line

Result = TypeVar("Result")
_ROUNDS: Final = 3
_BINARY: Final = "application/octet-stream"


class WritableRepository(RemoteRepository):
    """A repository as a :class:`proa.core.oci.source.Target`."""

    def push_blob(self, content: bytes | Path | Payload) -> Blob:
        """See :class:`proa.core.oci.source.Target`."""
        return Uploader(self).push_blob(Payload.of(content))

    def push_manifest(self, data: bytes, tag: str = "") -> str:
        """See :class:`proa.core.oci.source.Target`."""
        return Uploader(self).push_manifest(data, tag)


class Uploader(Registry):  # type: ignore[misc] # oras has no type information
    """oras's client for one repository, its requests made by :class:`proa.core.oci.session.RegistrySession`."""

    def __init__(self, repository: RemoteRepository) -> None:
        self._repository = repository
        self._session = repository.session
        self._patience = self._session.patience()
        host = self._session.base.partition("://")[2]
        super().__init__(hostname=host, insecure=self._session.base.startswith("http:"))
        self._container = Container("name", registry=host)  # parsed, a name like a.b/c would pass for a host
        self._container.repository = repository.reference.name

    def push_blob(self, payload: Payload) -> Blob:
        """See :class:`proa.core.oci.source.Target`; after a failure the whole blob is sent again."""
        layer = {"digest": payload.digest, "size": payload.size}

        def push() -> None:
            if not self.blob_exists(layer, self._container):
                _expect(self.put_upload(payload, self._container, layer), 201)

        self._keep_trying(push, payload.size)
        return payload.blob

    def push_manifest(self, data: bytes, tag: str = "") -> str:
        """See :class:`proa.core.oci.source.Target`; the bytes go as they are, their digest is what was signed.

        Where the registry does not say that it listed the manifest as a referrer, the index at the fallback tag
        is brought up to date (distribution-spec, "Pushing Manifests with Subject").
        """
        own, subject = describe_manifest(data)
        response = self._put(data, own.media_type, tag or own.digest)
        if subject and response.headers.get("OCI-Subject") != subject:
            self._list_as_referrer(own, subject)
        return own.digest

    def put_upload(self, blob: Payload, container: Container, layer: dict[str, Any]) -> requests.Response:
        """POST, then PUT: as oras does it, but streamed, where oras reads the whole file into memory."""
        start = self.do_request(f"{self.prefix}://{container.upload_blob_url()}", "POST")
        _expect(start, 202)
        location = start.headers.get("Location", "")
        if not location:
            raise ProaError(Code.REGISTRY, "the registry named no place for the upload", at=self._repository.url)
        url = linked(str(start.request.url), location).partition("#")[0]  # as it was sent: it may be signed
        url += f"{'&' if '?' in url else '?'}{urlencode({'digest': layer['digest']})}"
        call = Call("PUT", url, {"Content-Type": _BINARY}, blob.chunks, blob.size)
        return self._exchange(call)

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        json: dict[str, Any] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Every request of oras's, without its own waits and without limits that it does not have."""
        body = None if data is None else lambda: (data,)
        return self._exchange(Call(method, url, headers or {}, body, len(data or b"")))

    def _exchange(self, call: Call) -> requests.Response:
        with self._session.exchange(call, self._patience) as response:
            return response

    def _keep_trying(self, action: Callable[[], Result], size: int) -> Result:
        self._patience = self._session.patience(size)
        return self._patience.keep_trying(action)

    def _put(self, data: bytes, media_type: str, name: str) -> requests.Response:
        url = f"{self.prefix}://{self._container.manifest_url(name)}"

        def put() -> requests.Response:
            response = self.do_request(url, "PUT", data, {"Content-Type": media_type})
            _expect(response, 201)
            return response

        return self._keep_trying(put, len(data))

    def _list_as_referrer(self, entry: Descriptor, subject: str) -> None:
        """Add to the fallback index, and look whether it stayed: somebody else may write it at the same time."""
        for _ in range(_ROUNDS):
            listed = self._repository.fallback_index(subject)
            if any(known.digest == entry.digest for known in listed):
                return
            self._put(write_index([*listed, entry]), INDEX_TYPE, subject.replace(":", "-"))
        if all(known.digest != entry.digest for known in self._repository.fallback_index(subject)):
            raise ProaError(
                Code.REGISTRY,
                "the registry does not keep additions to the index of signatures",
                at=self._repository.url,
            )


def _expect(response: requests.Response, status: int) -> None:
    if response.status_code != status:
        request = response.request
        what = f"the registry answered {response.status_code} to {one_line(str(request.method))}, not {status}"
        raise ProaError(Code.REGISTRY, what, at=safe_url(str(request.url)))
