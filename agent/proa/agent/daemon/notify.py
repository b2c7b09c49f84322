"""Tells systemd how the daemon does (sd_notify(3): datagrams to the socket in ``$NOTIFY_SOCKET``)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_DEFAULT: Final = 30.0


@dataclass(frozen=True)
class Notifier:
    """The connection to the service manager.

    Attributes:
        address: Its socket; empty where there is none, and then nothing is sent.
        interval: Seconds between two signs of life, a third of what the watchdog allows.
    """

    address: str = ""
    interval: float = _DEFAULT

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """The notifier that the environment describes."""
        allowed = environment.get("WATCHDOG_USEC", "")
        interval = int(allowed) / 3e6 if allowed.isdecimal() else _DEFAULT
        return cls(environment.get("NOTIFY_SOCKET", ""), interval)

    def send(self, *lines: str) -> None:
        """Send assignments such as ``READY=1``. It is no error if nobody listens."""
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address[0] == "@" else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
            try:
                link.sendto("\n".join(lines).encode(), address)
            except OSError:
                return
