"""Reads a request within one deadline, however it dribbles."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable

from proa.core.runtime.errors import Code, ProaError


class SlowRequest(ProaError):  # noqa: N818 -- it is what became of a request
    """The request did not come in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(Code.TIMEOUT, f"the request did not arrive within {seconds:g} s")


class TimedReader(io.RawIOBase):
    """Reads from a socket until a deadline.

    Args:
        link: The socket.
        seconds: How long one request may take, the silence before it among that.
        clock: Seconds since some start.
    """

    def __init__(self, link: socket.socket, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._link = link
        self._seconds = seconds
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Wait for the next request from now on."""
        self._end = self._clock() + self._seconds
        self.begun = False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader hands in
        """See :class:`io.RawIOBase`.

        Raises:
            SlowRequest: Once the time is up.
        """
        left = self._end - self._clock()
        if left <= 0:
            raise SlowRequest(self._seconds)
        self._link.settimeout(left)
        try:
            count = self._link.recv_into(buffer)
        except TimeoutError:
            raise SlowRequest(self._seconds) from None
        self.begun = self.begun or count > 0
        return count
