"""The proxy that fetches go through: one place reads it, and everything that fetches is told.

The environment counts first, in the spellings that curl reads (``http_proxy``, ``HTTPS_PROXY``, ``no_proxy`` ...); what
it does not say comes from the machine's own apt settings, as ``Acquire::http::Proxy`` (apt.conf(5)).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proa.core.oci.failures import safe_url
from proa.core.runtime import process

_SCHEMES: Final = ("http", "https")
_DIRECT: Final = "DIRECT"
"""apt's word for no proxy."""


@dataclass(frozen=True)
class Proxies:
    """Where fetches go through.

    Attributes:
        http: The proxy for addresses with http; empty for none.
        https: The one for addresses with https.
        direct: Hosts that are reached without, separated by commas.
        origin: Where all that was read: ``environment``, ``apt``, or empty.
    """

    http: str = ""
    https: str = ""
    direct: str = ""
    origin: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """The variables for programs that read them, in lower case, which all of them do."""
        found = {"http_proxy": self.http, "https_proxy": self.https, "no_proxy": self.direct}
        return {name: value for name, value in found.items() if value}

    @property
    def shown(self) -> str:
        """For people, without passwords; empty without a proxy."""
        names = {"http": self.http, "https": self.https}
        told = [f"{name} by {safe_url(value)}" for name, value in names.items() if value]
        return f"{', '.join(told)} (from {'the environment' if self.origin != 'apt' else 'apt'})" if told else ""


def read(environment: Mapping[str, str] | None = None, apt: str | None = None) -> Proxies:
    """The proxies of this machine.

    Args:
        environment: The variables; those of this process if not given.
        apt: What ``apt-config dump`` says, a line for each setting; asked if not given.
    """
    own = os.environ if environment is None else environment
    given = {name: _variable(own, f"{name}_proxy") or _variable(own, "all_proxy") for name in _SCHEMES}
    direct = _variable(own, "no_proxy")
    if any(given.values()):
        return Proxies(given["http"], given["https"], direct, "environment")
    said = process.run(("apt-config", "dump", "Acquire"), check=False).text if apt is None else apt
    settings = dict(_setting(line) for line in said.splitlines() if " " in line)
    http = settings.get("acquire::http::proxy", "")
    https = settings.get("acquire::https::proxy", http)
    hosts = [
        name.removeprefix("acquire::http::proxy::")
        for name, value in settings.items()
        if name.startswith("acquire::http::proxy::") and value == _DIRECT
    ]
    http, https = ("" if one == _DIRECT else one for one in (http, https))
    if not http and not https:
        return Proxies()
    return Proxies(http, https, ",".join([direct, *hosts]).strip(","), "apt")


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""


def _setting(line: str) -> tuple[str, str]:
    name, _, value = line.partition(" ")
    return name.lower(), value.strip().removesuffix(";").strip('"')
