"""Every write of the scheduler, made by its own account, judged by the real API server and our admission policies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from proa.core.orders.messages import Action as Verb
from proa.core.orders.messages import Proof
from proa.core.runtime.clock import VirtualClock
from proa.core.schema.model import document
from proa.scheduler.install.names import SCHEDULER
from proa.scheduler.install.settings import NAMESPACE
from proa.scheduler.kube import access, paths
from proa.scheduler.kube.api import Api
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.objects.writing import Outcome, Writer
from proa.scheduler.planning.actions import Action, Cordon, Create, Forget, Give, Note, Uncordon
from proa.scheduler.planning.views import FENCE, MARK, RECORD, Mark, NodeRecord, Snapshot
from proa.scheduler.report import source
from proa.scheduler.spec.crd import NODE_OSES
from proa.scheduler.spec.rollout import RolloutSpec
from proa.scheduler.spec.rolloutstatus import CanaryStatus, RolloutStatus
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.installed import install, uninstall
from proa.vm.simulated.releases import release
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
LEASE = 7
RELEASE = release("2")
A_MARK = Mark("workers", RELEASE.rpartition("@")[2], datetime(2026, 1, 5, tzinfo=UTC), True, "boot-1")
A_RECORD = NodeRecord("workers", RELEASE.rpartition("@")[2], failures=1, reason="RolledBack", message="it came back")
NODE, OS = f"{paths.NODES}/n1", f"{NODE_OSES}/n1"


@dataclass(frozen=True)
class Leader:
    """Leads, with some fence."""

    fence: int = LEASE
    leading: bool = True


@dataclass
class Desk:
    """Who writes: the scheduler's account, on one node."""

    plane: ControlPlane
    api: Api

    def look(self) -> Snapshot:
        return source.snapshot_of(self.api)

    def write(self, action: Action, snapshot: Snapshot | None = None, fence: int = LEASE) -> Outcome:
        writer = Writer(self.api, Leader(fence), VirtualClock())
        return writer.carry_out(action, snapshot or self.look()).outcome

    def node(self) -> dict[str, Any]:
        return self.plane.api.get(NODE)

    def os(self) -> dict[str, Any] | None:
        return self.plane.api.find(OS)

    def make_node(self) -> None:
        labels = {"topology.kubernetes.io/zone": "zone-0"}
        metadata = {"name": "n1", "labels": labels, "annotations": {"example.com/owner": "team"}}
        self.plane.api.post(paths.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": metadata})


@pytest.fixture(scope="module")
def policed(control_plane: ControlPlane) -> Iterator[Api]:
    """The scheduler's account, with its rights and held to its policies."""
    control_plane.start()
    install(control_plane)
    api = Api(access.find(str(control_plane.kubeconfig_for(SCHEDULER, NAMESPACE))))
    yield api
    api.close()
    uninstall(control_plane)


@pytest.fixture
def desk(policed: Api, cluster: ControlPlane) -> Desk:
    """One node with its NodeOS, and a lease whose fence is ours."""
    metadata = {"name": SCHEDULER, "namespace": NAMESPACE}
    spec = {"holderIdentity": "me", "leaseTransitions": LEASE}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    collection = paths.leases(NAMESPACE)

    def put() -> bool:
        """Ours, whoever of the tests before has still held one."""
        cluster.api.call("DELETE", f"{collection}/{SCHEDULER}").check(404)
        return cluster.api.call("POST", collection, lease).status == 201

    until(put, "a lease of ours")
    made = Desk(cluster, policed)
    made.make_node()
    # The policy may not have heard of the lease yet.
    until(lambda: made.write(Create("n1")) is Outcome.DONE, "the first write")
    return made


def marked(desk: Desk) -> None:
    assert desk.write(Cordon("n1", A_MARK)) is Outcome.DONE


def ordered(desk: Desk) -> None:
    assert desk.write(Give("n1", 1, Verb.STAGE, RELEASE)) is Outcome.DONE


def nothing(_: Desk) -> None:
    pass


def gone(desk: Desk) -> None:
    desk.plane.api.delete(OS)


CASES: dict[str, tuple[Callable[[Desk], None], Callable[[Desk], Action]]] = {
    "create": (gone, lambda desk: Create("n1")),
    "forget": (nothing, lambda desk: Forget("n1", str((desk.os() or {})["metadata"]["uid"]))),
    "stage": (nothing, lambda desk: Give("n1", 1, Verb.STAGE, RELEASE)),
    "boot": (ordered, lambda desk: Give("n1", 2, Verb.BOOT, RELEASE)),
    "cordon": (nothing, lambda desk: Cordon("n1", A_MARK)),
    "uncordon": (marked, lambda desk: Uncordon("n1", "Done")),
    "note": (nothing, lambda desk: Note("n1", A_RECORD)),
}
"""Of each write: what is there before, and the write."""


def contents(item: dict[str, Any] | None) -> dict[str, Any] | None:
    """What of an object is somebody's wish."""
    if item is None:
        return None
    metadata = {key: item["metadata"].get(key) for key in ("uid", "labels", "annotations", "ownerReferences")}
    return {"metadata": metadata, "spec": item.get("spec")}


@pytest.mark.parametrize("name", CASES)
def test_a_write_that_comes_twice_is_made_once(desk: Desk, name: str) -> None:
    before, make = CASES[name]
    before(desk)
    seen, action = desk.look(), make(desk)
    old = contents(desk.node()), contents(desk.os())
    assert desk.write(action, seen) is Outcome.DONE
    once = contents(desk.node()), contents(desk.os())
    assert once != old
    versions = [item["metadata"]["resourceVersion"] for item in (desk.node(), desk.os()) if item]
    assert desk.write(action, seen) in (Outcome.DONE, Outcome.STALE)
    assert (contents(desk.node()), contents(desk.os())) == once
    if name not in ("uncordon",):  # the second one puts our fence there, and takes it away again
        assert [item["metadata"]["resourceVersion"] for item in (desk.node(), desk.os()) if item] == versions


@pytest.mark.parametrize("name", CASES)
def test_a_leader_that_is_none_any_more_writes_nothing(desk: Desk, name: str) -> None:
    before, make = CASES[name]
    before(desk)
    action = make(desk)
    old = contents(desk.node()), contents(desk.os())
    if name == "forget":  # deletions carry no fence: the object's UID is what they are held to
        assert desk.write(Forget("n1", "another"), fence=LEASE - 1) is Outcome.STALE
    else:
        assert desk.write(action, fence=LEASE - 1) is Outcome.FENCED
        assert desk.write(action, fence=LEASE + 1) is Outcome.FENCED
    assert (contents(desk.node()), contents(desk.os())) == old


@pytest.mark.parametrize("name", ["stage", "boot", "cordon", "uncordon", "note"])
def test_an_object_that_was_made_anew_is_not_written_to(desk: Desk, name: str) -> None:
    before, make = CASES[name]
    before(desk)
    seen, action = desk.look(), make(desk)
    desk.plane.api.delete(OS)
    desk.plane.api.delete(NODE)
    desk.make_node()
    assert desk.write(Create("n1")) is Outcome.DONE
    new = contents(desk.node()), contents(desk.os())
    assert desk.write(action, seen) is Outcome.STALE
    assert (contents(desk.node()), contents(desk.os())) == new


@pytest.mark.parametrize("name", ["stage", "boot", "cordon", "uncordon", "note"])
def test_an_object_that_is_gone_is_not_made_by_a_write(desk: Desk, name: str) -> None:
    before, make = CASES[name]
    before(desk)
    seen, action = desk.look(), make(desk)
    desk.plane.api.delete(OS)
    desk.plane.api.delete(NODE)
    assert desk.write(action, seen) is Outcome.STALE
    assert desk.plane.api.find(NODE) is None
    assert desk.os() is None


def test_of_two_orders_with_one_id_the_first_one_stands(desk: Desk) -> None:
    ordered(desk)
    assert desk.write(Give("n1", 1, Verb.BOOT, RELEASE)) is Outcome.STALE
    assert desk.write(Give("n1", 1, Verb.STAGE, release("3"))) is Outcome.STALE
    os = desk.os()
    assert os
    assert (os["spec"]["order"]["action"], os["spec"]["order"]["release"]) == ("Stage", RELEASE)


def test_an_order_takes_all_of_the_one_before_away(desk: Desk) -> None:
    ordered(desk)
    seen = desk.look().oses["n1"].order
    assert seen
    assert (seen.id, seen.fence, seen.release) == (1, LEASE, RELEASE)
    assert desk.write(Give("n1", 2, Verb.NONE)) is Outcome.DONE
    os = desk.os()
    assert os
    assert "trial" not in os["spec"]["order"]
    assert os["spec"]["order"].get("release", "") == ""


def test_our_cordon_comes_and_goes_in_one(desk: Desk) -> None:
    old = contents(desk.node())
    marked(desk)
    node = desk.look().nodes["n1"]
    assert (node.mark, node.fence, node.unschedulable) == (A_MARK, LEASE, True)
    assert desk.write(Uncordon("n1", "Done")) is Outcome.DONE
    assert contents(desk.node()) == old
    owners = {field["manager"] for field in desk.node()["metadata"].get("managedFields", ())}
    assert "proa-scheduler" not in owners


def test_the_mark_of_the_leader_before_is_taken_away_by_the_next(desk: Desk) -> None:
    marked(desk)
    lease = f"{paths.leases(NAMESPACE)}/{SCHEDULER}"
    desk.plane.api.patch(lease, {"spec": {"leaseTransitions": LEASE + 1}})
    until(lambda: desk.write(Uncordon("n1", "Done"), fence=LEASE + 1) is Outcome.DONE, "the policy to see the lease")
    annotations = desk.node()["metadata"]["annotations"]
    assert MARK not in annotations
    assert FENCE not in annotations
    assert not desk.look().nodes["n1"].unschedulable


def test_a_cordon_that_a_person_had_set_before_stays(desk: Desk) -> None:
    desk.plane.kubectl("cordon", "n1")
    assert desk.write(Cordon("n1", dataclasses.replace(A_MARK, cordoned=False))) is Outcome.DONE
    assert desk.write(Uncordon("n1", "Done")) is Outcome.DONE
    node = desk.look().nodes["n1"]
    assert node.unschedulable
    assert node.mark is None


def test_a_cordon_that_a_person_takes_away_meanwhile_is_not_set_again(desk: Desk) -> None:
    desk.plane.kubectl("cordon", "n1")
    seen = desk.look()
    desk.plane.kubectl("uncordon", "n1")
    assert desk.write(Cordon("n1", dataclasses.replace(A_MARK, cordoned=False)), seen) is Outcome.DONE
    node = desk.look().nodes["n1"]
    assert node.mark is not None
    assert not node.unschedulable


def test_a_cordon_that_a_person_sets_as_well_stays_only_where_they_apply_it(desk: Desk) -> None:
    marked(desk)
    said = desk.plane.kubectl("cordon", "n1").text
    assert "already cordoned" in said
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"unschedulable": True}}
    desk.plane.apply([body])
    assert desk.write(Uncordon("n1", "Done")) is Outcome.DONE
    assert desk.look().nodes["n1"].unschedulable


