"""The real scheduler takes simulated nodes of a real API server from one release to the next."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.nodes import SimNodes
from proa.vm.simulated.rollouts import start, traces, wait_phase
from proa.vm.simulated.scheduler import Scheduler, running

pytestmark = pytest.mark.contract
Nodes = Callable[..., SimNodes]


def test_all_nodes_come_to_the_release(cluster: ControlPlane, nodes: Nodes) -> None:
    fleet = nodes(3)
    with running(cluster) as scheduler:
        start(cluster)
        found = wait_phase(cluster, "Complete")
        assert found["counts"]["upToDate"] == 3
        assert fleet.boots() == {"node-0000": 1, "node-0001": 1, "node-0002": 1}
        assert scheduler.alive
        assert isinstance(scheduler, Scheduler)
    assert traces(cluster) == []
