"""QEMU's command line for a machine, and QEMU as a running process."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine import accel, credentials, disks, firmware, tpm
from proa.vm.machine.accel import QEMU, Accel
from proa.vm.machine.disks import DiskBus, DiskImage, Overlay
from proa.vm.machine.firmware import Firmware
from proa.vm.machine.options import escape, switch
from proa.vm.machine.tpm import Tpm
from proa.vm.support import background

HOST = "10.0.2.2"
"""The host, as a guest sees it: services on the host's loopback address answer here."""
_SERIAL_BUFFER: Final = 16 << 20
"""Bytes of the kernel's memory: room for 40,000 characters."""
_SO_SNDBUFFORCE: Final = 32
"""socket(7); Python does not name it."""
_NO_CLOCK: Final = "2000-01-01T00:00:00"
"""Where a clock begins whose battery is dead."""


@dataclass(frozen=True)
class Network:
    """QEMU's user-mode network."""

    restrict: bool = False
    """Whether the guest reaches neither the host nor the world; SSH into it works all the same."""
    forward: Mapping[int, int] = field(default_factory=dict)
    """Ports of the host's loopback address and the guest's ports that they lead to (0: any free one)."""
    services: Mapping[str, int] = field(default_factory=dict)
    """Ports of the host's loopback address, by the address in 10.0.2.0/24 that leads there, as ``10.0.2.129:443``."""
    source: str = "127.0.0.1"
    """The host's loopback address that these ports see the guest come from."""
    address: str = "10.0.2.15"
    """What the guest gets by DHCP: in 10.0.2.0/24, from .9 on. Guests do not reach one another."""


@dataclass(frozen=True)
class Hardware:
    """What a machine is made of."""

    disks: tuple[DiskImage, ...] = ()
    """The first one boots."""
    memory: int = 1024
    """MiB."""
    cpus: int = 0
    """Processors; 0 for what the acceleration does best with (:class:`proa.vm.machine.accel.Accel`)."""
    keys: Path | None = None
    """A keys folder (:func:`proa.vm.machine.firmware.make_variables`): Secure Boot with its keys. None: without."""
    network: Network | None = Network()
    """None: no network card at all."""
    ssh: bool = True
    """Whether the machine's own key is passed in by the credential ``ssh.authorized_keys.root``."""
    credentials: credentials.Credentials = field(default_factory=dict)
    """systemd credentials; see :mod:`proa.vm.machine.credentials`."""
    watchdog: bool = True
    """An i6300esb that resets the machine."""
    tpm: bool = False
    """A TPM 2.0, as every server has one."""
    spare_cards: int = 0
    """Network cards besides that of ``network``, which come before it and have no cable."""
    clock: bool = True
    """A clock that keeps the time. Without one, each start is on the first of January 2000."""
    display: bool = True
    """A graphics card, for screenshots."""
    extra: tuple[str, ...] = ()
    """Further arguments for QEMU."""


@dataclass(frozen=True)
class Parts:
    """What a machine's folder holds, and which way it runs."""

    folder: Path
    firmware: Firmware
    accel: Accel
    overlays: tuple[Overlay, ...]

    @property
    def variables(self) -> Path:
        """The machine's own firmware variables."""
        return self.folder / "variables.fd"


def make_parts(hardware: Hardware, folder: Path) -> Parts:
    """Make fresh overlays and firmware variables in ``folder``, and find out what runs a guest here.

    Raises:
        ProaError: ``NO_FIRMWARE``, ``FILE_MISSING``, ``KEY``, ``TOOL``.
    """
    accel.require_qemu()
    overlays = tuple(Overlay.create(disk, folder / f"disk{number}.qcow2") for number, disk in enumerate(hardware.disks))
    found = firmware.find(hardware.keys is not None)
    parts = Parts(folder, found, accel.choose().accel, overlays)
    firmware.make_variables(found, parts.variables, hardware.keys)
    return parts


def arguments(
    hardware: Hardware,
    parts: Parts,
    serial: int,
    monitor: int,
    ports: Mapping[int, int] | None = None,
    *,
    chip: int = 0,
) -> list[str]:
    """The whole command line.

    Args:
        hardware: What the machine is made of.
        parts: Its folder and firmware.
        serial: The descriptor of a socket that QEMU inherits: the serial console.
        monitor: The same: the monitor.
        ports: The host's ports for the guest's, where they are known already.
        chip: A descriptor as the others: the TPM, if there is one.
    """
    devices = [*_devices(hardware, parts, ports or {}), *(tpm.arguments(chip) if hardware.tpm else ())]
    return [QEMU, *_base(hardware, parts), *_sockets(serial, monitor), *devices, *hardware.extra]


def _base(hardware: Hardware, parts: Parts) -> Iterator[str]:
    secure = parts.firmware.secure
    yield from ("-nodefaults", "-no-user-config", "-display", "none", "-boot", "menu=off,strict=on")
    sata = any(overlay.disk.bus is DiskBus.SATA for overlay in parts.overlays)
    # A guest loads no drivers for what is not there, which is a twentieth of an emulated boot.
    yield from ("-machine", f"q35,smm={switch(secure)},sata={switch(sata)},smbus=off,vmport=off")
    yield from ("-accel", parts.accel.argument, "-cpu", parts.accel.cpu)
    if parts.accel.fresh_resets:
        yield from ("-action", "reboot=shutdown")
    yield from ("-smp", str(hardware.cpus or parts.accel.cpus), "-m", str(hardware.memory))
    yield from ("-rtc", "base=utc" if hardware.clock else f"base={_NO_CLOCK}")
    for name in ("IPv4PXESupport", "IPv6PXESupport"):  # edk2, OvmfPkg/README: no minutes lost on a network boot
        yield from ("-fw_cfg", f"name=opt/org.tianocore/{name},string=n")
    if secure:
        yield from ("-global", "driver=cfi.pflash01,property=secure,value=on")
    yield "-drive"
    yield f"if=pflash,unit=0,format=raw,readonly=on,file={escape(parts.firmware.code)}"
    yield "-drive"
    yield f"if=pflash,unit=1,format=raw,cache=unsafe,file={escape(parts.variables)}"


