"""Joins standard input and output, one socket, with a port of the loopback address.

``python -m proa.vm.machine.pipe PORT FROM``: FROM is the loopback address (127.0.0.0/8, RFC 1122, section 3.2.1.3) that
the port sees it come from.

QEMU starts one for each connection of a guest to an address that it stands in for (qemu-system(1), ``guestfwd``).
"""

from __future__ import annotations

import socket
import sys
import threading
from typing import Final

_CHUNK: Final = 1 << 16


def join(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until both sides have said all they have to say."""
    there = threading.Thread(target=_carry, args=(one, other), daemon=True)
    there.start()
    _carry(other, one)
    there.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(_CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # one of them is gone: so is what the other one had to say
        for side in (source, target):
            side.close()


def main() -> None:
    """Run until the connection ends."""
    port, source = int(sys.argv[1]), sys.argv[2]
    host = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
    with socket.socket(fileno=0) as guest, host:
        join(guest, host)


if __name__ == "__main__":
    main()
