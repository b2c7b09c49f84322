"""File capabilities: how a configuration names them, and the bytes that the kernel keeps them in.

The text is that of setcap(8) with one clause, such as ``cap_net_raw,cap_net_admin=ep``; the bytes are those of
``struct vfs_cap_data``, revision 2 (linux/capability.h).
"""

from __future__ import annotations

import difflib
import re
import struct
from dataclasses import dataclass
from typing import Any, Final

from proa.builder.config.kinds import Refused

XATTR: Final = "security.capability"
"""The extended attribute that holds a file's capabilities."""
NAMES: Final = (
    *("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap"),
    *("linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner"),
    *("sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice"),
    *("sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap"),
    *("mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf"),
    "checkpoint_restore",
)
"""Every capability, in the order of its number (capabilities(7))."""
_REVISION: Final = 0x02000000
_EFFECTIVE: Final = 1
_TEXT: Final = re.compile(r"([a-z_,]+)=(e?p|e?ip|e?pi|i)")


@dataclass(frozen=True)
class Capabilities:
    """A kind of setting: the capabilities of a file."""

    @property
    def allowed(self) -> str:
        """See :class:`proa.builder.config.kinds.ValueKind`."""
        return 'capabilities such as "cap_net_raw,cap_net_admin=ep"'

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`proa.builder.config.kinds.ValueKind`."""
        return {"type": "string", "pattern": f"^(?:{_TEXT.pattern})$"}

    def read(self, value: object) -> str:
        """See :class:`proa.builder.config.kinds.ValueKind`."""
        match = _TEXT.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise Refused(f"{value!r} is not {self.allowed}")
        known = [f"cap_{name}" for name in NAMES]
        for name in match[1].split(","):
            if name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.5)
                raise Refused(f"there is no capability '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))
        return match[0]


def encoded(text: str) -> bytes:
    """The value of :data:`XATTR` for a text that :class:`Capabilities` accepts."""
    names, _, flags = text.partition("=")
    mask = sum(1 << NAMES.index(name.removeprefix("cap_")) for name in set(names.split(",")))
    permitted, inheritable = (mask if flag in flags else 0 for flag in "pi")
    words = [permitted & 0xFFFFFFFF, inheritable & 0xFFFFFFFF, permitted >> 32, inheritable >> 32]
    return struct.pack("<5I", _REVISION | (_EFFECTIVE if "e" in flags else 0), *words)
