"""How a registry may be reached. Small: code that only passes the options on need not import an HTTP client."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors
from proa.core.schema.model import Part, field

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True)
class Access(Part):
    """How a registry may be reached: the options of commands, ``registry.toml`` and requests to the agent."""

    plain_http: bool = field("Use plain HTTP to a registry on another machine.", default=False)
    ca_file: Path | None = field("PEM file of CAs to trust besides the system's.", default=None)
    cert_file: Path | None = field("PEM file of the client certificate.", default=None)
    key_file: Path | None = field("PEM file of its key, if that is not in the same file.", default=None)
    auth_file: Path | None = field("Docker or containers auth file with the credentials.", default=None)
    proxy: str = field(
        "Proxy for registries, as `http://[USER:PASSWORD@]HOST[:PORT]`; without it, that of the environment. "
        "Never used for this machine itself.",
        default="",
    )
    no_proxy: str = field(
        "Hosts, domains and networks that are reached without the proxy, separated by commas.", default=""
    )

    def __repr__(self) -> str:
        """Only what holds no password."""
        return f"Access(plain_http={self.plain_http}, auth_file={self.auth_file})"

    def check(self) -> None:
        """Refuse half of a client's identity, and a path or a proxy that cannot be one.

        Raises:
            ProaError: ``USAGE``.
        """
        for name in ("ca_file", "cert_file", "key_file", "auth_file"):
            if "\0" in str(getattr(self, name)):
                raise ProaError(Code.USAGE, "a path cannot contain a null character", at=name)
        if self.key_file and not self.cert_file:
            what = "a client key is given, but no certificate for it"
            raise ProaError(Code.USAGE, what, at=self.key_file, hint="Name the certificate with --cert-file.")
        if self.proxy and not _is_proxy(self.proxy):
            hint = "Write http://[USER:PASSWORD@]HOST[:PORT]; characters such as '@' in a password as %40."
            raise ProaError(Code.USAGE, "the proxy is malformed", at="proxy", hint=hint)  # it may hold a password

    def context(self, *, client: bool) -> ssl.SSLContext:
        """The TLS settings; with the client's certificate if ``client``.

        Raises:
            ProaError: ``FILE_MISSING``, ``USAGE`` for a certificate without a key, or ``NETWORK`` for files that are
                not PEM.
        """
        import ssl

        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        for path in (self.ca_file, self.cert_file, self.key_file):
            if path is not None:
                with os_errors(path), path.open("rb"):
                    pass
        if self.cert_file and not self.key_file and b"PRIVATE KEY-----" not in self.cert_file.read_bytes():
            what = "the client certificate's file does not contain its key"
            raise ProaError(Code.USAGE, what, at=self.cert_file, hint="Name the key with --key-file.")
        try:
            if self.ca_file:
                context.load_verify_locations(cafile=self.ca_file)
            if self.cert_file and client:
                context.load_cert_chain(self.cert_file, self.key_file)
        except ssl.SSLError as error:
            files = [path for path in (self.ca_file, self.cert_file, self.key_file) if path]
            what = (
                f"the certificate files are unusable: {error.reason or 'they are not PEM, or do not belong together'}"
            )
            raise ProaError(Code.NETWORK, what, at=", ".join(map(str, files))) from error
        return context


def _is_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return url.isprintable() and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


DEFAULT: Final = Access()
"""TLS, except to this machine where its registry speaks none; credentials from the usual places."""
