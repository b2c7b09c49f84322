"""Parts of a blob come in order, several requests under way, and never far ahead of who takes them."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import pytest

from proa.agent.install.ahead import AT_ONCE, BUFFER, Ahead

WAIT = 30.0
"""Seconds for what another thread does at once; a test that passes never waits for them."""


class Server:
    """Gives the numbers of a part as bytes; holds every part back at its second frame until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun: list[int] = []
        self.changed = threading.Condition()
        self.given = 0

    def read(self, part: range) -> Generator[bytes, None, None]:
        with self.changed:
            self.begun.append(part.start)
            self.changed.notify_all()
        for number in part:
            if number != part.start:
                assert self.go.wait(WAIT)
            with self.changed:
                self.given += 1
                self.changed.notify_all()
            yield bytes([number])

    def wait_for(self, begun: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.begun) == begun, WAIT)


PARTS = [range(n, n + 3) for n in range(0, 30, 3)]


def ahead(server: Server, *, several: bool = True, largest: int = 1) -> Ahead[bytes]:
    return Ahead(PARTS, server.read, lambda: several, largest)


def test_all_comes_in_order() -> None:
    server = Server()
    server.go.set()
    with ahead(server) as parts:
        assert [b"".join(parts.take()) for _ in PARTS] == [bytes(part) for part in PARTS]


def test_so_many_requests_are_under_way_and_no_more() -> None:
    server = Server()
    with ahead(server) as parts:
        server.wait_for(AT_ONCE)
        server.go.set()
        for taken in range(len(PARTS)):
            b"".join(parts.take())
            with server.changed:
                assert len(server.begun) <= taken + 1 + AT_ONCE
    assert server.begun == [part.start for part in PARTS]


def test_a_registry_without_ranges_is_asked_one_by_one() -> None:
    server = Server()
    server.go.set()
    with ahead(server, several=False) as parts:
        for number in range(len(PARTS)):
            first = next(iter(parts.take()))
            assert first == bytes([PARTS[number].start])
            assert len(server.begun) == 1
            break


def test_a_request_waits_for_who_takes_it() -> None:
    """Memory has a bound: one frame that is kept, and one that waits to be."""
    server = Server()
    server.go.set()
    with ahead(server, largest=BUFFER) as parts:
        server.wait_for(AT_ONCE)
        assert server.given <= 2 * AT_ONCE
        taken = [b"".join(parts.take()) for _ in PARTS]
    assert taken == [bytes(part) for part in PARTS]


def test_what_goes_wrong_is_raised_in_its_place() -> None:
    def read(part: range) -> Generator[bytes, None, None]:
        yield bytes([part.start])
        if part.start == 3:
            raise OSError("gone")

    with Ahead(PARTS, read, lambda: True, 1) as parts:
        assert b"".join(parts.take()) == b"\0"
        second = iter(parts.take())
        assert next(second) == b"\3"
        with pytest.raises(OSError, match="gone"):
            next(second)


def test_what_is_given_up_is_closed() -> None:
    closed = threading.Event()

    def read(part: range) -> Generator[bytes, None, None]:
        try:
            while True:
                yield bytes(1)
        finally:
            closed.set()

    def use(parts: Any) -> None:
        next(iter(parts.take()))
        raise KeyError

    with pytest.raises(KeyError), Ahead(PARTS[:1], read, lambda: True, BUFFER) as parts:
        use(parts)
    assert closed.wait(WAIT)
