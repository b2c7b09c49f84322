"""The proxy's real process between the real API server and an agent's socket."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from proa.core.orders.messages import Phase
from proa.core.runtime import process
from proa.core.runtime.clock import Deadline
from proa.scheduler.install import render
from proa.scheduler.install.names import OWN_STATUS, PROXY
from proa.scheduler.install.settings import PROXY_NAMESPACE, InstallSettings
from proa.scheduler.spec.crd import RESOURCES
from proa.vm.kube.api import MERGE, Object
from proa.vm.kube.audit import AuditedRequest
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.faults import Timing
from proa.vm.simulated.nodes import SimNodes
from proa.vm.simulated.releases import digest_of, release
from proa.vm.support.child import Child
from proa.vm.support.waiting import LIMIT, until

pytestmark = pytest.mark.contract
NODES = RESOURCES["NodeOS"].path
NAME = "node-0000"
NAMESPACE, ACCOUNT = PROXY_NAMESPACE, PROXY
USER = f"{NAMESPACE}/{ACCOUNT}"
NEW = release("v2")
Nodes = Callable[..., SimNodes]


def documents() -> list[Object]:
    """What is installed for proxies, but for the DaemonSet; and one pod of it."""
    settings = InstallSettings()
    about = {"name": ACCOUNT, "namespace": NAMESPACE}
    pod = {
        "serviceAccountName": ACCOUNT,
        "nodeName": NAME,
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "proxy", "image": "registry.test/proxy"}],
    }
    return [
        *(one for one in render.part("rights.yaml", settings) if one["metadata"]["name"] == ACCOUNT),
        *(one for one in render.part("policies.yaml", settings) if one["metadata"]["name"] == OWN_STATUS),
        {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": pod},
    ]


def make_os(cluster: ControlPlane, name: str = NAME) -> None:
    cluster.apply([{"apiVersion": "proa.dev/v1alpha1", "kind": "NodeOS", "metadata": {"name": name}, "spec": {}}])


@dataclass
class Place:
    """A node with an agent at a socket, its object, and its proxy."""

    cluster: ControlPlane
    fleet: SimNodes
    socket: Path
    child: Child

    def give(self, number: int, action: str, **more: Any) -> None:
        order = {"id": number, "action": action, "fence": 1, "release": NEW, **more}
        self.cluster.api.call("PATCH", f"{NODES}/{NAME}", {"spec": {"order": order}}, content=MERGE).check()

    @property
    def status(self) -> Object:
        found: Object = self.cluster.api.get(f"{NODES}/{NAME}").get("status", {})
        return found

    def rest(self, seconds: float = 2.0) -> None:
        """Wait until it has asked for nothing for so long."""
        asked, since = len(self.asked()), time.monotonic()
        deadline = Deadline("the proxy comes to rest", LIMIT)
        while time.monotonic() - since < seconds:
            deadline.check()
            time.sleep(0.1)
            if len(self.asked()) != asked:
                asked, since = len(self.asked()), time.monotonic()

    def wait_done(self, number: int, seconds: float = LIMIT) -> Object:
        def done() -> Object | None:
            found = self.status
            seen = found.get("observedOrder", {})
            return found if seen.get("id") == number and seen.get("result") != "Running" else None

        return until(done, f"the end of order {number}", seconds)

    def condition(self, name: str) -> Object | None:
        return next((one for one in self.status.get("conditions", ()) if one["type"] == name), None)

    def asked(self, mark: int = 0, *, write: bool | None = None) -> list[AuditedRequest]:
        return [one for one in self.cluster.audit(mark, user=USER, write=write) if one.is_complete]

    def log(self, message: str) -> list[dict[str, Any]]:
        """What its log says under a message."""
        lines = [json.loads(line) for line in self.child.said.splitlines() if line.startswith("{")]
        return [line for line in lines if line["message"] == message]

    @property
    def rss(self) -> int:
        """Resident memory, in MiB."""
        text = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS"))) // 1024


def program(*words: str | Path) -> list[str | Path]:
    return [Path(sys.executable).with_name("proa-scheduler"), *words]


def in_pod(cluster: ControlPlane, socket: Path, account: Path) -> list[str | Path]:
    """The proxy as its pod starts it: with the files and variables that kubelet gives to pods."""
    access = cluster.access_for(ACCOUNT, NAMESPACE, pod=ACCOUNT)
    account.mkdir()
    (account / "token").write_text(access.token)
    (account / "ca.crt").write_bytes(access.ca_file.read_bytes())
    address = urlsplit(access.server)
    variables = [f"KUBERNETES_SERVICE_HOST={address.hostname}", f"KUBERNETES_SERVICE_PORT={address.port}"]
    return ["env", *variables, *program("proxy", "--node", NAME, "--socket", socket, "--account", account)]


@pytest.fixture
def place(cluster: ControlPlane, nodes: Nodes, tmp_path: Path) -> Iterator[Place]:
    fleet = nodes(2, proxy=False, timing=Timing(stage=0.5))
    with contextlib.suppress(Exception):
        cluster.namespace(NAMESPACE)
    cluster.apply(documents())
    make_os(cluster)
    socket = tmp_path / "orders.sock"
    fleet.listen(NAME, socket)
    child = Child("proa-scheduler proxy", in_pod(cluster, socket, tmp_path / "account"), tmp_path / "proxy.log")
    child.start()
    found = Place(cluster, fleet, socket, child)
    try:
        yield found
        found.child.check()
        assert "Traceback" not in found.child.said
    finally:
        child.kill()
        found.child.kill()


def first_word(place: Place) -> Object:
    return until(lambda: place.status, "the node's first word")


def test_a_whole_update_of_a_node(place: Place) -> None:
    first = first_word(place)
    assert (first["phase"], first["booted"]["slot"]) == (Phase.GOOD, "a")
    place.give(1, "Stage")
    assert place.wait_done(1)["standby"]["release"] == digest_of(NEW)
    place.give(2, "Boot")
    trial = place.wait_done(2)["booted"]
    assert (trial["slot"], trial["release"]) == ("b", digest_of(NEW))
    place.give(3, "Commit", trial={"bootID": trial["bootID"], "rootHash": trial["rootHash"]})
    good = place.wait_done(3)
    assert (good["phase"], good["booted"]["committed"]) == (Phase.GOOD, True)
    assert place.fleet.boots()[NAME] == 1
    assert [line["order"] for line in place.log("gave an order")] == [1, 2, 3]
    assert place.condition("Delivered") is None
    writes = place.asked(write=True)
    assert {(one.verb, one.resource, one.subresource, one.name, one.status) for one in writes} == {
        ("patch", "nodeoses", "status", NAME, 200)
    }
    assert len(writes) <= 16
    reads = [(one.verb, one.resource) for one in place.asked(write=False)]
    assert set(reads) <= {("watch", "nodeoses"), ("get", "nodeoses")}
    assert reads.count(("get", "nodeoses")) == 1, "right before the order to reboot"
    assert place.rss < 40, place.rss


def test_nothing_is_written_when_nothing_happens(place: Place) -> None:
    first_word(place)
    place.give(1, "Stage")
    place.wait_done(1)
    place.rest()
    mark = place.cluster.audit_log.mark()
    place.cluster.api.call(
        "PATCH", f"{NODES}/{NAME}", {"metadata": {"annotations": {"seen": "yes"}}}, content=MERGE
    ).check()
    time.sleep(4.0)
    assert place.asked(mark) == []


def test_a_restart_tells_nothing_twice(place: Place) -> None:
    first_word(place)
    place.give(1, "Stage")
    place.wait_done(1)
    place.rest()
    mark = place.cluster.audit_log.mark()
    place.child.kill()
    place.child.start()
    place.give(2, "None")
    place.wait_done(2)
    assert [line["order"] for line in place.log("gave an order")] == [2]
    assert len(place.asked(mark, write=True)) <= 3


def test_an_api_server_that_goes_and_comes(place: Place) -> None:
    first_word(place)
    place.give(1, "Stage")
    until(lambda: place.fleet.status(NAME).observed_order, "the order to be taken")
    place.cluster.kill_apiserver()
    until(lambda: place.fleet.status(NAME).phase == Phase.STAGED, "the agent to get on")
    until(lambda: place.log("the API server no longer answers"), "its loss to be noticed")
    time.sleep(3.0)
    place.cluster.start_apiserver()
    assert place.wait_done(1)["phase"] == Phase.STAGED
    place.give(2, "None")
    place.wait_done(2)
    assert len(place.log("could not write the status")) <= 3


def test_an_api_server_that_answers_nothing(place: Place) -> None:
    """It hears the order before, and its word comes when it can."""
    first_word(place)
    place.give(1, "Stage")
    until(lambda: place.fleet.status(NAME).observed_order, "the order to be taken")
    place.cluster.pause_apiserver()
    try:
        until(lambda: place.fleet.status(NAME).phase == Phase.STAGED, "the agent to get on")
        time.sleep(2.0)
    finally:
        place.cluster.resume_apiserver()
    assert place.wait_done(1)["phase"] == Phase.STAGED


def test_an_agent_that_goes_and_comes(place: Place) -> None:
    first_word(place)
    place.fleet.fault(NAME, silent=True)
    until(lambda: not place.socket.exists(), "the socket to go")
    place.give(1, "Stage")
    until(lambda: place.log("the agent no longer answers"), "its loss to be noticed")
    assert place.log("gave an order") == []
    assert place.status["phase"] == Phase.GOOD
    place.fleet.fault(NAME, silent=False)
    assert place.wait_done(1)["phase"] == Phase.STAGED
    assert [line["order"] for line in place.log("gave an order")] == [1]


def test_an_object_that_was_made_anew_is_told_all(place: Place) -> None:
    first_word(place)
    place.give(7, "Stage")
    place.wait_done(7)
    place.cluster.api.delete(f"{NODES}/{NAME}")
    make_os(place.cluster)
    again = first_word(place)
    assert again["phase"] == Phase.STAGED
    assert "observedOrder" not in again
    place.give(8, "None")
    place.wait_done(8)


def test_a_refused_order_is_told_and_not_given_again_and_again(place: Place) -> None:
    first_word(place)
    place.give(7, "Stage")
    place.wait_done(7)
    place.cluster.api.delete(f"{NODES}/{NAME}")
    make_os(place.cluster)
    first_word(place)
    place.give(3, "Stage")
    refused = until(lambda: place.condition("Delivered"), "the refusal to be told")
    assert (refused["status"], refused["reason"]) == ("False", "STALE_ORDER")
    assert refused["lastTransitionTime"]
    place.rest()
    mark = place.cluster.audit_log.mark()
    time.sleep(3.0)
    assert place.asked(mark) == []
    assert [(line["order"], line["code"]) for line in place.log("the agent refuses an order")] == [(3, "STALE_ORDER")]
    place.give(8, "None")
    place.wait_done(8)
    assert place.condition("Delivered") is None


def test_what_is_forbidden_is_tried_ever_more_seldom(place: Place) -> None:
    first_word(place)
    role = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{ACCOUNT}"
    rules = place.cluster.api.get(role)["rules"]
    place.cluster.api.patch(role, {"rules": [rule for rule in rules if "patch" not in rule["verbs"]]})
    mark = place.cluster.audit_log.mark()
    place.give(1, "Stage")
    until(lambda: place.log("could not write the status"), "the refusal")
    until(lambda: len(place.asked(mark, write=True)) >= 4, "some tries")
    tries = place.asked(mark, write=True)
    assert (tries[3].received - tries[0].received).total_seconds() > 1.0, "the pauses double"
    assert {one.status for one in tries} == {403}
    assert [line["code"] for line in place.log("could not write the status")] == ["CLUSTER_FORBIDDEN"]
    place.cluster.api.patch(role, {"rules": rules})
    assert place.wait_done(1)["phase"] == Phase.STAGED


def test_it_speaks_for_its_own_node_alone(place: Place, tmp_path: Path) -> None:
    """Whatever it is told: its token says where it runs."""
    first_word(place)
    make_os(place.cluster, "node-0001")
    words = ["node-0001" if word == NAME else word for word in place.child.argv]
    other = Child("proa-scheduler proxy", words, tmp_path / "other.log")
    other.start()
    try:
        until(lambda: "CLUSTER_FORBIDDEN" in other.said, "a refusal")
        assert f"bound to the node {NAME}" in other.said
        assert "status" not in place.cluster.api.get(f"{NODES}/node-0001")
    finally:
        other.kill()


def test_a_kubeconfig_does_as_well(place: Place, tmp_path: Path) -> None:
    place.child.kill()
    config = place.cluster.kubeconfig_for(ACCOUNT, NAMESPACE, pod=ACCOUNT)
    words = program("proxy", "--node", NAME, "--socket", place.socket, "--kubeconfig", config)
    place.child = Child("proa-scheduler proxy", words, tmp_path / "config.log")
    place.child.start()
    first_word(place)
    place.give(1, "Stage")
    assert place.wait_done(1)["phase"] == Phase.STAGED


def test_without_access_it_says_so(tmp_path: Path) -> None:
    words = program("proxy", "--node", NAME, "--socket", tmp_path / "no.sock", "--kubeconfig", tmp_path / "none")
    ended = process.run(words, check=False)
    assert ended.status == 2
    assert b"error[KUBECONFIG]" in ended.stderr


@pytest.mark.parametrize("paused", [False, True])
def test_sigterm_ends_it_soon(place: Place, paused: bool) -> None:
    first_word(place)
    if paused:
        place.cluster.pause_apiserver()
        place.fleet.reboot(NAME)
        time.sleep(0.5)
    try:
        place.child.stop(LIMIT)
        assert place.log("ended"), "it ends by itself, not by SIGKILL, and while the API server answers nothing"
    finally:
        if paused:
            place.cluster.resume_apiserver()
    place.child.start()
