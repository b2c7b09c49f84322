"""``time``, ``dns`` and ``proxy``: servers that the node asks, as drop-ins of systemd and a file of environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proa.core.settings.disruption import Disruption
from proa.core.settings.machines import Address, Host, ProxyUrl
from proa.core.settings.model import Base, Key, Model, Part
from proa.core.settings.values import Choice, ListOf, Text

_DOMAIN: Final = Text(
    r"~?[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|~\.", "a domain, with ~ before it for routing only", 254
)
_NO_PROXY: Final = Text(r"[A-Za-z0-9.*:/-]{1,253}", "a host, domain or network", 253)
TIME_FILE: Final = "time/50-proa.conf"
DNS_FILE: Final = "dns/50-proa.conf"
PROXY_FILE: Final = "proxy/proxy.env"


def _time(part: Part, _: Base) -> Mapping[str, str]:
    names = {"servers": "NTP", "fallback": "FallbackNTP"}
    return {TIME_FILE: "[Time]\n" + "".join(f"{names[key]}={' '.join(part[key])}\n" for key in sorted(part))}


def _dns(part: Part, _: Base) -> Mapping[str, str]:
    names = {"servers": "DNS", "fallback": "FallbackDNS", "domains": "Domains", "dnssec": "DNSSEC"}
    lines = (
        f"{names[key]}={' '.join(part[key]) if isinstance(part[key], list | tuple) else part[key]}\n"
        for key in sorted(part)
    )
    return {DNS_FILE: "[Resolve]\n" + "".join(lines)}


def _proxy(part: Part, _: Base) -> Mapping[str, str]:
    lines = []
    for key, name in (("http", "HTTP_PROXY"), ("https", "HTTPS_PROXY"), ("none", "NO_PROXY")):
        if key in part:
            value = ",".join(part[key]) if key == "none" else part[key]
            lines += [f"{name}={value}\n", f"{name.lower()}={value}\n"]
    return {PROXY_FILE: "".join(lines)}


TIME: Final = Model(
    "time",
    "Time servers, for systemd-timesyncd.",
    {
        "servers": Key(ListOf(Host(), 8), "time servers"),
        "fallback": Key(ListOf(Host(), 8), "servers where none is known"),
    },
    _time,
    links={TIME_FILE: "/etc/systemd/timesyncd.conf.d/50-proa.conf"},
    restart=("systemd-timesyncd.service",),
)
DNS: Final = Model(
    "dns",
    "DNS servers and domains of the node, for systemd-resolved.",
    {
        "servers": Key(ListOf(Address(), 8), "DNS servers"),
        "fallback": Key(ListOf(Address(), 8), "servers where none is known"),
        "domains": Key(ListOf(_DOMAIN, 16), "domains that are searched, or routed"),
        "dnssec": Key(Choice(("yes", "no", "allow-downgrade")), "whether answers must be signed"),
    },
    _dns,
    links={DNS_FILE: "/etc/systemd/resolved.conf.d/50-proa.conf"},
    restart=("systemd-resolved.service",),
)
PROXY: Final = Model(
    "proxy",
    "Proxy of containerd for image pulls.",
    {
        "http": Key(ProxyUrl(), "proxy for HTTP", Disruption.RESTART),
        "https": Key(ProxyUrl(), "proxy for HTTPS", Disruption.RESTART),
        "none": Key(
            ListOf(_NO_PROXY, 64), "hosts, domains and networks that are reached without it", Disruption.RESTART
        ),
    },
    _proxy,
    links={PROXY_FILE: "/etc/proa/proxy.env"},
    restart=("containerd.service",),
)
