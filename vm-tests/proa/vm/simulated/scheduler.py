"""The real scheduler in a process of its own, beside a control plane."""

from __future__ import annotations

import itertools
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from proa.vm.kube.control_flags import ADMINS
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.support.child import Child
from proa.vm.support.ports import free_ports
from proa.vm.support.waiting import until

NAMESPACE: Final = "proa-system"
"""Where its lease is, unless a test says otherwise."""
_READY_SECONDS: Final = 60.0
_END_SECONDS: Final = 15.0
_numbers = itertools.count()


class Scheduler(Child):
    """``proa-scheduler run``. It can be killed, paused and started again like any child.

    Args:
        plane: The control plane.
        words: More of its command line.
        kubeconfig: As whom it acts; as an administrator by default.
        namespace: Where its lease is; it must be there.
        quick: Whether it starts at once when it leads; see :mod:`proa.vm.simulated.quick_scheduler`.
    """

    def __init__(
        self,
        plane: ControlPlane,
        *words: str,
        kubeconfig: Path | None = None,
        namespace: str = NAMESPACE,
        quick: bool = False,
    ) -> None:
        number = next(_numbers)
        if kubeconfig is None:
            kubeconfig = plane.user(f"proa-scheduler-{number}", [ADMINS]).write(
                plane.folder / f"scheduler-{number}.conf"
            )
        (self.port,) = free_ports(1)
        listen = f"127.0.0.1:{self.port}"
        argv = [str(Path(sys.executable).with_name("proa-scheduler")), "run", "--kubeconfig", str(kubeconfig)]
        argv += ["--namespace", namespace, "--listen", listen, *words]
        if quick:
            argv = [sys.executable, "-m", "proa.vm.simulated.quick_scheduler", str(kubeconfig), namespace, listen]
        super().__init__(f"scheduler-{number}", argv, plane.folder / f"scheduler-{number}.log")

    def ask(self, path: str = "/metrics") -> str:
        """What it answers by HTTP.

        Raises:
            OSError: When it does not answer, or not well.
        """
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    @property
    def leading(self) -> bool:
        """Whether it says that it leads."""
        try:
            return "\nproa_leader 1.0" in self.ask()
        except OSError:
            return False

    def wait_leading(self, seconds: float = _READY_SECONDS) -> None:
        """Wait until it leads.

        Raises:
            ProaError: ``TIMEOUT``; ``TOOL`` with its last words when it has ended.
        """

        def leads() -> bool:
            self.check()
            return self.leading

        until(leads, f"{self.name} to lead", seconds)


@contextmanager
def running(plane: ControlPlane, *words: str, kubeconfig: Path | None = None) -> Iterator[Scheduler]:
    """A scheduler that leads, and ends with the block."""
    plane.namespace(NAMESPACE)
    scheduler = Scheduler(plane, *words, kubeconfig=kubeconfig)
    scheduler.start()
    try:
        scheduler.wait_leading()
        yield scheduler
    finally:
        scheduler.stop(_END_SECONDS)
