"""A virtual machine with verbs that read like English. Everything that may take time has a limit."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

from proa.core.runtime import process
from proa.core.runtime.clock import SYSTEM, Clock, Deadline
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors
from proa.vm.machine import accel, calibration, memory, ssh, tpm
from proa.vm.machine.console import Console, Finding
from proa.vm.machine.console_patterns import STARVED
from proa.vm.machine.disks import Overlay
from proa.vm.machine.guest import Guest
from proa.vm.machine.power import Power
from proa.vm.machine.qemu import Hardware, make_parts
from proa.vm.machine.qmp import QmpEvent, QmpEvents, QmpMonitor
from proa.vm.machine.session import GuestSession
from proa.vm.machine.ssh import Ssh
from proa.vm.support.limits import TimeLimits

_TPM_STATE = "tpm.tar"


class Machine(Guest):
    """One virtual machine: its disks, firmware variables and console outlive any number of power cuts.

    ``with`` switches it on, and at the end takes its power away. All its files are in its folder.

    Args:
        hardware: What it is made of.
        folder: For its overlays, variables, key and logs; made if it is not there.
        name: As it stands in errors.
        limits: How long things may take; those of this host if None.
        echo: Called with every byte of the console as it comes.
        clock: Whose time counts.

    Raises:
        ProaError: ``NO_FIRMWARE``, ``FILE_MISSING``, ``KEY``, or what making an overlay raises.
    """

    def __init__(
        self,
        hardware: Hardware,
        folder: Path,
        *,
        name: str = "vm",
        limits: TimeLimits | None = None,
        echo: Callable[[bytes], object] | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        with os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.folder = folder
        self.limits = limits or calibration.limits()
        self.clock = clock
        self.hardware = _with_key(hardware, folder)
        self.parts = make_parts(hardware, folder)
        always = () if self.parts.accel == accel.KVM else STARVED
        self.console = Console(folder, echo, always=always, clock=clock)
        self._events = QmpEvents()
        self._power = Power(name, self.hardware, self.parts, self.console, self.limits.monitor, self._on_event)
        self._session: GuestSession | None = None
        self._power_on_line = 0
        self._power_on_event = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.crash()

    # power

    def start(self) -> None:
        """Switch it on; returns at once. A machine that runs already goes on.

        Raises:
            ProaError: ``TOOL`` with what QEMU said, when it ends at once.
        """
        if self.running:
            return
        self.crash()
        self._power_on_line, self._power_on_event = self.console.mark(), self._events.mark()
        self._power.switch_on()
        self._open_session()

    def save(self, folder: Path) -> None:
        """Save it as it runs now to a folder: memory, disks, variables, key and console. Then it goes on.

        Raises:
            ProaError: ``TOOL`` when it is off, or has a device that QEMU cannot save; ``TIMEOUT``.
        """
        self._in().disconnect()
        memory.save(self.monitor, (folder / "memory").resolve(), self._deadline("command", "saving its memory", None))
        for overlay in self.overlays:
            overlay.save(folder / overlay.path.name)
        for name in ("variables.fd", "ssh.key", "ssh.pub", "console.raw"):
            process.run(["cp", "--preserve=mode", self.folder / name, folder])
        if self.hardware.tpm:
            process.run(["tar", "-C", self.folder, "-cf", folder / _TPM_STATE, tpm.FOLDER])
        self.monitor.execute("cont")
        self._set_clock()

    def restore(self, folder: Path) -> None:
        """Switch it on as another one was saved (:meth:`save`), of the same hardware and with the same key.

        From the next start or reset on, it boots.

        Raises:
            ProaError: ``TOOL`` when QEMU refuses what was saved, ``TIMEOUT``.
        """
        self.crash()
        for overlay in self.overlays:
            overlay.restore(folder / overlay.path.name)
        process.run(["cp", folder / self.parts.variables.name, self.parts.variables])
        if self.hardware.tpm:
            process.run(["tar", "-C", self.folder, "-xf", folder / _TPM_STATE])
        self._power_on_line, self._power_on_event = self.console.mark(), self._events.mark()
        self.console.recall((folder / "console.raw").read_bytes())
        self._power.wake((folder / "memory").resolve(), self._deadline("command", "restoring its memory", None))
        self._open_session()
        self._set_clock()

    @property
    def running(self) -> bool:
        """Whether it is switched on."""
        return self._power.on

    def port(self, guest: int) -> int:
        """The port of this host's loopback address that leads to one of the guest's.

        Raises:
            KeyError: for one that is not forwarded, or while the machine has never run.
        """
        return self._power.ports[guest]

    @property
    def pid(self) -> int:
        """QEMU's process number.

        Raises:
            ProaError: ``TOOL`` when the machine is off.
        """
        return self._power.pid

    def crash(self) -> None:
        """Cut the power: SIGKILL to QEMU. What of the disks survives, :class:`proa.vm.machine.disks.DiskCache` says."""
        self._power.cut()
        self._let_go()

    def shutdown(self, seconds: float | None = None) -> None:
        """Power off in order, by systemd where there is SSH, else by the power button, and wait for the end.

        Raises:
            ProaError: ``TIMEOUT``.
        """
        deadline = self._deadline("shutdown", "powering off", seconds)
        if self._session is not None:
            self._session.order("systemctl poweroff --no-block", deadline)
        else:
            self.monitor.execute("system_powerdown")
        self._wait_for_end(deadline)

    def wait_for_end(self, seconds: float | None = None) -> None:
        """Wait until the guest switches itself off.

        Raises:
            ProaError: ``TIMEOUT``.
        """
        self._wait_for_end(self._deadline("shutdown", "switching off", seconds))

    def reboot(self, seconds: float | None = None) -> str:
        """Reboot in order and wait until SSH answers from the new boot, whose boot id is returned.

        Raises:
            ProaError: ``TIMEOUT``.
        """
        before = self.boot_id
        deadline = self._deadline("boot", "rebooting", seconds)
        self._in().order("systemctl reboot --no-block", deadline)
        return self._another_boot(before, deadline)

    def reset(self) -> None:
        """Press the reset button: the guest starts anew at once, its disks' caches are not lost."""
        self.monitor.execute("system_reset")

    # waiting

    def wait_for_boot(self, seconds: float | None = None) -> str:
        """Wait until commands can be run; returns the boot id.

        Raises:
            ProaError: ``TIMEOUT`` with the console's last lines, ``CONSOLE`` when the machine ended.
        """
        self._in().connect(self._deadline("boot", "booting until SSH answers", seconds))
        return self.boot_id

    def wait_for_reboot(self, before: str, seconds: float | None = None) -> str:
        """Wait until commands can be run in another boot than ``before``; returns its boot id.

        For reboots that the guest does by itself.

        Raises:
            ProaError: ``TIMEOUT``, or ``CONSOLE`` when the machine ended.
        """
        return self._another_boot(before, self._deadline("boot", "waiting for another boot", seconds))

    def wait_for_console(
        self, pattern: str, seconds: float | None = None, *, since: int | None = None
    ) -> re.Match[str]:
        """Wait for a line on the console that the regular expression is found in.

        Args:
            pattern: Searched in single lines.
            seconds: Instead of the limit ``console``.
            since: A mark (:meth:`Console.mark`) to look from; from the last power-on if None.

        Raises:
            ProaError: ``TIMEOUT`` with the last lines, ``CONSOLE`` when the machine ended.
        """
        deadline = self._deadline("console", f"/{pattern}/ on the console", seconds)
        start = self._power_on_line if since is None else since
        return self.console.wait_for(pattern, deadline, since=start, alive=lambda: self.running)

    def wait_for_event(self, name: str, seconds: float | None = None, *, since: int | None = None) -> QmpEvent:
        """Wait for an event of QEMU, as ``RESET`` or ``WATCHDOG``, not counting the first ``since`` events.

        Raises:
            ProaError: ``TIMEOUT``, or ``CONSOLE`` when the machine ended.
        """
        deadline = self._deadline("console", f"event {name}", seconds)
        start = self._power_on_event if since is None else since
        return self._events.wait_for(name, deadline, since=start, alive=lambda: self.running)

    # looking at it

    @property
    def monitor(self) -> QmpMonitor:
        """QEMU's monitor.

        Raises:
            ProaError: ``TOOL`` when the machine is off.
        """
        return self._power.monitor

    @property
    def ssh(self) -> Ssh:
        """The way in: its port, and a command line for a person.

        Raises:
            ProaError: ``TOOL`` when the machine is off or was made without SSH.
        """
        return self._in().ssh

    @property
    def events(self) -> tuple[QmpEvent, ...]:
        """What QEMU reported, over all power cycles."""
        return self._events.all

    @property
    def overlays(self) -> tuple[Overlay, ...]:
        """The machine's disks, to be read or damaged while it is off."""
        return self.parts.overlays

    def screenshot(self, path: Path) -> None:
        """Write what the screen shows to ``path``, a PNG file.

        Raises:
            ProaError: ``TOOL`` for a machine without a display.
        """
        self.monitor.execute("screendump", filename=str(path.resolve()), format="png")

    def findings(self, *allowed: str) -> list[Finding]:
        """The bad signs on the console, but for those allowed by name, here or by :meth:`allowing`."""
        return self.console.findings(allowed)

    @contextlib.contextmanager
    def allowing(self, *signs: str) -> Iterator[None]:
        """Let the console show these bad signs as long as the block runs.

        Raises:
            ProaError: ``USAGE`` when a name is that of no bad sign.
        """
        with self.console.allowing(*signs):
            yield

    # inside

    def _open_session(self) -> None:
        if self.hardware.ssh and self.hardware.network is not None:
            door = Ssh(self.folder, self._power.ports[22])
            self._session = GuestSession(door, self.limits, self._guard, self.clock)

    def _set_clock(self) -> None:
        """While it was saved, no time has passed for it."""
        self.succeed(f"date -u -s @{self.clock.now().timestamp():.0f}")

    def _in(self) -> GuestSession:
        if self._session is None or not self.running:
            raise ProaError(Code.TOOL, f"{self.name}: the machine is off or has no SSH", hint=self.console.tail())
        return self._session

    def _deadline(self, limit: str, what: str, seconds: float | None) -> Deadline:
        return self.limits.deadline(limit, f"{self.name}: {what}", seconds, self.clock)

    def _on_event(self, event: QmpEvent) -> None:
        session = self._session
        if event.name == "RESET" and session is not None:  # no command that still runs can end
            threading.Thread(target=session.disconnect, daemon=True).start()
        self._events.add(event)

    def _wait_for_end(self, deadline: Deadline) -> None:
        if not self._power.wait_for_end(deadline):
            raise self._late(deadline)
        self._let_go()

    def _let_go(self) -> None:
        if self._session is not None:
            self._session.end()
        self._session = None

    def _guard(self, deadline: Deadline) -> None:
        if not self.running:
            said = self._power.said()
            raise ProaError(Code.CONSOLE, f"{deadline.what}: the machine ended. {said}", hint=self.console.tail())
        if deadline.passed:
            raise self._late(deadline)

    def _late(self, deadline: Deadline) -> ProaError:
        what = f"{deadline.what}: not within {deadline.seconds:.0f} s"
        return ProaError(Code.TIMEOUT, what, at=self.folder, hint=self.console.tail())


def _with_key(hardware: Hardware, folder: Path) -> Hardware:
    if not hardware.ssh or hardware.network is None:
        return hardware
    own = {"ssh.authorized_keys.root": ssh.make_key(folder)}
    return replace(hardware, credentials=own | dict(hardware.credentials))
