"""systemd credentials for a guest (systemd.system-credentials(7)): short ones in SMBIOS strings, long ones by fw_cfg.

SMBIOS strings (type 11) are there from the first instruction on, but systemd 252 reads no more than the first page of
them. QEMU's fw_cfg has no such limit, and needs the kernel's module ``qemu_fw_cfg``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine.options import escape

Credentials = Mapping[str, str | bytes]
"""Names as ``ssh.authorized_keys.root`` or ``system.hostname``, and what the guest reads under them."""

LARGEST = 32 * 1024
"""Bytes of one credential."""
_TABLE = 4000
"""Bytes of all SMBIOS strings that systemd 252 reads, the head of the table apart."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")


def encode(name: str, value: str | bytes) -> str:
    """One credential as an SMBIOS OEM string; always base64, so that any byte goes through.

    Raises:
        ProaError: ``USAGE`` for a name that systemd would not take, or too large a value.
    """
    data = value.encode() if isinstance(value, str) else value
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise ProaError(Code.USAGE, f"{name!r} is not a credential name")
    if len(data) > LARGEST:
        raise ProaError(Code.USAGE, f"credential {name} has {len(data)} bytes, but may have at most {LARGEST}")
    return f"io.systemd.credential.binary:{name}={base64.b64encode(data).decode()}"


def arguments(credentials: Credentials, folder: Path) -> list[str]:
    """QEMU's arguments; the values go through files, so that no process list shows them."""
    folder.mkdir(mode=0o700, exist_ok=True)
    words = []
    left = _TABLE
    for name, value in sorted(credentials.items(), key=lambda item: len(item[1])):
        text = encode(name, value)
        file = folder / name
        file.touch(mode=0o600)
        left -= len(text) + 1
        if left >= 0:
            file.write_text(text)
            words += ["-smbios", f"type=11,path={escape(file)}"]
        else:
            file.write_bytes(value.encode() if isinstance(value, str) else value)
            words += ["-fw_cfg", f"name=opt/io.systemd.credentials/{name},file={escape(file)}"]
    return words
