"""``registries``: mirrors of containerd, as ``certs.d/HOST/hosts.toml`` (containerd, docs/hosts.md).

containerd reads these files at each pull, and asks the registry itself where no mirror answers. Which image a tag
stands for is asked of the registry alone, unless the key ends in ``/resolve``: that is a permission of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proa.core.settings.machines import Host
from proa.core.settings.model import Base, Key, Model, Part
from proa.core.settings.values import ListOf

RESOLVE: Final = "/resolve"
"""How the key ends of mirrors that may say which image a tag stands for."""
PLACE: Final = "/etc/containerd/certs.d"
_MOST: Final = 4
_AUTHORITY: Final = re.compile(r"([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::([1-9][0-9]{0,4}))?")


def is_authority(text: str) -> bool:
    """Whether a text is ``HOST`` or ``HOST:PORT``, in lower case."""
    found = _AUTHORITY.fullmatch(text)
    return found is not None and Host().fits(found[1]) and int(found[2] or 1) < 1 << 16


@dataclass(frozen=True)
class Mirror:
    """A mirror, by its address: TLS, no path, no password.

    Attributes:
        hosts: Hosts that a release allows, with their ports; empty for any.
    """

    hosts: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return " or ".join(f"https://{host}" for host in self.hosts) or "https://HOST[:PORT]"

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        if not isinstance(value, str) or not value.startswith("https://"):
            return False
        host = value.removeprefix("https://")
        return host in self.hosts if self.hosts else is_authority(host)

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"type": "string", "pattern": "^https://[a-z0-9.-]+(?::[0-9]{1,5})?$", "maxLength": 280}


@dataclass(frozen=True)
class Mirrors(ListOf):
    """Mirrors in the order in which they are asked."""

    def within(self, hosts: Sequence[str]) -> Mirrors:
        """The same, of which only some hosts are allowed."""
        return Mirrors(Mirror(tuple(hosts)), self.most)


def _open_key(name: str) -> Key | None:
    if not is_authority(name.removesuffix(RESOLVE)):
        return None
    return Key(Mirrors(Mirror(), _MOST), "mirrors, in the order in which they are asked")


def _file(host: str) -> str:
    return f"registries/{host}/hosts.toml"


def _hosts(part: Part) -> list[str]:
    return sorted({key.removesuffix(RESOLVE) for key in part})


def _render(part: Part, _: Base) -> Mapping[str, str]:
    """Mirrors that may resolve come first: where one address is in both lists, that is the one that counts."""
    found = {}
    for host in _hosts(part):
        resolving = list(part.get(f"{host}{RESOLVE}", ()))
        others = [mirror for mirror in part.get(host, ()) if mirror not in resolving]
        tables = [(mirror, '["pull", "resolve"]') for mirror in resolving] + [(mirror, '["pull"]') for mirror in others]
        found[_file(host)] = "".join(f'[host."{mirror}"]\n  capabilities = {what}\n\n' for mirror, what in tables)
    return found


def _places(part: Part) -> Mapping[str, str]:
    return {_file(host): f"{PLACE}/{host}/hosts.toml" for host in _hosts(part)}


REGISTRIES: Final = Model(
    "registries",
    "Mirrors of containerd by registry, such as `docker.io` or `registry.example:5000`. A release lists them with the "
    "hosts that may be mirrors: `docker.io=mirror.example,other.example:5000`. A key that ends in `/resolve` has "
    "mirrors that may also say which image a tag stands for. Nothing restarts: containerd reads them at each pull.",
    {},
    _render,
    open_key=_open_key,
    open_kind=Mirrors(Mirror(), _MOST),
    places=_places,
)
