"""Simulated nodes, without a server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proa.core.orders.client import OrderClient
from proa.core.orders.messages import Action, NodeStatus, Observed, Order
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.vm.kube.api import ApiResponse, KubeApi
from proa.vm.simulated.agent import SimAgent
from proa.vm.simulated.faults import WELL, Faults, Timing
from proa.vm.simulated.kubelet import Kubelets
from proa.vm.simulated.loop import Loop, Writers
from proa.vm.simulated.machine import CONTROL_PLANE, Shape, SimMachine, node_document, shapes
from proa.vm.simulated.order_socket import AgentSocket
from proa.vm.simulated.pods import Duty, Pod, Seat, end_after, fits, read, running, wanted_node
from proa.vm.simulated.proxies import difference, status_for
from proa.vm.simulated.releases import release
from proa.vm.support.waiting import until

TIMING = Timing(boot=90, ready=5, leave=1)


def make(**faults: Any) -> tuple[SimMachine, VirtualClock]:
    clock = VirtualClock()
    machine = SimMachine(Shape("node-1", "zone-1", number=300), SimAgent(timing=TIMING, clock=clock), clock)
    machine.faults = Faults(**faults)
    return machine, clock


def test_a_node_becomes_ready_and_says_so_once() -> None:
    machine, clock = make()
    said = machine.advance()
    assert not said.ready
    assert machine.due == 5
    clock.sleep(5)
    ready = machine.advance()
    assert ready.ready
    assert ready.boot_id == said.boot_id
    assert ready.since == "2026-01-01T00:00:05Z"
    clock.sleep(500)
    assert machine.advance() == ready
    assert machine.due is None


def test_a_reboot_is_seen_by_the_kubelet_too() -> None:
    machine, clock = make(ready_delay=10)
    clock.sleep(15)
    before = machine.advance()
    machine.agent.reboot()
    gone = machine.advance()
    assert (gone.ready, gone.boot_id) == (False, before.boot_id)
    clock.sleep(90)
    back = machine.advance()
    assert not back.ready
    assert back.boot_id == machine.agent.booted.boot_id != before.boot_id
    assert machine.due == 15 + 90 + 15
    clock.sleep(15)
    assert machine.advance().ready


def test_a_node_that_fails_after_it_was_ready() -> None:
    machine, clock = make(fails_after_ready=20)
    clock.sleep(100)
    assert machine.advance().ready
    machine.agent.reboot()
    clock.sleep(95)
    machine.advance()
    clock.sleep(5)
    assert machine.advance().ready
    clock.sleep(20)
    assert not machine.advance().ready
    machine.faults = WELL
    assert machine.advance().ready


def test_a_node_whose_clock_is_ahead() -> None:
    machine, clock = make(clock_skew=3600)
    clock.sleep(5)
    assert machine.advance().since == "2026-01-01T01:00:05Z"


def test_a_node_that_is_given_its_power_back() -> None:
    machine, clock = make(never_returns=True)
    machine.agent.reboot()
    clock.sleep(1000)
    machine.advance()
    assert machine.agent.away
    machine.faults = WELL
    assert not machine.agent.away


def test_the_node_that_a_kubelet_registers() -> None:
    machine, _ = make()
    node = node_document(machine.shape, machine.advance())
    assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "zone-1"
    assert {"type": "InternalIP", "address": "10.200.103.100"} in node["status"]["addresses"]
    assert node["spec"] == {}
    head = node_document(Shape("control-0", control_plane=True), machine.advance())
    assert head["metadata"]["labels"][CONTROL_PLANE] == ""
    assert head["spec"]["taints"] == [{"key": CONTROL_PLANE, "effect": "NoSchedule"}]


def test_nodes_are_spread_over_zones() -> None:
    found = shapes(4, zones=2, control_planes=1)
    assert [shape.name for shape in found] == ["control-0", "node-0000", "node-0001", "node-0002", "node-0003"]
    assert [shape.zone for shape in found[1:]] == ["zone-0", "zone-1", "zone-0", "zone-1"]
    assert len({shape.address for shape in found}) == 5
    assert shapes(1, zones=0)[0].zone == ""


def pod(spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: Any) -> Pod:
    return read(
        {
            "metadata": {"namespace": "apps", "name": "web", "uid": "1", **metadata},
            "spec": {"containers": [{"name": "c", "image": "i"}], **(spec or {})},
            "status": status or {},
        }
    )


READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
BOUND = {"nodeName": "node-1"}


@pytest.mark.parametrize(
    ("found", "duty"),
    [
        (pod(), Duty.BIND),
        (pod({"schedulingGates": [{"name": "wait"}]}), Duty.NOTHING),
        (pod(BOUND), Duty.START),
        (pod(BOUND, {"phase": "Running"}), Duty.START),
        (pod(BOUND, READY), Duty.NOTHING),
        (pod(BOUND, {"phase": "Succeeded"}), Duty.NOTHING),
        (pod(BOUND, READY, deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=30), Duty.END),
        (pod(deletionTimestamp="2026-01-01T00:00:00Z"), Duty.NOTHING),
    ],
)
def test_what_is_to_be_done_with_a_pod(found: Pod, duty: Duty) -> None:
    assert found.duty is duty


def test_how_long_a_pod_takes_to_end() -> None:
    ending = pod(BOUND, READY, deletionTimestamp="x", deletionGracePeriodSeconds=30)
    timing = Timing(pod_stop=2)
    assert end_after(ending, WELL, timing) == 2
    assert end_after(ending, Faults(ignore_sigterm=True), timing) == 30
    assert end_after(ending, Faults(stuck_pods=True), timing) is None
    assert end_after(pod(BOUND, READY, deletionTimestamp="x"), WELL, timing) == 0
    assert end_after(pod(BOUND, READY, deletionTimestamp="x", deletionGracePeriodSeconds=1), WELL, timing) == 1


def test_where_a_pod_may_go() -> None:
    head = Seat("control-0", {"role": "head"}, ({"key": CONTROL_PLANE, "effect": "NoSchedule"},))
    worker = Seat("node-1", {"role": "worker"}, ({"key": "soft", "effect": "PreferNoSchedule"},))
    assert fits(pod(), worker)
    assert not fits(pod(), head)
    assert fits(pod({"tolerations": [{"key": CONTROL_PLANE, "operator": "Exists"}]}), head)
    assert fits(pod({"tolerations": [{"operator": "Exists"}]}), head)
    assert fits(pod({"tolerations": [{"key": CONTROL_PLANE, "effect": "NoSchedule"}]}), head)
    assert not fits(pod({"tolerations": [{"key": CONTROL_PLANE, "value": "x"}]}), head)
    assert not fits(pod({"tolerations": [{"key": CONTROL_PLANE, "operator": "Exists", "effect": "NoExecute"}]}), head)
    assert fits(pod({"nodeSelector": {"role": "worker"}}), worker)
    assert not fits(pod({"nodeSelector": {"role": "head"}}), worker)
    assert not fits(pod(), Seat("node-1", {}, schedulable=False))
    assert not fits(pod(), Seat("node-1", {}, ready=False))


def test_the_pod_of_a_daemon_set_goes_to_its_node() -> None:
    assert wanted_node(pod()) == ""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-7"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}, term]}}
    assert wanted_node(pod({"affinity": {"nodeAffinity": required}})) == "node-7"


def test_what_a_kubelet_says_of_a_pod() -> None:
    status = running(pod(BOUND), ready=True, address="10.0.0.1", now="2026-01-01T00:00:00Z")["status"]
    assert status["phase"] == "Running"
    assert {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"} in status["conditions"]
    assert status["containerStatuses"][0]["restartCount"] == 0
    again = running(pod(BOUND, status), ready=False, address="10.0.0.1", now="2026-01-01T00:00:00Z")["status"]
    assert again["containerStatuses"][0]["restartCount"] == 1
    assert not again["containerStatuses"][0]["ready"]


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1, "b": 2}, {"b": 2}, {"a": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": None}}),
        ({"a": {"b": 1}}, {"a": [1]}, {"a": [1]}),
        ({"a": [1]}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": None}}),
    ],
)
def test_the_difference_of_two_statuses(old: Any, new: Any, patch: Any) -> None:
    assert difference(old, new) == patch


def test_an_order_that_the_object_never_held_is_not_told() -> None:
    status = NodeStatus(observed_order=Observed(7), phase="Good")
    assert status_for(status, {"id": 7}) is status
    assert status_for(status, None) == NodeStatus(phase="Good")
    assert status_for(status, {"id": 6}) == NodeStatus(phase="Good")


class Listening:
    """An agent behind a socket, and a client of it."""

    def __init__(self, path: Path) -> None:
        self.agent = SimAgent(timing=Timing(stage=0))
        self.socket = AgentSocket(path, lambda: self.agent.status, self.agent.take)
        self.client = OrderClient(path, limit=10, silence=10)

    def show(self) -> None:
        self.agent.advance()
        self.socket.show(self.agent.status)


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Listening]:
    found = Listening(tmp_path / "orders.sock")
    found.show()
    yield found
    found.socket.close()


def test_the_socket_takes_orders_as_the_real_one_does(listening: Listening) -> None:
    assert listening.client.status() == listening.agent.status
    told = listening.client.put(Order(1, Action.STAGE, 3, release("v2")))
    assert told.observed_order == Observed(1, "Stage", "Running")
    with pytest.raises(ProaError) as caught:
        listening.client.put(Order(2, Action.NONE, 2))
    assert caught.value.code is Code.STALE_ORDER
    with pytest.raises(ProaError) as caught:
        listening.client.put(Order(2, Action.COMMIT, 3))
    assert caught.value.code is Code.CONFIG_VALUE


def test_the_socket_tells_of_every_change(listening: Listening) -> None:
    stream = listening.client.follow()
    assert next(stream) == listening.agent.status
    listening.agent.take(Order(1, Action.STAGE, 3, release("v2")))
    listening.show()
    assert next(stream).phase == "Staged"
    listening.socket.close()
    assert list(stream) == []


def test_the_socket_goes_with_its_node_and_comes_back(listening: Listening) -> None:
    for _ in range(2):
        listening.socket.show(None)
        assert not listening.socket.path.exists()
        with pytest.raises(ProaError) as caught:
            listening.client.status()
        assert caught.value.code is Code.DEVICE
    listening.show()
    assert listening.client.status() == listening.agent.status


@pytest.fixture
def loop() -> Iterator[Loop]:
    found = Loop("test")
    found.start()
    yield found
    found.stop()


def test_the_loop_works_off_what_it_is_given(loop: Loop) -> None:
    done: list[int] = []
    loop.at(0.01, lambda: done.append(3))
    loop.post(lambda: done.append(1))
    assert loop.call(lambda: len(done)) == 1
    until(lambda: len(done) == 2, "the later one")
    with pytest.raises(ZeroDivisionError):
        loop.call(lambda: 1 / 0)
    loop.post(lambda: [][0])
    assert loop.call(lambda: loop.problems) == ["IndexError: list index out of range"]


@pytest.fixture
def writers(loop: Loop) -> Iterator[Writers]:
    found = Writers(loop, 2)
    found.start()
    yield found
    found.stop()


def test_only_the_newest_wish_for_a_thing_is_written(writers: Writers) -> None:
    done: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert go_on.wait(300)
        done.append("first")

    writers.want("a", slow)
    assert begun.wait(300)
    writers.want("a", lambda: done.append("skipped"))
    writers.want("a", lambda: done.append("last"))
    writers.want("b", lambda: done.append("other"))
    until(lambda: done == ["other"], "the other thing")
    assert not writers.idle
    go_on.set()
    until(lambda: writers.idle, "the end")
    assert done == ["other", "first", "last"]


def test_without_a_network_it_is_written_later(writers: Writers, loop: Loop) -> None:
    tries: list[int] = []

    def flaky() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ProaError(Code.NETWORK, "away")

    writers.want("a", flaky)
    until(lambda: len(tries) == 3, "the third try")
    until(lambda: writers.idle, "the end")
    assert loop.problems == []


def test_what_is_refused_is_a_problem(writers: Writers, loop: Loop) -> None:
    def refused() -> None:
        raise ProaError(Code.TOOL, "the API server answered 422", at="PATCH /x")

    writers.want("a", refused)
    until(lambda: loop.problems, "a problem")
    assert loop.problems == ["PATCH /x: the API server answered 422"]


class Hearing(KubeApi):
    """An API server that says yes to everything, and remembers it."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []

    def call(self, method: str, path: str, body: object = None, **_: Any) -> ApiResponse:
        self.bodies.append(body)
        return ApiResponse(200, {}, {}, path)


def test_a_pod_has_one_address_however_often_it_is_started(loop: Loop, writers: Writers) -> None:
    """The node changes before the first start was seen: the API server refuses a second address of a family."""
    machine, _ = make()
    machine.agent.timing = Timing(pod_start=0)
    api = Hearing()
    kubelets = Kubelets(api, loop, writers, {"node-1": machine})
    loop.call(lambda: kubelets.see("ADDED", pod(BOUND).document))
    until(lambda: len(api.bodies) == 1, "the first start")
    loop.call(lambda: kubelets.look_again("node-1"))
    until(lambda: len(api.bodies) == 2, "the second")
    assert [body["status"]["podIPs"] for body in api.bodies] == [[{"ip": "10.0.0.1"}]] * 2
