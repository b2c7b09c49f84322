"""A repository in a registry, as the OCI distribution specification 1.1 has it: reading. ``upload`` adds writing."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Final, Self

import requests

from proa.core.oci.body import check_range, read_all, read_chunks
from proa.core.oci.failures import safe_url
from proa.core.oci.headers import media_type, next_link
from proa.core.oci.reference import Reference
from proa.core.oci.retry import Patience, Temporary
from proa.core.oci.session import Call, RegistrySession, linked
from proa.core.oci.source import (
    MAX_REFERRERS,
    Descriptor,
    Wanted,
    check_content,
    check_digest,
    digest_of,
    everything,
    read_index,
)
from proa.core.release.document import INDEX_TYPE, MANIFEST_TYPE
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import MAX_DOCUMENT

_ACCEPT: Final = {"Accept": f"{MANIFEST_TYPE}, {INDEX_TYPE}"}
_MAX_PAGES: Final = 64
_NO_API: Final = (400, 404, 405, 406, 501)
_NETWORK: Final = frozenset(
    {Code.AUTH, Code.AUTH_FILE, Code.REGISTRY, Code.NETWORK, Code.RELEASE, Code.NOT_FOUND, Code.DIGEST}
)
"""What an endpoint may come to that a registry need not have."""
_OK: Final = 200
_BAD_COPIES: Final = 3


class RemoteRepository:
    """A repository as a :class:`proa.core.oci.source.Source`.

    Args:
        reference: Host and name, and what is meant in it.
        session: HTTP with that host.
        only_ranges: Whether a registry that answers a request for a part with the whole blob is refused.
    """

    def __init__(self, reference: Reference, session: RegistrySession, *, only_ranges: bool = False) -> None:
        self._only_ranges = only_ranges
        self.reference = reference
        self.session = session
        self.url = f"{session.base}/v2/{reference.name}"
        self.ranges = True
        """Whether the registry answers range requests, as far as is known."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """See :class:`proa.core.oci.source.Source`."""
        self.session.close()

    def turn(self) -> AbstractContextManager[RemoteRepository]:
        """See :class:`proa.core.oci.source.Source`; there is only this place."""
        return nullcontext(self)

    def resolve(self) -> str:
        """See :class:`proa.core.oci.source.Source`. Without tag and digest, the tag ``latest``."""
        if self.reference.digest:
            return self.reference.digest
        url = f"{self.url}/manifests/{self.reference.tag or 'latest'}"
        try:
            digest = self._head_digest(url)
            if digest:
                return digest
            data = self._document(Call("GET", url, _ACCEPT))
        except ProaError as error:
            if error.code is not Code.AUTH or not self._may_read():
                raise
            data = None
        if data is None:
            raise ProaError(Code.NOT_FOUND, at=self.reference)
        return digest_of(data)

    def manifest(self, digest: str) -> bytes:
        """See :class:`proa.core.oci.source.Source`."""
        url = f"{self.url}/manifests/{check_digest(digest, self.reference)}"
        data = self._document(Call("GET", url, _ACCEPT), digest)
        if data is None:
            raise ProaError(Code.NOT_FOUND, "the registry does not have this manifest", at=safe_url(url))
        return data

    def referrers(self, digest: str, wanted: Wanted = everything) -> list[Descriptor]:
        """See :class:`proa.core.oci.source.Source`.

        The index at the fallback tag is read where the registry has no referrers API, and also where that
        lists nothing that is wanted: the registry may have learnt it after the signature came (distribution-spec,
        "Unavailable Referrers API"). The API is optional, so however it fails, the tag is asked before that counts.
        """
        check_digest(digest, self.reference)
        try:
            listed = self._referrers_api(digest, wanted) or self._listed_at_tag(digest, wanted)
        except ProaError as refusal:
            if refusal.code not in _NETWORK:
                raise
            listed = self._instead_of_api(refusal, digest, wanted)
        return list({entry.digest: entry for entry in listed}.values())[:MAX_REFERRERS]

    def _instead_of_api(self, refusal: ProaError, digest: str, wanted: Wanted) -> list[Descriptor]:
        """What the fallback tag lists.

        Raises:
            ProaError: The API's own error, with what came of the tag, where that lists nothing.
        """
        tag = digest.replace(":", "-")
        try:
            if listed := self._listed_at_tag(digest, wanted):
                return listed
            outcome = f"the tag {tag} lists none"
        except ProaError as error:
            outcome = f"the tag {tag}: {error.message}"
        what = f"signatures could not be looked up: {refusal.message}; {outcome}"
        raise ProaError(refusal.code, what, at=refusal.at, hint=refusal.hint) from refusal

    def _listed_at_tag(self, digest: str, wanted: Wanted) -> list[Descriptor]:
        try:
            return [entry for entry in self.fallback_index(digest) if wanted(entry)]
        except ProaError as error:
            if error.code is Code.AUTH:  # some registries deny what they do not have; the release could be read
                return []
            raise

    def fallback_index(self, digest: str) -> list[Descriptor]:
        """The entries of the index at the tag ``sha256-<hex>``; none if there is no such tag."""
        data = self._document(Call("GET", self.fallback_url(digest), {"Accept": INDEX_TYPE}))
        return [] if data is None else read_index(data, safe_url(self.fallback_url(digest)))

    def fallback_url(self, digest: str) -> str:
        """Where the index of referrers is without a referrers API (distribution-spec, "Referrers Tag Schema")."""
        return f"{self.url}/manifests/{digest.replace(':', '-')}"

    def blob(self, digest: str, size: int, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See :class:`proa.core.oci.source.Source`. Cut connections are taken up where they broke."""
        stop = size if end is None else end
        if not 0 <= start <= stop <= size:
            raise ValueError(f"bytes {start} to {stop} are not a range of {size} bytes")
        url = f"{self.url}/blobs/{check_digest(digest, self.reference)}"
        hasher = hashlib.sha256() if stop - start == size else None
        patience = self.session.patience(stop - start)
        done = start
        while done < stop:
            try:
                with closing(self._part(url, size, done, stop, patience)) as chunks:
                    for chunk in chunks:
                        done += len(chunk)
                        if hasher:
                            hasher.update(chunk)
                        yield chunk
                if done < stop:
                    cut = ProaError(Code.NETWORK, f"the connection ended at byte {done} of {stop}", at=safe_url(url))
                    raise Temporary(cut)
            except Temporary as failure:
                patience.wait(failure)
        if hasher and f"sha256:{hasher.hexdigest()}" != digest:
            raise ProaError(Code.DIGEST, f"{size} bytes do not match {digest}", at=safe_url(url))

    def small_blob(self, digest: str, size: int) -> bytes:
        """See :class:`proa.core.oci.source.Source`. A bad copy may come from one of many caches: it is asked again."""
        for copy in range(1, _BAD_COPIES + 1):
            try:
                return b"".join(self.blob(digest, size))
            except ProaError as error:
                if error.code is not Code.DIGEST or copy == _BAD_COPIES:
                    raise
        raise AssertionError

    def _head_digest(self, url: str) -> str:
        """The digest that the registry says a tag has; empty if it does not say."""
        patience = self.session.patience()

        def head() -> str:
            with self.session.exchange(Call("HEAD", url, _ACCEPT), patience) as response:
                told = response.headers.get("Docker-Content-Digest") if response.status_code == _OK else ""
            try:
                return check_digest(told)
            except ProaError:
                return ""

        return patience.keep_trying(head)

    def _may_read(self) -> bool:
        """Whether the repository may be read, so that a registry which denies a tag in it does not have that."""
        try:
            response, _ = self._get(Call("GET", f"{self.url}/tags/list?n=1", understood=()), kind="none/none")
        except ProaError:
            return False
        return response.status_code == _OK

    def _document(self, call: Call, digest: str = "") -> bytes | None:
        """A manifest or index, whole; None if it is not there."""
        response, data = self._get(call, digest=digest)
        return data if response.status_code == _OK else None

    def _get(self, call: Call, *, kind: str = "", digest: str = "") -> tuple[requests.Response, bytes]:
        """An answer and its body, whole; no body for an error that the call understands.

        Args:
            call: What is asked for.
            kind: A media type; of a body of another type nothing is read.
            digest: What the body must match. A bad copy may come from one of many caches: it is asked for again.
        """
        patience = self.session.patience()

        def get() -> tuple[requests.Response, bytes]:
            with self.session.exchange(call, patience) as response:
                of_kind = kind in ("", media_type(response.headers.get("Content-Type")))
                if response.status_code != _OK or not of_kind:
                    return response, b""
                data = read_all(response, MAX_DOCUMENT, patience, call.url)
            try:
                return response, check_content(data, digest, safe_url(call.url)) if digest else data
            except ProaError as error:
                raise Temporary(error) from error

        return patience.keep_trying(get)

    def _referrers_api(self, digest: str, wanted: Wanted) -> list[Descriptor]:
        """What the API lists of the wanted, page by page; nothing where there is none: some answer any path.

        Raises:
            ProaError: ``AUTH``, ``REGISTRY``, ``NETWORK`` or ``RELEASE``.
        """
        url = f"{self.url}/referrers/{digest}"
        listed: list[Descriptor] = []
        for _ in range(_MAX_PAGES):
            call = Call("GET", url, {"Accept": INDEX_TYPE}, understood=_NO_API)
            response, data = self._get(call, kind=INDEX_TYPE)
            if not data:
                break
            listed += [entry for entry in read_index(data, safe_url(url)) if wanted(entry)]
            following = next_link(response.headers.get("Link"))
            if not following or len(listed) >= MAX_REFERRERS:
                break
            url = linked(str(response.url), following)
        return listed

    def _part(self, url: str, size: int, start: int, stop: int, patience: Patience) -> Generator[bytes, None, None]:
        """What one connection gives of the bytes from ``start`` to before ``stop``."""
        whole = start == 0 and stop == size
        headers = {} if whole else {"Range": f"bytes={start}-{stop - 1}"}
        patience.connected()
        with self.session.exchange(Call("GET", url, headers), patience) as response:
            if response.status_code in (404, 405):
                raise ProaError(Code.NOT_FOUND, "the registry does not have this blob", at=safe_url(url))
            skip, length = check_range(response, size, start, stop, url)
            if skip and self._only_ranges:
                raise ProaError(Code.REGISTRY, "it answers no requests for parts of a blob", at=safe_url(url))
            if skip:
                self.ranges = False
            position, last = start - skip, start - skip + length
            for chunk in read_chunks(response, length, patience, url):
                wanted = chunk[max(0, start - position) : max(0, stop - position)]
                position += len(chunk)
                if wanted:
                    yield wanted
                if stop <= position < last:
                    return
