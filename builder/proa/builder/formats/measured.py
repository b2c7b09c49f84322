"""What a TPM has measured of a unified kernel image when its initrd begins, and a signature over it.

PCR 11 is extended by the stub with the name and the content of each section that counts (systemd-stub(7), "TPM PCR
Notes"), and by the initrd with a word for how far the boot is (systemd-pcrphase.service(8)). The signature is that of
systemd-measure(1): RSA with PKCS #1 v1.5 over the digest of a policy that demands the value (TPM 2.0 Library, part 3,
"TPM2_PolicyPCR"). That program itself needs a TPM on the machine that builds, up to systemd 252.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PCR: Final = 11
PHASE: Final = "enter-initrd"
"""The word of the initrd after which its policy holds, until it says the next one."""
PUBLIC_KEY: Final = ".pcrpkey"
SIGNATURE: Final = ".pcrsig"
"""Sections of the image that the stub gives to the initrd as files; the signature is not measured."""
SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "bookworm": (".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", PUBLIC_KEY),
    "trixie": (".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", PUBLIC_KEY),
}
"""What the stub of each suite measures, in its order (systemd 252 and 257, ``unified_sections``)."""
_POLICY_PCR: Final = bytes.fromhex("0000017f")
_SELECTION: Final = bytes.fromhex("00000001 000b 03 000800")
"""One bank, SHA-256, and PCR 11 of 24 (TPM 2.0 Library, part 2, ``TPML_PCR_SELECTION``)."""


def pcr(sections: Mapping[str, bytes], suite: str, phases: Iterable[str] = (PHASE,)) -> bytes:
    """The value of PCR 11, of the bank of SHA-256.

    Args:
        sections: Name to content of the image's sections; those that do not count are passed over.
        suite: Whose stub it is.
        phases: What the initrd has said so far.
    """
    value = bytes(32)
    for name in SECTIONS[suite]:
        if name in sections:
            value = _extended(_extended(value, name.encode() + b"\0"), sections[name])
    for phase in phases:
        value = _extended(value, phase.encode())
    return value


def policy(value: bytes) -> bytes:
    """The digest of the policy that demands a value of PCR 11."""
    return hashlib.sha256(bytes(32) + _POLICY_PCR + _SELECTION + hashlib.sha256(value).digest()).digest()


def sign(value: bytes, key: RSAPrivateKey) -> bytes:
    """The content of :data:`SIGNATURE`: what opens wherever the key's signature over this value is enough."""
    digest = policy(value)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    entry = {
        "pcrs": [PCR],
        "pkfp": hashlib.sha256(public).hexdigest(),
        "pol": digest.hex(),
        "sig": base64.b64encode(key.sign(digest, padding.PKCS1v15(), hashes.SHA256())).decode(),
    }
    return json.dumps({"sha256": [entry]}).encode()


def public_pem(key: RSAPublicKey) -> bytes:
    """The content of :data:`PUBLIC_KEY`."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _extended(value: bytes, data: bytes) -> bytes:
    return hashlib.sha256(value + hashlib.sha256(data).digest()).digest()
