"""The real API server does what the one does that the scheduler's tests run against."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from proa.scheduler.kube import access
from proa.scheduler.kube.api import Api
from proa.scheduler.kube.server import Server
from proa.scheduler.testing import behaviours
from proa.scheduler.testing.behaviours import BEHAVIOURS
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.drains import NAMESPACE, Workload
from proa.vm.simulated.nodes import SimNodes

pytestmark = pytest.mark.contract


@pytest.fixture
def api(cluster: ControlPlane) -> Iterator[Api]:
    """As administrator."""
    found = Api(access.find(str(cluster.kubeconfig), environ={}))
    yield found
    found.close()


@pytest.mark.parametrize("check", BEHAVIOURS, ids=lambda one: one.__name__)
def test_it_behaves_as_the_simulated_one(cluster: ControlPlane, api: Api, check: Callable[[Server, str], None]) -> None:
    check(api, cluster.namespace(check.__name__.replace("_", "-")[:40].strip("-")))


def test_a_full_budget_refuses_an_eviction(cluster: ControlPlane, api: Api, nodes: Callable[..., SimNodes]) -> None:
    nodes(1)
    (pod,) = Workload(cluster, "guarded", "node-0000", budget={"maxUnavailable": 0}).pods
    behaviours.a_full_budget_refuses_an_eviction(api, NAMESPACE, pod["metadata"]["name"])
