"""Which proxy leads to a host: the one of the settings, else those of the environment; never one to this machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies

from proa.core.oci.access import Access
from proa.core.oci.reference import is_loopback


def proxies(url: str, access: Access) -> Mapping[str, str]:
    """The proxies for a URL, by scheme: ``proxy`` and ``no_proxy`` of the settings, else of the environment."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if is_loopback(host) or bypassed(host, port, access.no_proxy):
        return {}
    return {"http": access.proxy, "https": access.proxy} if access.proxy else get_environ_proxies(url)


def bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Whether a host is met without the proxy.

    Args:
        host: The host's name or address, in lower case.
        port: Its port, be it the scheme's own.
        no_proxy: Names, addresses and networks, separated by commas. A name stands for itself and all below it, with
            or without a leading dot or ``*.``; with a port only that one is meant; ``*`` stands for all.
    """
    words = [word.strip().lower() for word in no_proxy.split(",")]
    return any(_matches(host.rstrip("."), port, word) for word in words if word)


def _matches(host: str, port: int, word: str) -> bool:
    if word == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(word.strip("[]"), strict=False)
    except ValueError:
        pass
    name, colon, wanted = word.rpartition(":")
    if colon and wanted.isdecimal():
        if wanted != str(port):
            return False
        word = name
    name = word.strip("[]").removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))
