"""Releases in a folder: the OCI image layout (image-spec ``image-layout.md``), for builds and air-gapped sites."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, Final, Self

from proa.core.oci.reference import Reference
from proa.core.oci.source import (
    CHUNK,
    MAX_REFERRERS,
    Descriptor,
    Payload,
    Wanted,
    check_content,
    check_digest,
    describe_manifest,
    everything,
    read_index,
    write_index,
)
from proa.core.release.document import MANIFEST_TYPE, Blob
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import fsync_folder, os_errors, replace
from proa.core.runtime.json_text import MAX_DOCUMENT
from proa.core.runtime.printable import one_line

TAG: Final = "org.opencontainers.image.ref.name"
"""The annotation that is a tag in ``index.json`` (image-spec ``annotations.md``)."""
_MARK: Final = {"imageLayoutVersion": "1.0.0"}
_UNREADABLE: Final = frozenset({Code.NOT_FOUND, Code.DIGEST, Code.RELEASE})


class LayoutDir:
    """An OCI layout folder as a :class:`proa.core.oci.source.Source`.

    Args:
        reference: A reference with ``layout`` set.
    """

    def __init__(self, reference: Reference) -> None:
        if reference.layout is None:
            raise ProaError(Code.REFERENCE, "not a layout folder", at=reference)
        self.reference = reference
        self.folder = reference.layout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """See :class:`proa.core.oci.source.Source`; there is nothing to give back."""

    @property
    def ranges(self) -> bool:
        """See :class:`proa.core.oci.source.Source`."""
        return True

    def turn(self) -> AbstractContextManager[LayoutDir]:
        """See :class:`proa.core.oci.source.Source`; there is only this place."""
        return nullcontext(self)

    def resolve(self) -> str:
        """See :class:`proa.core.oci.source.Source`. Without a tag the folder must hold exactly one tagged release."""
        if self.reference.digest:
            return self.reference.digest
        entries = [entry for entry in self._entries() if entry.annotations.get(TAG)]
        tags = sorted({entry.annotations[TAG] for entry in entries})
        if self.reference.tag:
            entries = [entry for entry in entries if entry.annotations[TAG] == self.reference.tag]
        digests = {entry.digest for entry in entries}
        if len(digests) == 1:
            return digests.pop()
        there = f"it holds: {one_line(', '.join(tags)) or 'nothing'}"
        if not self.reference.tag and len(digests) > 1:
            raise ProaError(Code.REFERENCE, f"the folder holds several releases; {there}", at=self.reference)
        raise ProaError(Code.NOT_FOUND, f"the folder does not have this tag; {there}", at=self.reference)

    def manifest(self, digest: str) -> bytes:
        """See :class:`proa.core.oci.source.Source`."""
        return check_content(self._read(self._path(digest), MAX_DOCUMENT), digest, self._path(digest))

    def referrers(self, digest: str, wanted: Wanted = everything) -> list[Descriptor]:
        """See :class:`proa.core.oci.source.Source`. Neighbours that are gone or damaged say nothing about others."""
        found = []
        for entry in self._entries():
            if entry.media_type != MANIFEST_TYPE or entry.digest == digest:
                continue
            try:
                own, subject = describe_manifest(self.manifest(entry.digest))
            except ProaError as error:
                if error.code not in _UNREADABLE:
                    raise
                continue
            if subject == digest and wanted(own):
                found.append(own)
        return list({entry.digest: entry for entry in found}.values())[:MAX_REFERRERS]

    def blob(self, digest: str, size: int, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See :class:`proa.core.oci.source.Source`."""
        stop = size if end is None else end
        if not 0 <= start <= stop <= size:
            raise ValueError(f"bytes {start} to {stop} are not a range of {size} bytes")
        path = self._path(digest)
        hasher = hashlib.sha256() if stop - start == size else None
        with self._open(path) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size != size:
                raise ProaError(Code.DIGEST, f"the file has {status.st_size} bytes, but {size} are signed", at=path)
            file.seek(start)
            left = stop - start
            while left:
                with os_errors(path):
                    chunk = file.read(min(CHUNK, left))
                if not chunk:
                    raise ProaError(Code.DIGEST, f"the file ends {left} bytes early", at=path)
                left -= len(chunk)
                if hasher:
                    hasher.update(chunk)
                yield chunk
        if hasher and f"sha256:{hasher.hexdigest()}" != digest:
            raise ProaError(Code.DIGEST, f"the file does not match {digest}", at=path)

    def small_blob(self, digest: str, size: int) -> bytes:
        """See :class:`proa.core.oci.source.Source`."""
        return b"".join(self.blob(digest, size))

    def push_blob(self, content: bytes | Path | Payload) -> Blob:
        """See :class:`proa.core.oci.source.Source`."""
        payload = Payload.of(content)
        path = self._path(payload.digest)
        with os_errors(path):
            self._prepare()
            if not path.is_file() or path.stat().st_size != payload.size:
                self._write(path, payload)
        return payload.blob

    def push_manifest(self, data: bytes, tag: str = "") -> str:
        """See :class:`proa.core.oci.source.Source`. A tag moves; what it named before stays as an untagged blob."""
        own, _ = describe_manifest(data)
        self.push_blob(data)
        entry = dataclasses.replace(own, annotations={TAG: tag} if tag else {})
        kept = [old for old in self._entries() if not (tag and old.annotations.get(TAG) == tag)]
        if tag or all(old.digest != entry.digest for old in kept):
            kept = [old for old in kept if old.digest != entry.digest or old.annotations.get(TAG)]
            replace(self.folder / "index.json", write_index([*kept, entry]))
        return own.digest

    def _entries(self) -> list[Descriptor]:
        if not self.folder.is_dir():
            raise ProaError(Code.FILE_MISSING, "the folder does not exist", at=self.folder)
        path = self.folder / "index.json"
        if not path.exists():
            raise ProaError(Code.NOT_FOUND, "the folder is not an OCI layout: it has no index.json", at=self.folder)
        return read_index(self._read(path, MAX_DOCUMENT), path)

    def _path(self, digest: str) -> Path:
        return self.folder / "blobs" / "sha256" / check_digest(digest, self.folder).removeprefix("sha256:")

    def _read(self, path: Path, limit: int) -> bytes:
        with self._open(path) as file, os_errors(path):
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ProaError(Code.RELEASE, f"more than {limit} bytes", at=path)
        return data

    def _open(self, path: Path) -> BinaryIO:
        try:
            # A pipe in the place of a file must not hang the reader.
            return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        except FileNotFoundError as error:
            raise ProaError(Code.NOT_FOUND, "the folder does not have this blob", at=path) from error
        except OSError as error:
            raise ProaError(Code.DEVICE, str(error.strerror), at=path) from error

    def _prepare(self) -> None:
        (self.folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        if not (self.folder / "index.json").exists():
            replace(self.folder / "oci-layout", json.dumps(_MARK).encode())
            replace(self.folder / "index.json", write_index([]))

    def _write(self, path: Path, payload: Payload) -> None:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new.")
        try:
            with os.fdopen(handle, "wb") as file:
                digest = _copy(payload.chunks(), file.write)
                os.fchmod(file.fileno(), 0o644)
                file.flush()
                os.fsync(file.fileno())
            if digest != payload.digest:
                raise ProaError(
                    Code.DIGEST, f"the content changed while it was being copied: it is now {digest}", at=path
                )
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


def _copy(chunks: Iterable[bytes], write: Callable[[bytes], int]) -> str:
    hasher = hashlib.sha256()
    for chunk in chunks:
        hasher.update(chunk)
        write(chunk)
    return f"sha256:{hasher.hexdigest()}"
