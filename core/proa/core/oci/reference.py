"""What names a release: ``HOST[:PORT]/NAME[:TAG][@sha256:...]`` or ``oci:PATH[:TAG][@sha256:...]``.

Names, tags and digests are those of the OCI distribution specification 1.1 ("Pulling manifests"). The host is
always written out: no registry is meant when none is named.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.core.runtime.errors import Code, ProaError

LAYOUT_PREFIX: Final = "oci:"
_MAX: Final = 4096

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?P<name>\[[0-9A-Fa-f:.]+\]|{_LABEL}(?:\.{_LABEL})*)(?::(?P<port>[0-9]{{1,5}}))?")
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Reference:
    """A release in a registry or in an OCI layout folder; :func:`parse` makes it, ``str`` writes it again.

    Attributes:
        host: The registry, with its port if one is given; empty for a layout folder.
        name: The repository in it; empty for a layout folder.
        tag: The tag; empty if none is given.
        digest: ``sha256:`` and 64 hexadecimal digits; empty if none is given. It counts, a tag beside it is
            a remark.
        layout: The OCI layout folder; none for a registry.
    """

    host: str
    name: str
    tag: str = ""
    digest: str = ""
    layout: Path | None = None

    def __str__(self) -> str:
        where = f"{self.host}/{self.name}" if self.layout is None else f"{LAYOUT_PREFIX}{self.layout}"
        return where + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def repository(self) -> str:
        """``HOST[:PORT]/NAME``; empty for a layout folder."""
        return f"{self.host}/{self.name}" if self.layout is None else ""

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is this machine, which alone may be spoken to in plain HTTP unasked."""
        found = _HOST.fullmatch(self.host)
        return is_loopback(found["name"] if found else "")

    def pinned(self, digest: str) -> Reference:
        """The same place, at this digest.

        Raises:
            ProaError: ``REFERENCE`` if it is no digest.
        """
        if not _DIGEST.fullmatch(digest):
            raise ProaError(Code.REFERENCE, f"{digest[:80]!r} is not a digest", at=str(self))
        return dataclasses.replace(self, digest=digest)


def is_loopback(host: str) -> bool:
    """Whether a host, without its port, is this machine."""
    name = host.strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def parse(text: str) -> Reference:
    """Read a reference.

    Raises:
        ProaError: ``REFERENCE``, with what is wrong with it.
    """
    if len(text) > _MAX or not text.isprintable():
        raise ProaError(Code.REFERENCE, "it is too long, or contains unprintable characters", at=repr(text[:80]))
    rest, at, digest = text.partition("@sha256:")
    if at and not _DIGEST.fullmatch(at[1:] + digest):
        raise _error(text, "the digest must be 'sha256:' and 64 lower-case hexadecimal digits")
    digest = at[1:] + digest
    return _layout(text, rest, digest) if rest.startswith(LAYOUT_PREFIX) else _registry(text, rest, digest)


def _layout(text: str, rest: str, digest: str) -> Reference:
    path, colon, tag = rest.removeprefix(LAYOUT_PREFIX).rpartition(":")
    if not colon or "/" in tag:
        path, tag = rest.removeprefix(LAYOUT_PREFIX), ""
    elif not _TAG.fullmatch(tag):
        raise _error(text, f"{tag[:80]!r} is not a tag")
    if not path:
        raise _error(text, "the path is missing")
    if not tag and ":" in Path(path).name:
        raise _error(text, "a folder with ':' in its name needs a tag")
    return Reference("", "", tag, digest, Path(path))


def _registry(text: str, rest: str, digest: str) -> Reference:
    if "://" in rest:
        raise _error(text, "write it without 'https://'")
    host, slash, name = rest.partition("/")
    found = _HOST.fullmatch(host)
    if not slash:
        raise _error(text, "the registry's host or the name is missing")
    if not found or not _is_host(found["name"]) or int(found["port"] or 1) not in range(1, 65536):
        raise _error(text, f"{host[:80]!r} is not a host with an optional port")
    name, colon, tag = name.partition(":")
    if len(name) > 255 or not _NAME.fullmatch(name):
        raise _error(
            text, f"{name[:80]!r} is not a repository name: use lower-case letters, digits, '.', '_', '-' and '/'"
        )
    if colon and not _TAG.fullmatch(tag):
        raise _error(text, f"{tag[:80]!r} is not a tag")
    return Reference(host, name, tag, digest)


def _is_host(name: str) -> bool:
    """Whether a host in brackets is an IPv6 address, and one in digits an IPv4 address."""
    try:
        if name.startswith("["):
            return ipaddress.ip_address(name[1:-1]).version == 6
        if re.fullmatch(r"[0-9.]+", name):
            return ipaddress.ip_address(name).version == 4
    except ValueError:
        return False
    return True


def _error(text: str, what: str) -> ProaError:
    return ProaError(Code.REFERENCE, what, at=text[:200])
