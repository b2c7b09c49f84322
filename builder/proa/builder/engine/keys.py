"""The folder of private keys that ``proa-build keys init`` makes.

``release.key`` and ``release.pub`` sign releases (more pairs: ``release-2.key`` ...); ``secureboot/`` holds PK, KEK
and db as key and certificate, PEM, and ``guid.txt``, the owner of the firmware's entries. ``pcr.key`` signs what a TPM
may have measured when it opens PERSIST; a folder made before there was one lacks it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import fsync_folder, os_errors
from proa.core.signing.keys import Algorithm, PrivateKey, PublicKey, load_private, load_public

SECURE_BOOT: Final = ("PK", "KEK", "db")
"""Firmware's keys: who owns the platform, who may change db, what may boot (UEFI 2.10, section 32.3)."""
_IGNORE: Final = ".gitignore"
_OTHERS: Final = 0o077
"""Permissions of a file that are not its owner's."""
_YEARS: Final = 20
_RSA_BITS: Final = 2048
"""What every firmware, and every TPM 2.0, can check."""


@dataclass(frozen=True)
class Keys:
    """A folder of keys."""

    folder: Path

    @property
    def release(self) -> tuple[Path, ...]:
        """The private keys that sign releases, in the order of their names."""
        return tuple(sorted(self.folder.glob("release*.key"), key=lambda path: path.stem))

    @property
    def signers(self) -> tuple[PrivateKey, ...]:
        """The same, read.

        Raises:
            ProaError: ``KEY`` or ``DEVICE``.
        """
        return tuple(load_private(path) for path in self.release)

    @property
    def public(self) -> tuple[PublicKey, ...]:
        """Whom nodes are to believe: the signers, and those of whom only ``release*.pub`` is here.

        Raises:
            ProaError: ``KEY``, also when the two files of a pair do not belong together.
        """
        private = {path.stem: load_private(path).public for path in self.release}
        listed = {path.stem: load_public(path) for path in self.folder.glob("release*.pub")}
        for name in private.keys() & listed.keys():
            if private[name] != listed[name]:
                raise ProaError(Code.KEY, f"it does not belong to {name}.key", at=self.folder / f"{name}.pub")
        found = listed | private
        return tuple(dict.fromkeys(found[name] for name in sorted(found)))

    def certificate(self, name: str) -> Path:
        """The certificate of ``PK``, ``KEK`` or ``db``."""
        return self.folder / "secureboot" / f"{name}.crt"

    def private(self, name: str) -> Path:
        """The private key of ``PK``, ``KEK`` or ``db``."""
        return self.folder / "secureboot" / f"{name}.key"

    @property
    def pcr(self) -> Path:
        """The private key that signs what a TPM may have measured."""
        return self.folder / "pcr.key"

    def pcr_signer(self) -> rsa.RSAPrivateKey:
        """The same, read.

        Raises:
            ProaError: ``FILE_MISSING``; ``KEY`` if it is none of RSA, the only kind that every TPM can check.
        """
        if not self.pcr.is_file():
            hint = f"Create it with: openssl genrsa -out {self.pcr} {_RSA_BITS}"
            raise ProaError(Code.FILE_MISSING, "the key does not exist", at=self.pcr, hint=hint)
        try:
            key = load_pem_private_key(self.pcr.read_bytes(), None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ProaError(Code.KEY, f"it is not an unencrypted private key: {error}", at=self.pcr) from error
        if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != _RSA_BITS:
            raise ProaError(Code.KEY, f"it is not an RSA key of {_RSA_BITS} bits", at=self.pcr)
        return key

    @property
    def owner(self) -> str:
        """The GUID that owns the firmware's entries."""
        return (self.folder / "secureboot" / "guid.txt").read_text().strip()


def open_keys(folder: Path) -> Keys:
    """A folder of keys that is there as a whole.

    Raises:
        ProaError: ``FILE_MISSING``, naming the first file that is not there; ``KEY``.
    """
    keys = Keys(folder)
    boot = [path for name in SECURE_BOOT for path in (keys.certificate(name), keys.private(name))]
    for path in (folder / "release.key", *boot):
        if not path.is_file():
            raise ProaError(
                Code.FILE_MISSING,
                "the key does not exist",
                at=path,
                hint=(f"Create keys with: proa-build keys init {folder}"),
            )
    _ = keys.public  # every key can be read, and pairs belong together
    return keys


def exposed(keys: Keys) -> tuple[Path, ...]:
    """The private keys that others than their owner may read or write."""
    return tuple(path for path in sorted(keys.folder.rglob("*.key")) if path.stat().st_mode & _OTHERS)


def plan(folder: Path, count: int) -> list[Path]:
    """The files that :func:`create` makes.

    Raises:
        ProaError: ``FILE_EXISTS`` if the folder holds anything.
    """
    with os_errors(folder):
        if folder.exists() and not folder.is_dir():
            hint = "Choose another name for the folder of keys."
            raise ProaError(Code.FILE_EXISTS, "it is a file, and keys go into a folder", at=folder, hint=hint)
        if folder.exists() and any(folder.iterdir()):
            hint = "Choose another folder: without these keys, nobody can update the nodes that trust them."
            raise ProaError(Code.FILE_EXISTS, "existing keys are never overwritten", at=folder, hint=hint)
    keys = Keys(folder)
    names = [f"release{f'-{number}' if number > 1 else ''}" for number in range(1, count + 1)]
    pairs = [path for name in names for path in (folder / f"{name}.key", folder / f"{name}.pub")]
    boot = [path for name in SECURE_BOOT for path in (keys.private(name), keys.certificate(name))]
    return [*pairs, keys.pcr, *boot, folder / "secureboot" / "guid.txt", folder / _IGNORE]


def create(folder: Path, *, name: str = "Proa", count: int = 1, clock: Clock = SYSTEM) -> Keys:
    """Make new keys; the folder appears when all of them are there.

    Args:
        folder: Where to; it must not hold anything yet.
        name: Whose keys they are, in the certificates.
        count: How many pairs of release keys.
        clock: The certificates hold from a day ago on.

    Raises:
        ProaError: ``FILE_EXISTS``, ``DEVICE`` or ``DISK_FULL``.
    """
    files = plan(folder, count)
    with os_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            (work / "secureboot").mkdir(mode=0o700)
            for path, data in _contents(files, name, clock):
                handle = os.open(work / path.relative_to(folder), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            work.rename(folder)
            fsync_folder(folder.parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return Keys(folder)


def _contents(files: list[Path], name: str, clock: Clock) -> Iterator[tuple[Path, bytes]]:
    """Every file with what is in it; each private key comes right before what belongs to it."""
    public = b""
    for path in files:
        match path.suffix:
            case ".key" if path.parent.name == "secureboot":
                private, public = _secure_boot(f"{name} {path.stem}", clock)
                yield path, private
            case ".key" if path.stem == "pcr":
                yield path, _pem(rsa.generate_private_key(65537, _RSA_BITS))
            case ".key":
                key = Algorithm.ECDSA_P256.generate()
                public = key.public.pem
                yield path, key.pem
            case ".pub" | ".crt":
                yield path, public
            case _ if path.name == _IGNORE:
                yield path, b"# Private keys do not belong in a repository.\n*.key\n"
            case _:
                yield path, f"{uuid.uuid4()}\n".encode()


def _secure_boot(common_name: str, clock: Clock) -> tuple[bytes, bytes]:
    """A private key and a certificate over it by itself, PEM."""
    key = rsa.generate_private_key(65537, _RSA_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    start = clock.now().replace(microsecond=0) - timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=_YEARS * 365.25))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return _pem(key), certificate.public_bytes(Encoding.PEM)


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
