"""A machine's power: switched on, cut, and on again by itself when the guest resets.

Under emulation a reset is a new QEMU with the same disks and variables. QEMU 7.2 keeps its translations of code that a
reset has made dead, and every write to a page that once held some takes a slow way: where that was firmware's stack,
its timer left GRUB no time at all.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from proa.core.runtime.clock import Deadline
from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine import memory
from proa.vm.machine.console import Console
from proa.vm.machine.qemu import Hardware, Parts, Running
from proa.vm.machine.qmp import QmpEvent, QmpMonitor

RESETS: Final = frozenset({"guest-reset", "host-qmp-system-reset", "host-ui", "subsystem-reset"})
"""Why QEMU ends when it has been told to end in place of a reset (QAPI, ShutdownCause)."""
_FORWARD: Final = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+(\d+)\s")
_LAST_WORDS: Final = 2.0
"""Seconds in which the last event of a QEMU that has ended is still waited for."""
_END: Final = 60.0
"""Seconds that a QEMU may take to end after it has said so."""


class Power:
    """The power of one machine.

    Args:
        name: The machine's, as it stands in errors.
        hardware: What it is made of.
        parts: Its folder and firmware.
        console: Reads what it says.
        seconds: How long an answer of the monitor may take.
        on_event: Called with every event of QEMU; it must not wait. A reset is a ``RESET`` either way.
    """

    def __init__(
        self,
        name: str,
        hardware: Hardware,
        parts: Parts,
        console: Console,
        seconds: float,
        on_event: Callable[[QmpEvent], None],
    ) -> None:
        self._name = name
        self._hardware = hardware
        self._parts = parts
        self._console = console
        self._seconds = seconds
        self._on_event = on_event
        self._lock = threading.RLock()
        self._news = threading.Condition()
        self._running: Running | None = None
        self._monitor: QmpMonitor | None = None
        self._resetting = False
        self._over = False
        """Whether this QEMU has said that it ends for good."""
        self.ports: dict[int, int] = {}
        """The host's ports that lead to the guest's, by these; they outlive a reset."""

    @property
    def on(self) -> bool:
        """Whether the machine is switched on."""
        running = self._running
        if self._resetting or (running is not None and running.alive):
            return True
        if running is not None and running.ended_well:  # why stands in its last event, which may be on its way
            with self._news:
                self._news.wait_for(lambda: self._over or self._resetting, _LAST_WORDS)
        return self._resetting

    @property
    def pid(self) -> int:
        """QEMU's process number.

        Raises:
            ProaError: ``TOOL`` when the machine is off.
        """
        if self._running is None:
            raise self._off()
        return self._running.pid

    @property
    def monitor(self) -> QmpMonitor:
        """QEMU's monitor.

        Raises:
            ProaError: ``TOOL`` when the machine is off.
        """
        with self._news:
            self._news.wait_for(lambda: not self._resetting, _END)
        with self._lock:
            if self._monitor is None or not self.on:
                raise self._off()
            return self._monitor

    def said(self) -> str:
        """What QEMU itself wrote."""
        return self._running.said() if self._running else ""

    def switch_on(self) -> None:
        """Start QEMU.

        Raises:
            ProaError: ``TOOL`` with what QEMU said, when it ends at once.
        """
        with self._lock:
            self.cut()
            self.ports = {}
            self._start()

    def wake(self, saved: Path, deadline: Deadline) -> None:
        """Start QEMU with the memory of a machine that was saved (:mod:`proa.vm.machine.memory`), and let it run.

        This start alone has it: after a reset the machine boots.

        Raises:
            ProaError: ``TOOL`` with what QEMU said, when it cannot load that; ``TIMEOUT``. The machine is off then.
        """
        with self._lock:
            self.cut()
            self.ports = {}
            self._start(memory.WAITS)
            running = self._running
            try:
                memory.load(self.monitor, saved, deadline)
            except ProaError as error:
                said = running.said() if running else ""
                self.cut()
                raise ProaError(Code.TOOL, f"{self._name}: {error.message} {said}", at=saved) from error

    def cut(self) -> None:
        """SIGKILL to QEMU, if there is one."""
        with self._lock:
            self._resetting = False
            if self._running is not None:
                self._running.kill()
            self._let_go()

    def wait_for_end(self, deadline: Deadline) -> bool:
        """Whether the machine is switched off by its guest before the deadline.

        Raises:
            ProaError: ``TOOL`` when the machine is off.
        """
        if self._running is None and not self._resetting:
            raise self._off()
        while self.on:
            if deadline.passed:
                return False
            deadline.clock.sleep(0.1)
        with self._lock:
            self._let_go()
        return True

    # inside

    def _start(self, extra: Sequence[str] = ()) -> None:
        self._over = False
        running = Running(self._hardware, self._parts, self.ports, extra)
        self._running = running
        self._console.attach(running.serial)
        try:
            self._monitor = QmpMonitor(running.monitor, self._seconds, lambda event: self._take(running, event))
            if self._hardware.network is not None:
                said = self._monitor.execute("human-monitor-command", **{"command-line": "info usernet"})
                self.ports = {int(guest): int(host) for host, guest in _FORWARD.findall(str(said))}
        except ProaError as error:
            failure = running.failure(f"{self._name}: QEMU did not start")
            self.cut()
            raise failure from error

    def _take(self, running: Running, event: QmpEvent) -> None:
        """An event, in the background thread."""
        ends = event.name == "SHUTDOWN"
        if ends and self._parts.accel.fresh_resets and event.data.get("reason") in RESETS:
            self._resetting = True
            threading.Thread(target=self._again, args=(running,), name="reset", daemon=True).start()
            event = QmpEvent("RESET", event.data, event.at)
        elif ends:
            self._over = True
        with self._news:
            self._news.notify_all()
        self._on_event(event)

    def _again(self, ended: Running) -> None:
        """Start the next QEMU of a machine that resets."""
        ended.wait(_END)
        with self._lock:
            if self._running is ended and self._resetting:
                self._let_go()
                try:
                    self._start()
                except ProaError:
                    self._over = True  # its log says why
            self._resetting = False
        with self._news:
            self._news.notify_all()

    def _let_go(self) -> None:
        running, monitor = self._running, self._monitor
        self._running = self._monitor = None
        if monitor is not None:
            monitor.close()
        elif running is not None:
            running.monitor.close()
        self._console.finish()

    def _off(self) -> ProaError:
        return ProaError(Code.TOOL, f"{self._name}: the machine is off")
