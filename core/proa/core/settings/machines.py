"""Kinds of values that name machines: addresses, domains, hosts, proxies."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Final

_NAME: Final = 253
"""Characters of a domain name (RFC 1035, section 2.3.4), written without a dot at its end."""
_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Address:
    """The IP address of one machine, version 4 or 6, without a zone.

    Attributes:
        loopback: Whether it may be this machine.
    """

    loopback: bool = True

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return "an IP address" + ("" if self.loopback else " of another machine")

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        if not isinstance(value, str) or "%" in value:
            return False
        try:
            found = ipaddress.ip_address(value)
        except ValueError:
            return False
        nobody = found.is_unspecified or found.is_multicast or str(found) == "255.255.255.255"
        return not nobody and (self.loopback or not found.is_loopback)

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}], "maxLength": 45}


@dataclass(frozen=True)
class Domain:
    """A domain name (RFC 1123, section 2.1), in lower case."""

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return "a domain name"

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        return isinstance(value, str) and value == value.lower() and is_domain(value)

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"type": "string", "pattern": "^[a-z0-9.-]+$", "maxLength": 253}


@dataclass(frozen=True)
class Host:
    """The name or the address of another machine, or of this one."""

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return "a host name or address"

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted; what ends in a number is an address, or nothing."""
        if not isinstance(value, str):
            return False
        named = is_domain(value) and not value.rpartition(".")[2].isdigit()
        return named or Address().fits(value)

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"type": "string", "pattern": "^[A-Za-z0-9.:-]+$", "maxLength": 253}


@dataclass(frozen=True)
class ProxyUrl:
    """Where an HTTP proxy listens: scheme, host and port, nothing else."""

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return "http://HOST:PORT, without a user or password"

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        found = re.fullmatch(r"http://(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):([1-9][0-9]{0,4})/?", str(value))
        if found is None or not isinstance(value, str):
            return False
        version6, name, port = found.groups()
        return int(port) < 1 << 16 and Host().fits(version6 or name) and bool(version6) == (":" in (version6 or name))

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"type": "string", "pattern": "^http://[^/@]+:[0-9]{1,5}/?$", "maxLength": 280}


def is_domain(text: str) -> bool:
    """Whether a text is a name of the DNS, without a dot at its end."""
    return len(text) <= _NAME and all(_LABEL.fullmatch(one) for one in text.split("."))
