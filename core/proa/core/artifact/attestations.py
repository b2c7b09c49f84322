"""Attestations: signed statements about a release, such as its bill of materials, stored beside it as cosign 3 does.

Nodes do not read them; ``cosign verify-attestation`` and policy engines do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from proa.core.artifact.signatures import PREDICATE, bundle_manifest
from proa.core.oci.source import Descriptor, Source, Target, describe_manifest, read_descriptor
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.signing import bundle
from proa.core.signing.bundle import BUNDLE_TYPE, PREDICATE_TYPE
from proa.core.signing.keys import Signer

SPDX: Final = "https://spdx.dev/Document"
CYCLONEDX: Final = "https://cyclonedx.org/bom"
PROVENANCE: Final = "https://slsa.dev/provenance/v1"
MAX_ATTESTATION: Final = 64 << 20
"""Bytes of one that is copied."""
MAX_ATTESTATIONS: Final = 64
"""Attestations of one release that are copied."""


def attest(source: Target, manifest_digest: str, predicates: Mapping[str, Any], signers: Iterable[Signer]) -> list[str]:
    """Sign statements about a manifest with each key, and store them beside it.

    Args:
        source: Where the manifest is.
        manifest_digest: Its digest.
        predicates: The statements' contents by their predicate types.
        signers: Whose word it is.

    Returns:
        The digests of the attestations' own manifests.

    Raises:
        ProaError: As :meth:`proa.core.oci.source.Target.push_manifest`.
    """
    subject, _ = describe_manifest(source.manifest(manifest_digest))
    made = []
    for signer in signers:
        for kind, predicate in predicates.items():
            data = bundle.attest(manifest_digest, kind, predicate, signer)
            made.append(source.push_manifest(bundle_manifest(source, subject, data, kind)))
    return made


def listed(source: Source, manifest_digest: str) -> list[Descriptor]:
    """The attestations that are stored beside a manifest, as far as they say that they are."""

    def wanted(entry: Descriptor) -> bool:
        kind = entry.annotations.get(PREDICATE)
        return entry.artifact_type == BUNDLE_TYPE and kind not in (None, PREDICATE_TYPE)

    return source.referrers(manifest_digest, wanted)[:MAX_ATTESTATIONS]


def copy(source: Source, target: Target, manifest_digest: str, largest: int = MAX_ATTESTATION) -> int:
    """Copy a manifest's attestations, byte for byte, to where the manifest already is; returns how many there were.

    Args:
        source: Whence.
        target: Where to.
        manifest_digest: What they are about.
        largest: Bytes of one; larger ones are left behind.

    Raises:
        ProaError: ``AUTH``, ``REGISTRY``, ``NETWORK``; see :class:`proa.core.oci.source.Source`.
    """
    found = list(_whole(source, listed(source, manifest_digest), largest))
    for manifest, blobs in found:
        for blob in blobs:
            target.push_blob(source.small_blob(blob.digest, blob.size))
        target.push_manifest(manifest)
    return len(found)


def _whole(source: Source, entries: Iterable[Descriptor], largest: int) -> Iterator[tuple[bytes, list[Descriptor]]]:
    """Manifest and blobs of each that is there, and not too large."""
    for entry in entries:
        try:
            manifest = source.manifest(entry.digest)
            document = load_json(manifest, Code.RELEASE)
            layers = document.get("layers")
            parts = [document.get("config"), *(layers if isinstance(layers, list) else [])]
            blobs = [read_descriptor(part) for part in parts]
        except ProaError as error:
            if error.code not in (Code.NOT_FOUND, Code.DIGEST, Code.RELEASE):
                raise
            continue
        if sum(blob.size for blob in blobs) <= largest:
            yield manifest, blobs
