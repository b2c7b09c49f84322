"""How fast guests run here, measured once: the time the firmware takes to find that there is nothing to boot."""

from __future__ import annotations

import functools
import os
import tempfile
import time
from pathlib import Path

from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine import accel, firmware
from proa.vm.machine.console import Console
from proa.vm.machine.qemu import Hardware, Parts, Running
from proa.vm.support.limits import Limits

VARIABLE = "PROA_VM_SPEED"
"""Environment: the factor, instead of measuring it."""
REFERENCE_SECONDS = 5.0
"""What the measurement gave on the machine that :class:`proa.vm.support.limits.Limits` is written for."""
_LONGEST = 120.0
_WATCHDOG = 60
"""The default of ``health.watchdog``."""
_WATCHDOG_MAX = 600
"""The longest that ``health.watchdog`` may be."""


@functools.cache
def factor() -> float:
    """How many times slower than the reference this machine runs guests.

    Raises:
        ProaError: ``USAGE`` for a ``PROA_VM_SPEED`` that is no positive number, ``TIMEOUT``.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return _parse(given)
    cache = accel.Cache("speed")
    kept = cache.load()
    if kept is not None:
        return float(kept["factor"])
    found = measure() / REFERENCE_SECONDS
    cache.save({"factor": found})
    return found


def known() -> float:
    """The factor where it was given or measured before, else 1.0, for limits of what runs outside of guests.

    Raises:
        ProaError: ``USAGE`` for a ``PROA_VM_SPEED`` that is no positive number.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return _parse(given)
    try:
        kept = accel.Cache("speed").load()
    except ProaError:  # no QEMU here
        kept = None
    return float(kept["factor"]) if kept else 1.0


def watchdog_seconds() -> int:
    """Seconds that a guest's watchdog gets here: PID 1 of a guest that is given no time does not hang.

    Raises:
        ProaError: as :func:`factor`.
    """
    return min(round(_WATCHDOG * max(1.0, factor())), _WATCHDOG_MAX)


def limits() -> Limits:
    """The limits that hold on this machine."""
    return Limits().scaled(factor())


def measure() -> float:
    """Seconds from the start of QEMU to the end of a boot with no disk.

    Raises:
        ProaError: ``TIMEOUT`` when that takes minutes.
    """
    with tempfile.TemporaryDirectory(prefix="proa-speed-") as name:
        folder = Path(name)
        parts = Parts(folder, firmware.find(secure=False), accel.choose().accel, ())
        firmware.make_variables(parts.firmware, parts.variables, None)
        hardware = Hardware(network=None, ssh=False, watchdog=False, display=False)
        started = time.monotonic()
        running, console = Running(hardware, parts), Console(folder)
        try:
            console.attach(running.serial)
            deadline = Limits().deadline("console", "the firmware's first message", _LONGEST)
            console.wait_for("BdsDxe", deadline, alive=lambda: running.alive)
            return time.monotonic() - started
        finally:
            running.kill()
            running.monitor.close()
            console.finish()


def _parse(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1000.0:
        raise ProaError(Code.USAGE, f"{VARIABLE} is not a factor between 0 and 1000: {text!r}")
    return value
