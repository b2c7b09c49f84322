"""A certificate authority of our own, for registries and control planes in tests and rehearsals."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM files."""

    cert_file: Path
    key_file: Path


class Authority:
    """A certificate authority whose key does not leave this process by itself.

    Args:
        folder: Where ``ca.crt`` and what it issues are written.
        name: What it is called in its certificate.
    """

    def __init__(self, folder: Path, name: str = "Proa test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ca_file = folder / "ca.crt"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self._certificate = (
            _builder(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def issue(
        self, names: Sequence[str], *, client: bool = False, server: bool | None = None, days: int = 30
    ) -> Certificate:
        """A certificate for a server, or for a client, written as ``NAME.crt`` and ``NAME.key``.

        Args:
            names: Host names and IP addresses; the first one is the subject.
            client: Whether it is for a client.
            server: Whether it is for a server; what a client's is not, unless that is said.
            days: How long it is valid from now on; one below zero has expired.
        """
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH] if client else []
        if server or (server is None and not client):
            purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        return self._issue(names[0], _name(names[0]), purposes, alternatives, days=days)

    def save_key(self, path: Path) -> None:
        """Write the authority's own key, for a program that issues certificates in its name."""
        _write_key(path, self._key)

    def issue_user(self, name: str, groups: Sequence[str] = ()) -> Certificate:
        """A certificate that says who a client is, as Kubernetes reads it.

        The common name is the user and the organizations are the groups (Kubernetes, "Authenticating", section
        "X.509 client certificates").

        Args:
            name: The user, such as ``system:node:node-1``.
            groups: The user's groups, such as ``system:nodes``.
        """
        words = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*words, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._issue(name.replace(":", "-"), subject, [ExtendedKeyUsageOID.CLIENT_AUTH])

    def _issue(
        self,
        stem: str,
        subject: x509.Name,
        purposes: Sequence[x509.ObjectIdentifier],
        *more: x509.ExtensionType,
        days: int = 30,
    ) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = _builder(subject, self._name, key, days)
        for extension in (*more, x509.ExtendedKeyUsage(purposes), authority):
            builder = builder.add_extension(extension, critical=False)
        end = x509.BasicConstraints(ca=False, path_length=None)
        certificate = builder.add_extension(end, critical=True).sign(self._key, hashes.SHA256())
        files = Certificate(self.folder / f"{stem}.crt", self.folder / f"{stem}.key")
        files.cert_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        _write_key(files.key_file, key)
        return files


def write_key_pair(path: Path) -> None:
    """A new key as PEM files: the private one at ``path``, the public one beside it as ``.pub``."""
    key = ec.generate_private_key(ec.SECP256R1())
    _write_key(path, key)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int = 30
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 60 * _DAY)  # guests whose clock is behind take it too
        .not_valid_after(now + days * _DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
