"""Deltas: each an artifact of its own whose subject is the newer release, signed as releases are.

They come later than the release, and may be deleted at any time: a node that finds none fetches frames.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proa.core.artifact import signatures
from proa.core.oci.source import (
    Descriptor,
    Payload,
    Source,
    Target,
    blob_of,
    describe_manifest,
    digest_of,
    read_descriptor,
)
from proa.core.release.delta import ARTIFACT_TYPE, MEDIA_TYPES, Delta, check_pair, decode
from proa.core.release.document import MANIFEST_TYPE, Release
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import MAX_DOCUMENT, load_json
from proa.core.signing import bundle
from proa.core.signing.keys import Signer
from proa.core.signing.trust import Trust

OLD: Final = "io.proa.delta.old"
"""The annotation with the root hash of the older release."""
MAX_DELTAS: Final = 64
"""Deltas of one release that are copied."""
MAX_TRIED: Final = 4
"""Deltas for one older release that are looked at: there is one, unless somebody made it anew."""
_UNREADABLE: Final = frozenset({Code.NOT_FOUND, Code.DIGEST, Code.RELEASE, Code.DELTA, Code.SIGNATURE, Code.UNSIGNED})


@dataclass(frozen=True)
class OpenedDelta:
    """A delta whose signatures, manifest and document are verified.

    Attributes:
        digest: The digest of its manifest.
        delta: The document.
    """

    digest: str
    delta: Delta


def open_deltas(
    source: Source, manifest_digest: str, release: Release, old: tuple[str, int], trust: Trust
) -> Iterator[OpenedDelta | ProaError]:
    """The deltas between two releases, each of them verified, or why it is refused.

    Args:
        source: Where the newer release is.
        manifest_digest: Its manifest.
        release: The newer release.
        old: Root hash and size of the older root.
        trust: Whose signatures a delta must have, too.

    Raises:
        ProaError: ``AUTH``, ``REGISTRY`` or ``NETWORK``.
    """
    for entry in source.referrers(manifest_digest, lambda one: _is_from(one, old[0]))[:MAX_TRIED]:
        try:
            yield _open(source, entry.digest, manifest_digest, release, old, trust)
        except ProaError as error:
            if error.code not in _UNREADABLE:
                raise
            yield error


def _is_from(entry: Descriptor, old: str) -> bool:
    return entry.artifact_type == ARTIFACT_TYPE and entry.annotations.get(OLD) == old


def _open(
    source: Source, digest: str, subject: str, release: Release, old: tuple[str, int], trust: Trust
) -> OpenedDelta:
    """Signatures over the manifest's digest, the manifest, the document, and whether they say the same."""
    trust.check(signatures.bundles(source, digest), digest)
    config, layers, about = _parts(source.manifest(digest))
    if about != subject:
        raise ProaError(Code.DELTA, "it is attached to another release", at="subject")
    delta = decode(source.small_blob(config.digest, config.size))
    check_pair(delta, old, release)
    told = [(layer.media_type, layer.digest, layer.size) for layer in layers]
    if told != [(kind, delta.blobs[name].digest, delta.blobs[name].size) for name, kind in MEDIA_TYPES.items()]:
        raise ProaError(Code.DELTA, "the manifest and the document do not match", at="blobs")
    return OpenedDelta(digest, delta)


def _parts(manifest: bytes) -> tuple[Descriptor, list[Descriptor], str]:
    """Config and layers of a delta's manifest, and the digest of its subject."""
    found = load_json(manifest, Code.DELTA)
    config, layers = read_descriptor(found.get("config")), found.get("layers")
    if not isinstance(layers, list) or len(layers) != len(MEDIA_TYPES) or not 0 < config.size <= MAX_DOCUMENT:
        raise ProaError(Code.DELTA, "the manifest is not that of a delta")
    return config, [read_descriptor(layer) for layer in layers], describe_manifest(manifest)[1]


def attach(
    target: Target, manifest_digest: str, delta: Delta, blobs: Mapping[str, Path], signers: Iterable[Signer]
) -> str:
    """Store a delta beside the release that it leads to, signed; returns the digest of its manifest.

    Args:
        target: Where the newer release is.
        manifest_digest: Its manifest.
        delta: The document.
        blobs: The files of index and units.
        signers: Whose word it is.

    Raises:
        ProaError: As :meth:`proa.core.oci.source.Target.push_manifest`.
    """
    subject, _ = describe_manifest(target.manifest(manifest_digest))
    text = delta.encode()
    target.push_blob(text)
    for name in MEDIA_TYPES:
        target.push_blob(Payload.of_file(blobs[name], blob_of(blobs[name])))
    manifest = _manifest(delta, text, subject)
    digest = digest_of(manifest)
    made = [bundle.sign(digest, signer) for signer in signers]
    target.push_manifest(manifest)
    for signature in made:
        signatures.attach(target, digest, signature)
    return digest


def _manifest(delta: Delta, text: bytes, subject: Descriptor) -> bytes:
    layers = [Descriptor(kind, delta.blobs[name].digest, delta.blobs[name].size) for name, kind in MEDIA_TYPES.items()]
    made: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": Descriptor(ARTIFACT_TYPE, digest_of(text), len(text)).document(),
        "layers": [layer.document() for layer in layers],
        "subject": Descriptor(subject.media_type, subject.digest, subject.size).document(),
        "annotations": {OLD: delta.old},
    }
    return json.dumps(made, indent=1).encode()


def copy(source: Source, target: Target, manifest_digest: str) -> int:
    """Copy a release's deltas with their signatures to where the release already is; returns how many there were.

    Those that are gone or damaged are left behind.

    Raises:
        ProaError: ``AUTH``, ``REGISTRY``, ``NETWORK``; see :class:`proa.core.oci.source.Source`.
    """
    copied = 0
    for entry in source.referrers(manifest_digest, lambda one: one.artifact_type == ARTIFACT_TYPE)[:MAX_DELTAS]:
        try:
            manifest = source.manifest(entry.digest)
            config, layers, _ = _parts(manifest)
            for part in (config, *layers):
                target.push_blob(_payload(source, part))
        except ProaError as error:
            if error.code not in _UNREADABLE:
                raise
            continue
        target.push_manifest(manifest)
        signatures.copy(source, target, entry.digest)
        copied += 1
    return copied


def _payload(source: Source, part: Descriptor) -> Payload:
    return Payload(part.digest, part.size, lambda: source.blob(part.digest, part.size))
