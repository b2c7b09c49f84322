"""A running machine's memory and devices as a file, and back: QEMU's migration stream (docs/devel/migration)."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from proa.core.runtime.clock import Deadline
from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine.qmp import QmpMonitor

WAITS: Final = ("-incoming", "defer")
"""Arguments for a QEMU that does nothing until :func:`load` is called."""
_UNLIMITED: Final = 1 << 50
"""Bytes a second; QEMU's own limit is made for networks."""
_POLL: Final = 0.05


def save(monitor: QmpMonitor, file: Path, deadline: Deadline) -> None:
    """Stop the machine and write its memory and devices to ``file``. It stands still until the order ``cont``.

    Raises:
        ProaError: ``TOOL`` with QEMU's reason, as a device that cannot be saved; ``TIMEOUT``.
    """
    part = file.with_name(f"{file.name}.part")
    monitor.execute("stop")
    monitor.execute("migrate-set-parameters", **{"max-bandwidth": _UNLIMITED})
    # QEMU does not wait for the program that writes: the name says that it is done.
    command = f"cat >{shlex.quote(str(part))} && mv {shlex.quote(str(part))} {shlex.quote(str(file))}"
    monitor.execute("migrate", uri=f"exec:{command}")
    _wait(monitor, deadline)
    while not file.exists():
        deadline.check(file)
        deadline.clock.sleep(_POLL)


def load(monitor: QmpMonitor, file: Path, deadline: Deadline) -> None:
    """Fill a machine that waits (:data:`WAITS`) from ``file`` and let it run.

    Raises:
        ProaError: ``TOOL`` when QEMU refuses what it reads, which ends it; ``TIMEOUT``.
    """
    monitor.execute("migrate-incoming", uri=f"exec:cat {shlex.quote(str(file))}")
    _wait(monitor, deadline)
    monitor.execute("cont")


def _wait(monitor: QmpMonitor, deadline: Deadline) -> None:
    while True:
        told = monitor.execute("query-migrate")
        found = told if isinstance(told, dict) else {}
        if found.get("status") == "completed":
            return
        if found.get("status") in ("failed", "cancelled"):
            why = found.get("error-desc", found["status"])
            raise ProaError(Code.TOOL, f"QEMU cannot save or restore this machine: {why}")
        deadline.check()
        deadline.clock.sleep(_POLL)
