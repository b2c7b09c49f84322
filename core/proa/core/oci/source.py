"""Where releases are read from and written to: one interface for registries and OCI layout folders.

Words are those of the OCI image and distribution specifications 1.1: a *descriptor* names content by media
type, digest and size; a *referrer* is a manifest whose ``subject`` is another manifest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, Self

from proa.core.oci.headers import media_type
from proa.core.oci.reference import Reference
from proa.core.release.document import INDEX_TYPE, MANIFEST_TYPE, Blob
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors
from proa.core.runtime.json_text import load_json

CHUNK: Final = 256 * 1024
"""Bytes that are read from a file at a time."""
EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"
"""Media type of the config that says nothing (image-spec ``manifest.md``, "Guidance for an Empty Descriptor")."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
_MAX_SIZE: Final = 1 << 45
_MAX_ENTRIES: Final = 4096
MAX_REFERRERS: Final = 1024
"""Referrers of one manifest that are looked at, after those that nobody wants were left aside."""


@dataclass(frozen=True)
class Descriptor:
    """A description of content: media type, digest (``sha256:...``) and size in bytes."""

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The descriptor as JSON keys and values (image-spec ``descriptor.md``)."""
        document: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.artifact_type:
            document["artifactType"] = self.artifact_type
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return document


@dataclass(frozen=True)
class Payload:
    """Content to push, with a known digest and size; it can be read several times, for retries."""

    digest: str
    size: int
    chunks: Callable[[], Iterable[bytes]]

    @classmethod
    def of(cls, content: bytes | Path | Payload) -> Payload:
        """The payload that bytes or a file are.

        Raises:
            ProaError: ``FILE_MISSING`` or ``DEVICE``.
        """
        if isinstance(content, Payload):
            return content
        if isinstance(content, bytes):
            return cls(digest_of(content), len(content), lambda: (content,))
        return cls.of_file(content, blob_of(content))

    @classmethod
    def of_file(cls, path: Path, blob: Blob) -> Payload:
        """The payload that a file is, its digest and size being known."""
        return cls(blob.digest, blob.size, lambda: _file_chunks(path))

    @property
    def blob(self) -> Blob:
        """Its digest and size."""
        return Blob(self.digest, self.size)


Wanted = Callable[[Descriptor], bool]
"""Whether an entry of a list of referrers is one that somebody looks for."""


def everything(_: Descriptor) -> bool:
    """Every referrer is wanted."""
    return True


class Source(Protocol):
    """A registry's repository or an OCI layout folder. Close it after use, or use it in a ``with``."""

    @property
    def reference(self) -> Reference:
        """What was opened."""
        ...

    @property
    def ranges(self) -> bool:
        """Whether parts of a blob can be asked for, as far as is known; else what lies before them is read too."""
        ...

    def resolve(self) -> str:
        """The manifest digest that the reference means now.

        Raises:
            ProaError: ``NOT_FOUND``, ``AUTH``, ``REGISTRY`` or ``NETWORK``, as every method here may.
        """
        ...

    def manifest(self, digest: str) -> bytes:
        """A manifest's bytes: at most ``MAX_DOCUMENT`` of them, and matching the digest.

        Raises:
            ProaError: ``DIGEST``.
        """
        ...

    def referrers(self, digest: str, wanted: Wanted = everything) -> list[Descriptor]:
        """The manifests whose subject is ``digest``, of them the wanted, and of those at most ``MAX_REFERRERS``."""
        ...

    def blob(self, digest: str, size: int, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """A blob's bytes from ``start`` to before ``end``, in chunks of any length.

        Never more than asked for. When the whole blob is read its digest is checked after the last chunk;
        of a part, or before the iterator ends, nothing is verified.

        Args:
            digest: The blob's digest.
            size: The blob's signed size in bytes, a hard cap.
            start: The first byte.
            end: The byte after the last one; the blob's end if None.

        Raises:
            ProaError: ``DIGEST`` when size or digest are not the signed ones.
        """
        ...

    def small_blob(self, digest: str, size: int) -> bytes:
        """A whole blob, verified, in memory."""
        ...

    def turn(self) -> AbstractContextManager[Source]:
        """One of the places that have this content, for a block that reads from it and checks what it reads.

        What fails in the block is charged to that place. While there is another one it is no error, and the block is to
        be entered again for what it did not get; else it is raised.
        """
        ...

    def close(self) -> None:
        """Close all connections; closing twice is harmless."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Target(Source, Protocol):
    """A source that can be written to."""

    def push_blob(self, content: bytes | Path | Payload) -> Blob:
        """Put a blob there unless it is there already."""
        ...

    def push_manifest(self, data: bytes, tag: str = "") -> str:
        """Put a manifest there, under its digest and, if given, a tag; returns its digest.

        A manifest with a ``subject`` is listed as a referrer from then on.
        """
        ...


def digest_of(data: bytes) -> str:
    """The digest of bytes, as ``sha256:...``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def blob_of(path: Path) -> Blob:
    """The digest and size of a file.

    Raises:
        ProaError: ``FILE_MISSING`` or ``DEVICE``.
    """
    with os_errors(path), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Blob(f"sha256:{digest}", file.tell())


def check_digest(text: Any, at: object = "") -> str:
    """The digest, if it is a SHA-256 one: no other is used here.

    Raises:
        ProaError: ``RELEASE``.
    """
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise ProaError(Code.RELEASE, f"{str(text)[:80]!r} is not a SHA-256 digest", at=at)
    return text


def check_content(data: bytes, digest: str, at: object = "") -> bytes:
    """The data, if it has the digest.

    Raises:
        ProaError: ``DIGEST``.
    """
    if digest_of(data) != digest:
        raise ProaError(Code.DIGEST, f"{len(data)} bytes do not match {digest}", at=at)
    return data


def read_descriptor(value: Any, at: object = "") -> Descriptor:
    """A descriptor from parsed JSON.

    Raises:
        ProaError: ``RELEASE``.
    """
    if not isinstance(value, dict):
        raise ProaError(Code.RELEASE, "a descriptor is not an object", at=at)
    kind, size = value.get("mediaType"), value.get("size")
    if not isinstance(kind, str) or not _MEDIA_TYPE.fullmatch(media_type(kind)):
        raise ProaError(Code.RELEASE, f"{str(kind)[:80]!r} is not a media type", at=at)
    if type(size) is not int or not 0 <= size <= _MAX_SIZE:
        raise ProaError(Code.RELEASE, f"{str(size)[:40]} is not a size", at=at)
    artifact_type, annotations = value.get("artifactType", ""), value.get("annotations") or {}
    if not isinstance(artifact_type, str) or not isinstance(annotations, dict):
        raise ProaError(Code.RELEASE, "a descriptor's artifactType or annotations are malformed", at=at)
    texts = {key: text for key, text in annotations.items() if isinstance(text, str)}
    return Descriptor(media_type(kind), check_digest(value.get("digest"), at), size, media_type(artifact_type), texts)


def read_index(data: bytes, at: object = "") -> list[Descriptor]:
    """The entries of an OCI image index; malformed ones are left out, since anybody may have put them there.

    Raises:
        ProaError: ``RELEASE`` when it is no index at all.
    """
    document = load_json(data, Code.RELEASE, at)
    entries = document.get("manifests")
    if media_type(str(document.get("mediaType", INDEX_TYPE))) != INDEX_TYPE or not isinstance(entries, list):
        raise ProaError(Code.RELEASE, "not an OCI image index", at=at)
    found = []
    for entry in entries[:_MAX_ENTRIES]:
        try:
            found.append(read_descriptor(entry, at))
        except ProaError:
            continue
    return found


def write_index(entries: Iterable[Descriptor]) -> bytes:
    """An OCI image index with these entries."""
    manifests = [entry.document() for entry in entries]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}, indent=1).encode()


def describe_manifest(data: bytes) -> tuple[Descriptor, str]:
    """A manifest's own descriptor, as an index or a referrers list has it, and the digest of its subject or "".

    The artifact type is the manifest's, else its config's media type (distribution-spec, "Listing Referrers").

    Raises:
        ProaError: ``RELEASE``.
    """
    document = load_json(data, Code.RELEASE)
    subject = document.get("subject")
    config = document.get("config")
    artifact_type = document.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else "")
    own = {
        "mediaType": document.get("mediaType", MANIFEST_TYPE),
        "digest": digest_of(data),
        "size": len(data),
        "artifactType": artifact_type or "",
        "annotations": document.get("annotations"),
    }
    return read_descriptor(own), read_descriptor(subject).digest if subject else ""


def _file_chunks(path: Path) -> Iterator[bytes]:
    with os_errors(path), path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
