"""What QEMU runs for each connection of a guest to an address that it stands in for."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SOURCE = "127.0.0.21"


def test_bytes_go_both_ways_until_both_sides_are_done() -> None:
    with piped() as (guest, connection, child):
        sent = bytes(range(256)) * 4000
        sender = threading.Thread(target=say, args=(guest, sent))
        with connection:
            sender.start()
            assert read_all(connection) == sent
            say(connection, sent[::-1])
            assert read_all(guest) == sent[::-1]
        sender.join()
        assert child.wait(300) == 0


def test_a_side_that_breaks_ends_it() -> None:
    with piped() as (guest, connection, child):
        connection.close()
        assert read_all(guest) == b""
        guest.close()
        assert child.wait(300) == 0


@contextmanager
def piped() -> Iterator[tuple[socket.socket, socket.socket, subprocess.Popen[bytes]]]:
    """The program between a guest and a server: the guest's side, the server's, and the program."""
    guest, inside = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as server, guest:
        argv = [sys.executable, "-m", "proa.vm.machine.pipe", str(server.getsockname()[1]), SOURCE]
        with inside:
            child = subprocess.Popen(argv, stdin=inside.fileno(), stdout=inside.fileno(), stderr=inside.fileno())
        connection, (source, _) = server.accept()
        assert source == SOURCE
        yield guest, connection, child


def say(target: socket.socket, data: bytes) -> None:
    target.sendall(data)
    target.shutdown(socket.SHUT_WR)


def read_all(source: socket.socket) -> bytes:
    found = b""
    while data := source.recv(1 << 16):
        found += data
    return found
