"""A release as an OCI artifact: written, signed, copied, and opened in the order that keeps a node safe."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proa.core.artifact import attestations, deltas, signatures
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import Reference
from proa.core.oci.source import Descriptor, Payload, Source, Target, blob_of, digest_of, read_descriptor
from proa.core.release.document import ARTIFACT_TYPE, CONFIG_TYPE, MANIFEST_TYPE, MEDIA_TYPES, Blob, Release, decode
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import SILENT, Monitor, Progress
from proa.core.runtime.json_text import MAX_DOCUMENT, load_json
from proa.core.signing import bundle
from proa.core.signing.keys import Signer
from proa.core.signing.trust import Trust

FILE_NAMES: Final[Mapping[str, str]] = {
    "root": "root.erofs.zst",
    "map": "frames.map",
    "tree": "root.verity.zst",
    "boot": "boot.img.zst",
    "sbom": "sbom.spdx.json",
}
"""What a person who pulls the artifact with a general tool gets as file names."""
MAX_SMALL: Final = 128 << 20
"""Bytes of a blob beyond which it is not read into memory; the map of 256 GiB in frames of 128 KiB has 72 MiB."""
_VERSION: Final = "org.opencontainers.image.version"
_TITLE: Final = "org.opencontainers.image.title"
_CREATED: Final = "org.opencontainers.image.created"


@dataclass(frozen=True)
class OpenedRelease:
    """A release whose signatures, manifest and document are verified, and whose payload has not been read yet.

    Attributes:
        source: Where its blobs are read from.
        manifest_digest: What the signatures are about.
        manifest: The manifest's bytes.
        release: The document.
        signers: The ids of the different trusted keys that signed it; empty if it was opened without trust.
    """

    source: Source
    manifest_digest: str
    manifest: bytes
    release: Release
    signers: tuple[str, ...]

    def blob(self, name: str) -> Blob:
        """Digest and size of ``root``, ``map``, ``tree``, ``boot`` or ``sbom``."""
        return self.release.blobs[name]

    def small(self, name: str) -> bytes:
        """A whole blob, verified, in memory: for ``map`` and ``sbom``.

        Raises:
            ProaError: ``RELEASE`` when it has more than ``MAX_SMALL`` bytes; see :class:`proa.core.oci.source.Source`.
        """
        blob = self.blob(name)
        if blob.size > MAX_SMALL:
            raise ProaError(Code.RELEASE, f"{blob.size} bytes, more than {MAX_SMALL}", at=f"blobs.{name}")
        return self.source.small_blob(blob.digest, blob.size)


def open_release(source: Source, trust: Trust) -> OpenedRelease:
    """Open what ``source`` refers to, and verify each step before any byte after it is used.

    Signatures over the manifest's digest; then the manifest; then the release document; then whether the
    manifest's layers are what the document says.

    Raises:
        ProaError: ``NO_TRUST``, ``UNSIGNED`` or ``SIGNATURE``; ``DIGEST`` or ``RELEASE``; ``NOT_FOUND``, ``AUTH``,
            ``REGISTRY`` or ``NETWORK``.
    """
    digest = source.resolve()
    try:
        signers = trust.check(signatures.bundles(source, digest), digest)
    except ProaError as error:
        if error.code is Code.UNSIGNED:
            source.manifest(digest)  # NOT_FOUND, where no such release is there at all
        raise
    return _read(source, digest, signers)


def inspect_release(source: Source) -> OpenedRelease:
    """Open without checking signatures, for inspection only: never write any of it to a slot.

    Raises:
        ProaError: As :func:`open_release`, but for the first three.
    """
    return _read(source, source.resolve(), ())


def write_release(folder: Path, release: Release, blobs: Mapping[str, Path], tag: str = "") -> str:
    """Put a release into an OCI layout folder, and return the digest of its manifest.

    Equal releases give equal manifests.

    Args:
        folder: The layout folder; made if it is not there.
        release: The document; its ``blobs`` must be what the files hold.
        blobs: The file of each blob, by name.
        tag: The tag; the release's version if none is given.

    Raises:
        ProaError: ``DIGEST`` when a file is not what the document says; ``DEVICE``, ``DISK_FULL``,
            ``FILE_MISSING``.
    """
    with LayoutDir(Reference("", "", layout=folder)) as layout:
        for name in MEDIA_TYPES:
            found = blob_of(blobs[name])
            if found != release.blobs[name]:
                raise ProaError(Code.DIGEST, f"the document describes the blob {name!r} differently", at=blobs[name])
            layout.push_blob(Payload.of_file(blobs[name], found))
        layout.push_blob(release.encode())
        return layout.push_manifest(encode_manifest(release), _as_tag(tag or release.version))


def sign_release(source: Target, manifest_digest: str, signers: Iterable[Signer]) -> list[str]:
    """Sign a manifest with each key that has not signed it yet, and store the signatures beside it.

    Returns:
        The digests of their manifests.

    Raises:
        ProaError: ``SIGNATURE`` when there would be more than anybody looks at; see
            :class:`proa.core.oci.source.Source`.
    """
    wanted = {signer.public.id: signer for signer in signers}
    keys = [signer.public for signer in wanted.values()]
    found = list(signatures.bundles(source, manifest_digest)) if keys else []
    for made in found:
        wanted.pop(bundle.verify(made, manifest_digest, keys) or "", None)
    if wanted and len(found) + len(wanted) > bundle.MAX_SIGNATURES:
        text = f"it has {len(found)} signatures; only {bundle.MAX_SIGNATURES} of them are checked"
        raise ProaError(Code.SIGNATURE, text, at=manifest_digest)
    made_now = [bundle.sign(manifest_digest, signer) for signer in wanted.values()]
    return [signatures.attach(source, manifest_digest, signature) for signature in made_now]


def copy_release(source: Source, target: Target, tag: str = "", monitor: Monitor = SILENT) -> str:
    """Copy a release with its signatures, attestations and deltas, byte for byte, and return the manifest's digest.

    The tag is set last: a client that follows it finds all of it, and signed. Blobs stream through memory.

    Args:
        source: Whence. Nothing is believed of it but the digests.
        target: Where to.
        tag: The tag there; that of the target's reference if none is given, else the release's version.
        monitor: Where progress is told.

    Raises:
        ProaError: See :class:`proa.core.oci.source.Source`.
    """
    opened = inspect_release(source)
    descriptors = _content(opened.manifest)
    total, done = sum(item.size for item in descriptors), 0
    for item in descriptors:
        target.push_blob(_payload(source, item, monitor, done, total))
        done += item.size
        monitor.emit(Progress("push", done, total))
    target.push_manifest(opened.manifest)
    signatures.copy(source, target, opened.manifest_digest)
    attestations.copy(source, target, opened.manifest_digest)
    deltas.copy(source, target, opened.manifest_digest)
    return target.push_manifest(opened.manifest, _as_tag(tag or target.reference.tag or opened.release.version))


def encode_manifest(release: Release) -> bytes:
    """The OCI image manifest of a release (image-spec ``manifest.md``); equal releases give equal bytes."""
    document = release.encode()
    layers = [
        Descriptor(media_type, blob.digest, blob.size, annotations={_TITLE: FILE_NAMES[name]}).document()
        for name, media_type in MEDIA_TYPES.items()
        for blob in [release.blobs[name]]
    ]
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": Descriptor(CONFIG_TYPE, digest_of(document), len(document)).document(),
        "layers": layers,
        "annotations": {_TITLE: release.name, _VERSION: release.version, _CREATED: release.created},
    }
    return json.dumps(manifest, indent=1).encode()


def _read(source: Source, digest: str, signers: tuple[str, ...]) -> OpenedRelease:
    manifest = source.manifest(digest)
    config, layers = _parse_manifest(manifest, f"{source.reference.repository or source.reference.layout}@{digest}")
    release = decode(source.small_blob(config.digest, config.size))
    for name, media_type in MEDIA_TYPES.items():
        if layers[media_type] != release.blobs[name]:
            raise ProaError(Code.RELEASE, "the manifest and the document do not match", at=f"blobs.{name}")
    return OpenedRelease(source, digest, manifest, release, signers)


def _parse_manifest(data: bytes, at: str) -> tuple[Descriptor, dict[str, Blob]]:
    """The config's descriptor and, by media type, the layers of a release's manifest.

    Layers of types that are not known are left aside: the document's ``critical`` says what a reader must know.
    """
    document = load_json(data, Code.RELEASE, at)
    expected = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "artifactType": ARTIFACT_TYPE}
    if any(document.get(key) != value for key, value in expected.items()):
        raise ProaError(Code.RELEASE, "the manifest is not that of a Proa release", at=at)
    config = read_descriptor(document.get("config"), at)
    if config.media_type != CONFIG_TYPE or not 0 < config.size <= MAX_DOCUMENT:
        raise ProaError(Code.RELEASE, "the manifest's config is not a release document, or is too large", at=at)
    found: dict[str, Blob] = {}
    for layer in _layers(document, at):
        if layer.media_type in MEDIA_TYPES.values():
            if layer.media_type in found:
                raise ProaError(Code.RELEASE, f"two layers have the type {layer.media_type}", at=at)
            found[layer.media_type] = Blob(layer.digest, layer.size)
    missing = [media_type for media_type in MEDIA_TYPES.values() if media_type not in found]
    if missing:
        raise ProaError(Code.RELEASE, f"no layer has the type {missing[0]}", at=at)
    return config, found


def _layers(document: Mapping[str, Any], at: str) -> Sequence[Descriptor]:
    layers = document.get("layers")
    if not isinstance(layers, list):
        raise ProaError(Code.RELEASE, "the manifest has no layers", at=at)
    return [read_descriptor(layer, at) for layer in layers]


def _content(manifest: bytes) -> list[Descriptor]:
    document = load_json(manifest, Code.RELEASE)
    return [*_layers(document, "manifest"), read_descriptor(document.get("config"))]


def _payload(source: Source, item: Descriptor, monitor: Monitor, before: int, total: int) -> Payload:
    def chunks() -> Iterable[bytes]:
        done = before
        for chunk in source.blob(item.digest, item.size):
            yield chunk
            done += len(chunk)
            monitor.emit(Progress("push", done, total))

    return Payload(item.digest, item.size, chunks)


def _as_tag(text: str) -> str:
    """A version as a tag: what a tag cannot hold becomes ``_`` (distribution-spec, "Pulling manifests")."""
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in text)[:128]