def test_an_uncordon_of_a_person_is_seen_and_borne(desk: Desk) -> None:
    marked(desk)
    desk.plane.kubectl("uncordon", "n1")
    node = desk.look().nodes["n1"]
    assert node.mark == A_MARK
    assert not node.unschedulable
    assert desk.write(Uncordon("n1", "Uncordoned")) is Outcome.DONE
    assert desk.look().nodes["n1"].mark is None


def test_what_people_have_written_on_a_node_stays(desk: Desk) -> None:
    marked(desk)
    desk.plane.kubectl("annotate", "node", "n1", "proa.dev/hold=debugging")
    desk.plane.kubectl("taint", "node", "n1", "example.com/broken=yes:NoSchedule")
    assert desk.write(Uncordon("n1", "Done")) is Outcome.DONE
    node = desk.node()
    assert node["metadata"]["annotations"] == {"example.com/owner": "team", "proa.dev/hold": "debugging"}
    assert [taint["key"] for taint in node["spec"]["taints"] if taint["key"].startswith("example")]


def test_a_record_is_read_as_it_was_written(desk: Desk) -> None:
    assert desk.write(Note("n1", A_RECORD)) is Outcome.DONE
    assert desk.look().oses["n1"].record == A_RECORD
    os = desk.os()
    assert os
    assert RECORD in os["metadata"]["annotations"]


