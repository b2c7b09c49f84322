"""QEMU's machine protocol, synchronously: orders, and the events so far."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from qemu.qmp import ExecInterruptedError, ExecuteError, Message, QMPClient, QMPError

from proa.core.runtime.clock import Deadline
from proa.core.runtime.errors import Code, ProaError
from proa.vm.support import background


@dataclass(frozen=True)
class QmpEvent:
    """Something that QEMU reported, as ``RESET``, ``WATCHDOG``, ``SHUTDOWN`` or ``GUEST_PANICKED``."""

    name: str
    data: dict[str, Any]
    at: float = field(default_factory=time.monotonic)
    """Seconds on the host's monotonic clock."""


class QmpEvents:
    """All that QEMU reported about one machine, over its power cycles."""

    def __init__(self) -> None:
        self._all: list[QmpEvent] = []
        self._news = threading.Condition()

    def add(self, event: QmpEvent) -> None:
        """Note an event and wake who waits for it."""
        with self._news:
            self._all.append(event)
            self._news.notify_all()

    @property
    def all(self) -> tuple[QmpEvent, ...]:
        """The events so far."""
        with self._news:
            return tuple(self._all)

    def mark(self) -> int:
        """Here: an event from now on has a number of at least this."""
        return len(self.all)

    def wait_for(
        self, name: str, deadline: Deadline, *, since: int = 0, alive: Callable[[], bool] = lambda: True
    ) -> QmpEvent:
        """The first event of that name, not counting those before the mark ``since``.

        Raises:
            ProaError: ``TIMEOUT``, or ``CONSOLE`` when the machine ended without it.
        """
        with self._news:
            while True:
                going = alive()  # asked before looking: what it reported last is not missed
                for event in self._all[since:]:
                    if event.name == name:
                        return event
                if not going:
                    raise ProaError(Code.CONSOLE, f"{deadline.what}: the machine ended before that")
                deadline.check()
                self._news.wait(min(deadline.remaining, 1.0))


class QmpMonitor:
    """A connection to the monitor of one running QEMU.

    Args:
        connection: Our end of the socket that QEMU was given.
        seconds: How long an answer may take.
        on_event: Called with every event, in the background thread: it must not wait.

    Raises:
        ProaError: ``TOOL`` when QEMU is gone already, ``TIMEOUT``.
    """

    def __init__(self, connection: socket.socket, seconds: float, on_event: Callable[[QmpEvent], None]) -> None:
        self._client = QMPClient("proa")
        self._client.logger.setLevel(logging.CRITICAL)  # its errors are raised: nobody need read them twice
        self._seconds = seconds
        self._on_event = on_event
        self._listener: asyncio.Task[None] | None = None
        try:
            background.call(self._open(connection), seconds, "the monitor of QEMU")
        except (QMPError, EOFError, OSError) as error:
            raise ProaError(Code.TOOL, f"QEMU's monitor does not answer: {error}") from error

    async def _open(self, connection: socket.socket) -> None:
        await self._client.connect(connection)
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for message in self._client.events:
            self._on_event(_event(message))

    def execute(self, command: str, **arguments: object) -> object:
        """Give an order and return its answer.

        Raises:
            ProaError: ``TOOL`` when QEMU refuses or ends, ``TIMEOUT``.
        """
        work = self._client.execute(command, arguments or None)
        try:
            return background.call(work, self._seconds, f"QEMU's answer to {command}")
        except (ExecuteError, ExecInterruptedError, QMPError, EOFError) as error:
            raise ProaError(Code.TOOL, f"QEMU: {command}: {error}") from error

    def close(self) -> None:
        """Close the connection; after the end of QEMU this is harmless."""
        background.call(self._close(), self._seconds, "closing the monitor")

    async def _close(self) -> None:
        await asyncio.sleep(0)  # what QEMU said last is still taken
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        try:
            await self._client.disconnect()
        except (QMPError, EOFError, OSError):
            return  # QEMU was killed: there is nobody to say goodbye to


def _event(message: Message) -> QmpEvent:
    data = message.get("data")
    return QmpEvent(str(message["event"]), {str(k): v for k, v in data.items()} if isinstance(data, dict) else {})
