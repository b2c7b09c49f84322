"""How fast guests run here, measured once: the time the firmware takes to find that there is nothing to boot."""

from __future__ import annotations

import functools
import math
import os
import tempfile
import time
from pathlib import Path

from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine import accel, firmware
from proa.vm.machine.console import Console
from proa.vm.machine.qemu import Hardware, Parts, Running
from proa.vm.support.limits import TimeLimits

VARIABLE = "PROA_VM_SPEED"
"""Environment: the factor, instead of measuring it."""
REFERENCE_SECONDS = 5.0
"""What the measurement gave on the machine that :class:`proa.vm.support.limits.TimeLimits` is written for."""
_LONGEST = 120.0
STEP_SECONDS = 30


@functools.cache
def factor() -> float:
    """How many times slower than the reference this machine runs guests.

    Raises:
        ProaError: ``USAGE`` for a ``PROA_VM_SPEED`` that is no positive number, ``TIMEOUT``.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return _parse(given)
    kept = accel.AccelCache("speed").once(lambda: {"factor": measure() / REFERENCE_SECONDS})
    return float(kept["factor"])


def known() -> float:
    """The factor where it was given or measured before, else 1.0, for limits of what runs outside of guests.

    Raises:
        ProaError: ``USAGE`` for a ``PROA_VM_SPEED`` that is no positive number.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return _parse(given)
    try:
        kept = accel.AccelCache("speed").load()
    except ProaError:  # no QEMU here
        kept = None
    return float(kept["factor"]) if kept else 1.0


def now() -> float:
    """The factor as it is at this moment, where other work is done beside it, but never less than :func:`factor`.

    Raises:
        ProaError: as :func:`factor`.
    """
    return factor() if os.environ.get(VARIABLE) else max(factor(), measure() / REFERENCE_SECONDS)


def stretched(seconds: float, by: float) -> int:
    """The seconds that a guest's own deadline gets on a machine that is ``by`` times slower than the reference.

    In steps, so that a factor measured anew seldom makes another image; a machine that is faster gets no less, for it
    may be shared with other guests.
    """
    return math.ceil(seconds * max(1.0, by) / STEP_SECONDS) * STEP_SECONDS


def limits() -> TimeLimits:
    """The limits that hold on this machine."""
    return TimeLimits().scaled(factor())


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
            deadline = TimeLimits().deadline("console", "the firmware's first message", _LONGEST)
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
