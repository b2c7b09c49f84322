"""The scheduler in a process of its own, beside a real API server: what is asked of it while it runs."""

from __future__ import annotations

import os
import re
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.core.schema.model import document
from proa.scheduler.install.names import SCHEDULER
from proa.scheduler.install.settings import NAMESPACE
from proa.scheduler.spec.rollout import RolloutSpec
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.installed import USER
from proa.vm.support.child import Child
from proa.vm.support.ports import free_ports
from proa.vm.support.waiting import until

BIN: Final = Path(sys.executable).parent
LIMIT: Final = 1800.0
"""Seconds after which something hangs: no goal, and enough for a machine that is busy with other things."""
QUICK: Final = (
    "stage=0.02",
    "leave=0.01",
    "boot=0.05",
    "healthy=0.01",
    "ready=0.01",
    "pod_start=0.02",
    "pod_stop=0.02",
)
"""Nodes that take no time: what is left is the scheduler's own."""


@dataclass
class Scheduler:
    """``proa-scheduler run`` in a process of its own.

    Attributes:
        child: The process.
        url: Where it answers.
        started: When it was started, by the monotonic clock.
    """

    child: Child
    url: str
    started: float

    def metric(self, name: str) -> float | None:
        """A metric without labels; none as long as there is no answer."""
        self.child.check()
        try:
            with urllib.request.urlopen(f"{self.url}/metrics", timeout=LIMIT) as answer:  # noqa: S310 -- loopback
                text = answer.read().decode()
        except OSError:
            return None
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else None

    def memory(self, key: str) -> float:
        """MiB of ``VmRSS`` or ``VmHWM``."""
        text = Path(f"/proc/{self.child.pid}/status").read_text()
        found = re.search(rf"{key}:\s+(\d+) kB", text)
        return int(found[1]) / 1024 if found else 0.0

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def scheduling(plane: ControlPlane) -> Iterator[Scheduler]:
    """Run the scheduler with the rights and policies of an installation."""
    (port,) = free_ports(1)
    kubeconfig = plane.kubeconfig_for(SCHEDULER, NAMESPACE)
    words = ("--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE, "--listen", f"127.0.0.1:{port}")
    child = Child("proa-scheduler", [BIN / "proa-scheduler", "run", *words], plane.folder / "scheduler.log")
    started = time.monotonic()
    child.start()
    try:
        yield Scheduler(child, f"http://127.0.0.1:{port}", started)
    finally:
        child.stop(20.0)


def start_rollout(plane: ControlPlane, spec: RolloutSpec) -> None:
    """Make, or change, the rollout."""
    body = {"apiVersion": "proa.dev/v1alpha1", "kind": "OSRollout", "metadata": {"name": "bench"}}
    plane.apply([{**body, "spec": document(spec)}])


def quiet(plane: ControlPlane, seconds: float) -> None:
    """Wait until the scheduler has asked for no change for so long, its lease apart."""
    mark, since = plane.audit_log.mark(), time.monotonic()

    def is_quiet() -> bool:
        nonlocal mark, since
        read = plane.audit_log.mark()
        if any(one.resource != "leases" for one in plane.audit(mark, user=USER, write=True)):
            since = time.monotonic()
        mark = read
        return time.monotonic() - since >= seconds

    until(is_quiet, f"the scheduler to ask for nothing for {seconds:g} s", LIMIT)