def _sockets(serial: int, monitor: int) -> Iterator[str]:
    yield from ("-chardev", f"socket,id=console,fd={serial}", "-serial", "chardev:console")
    yield from ("-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control")


def _devices(hardware: Hardware, parts: Parts, ports: Mapping[int, int]) -> Iterator[str]:
    for number, overlay in enumerate(parts.overlays):
        yield from disks.arguments(overlay, number)
    yield from ("-device", "virtio-rng-pci")
    if hardware.watchdog:
        yield from ("-device", "i6300esb", "-action", "watchdog=reset")
    if hardware.display:
        yield from ("-device", "VGA,vgamem_mb=4,romfile=")
    for number in range(hardware.spare_cards):
        # A hub passes on what a card sends only while it has another port: else the card would wait for ever.
        for port in ("", "end"):
            yield from ("-netdev", f"hubport,id=spare{number}{port},hubid={number + 1}")
        yield from ("-device", f"virtio-net-pci,netdev=spare{number},romfile=")
    if hardware.network is not None:
        yield from _network(hardware.network, hardware.ssh, ports)
    yield from credentials.arguments(hardware.credentials, parts.folder / "credentials")


def _network(network: Network, ssh: bool, ports: Mapping[int, int]) -> Iterator[str]:
    forward = [(host, guest) for host, guest in network.forward.items()]
    if ssh and 22 not in network.forward.values():
        forward.append((0, 22))
    rules = [f"hostfwd=tcp:127.0.0.1:{ports.get(guest, host)}-:{guest}" for host, guest in forward]
    pipe = f"{escape(Path(sys.executable))} -m proa.vm.machine.pipe"
    rules += [
        f"guestfwd=tcp:{address}-cmd:{pipe} {port} {network.source}" for address, port in network.services.items()
    ]
    limits = (f"restrict={switch(network.restrict)}", "ipv6=off")
    yield from ("-netdev", ",".join(("user", "id=net0", f"dhcpstart={network.address}", *limits, *rules)))
    yield from ("-device", "virtio-net-pci,netdev=net0,romfile=")


def serial_line() -> tuple[socket.socket, socket.socket]:
    """Both ends of a serial line, ours and QEMU's.

    QEMU sends each character alone, and drops it after some tries where there is no room. Each takes the room of a
    packet, so the usual buffer has room for fewer than 300: less than a firmware's message, on a host that is busy.
    """
    ours, theirs = socket.socketpair()
    for option in (socket.SO_SNDBUF, _SO_SNDBUFFORCE):  # the second is beyond the host's limit, and for root alone
        with suppress(PermissionError):
            theirs.setsockopt(socket.SOL_SOCKET, option, _SERIAL_BUFFER)
    return ours, theirs


class Running:
    """A QEMU that was started. It dies with this process, however that ends.

    Args:
        hardware: What the machine is made of.
        parts: Its folder and firmware.
        ports: The host's ports for the guest's, where they are known already.
        extra: Arguments that hold for this start alone.

    Raises:
        ProaError: ``TOOL_MISSING``.
    """

    def __init__(
        self, hardware: Hardware, parts: Parts, ports: Mapping[int, int] | None = None, extra: Sequence[str] = ()
    ) -> None:
        process.find("setpriv", "util-linux")
        self.serial, serial = serial_line()
        self.monitor, monitor = socket.socketpair()
        self._log = parts.folder / "qemu.log"
        self._tpm = Tpm(parts.folder) if hardware.tpm else None
        chip = self._tpm.control.fileno() if self._tpm else 0
        with serial, monitor:
            fixed = arguments(hardware, parts, serial.fileno(), monitor.fileno(), ports, chip=chip)
            words = [*fixed, *extra]
            self.command = process.pasteable(words)
            argv = ["setpriv", "--pdeathsig", "KILL", "--", *words]
            inherited = (serial.fileno(), monitor.fileno(), *((chip,) if chip else ()))
            self._process = background.call(self._spawn(argv, inherited), 30, "starting QEMU")
        if self._tpm:
            self._tpm.control.close()  # QEMU has its own: when that ends, swtpm does

    async def _spawn(self, argv: list[str], descriptors: tuple[int, ...]) -> subprocess.Popen[bytes]:
        # In the background thread: the death signal comes when the thread that started the process ends.
        with self._log.open("ab") as log:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=descriptors, env=process.environment()
            )

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    @property
    def ended_well(self) -> bool:
        """Whether it ended by itself, and not of a signal or an error."""
        return self._process.poll() == 0

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL, and wait for its end; again is harmless."""
        self._process.kill()
        self._process.wait()
        if self._tpm:
            self._tpm.kill()

    def wait(self, seconds: float) -> bool:
        """Whether it ends by itself within ``seconds``."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if self._tpm:
            self._tpm.kill()
        return True

    def said(self) -> str:
        """What QEMU itself wrote, all starts together."""
        return self._log.read_text(errors="replace").strip() if self._log.exists() else ""

    def failure(self, what: str) -> ProaError:
        """The error for a QEMU that ended or does not answer."""
        tail = "\n    ".join(self.said().splitlines()[-8:]) or "(no output)"
        return ProaError(Code.TOOL, f"{what}:\n    {tail}", at=self.command)
