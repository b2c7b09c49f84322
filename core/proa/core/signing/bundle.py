"""The signature: a Sigstore bundle with a DSSE envelope over an in-toto statement about one manifest digest.

Formats: Sigstore bundle v0.3 (sigstore/protobuf-specs, ``sigstore_bundle.proto``), DSSE v1.0.2
(secure-systems-lab/dsse, ``protocol.md``), in-toto Statement v1 (in-toto/attestation, ``spec/v1/statement.md``).
cosign 3 reads and writes the same.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.runtime.printable import one_line
from proa.core.signing.keys import PublicKey, Signer

BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://sigstore.dev/cosign/sign/v1"

MAX_SIGNATURES: Final = 16
"""Signatures of one release that are looked at; any more are left aside."""
MAX_BUNDLE: Final = 64 * 1024
"""Bytes of one bundle beyond which it is refused unread."""

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def sign(manifest_digest: str, signer: Signer) -> bytes:
    """A bundle in which ``signer`` vouches for the manifest.

    Args:
        manifest_digest: ``sha256:`` and 64 hexadecimal digits.
        signer: The private key, or what stands for it.
    """
    return attest(manifest_digest, PREDICATE_TYPE, {}, signer)


def attest(manifest_digest: str, predicate_type: str, predicate: Any, signer: Signer) -> bytes:
    """A bundle in which ``signer`` says something about the manifest.

    Args:
        manifest_digest: ``sha256:`` and 64 hexadecimal digits.
        predicate_type: What kind of statement it is, a URI.
        predicate: The statement: a JSON value.
        signer: The private key, or what stands for it.
    """
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"digest": {"sha256": _hex(manifest_digest)}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    }
    payload = _json(statement)
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(signer.sign(pre_authentication(PAYLOAD_TYPE, payload))).decode()}],
    }
    material = {"publicKey": {"hint": signer.public.hint}}
    return _json({"mediaType": BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope})


def verify(bundle: bytes, manifest_digest: str, keys: Sequence[PublicKey]) -> str | None:
    """The id of the key among ``keys`` that signed the manifest with this bundle, or None.

    None also stands for a bundle that is malformed or about something else: it counts for nothing.
    """
    try:
        return examine(bundle, manifest_digest, keys)
    except ProaError:
        return None


def examine(bundle: bytes, manifest_digest: str, keys: Sequence[PublicKey]) -> str:
    """Like :func:`verify`, but saying why a bundle does not count.

    The signature is checked before a byte of the statement is parsed.

    Raises:
        ProaError: ``SIGNATURE``.
    """
    if len(bundle) > MAX_BUNDLE:
        raise _refused(f"the bundle has {len(bundle)} bytes, more than {MAX_BUNDLE}")
    document = load_json(bundle, Code.SIGNATURE)
    _fields(document, "the bundle", {"mediaType", "verificationMaterial", "dsseEnvelope"})
    if document["mediaType"] != BUNDLE_TYPE:
        raise _refused("not a Sigstore bundle of version 0.3")
    candidates = _candidates(document["verificationMaterial"], keys)
    payload, signature = _envelope(document["dsseEnvelope"])
    message = pre_authentication(PAYLOAD_TYPE, payload)
    signed_by = next((key for key in candidates if key.verify(signature, message)), None)
    if signed_by is None:
        raise _refused("the signature does not match the key")
    _check_statement(payload, manifest_digest)
    return signed_by.id


def predicate_of(bundle: bytes) -> str:
    """The kind of statement that a bundle claims to hold, unverified; empty if it cannot be read.

    Good for leaving aside attestations, and for nothing else.
    """
    try:
        envelope = load_json(bundle, Code.SIGNATURE).get("dsseEnvelope")
        payload = _base64(envelope.get("payload")) if isinstance(envelope, Mapping) else b""
        return str(load_json(payload, Code.SIGNATURE).get("predicateType", ""))
    except ProaError:
        return ""


def check_threshold(
    bundles: Iterable[bytes], manifest_digest: str, keys: Sequence[PublicKey], threshold: int = 1
) -> tuple[str, ...]:
    """The ids of the different keys that signed the manifest, in order; enough of them, or an error.

    A key counts once, however often it signed and however often it is listed. At most ``MAX_SIGNATURES``
    bundles are looked at; malformed and foreign ones are left aside.

    Raises:
        ProaError: ``NO_TRUST`` when no keys, or fewer than the threshold, are configured; ``UNSIGNED`` when
            there is no bundle; ``SIGNATURE`` when too few different keys signed.
    """
    ids = {key.id for key in keys}
    if not ids:
        raise ProaError(Code.NO_TRUST)
    if threshold < 1 or threshold > len(ids):
        raise ProaError(
            Code.NO_TRUST, f"{threshold} signatures are required, but only {len(ids)} different keys are trusted"
        )
    signed: dict[str, None] = {}
    reasons: list[str] = []
    for bundle in islice(bundles, MAX_SIGNATURES):
        try:
            signed[examine(bundle, manifest_digest, keys)] = None
        except ProaError as error:
            reasons.append(error.message)
    if not signed and not reasons:
        raise ProaError(Code.UNSIGNED, at=manifest_digest)
    if len(signed) < threshold:
        told = f": {'; '.join(dict.fromkeys(reasons))}" if reasons else ""
        raise ProaError(
            Code.SIGNATURE,
            f"{len(signed)} of {threshold} required signatures are by trusted keys{told}",
            at=manifest_digest,
        )
    return tuple(signed)


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the bytes that are signed (``protocol.md``, "Signature Definition")."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _candidates(material: Any, keys: Sequence[PublicKey]) -> Sequence[PublicKey]:
    # Proofs of a transparency log may be there, as cosign writes them; trust here is in keys alone.
    allowed = {"publicKey", "tlogEntries", "timestampVerificationData"}
    _fields(material, "verificationMaterial", {"publicKey"}, allowed)
    _fields(material["publicKey"], "publicKey", set(), {"hint"})
    hint = material["publicKey"].get("hint", "")
    candidates = [key for key in keys if key.hint == hint] if hint else keys
    if not candidates:
        raise _refused(f"made with a key that is not trusted ({one_line(str(hint), 44)})")
    return candidates


def _envelope(envelope: Any) -> tuple[bytes, bytes]:
    _fields(envelope, "dsseEnvelope", {"payload", "payloadType", "signatures"})
    if envelope["payloadType"] != PAYLOAD_TYPE:
        raise _refused("the envelope does not contain an in-toto statement")
    signatures = envelope["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise _refused("the envelope must contain exactly one signature")
    _fields(signatures[0], "the signature", {"sig"}, {"sig", "keyid"})
    return _base64(envelope["payload"]), _base64(signatures[0]["sig"])


def _check_statement(payload: bytes, manifest_digest: str) -> None:
    statement = load_json(payload, Code.SIGNATURE)
    allowed = {"_type", "subject", "predicateType", "predicate"}
    _fields(statement, "the statement", {"_type", "subject", "predicateType"}, allowed)
    if statement["_type"] != STATEMENT_TYPE or statement["predicateType"] != PREDICATE_TYPE:
        raise _refused("the statement is not a signature of an artifact")
    subjects = statement["subject"]
    if not isinstance(subjects, list) or len(subjects) != 1:
        raise _refused("the statement must have exactly one subject")
    _fields(subjects[0], "the subject", {"digest"}, {"digest", "name", "annotations"})
    if subjects[0]["digest"] != {"sha256": _hex(manifest_digest)}:
        raise _refused("the signature is for another manifest")


def _fields(value: Any, what: str, needed: Collection[str], allowed: Collection[str] | None = None) -> None:
    if not isinstance(value, Mapping):
        raise _refused(f"{what} is not an object")
    missing = sorted(set(needed) - set(value))
    unknown = sorted(set(value) - set(needed if allowed is None else allowed))
    if missing:
        raise _refused(f"{what} lacks {missing[0]}")
    if unknown:
        raise _refused(f"{what} has the unknown field {unknown[0][:40]!r}")


def _base64(text: Any) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (AttributeError, UnicodeError, binascii.Error) as error:
        raise _refused("invalid base64") from error


def _hex(digest: str) -> str:
    match = _DIGEST.fullmatch(digest)
    if not match:
        raise ProaError(Code.DIGEST, f"{digest[:80]!r} is not a SHA-256 digest")
    return match[1]


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _refused(why: str) -> ProaError:
    return ProaError(Code.SIGNATURE, why)
