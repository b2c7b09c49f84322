"""``limits``: resource limits of login sessions (pam_limits) and of services (systemd's defaults)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proa.core.settings.model import Base, Key, Model, Part
from proa.core.settings.values import Whole

LOGINS: Final = "limits/99-proa.conf"
SERVICES: Final = "limits/50-proa-limits.conf"
_SYSTEMD: Final = {
    "nofile": "NOFILE",
    "nproc": "NPROC",
    "memlock": "MEMLOCK",
    "core": "CORE",
    "stack": "STACK",
}
KEYS: Final[Mapping[str, Key]] = {
    "nofile": Key(Whole(1024, 1 << 20), "open files of a process"),
    "nproc": Key(Whole(1024, 1 << 22), "processes of a user"),
    "memlock": Key(Whole(64, 1 << 30, "KiB"), "memory that a process may lock"),
    "core": Key(Whole(0, 1 << 30, "KiB"), "size of a core dump"),
    "stack": Key(Whole(1024, 1 << 20, "KiB"), "stack of a process"),
}
_IN_KIB: Final = ("memlock", "core", "stack")


def _render(part: Part, _: Base) -> Mapping[str, str]:
    logins = "".join(
        f"{who} {kind} {name} {part[name]}\n"
        for name in sorted(part)
        for who in ("*", "root")
        for kind in ("soft", "hard")
    )
    services = "".join(
        f"DefaultLimit{_SYSTEMD[name]}={part[name]}{'K' if name in _IN_KIB else ''}\n" for name in sorted(part)
    )
    return {LOGINS: logins, SERVICES: f"[Manager]\n{services}"}


LIMITS: Final = Model(
    "limits",
    "Resource limits of new login sessions and of services that start from now on.",
    KEYS,
    _render,
    links={LOGINS: "/etc/security/limits.d/99-proa.conf", SERVICES: "/etc/systemd/system.conf.d/99-proa-limits.conf"},
)
