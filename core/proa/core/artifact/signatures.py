"""Where signatures lie: each in a manifest of its own whose subject is the release, as cosign 3 stores them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from proa.core.oci.source import EMPTY_TYPE, Descriptor, Source, Target, describe_manifest, digest_of, read_descriptor
from proa.core.release.document import MANIFEST_TYPE
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.signing.bundle import BUNDLE_TYPE, MAX_BUNDLE, MAX_SIGNATURES, PREDICATE_TYPE

_EMPTY: Final = b"{}"
_ANNOTATIONS: Final = {
    "dev.sigstore.bundle.content": "dsse-envelope",
    "dev.sigstore.bundle.predicateType": PREDICATE_TYPE,
}
_UNREADABLE: Final = frozenset({Code.NOT_FOUND, Code.DIGEST, Code.RELEASE, Code.SIGNATURE})


def attach(source: Target, manifest_digest: str, bundle: bytes) -> str:
    """Store a signature beside the manifest it is about; the digest of its own manifest comes back.

    Equal bundles give equal manifests: attaching one again changes nothing.

    Raises:
        ProaError: As :meth:`proa.core.oci.source.Target.push_manifest`.
    """
    subject, _ = describe_manifest(source.manifest(manifest_digest))
    return source.push_manifest(_signature_manifest(source, subject, bundle))


def bundles(source: Source, manifest_digest: str) -> Iterator[bytes]:
    """The signatures of a manifest: at most ``MAX_SIGNATURES``, each fetched when it is asked for.

    Entries that are gone, altered, too large or no signature are left out: what counts is decided by those
    that verify.

    Raises:
        ProaError: ``AUTH``, ``REGISTRY`` or ``NETWORK``.
    """
    for entry in _listed(source, manifest_digest):
        try:
            yield _fetch(source, source.manifest(entry.digest))
        except ProaError as error:
            if error.code not in _UNREADABLE:
                raise


def copy(source: Source, target: Target, manifest_digest: str) -> int:
    """Copy a manifest's signatures, byte for byte, to where the manifest is already; how many there were.

    What :func:`bundles` leaves out is left behind.

    Raises:
        ProaError: ``AUTH``, ``REGISTRY``, ``NETWORK``; see :class:`proa.core.oci.source.Source`.
    """
    copied = 0
    for entry in _listed(source, manifest_digest):
        try:
            manifest = source.manifest(entry.digest)
            parts = [source.small_blob(part.digest, part.size) for part in _parts(manifest)]
        except ProaError as error:
            if error.code not in _UNREADABLE:
                raise
            continue
        for part in parts:
            target.push_blob(part)
        target.push_manifest(manifest)
        copied += 1
    return copied


def _listed(source: Source, manifest_digest: str) -> list[Descriptor]:
    """What may be signatures. Registries that go by an older draft list them under the type of their config."""
    listed = source.referrers(manifest_digest)
    sure = [entry for entry in listed if entry.artifact_type == BUNDLE_TYPE]
    perhaps = [entry for entry in listed if entry.artifact_type in ("", EMPTY_TYPE)]
    return [*sure, *perhaps][:MAX_SIGNATURES]


def _fetch(source: Source, manifest: bytes) -> bytes:
    _, layer = _parts(manifest)
    return source.small_blob(layer.digest, layer.size)


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


def _signature_manifest(source: Target, subject: Descriptor, bundle: bytes) -> bytes:
    source.push_blob(_EMPTY)
    source.push_blob(bundle)
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": BUNDLE_TYPE,
        "config": Descriptor(EMPTY_TYPE, digest_of(_EMPTY), len(_EMPTY), artifact_type=BUNDLE_TYPE).document(),
        "layers": [Descriptor(BUNDLE_TYPE, digest_of(bundle), len(bundle)).document()],
        "subject": Descriptor(subject.media_type, subject.digest, subject.size).document(),
        "annotations": _ANNOTATIONS,
    }
    return json.dumps(document, indent=1).encode()
