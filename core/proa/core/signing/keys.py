"""Signing keys: ECDSA over P-256 with SHA-256, or Ed25519, as PEM files. Nothing else, so nothing to confuse."""

from __future__ import annotations

import base64
import enum
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors

_MAX_FILE = 64 * 1024
_ECDSA = ec.ECDSA(hashes.SHA256())


class Algorithm(enum.Enum):
    """What a key can do. The key decides the algorithm; a signature never names one."""

    ECDSA_P256 = "ecdsa-p256-sha256"
    ED25519 = "ed25519"

    def generate(self) -> PrivateKey:
        """A new private key."""
        match self:
            case Algorithm.ECDSA_P256:
                return PrivateKey(ec.generate_private_key(ec.SECP256R1()))
            case Algorithm.ED25519:
                return PrivateKey(ed25519.Ed25519PrivateKey.generate())


class Signer(Protocol):
    """Whatever can sign: a key file here, a KMS or an HSM elsewhere."""

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message``: DER for ECDSA, 64 bytes for Ed25519."""
        ...


@dataclass(frozen=True)
class PublicKey:
    """A key that signatures are checked with. Two keys are equal when their bytes are.

    Attributes:
        der: The key as DER SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7).
    """

    der: bytes
    _key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_key", _public(self.der))

    def __repr__(self) -> str:
        return f"PublicKey({self.algorithm.value}, {self.id[:16]})"

    @property
    def algorithm(self) -> Algorithm:
        """What the key can do."""
        return Algorithm.ED25519 if isinstance(self._key, ed25519.Ed25519PublicKey) else Algorithm.ECDSA_P256

    @property
    def id(self) -> str:
        """The key's name: SHA-256 over ``der``, in hexadecimal."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def hint(self) -> str:
        """The same in base64, as cosign writes it into ``publicKey.hint``."""
        return base64.b64encode(hashlib.sha256(self.der).digest()).decode()

    @property
    def pem(self) -> bytes:
        """The key as PEM, as it lies in a trust folder."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether this key's owner signed ``message``."""
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, message)
            else:
                self._key.verify(signature, message, _ECDSA)
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """A key that signs; see :class:`Signer`. Printing it reveals nothing."""

    def __init__(self, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def __repr__(self) -> str:
        return f"PrivateKey(of {self.public!r})"

    @property
    def pem(self) -> bytes:
        """The key as PKCS #8 PEM, not encrypted: keep it in a file of mode 0600."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        """See :class:`Signer`."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        return self._key.sign(message, _ECDSA)


def load_public(path: Path) -> PublicKey:
    """Read a public key from a PEM file that holds that one key.

    Raises:
        ProaError: ``KEY``, ``FILE_MISSING`` or ``DEVICE``.
    """
    try:
        return public_from_pem(_read(path))
    except ProaError as error:
        raise ProaError(error.code, error.message, at=path, hint=error.hint) from error


def public_from_pem(pem: bytes) -> PublicKey:
    """A public key from PEM bytes.

    Raises:
        ProaError: ``KEY``.
    """
    if pem.count(b"-----BEGIN") != 1 or b"-----BEGIN PUBLIC KEY-----" not in pem:
        raise ProaError(Code.KEY, "the file must contain exactly one PEM block of type PUBLIC KEY")
    try:
        key = load_pem_public_key(pem)
        return PublicKey(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ProaError(Code.KEY, "the PEM block is not a public key") from error


def load_private(path: Path, password: bytes | None = None) -> PrivateKey:
    """Read a private key from a PEM file (PKCS #8 or SEC 1), encrypted if a password is given.

    Raises:
        ProaError: ``KEY``, ``FILE_MISSING`` or ``DEVICE``.
    """
    pem = _read(path)
    if b"ENCRYPTED SIGSTORE" in pem or b"ENCRYPTED COSIGN" in pem:
        raise ProaError(Code.KEY, "cosign's own format of encrypted keys is not supported", at=path)
    try:
        key = load_pem_private_key(pem, password)
    except TypeError as error:  # the library's way to say that a password is missing, or one too many
        needs = "is encrypted and needs a password" if password is None else "is not encrypted, but a password is given"
        raise ProaError(Code.KEY, f"the key {needs}", at=path) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ProaError(Code.KEY, "the file is not a private key in PEM, or the password is wrong", at=path) from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return PrivateKey(key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return PrivateKey(key)
    raise ProaError(Code.KEY, "the key is neither ECDSA P-256 nor Ed25519", at=path)


def _public(der: bytes) -> ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ProaError(Code.KEY, "the file is not a public key") from error
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ProaError(Code.KEY, "the key is neither ECDSA P-256 nor Ed25519")


def _read(path: Path) -> bytes:
    with os_errors(path), path.open("rb") as file:
        data = file.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        raise ProaError(Code.KEY, f"a file of more than {_MAX_FILE} bytes is not a key", at=path)
    return data
