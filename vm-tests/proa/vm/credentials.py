"""systemd credentials for a guest, passed in SMBIOS strings (systemd.system-credentials(7), SMBIOS type 11)."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from proa.core.errors import Code, ProaError

Credentials = Mapping[str, str | bytes]
"""Names as ``ssh.authorized_keys.root`` or ``system.hostname``, and what the guest reads under them."""

LARGEST = 32 * 1024
"""Bytes of one credential; an SMBIOS table has 64 KiB for everything."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")


def encode(name: str, value: str | bytes) -> str:
    """One credential as an SMBIOS OEM string; always base64, so that any byte goes through.

    Raises:
        ProaError: ``USAGE`` for a name that systemd would not take, or too large a value.
    """
    data = value.encode() if isinstance(value, str) else value
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise ProaError(Code.USAGE, f"not a credential name: {name!r}")
    if len(data) > LARGEST:
        raise ProaError(Code.USAGE, f"credential {name} has {len(data)} bytes, {LARGEST} are possible")
    return f"io.systemd.credential.binary:{name}={base64.b64encode(data).decode()}"


def arguments(credentials: Credentials, folder: Path) -> list[str]:
    """QEMU's arguments; the values go through files, so that no process list shows them."""
    folder.mkdir(mode=0o700, exist_ok=True)
    words = []
    for name, value in credentials.items():
        text = encode(name, value)
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(text)
        words += ["-smbios", f"type=11,path={str(file).replace(',', ',,')}"]
    return words
