"""SSH public keys, as a line of authorized_keys has them (sshd(8), "AUTHORIZED_KEYS FILE FORMAT", without options)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.builder.config.kinds import Refused
from proa.builder.config.near import did_you_mean

_LINE: Final = re.compile(r"([A-Za-z0-9@.-]+) ([A-Za-z0-9+/=]+)(?: [^\n]*)?")
_SIZES: Final[Mapping[str, int]] = {
    "ssh-ed25519": 32,
    "ssh-rsa": 256,
    "ecdsa-sha2-nistp256": 65,
    "ecdsa-sha2-nistp384": 97,
    "ecdsa-sha2-nistp521": 133,
    "sk-ssh-ed25519@openssh.com": 32,
    "sk-ecdsa-sha2-nistp256@openssh.com": 65,
}
"""Types that OpenSSH accepts as they come, and the least bytes that the key itself has."""


@dataclass(frozen=True)
class SshKey:
    """A kind of setting: one public key on one line."""

    @property
    def allowed(self) -> str:
        """See :class:`proa.builder.config.kinds.ValueKind`."""
        return "an SSH public key on one line"

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`proa.builder.config.kinds.ValueKind`."""
        return {"type": "string", "pattern": f"^(?:{_LINE.pattern})$"}

    def read(self, value: object) -> str:
        """See :class:`proa.builder.config.kinds.ValueKind`; a key that could never log in is refused."""
        match = _LINE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise Refused(f"{_short(value)} is not {self.allowed}")
        kind, text = match[1], match[2]
        if kind not in _SIZES:
            near = did_you_mean(kind, _SIZES, f"Known are {', '.join(_SIZES)}.")
            raise Refused(f"'{kind}' is not a type of SSH key that sshd accepts; {near[0].lower()}{near[1:]}")
        parts = _fields(text)
        if not parts or parts[0] != kind.encode() or max(map(len, parts[1:]), default=0) < _SIZES[kind]:
            raise Refused(f"{_short(value)} is cut short or damaged: it does not contain {kind} key data")
        return match[0]


def _fields(text: str) -> list[bytes]:
    """The strings of a key (RFC 4253, section 6.6); none if they do not fill it."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        return []
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        if len(data) < 4 + size:
            return []
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def _short(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:56] + '..."'
