"""The leases by which kubelets show that they live, for tests of what becomes of nodes that fall silent.

The node-lifecycle controller looks at them; without it they only cost: 5,000 of them one of two processors.
"""

from __future__ import annotations

from typing import Final

from proa.core.runtime.clock import Clock
from proa.scheduler.kube import times
from proa.vm.kube.api import APPLY, KubeApi, Object
from proa.vm.simulated.loop import Loop, Writers
from proa.vm.simulated.machine import SimMachine

_PATH: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_QUERY: Final = {"fieldManager": "kubelet", "force": "true"}
_SECONDS: Final = 40
"""What kubelets write as the lease's duration."""


class Leases:
    """Renews the leases of nodes that are not away. Runs in the loop.

    Args:
        api: The API server.
        loop: The loop.
        writers: Who writes.
        clock: Whose time is written.
        seconds: Between two renewals; 0 for no leases at all.
    """

    def __init__(self, api: KubeApi, loop: Loop, writers: Writers, clock: Clock, seconds: float) -> None:
        self._api = api
        self._loop = loop
        self._writers = writers
        self._clock = clock
        self._seconds = seconds

    def keep(self, machine: SimMachine) -> None:
        """Renew the lease of a node from now on, until it is gone."""
        if self._seconds <= 0 or machine.gone:
            return
        if machine.uid and not machine.agent.away and not machine.faults.silent_kubelet:
            document = lease(machine, times.micro(self._clock.now()))
            self._writers.want(("lease", machine.name), lambda: self._write(machine.name, document))
        self._loop.at(self._seconds, lambda: self.keep(machine))

    def _write(self, name: str, document: Object) -> None:
        self._api.call("PATCH", f"{_PATH}/{name}", document, query=_QUERY, content=APPLY).check()


def lease(machine: SimMachine, now: str) -> Object:
    """The lease of a node, renewed at ``now``."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": machine.name, "uid": machine.uid}
    spec = {"holderIdentity": machine.name, "leaseDurationSeconds": _SECONDS, "renewTime": now}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": machine.name, "namespace": "kube-node-lease", "ownerReferences": [owner]},
        "spec": spec,
    }
