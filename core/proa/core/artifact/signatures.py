"""Where signatures lie: each in a manifest of its own whose subject is the release, as cosign 3 stores them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from proa.core.oci.source import EMPTY_TYPE, Descriptor, Source, Target, describe_manifest, digest_of, read_descriptor
from proa.core.release.document import MANIFEST_TYPE
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.signing.bundle import BUNDLE_TYPE, MAX_BUNDLE, MAX_SIGNATURES, PREDICATE_TYPE, predicate_of

_EMPTY: Final = b"{}"
PREDICATE: Final = "dev.sigstore.bundle.predicateType"
"""The annotation that tells what a bundle says."""
MAX_CANDIDATES: Final = 256
"""Manifests that are fetched in search of signatures, after the lists were sorted by what they say of them."""
_UNREADABLE: Final = frozenset({Code.NOT_FOUND, Code.DIGEST, Code.RELEASE, Code.SIGNATURE})


def attach(source: Target, manifest_digest: str, bundle: bytes) -> str:
    """Store a signature beside the manifest that it signs, and return the digest of its own manifest.

    Equal bundles give equal manifests: attaching one again changes nothing.

    Raises:
        ProaError: As :meth:`proa.core.oci.source.Target.push_manifest`.
    """
    subject, _ = describe_manifest(source.manifest(manifest_digest))
    return source.push_manifest(bundle_manifest(source, subject, bundle, PREDICATE_TYPE))


def bundles(source: Source, manifest_digest: str) -> Iterator[bytes]:
    """The signatures of a manifest: at most ``MAX_SIGNATURES``, each fetched when it is asked for.

    Attestations (lists of parts, scans) are left aside before that is counted. So are entries that are gone, altered,
    too large or no signature: what counts is decided by those that verify.

    Raises:
        ProaError: ``AUTH``, ``REGISTRY`` or ``NETWORK``.
    """
    return (bundle for _, bundle in _signatures(source, manifest_digest))


def copy(source: Source, target: Target, manifest_digest: str) -> int:
    """Copy a manifest's signatures, byte for byte, to where the manifest already is; returns how many there were.

    What :func:`bundles` leaves out is left behind.

    Raises:
        ProaError: ``AUTH``, ``REGISTRY``, ``NETWORK``; see :class:`proa.core.oci.source.Source`.
    """
    copied = 0
    for manifest, bundle in _signatures(source, manifest_digest):
        config, _ = _parts(manifest)
        target.push_blob(source.small_blob(config.digest, config.size))
        target.push_blob(bundle)
        target.push_manifest(manifest)
        copied += 1
    return copied


def _signatures(source: Source, manifest_digest: str) -> Iterator[tuple[bytes, bytes]]:
    """Manifest and bundle of each signature."""
    return islice(_readable(source, _listed(source, manifest_digest)), MAX_SIGNATURES)


def _readable(source: Source, listed: Iterable[Descriptor]) -> Iterator[tuple[bytes, bytes]]:
    for entry in listed:
        try:
            manifest = source.manifest(entry.digest)
            if _says_otherwise(load_json(manifest, Code.SIGNATURE).get("annotations")):
                continue
            _, layer = _parts(manifest)
            found = source.small_blob(layer.digest, layer.size)
        except ProaError as error:
            if error.code not in _UNREADABLE:
                raise
            continue
        if predicate_of(found) in ("", PREDICATE_TYPE):
            yield manifest, found


def _listed(source: Source, manifest_digest: str) -> list[Descriptor]:
    """What may be signatures, those first that say so; so many that reading them all ends.

    Registries that go by an older draft list them under the type of their config, or leave annotations out.
    """

    def sure(entry: Descriptor) -> bool:
        return entry.artifact_type == BUNDLE_TYPE and entry.annotations.get(PREDICATE) == PREDICATE_TYPE

    listed = source.referrers(
        manifest_digest,
        lambda entry: entry.artifact_type in (BUNDLE_TYPE, "", EMPTY_TYPE) and not _says_otherwise(entry.annotations),
    )
    return sorted(listed, key=lambda entry: (not sure(entry), entry.artifact_type != BUNDLE_TYPE))[:MAX_CANDIDATES]


def _says_otherwise(annotations: object) -> bool:
    """Whether annotations say that it is an attestation of something else than a signature."""
    told = annotations.get(PREDICATE) if isinstance(annotations, Mapping) else None
    return told not in (None, PREDICATE_TYPE)


def _parts(manifest: bytes) -> tuple[Descriptor, Descriptor]:
    """The descriptors of the config and the one bundle that a signature's manifest holds.

    Raises:
        ProaError: ``SIGNATURE`` or ``RELEASE``.
    """
    document = load_json(manifest, Code.SIGNATURE)
    layers = document.get("layers")
    if not isinstance(layers, list) or len(layers) != 1:
        raise ProaError(Code.SIGNATURE, "a signature's manifest must have exactly one layer")
    config, layer = read_descriptor(document.get("config")), read_descriptor(layers[0])
    if layer.media_type != BUNDLE_TYPE or max(layer.size, config.size) > MAX_BUNDLE:
        raise ProaError(Code.SIGNATURE, "a signature's layer is not a Sigstore bundle, or is too large")
    return config, layer


def bundle_manifest(source: Target, subject: Descriptor, bundle: bytes, predicate_type: str) -> bytes:
    """The manifest that a bundle is stored in, once its blobs are there.

    Args:
        source: Where it is to be stored.
        subject: The manifest that the bundle is about.
        bundle: The bundle.
        predicate_type: What kind of statement is in it.
    """
    source.push_blob(_EMPTY)
    source.push_blob(bundle)
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": BUNDLE_TYPE,
        "config": Descriptor(EMPTY_TYPE, digest_of(_EMPTY), len(_EMPTY), artifact_type=BUNDLE_TYPE).document(),
        "layers": [Descriptor(BUNDLE_TYPE, digest_of(bundle), len(bundle)).document()],
        "subject": Descriptor(subject.media_type, subject.digest, subject.size).document(),
        "annotations": {"dev.sigstore.bundle.content": "dsse-envelope", PREDICATE: predicate_type},
    }
    return json.dumps(document, indent=1).encode()