def test_a_status_is_written_over_the_version_that_was_read_alone(desk: Desk) -> None:
    rollout = {"apiVersion": "proa.dev/v1alpha1", "kind": "OSRollout", "metadata": {"name": "workers"}}
    desk.plane.apply([{**rollout, "spec": document(RolloutSpec(RELEASE))}])
    writer = Writer(desk.api, Leader(), VirtualClock())
    view = desk.look().rollouts["workers"]
    status = RolloutStatus(release=RELEASE, phase="Staging", canary=CanaryStatus("sha256:" + "1" * 64, ("n1",)))
    assert writer.report(view, status).outcome is Outcome.DONE
    seen = desk.look().rollouts["workers"]
    assert seen.status == status
    assert writer.report(view, dataclasses.replace(status, phase="Complete")).outcome is Outcome.STALE
    version = seen.version
    assert writer.report(seen, status).outcome is Outcome.DONE
    assert desk.look().rollouts["workers"].version == version
    assert writer.report(seen, dataclasses.replace(status, canary=None)).outcome is Outcome.DONE
    assert desk.look().rollouts["workers"].status == dataclasses.replace(status, canary=None)


def test_fields_that_the_api_server_does_not_know_are_refused(desk: Desk) -> None:
    ordered(desk)
    os = desk.os()
    assert os
    order = os["spec"]["order"] | {"id": 2, "colour": "red"}
    body = {"metadata": {"uid": os["metadata"]["uid"], "annotations": {FENCE: str(LEASE)}}, "spec": {"order": order}}
    with pytest.raises(ApiError) as caught:
        desk.api.merge(OS, body)
    assert caught.value.status in (400, 422)  # the message repeats the whole object, and the field comes last
    with pytest.raises(ApiError) as caught:
        desk.api.apply(NODE, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "colour": 1}, force=True)
    assert "colour" in caught.value.message
    assert contents(desk.os()) == contents(os)


def test_a_proof_is_given_whole(desk: Desk) -> None:
    proof = Proof("8a5b9a76-4a5c-4a3b-9a3f-1de0a1cd0a11", "a" * 64)
    assert desk.write(Give("n1", 1, Verb.COMMIT, proof=proof, timeout="5m")) is Outcome.DONE
    order = desk.look().oses["n1"].order
    assert order
    assert (order.trial, order.timeout) == (proof, "5m")
