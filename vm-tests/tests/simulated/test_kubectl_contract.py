"""``kubectl proa``, as kubectl finds it, against the real API server and a real registry."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proa.core.artifact import release_artifact
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import parse
from proa.core.oci.source import blob_of
from proa.core.release.document import MEDIA_TYPES, Boot, Release, Requires, Root
from proa.core.runtime.errors import Exit
from proa.core.runtime.process import ProcessResult
from proa.core.signing.keys import Algorithm
from proa.scheduler.planning.views import ATTEMPT, PAUSED
from proa.scheduler.spec.crd import OS_ROLLOUTS
from proa.vm.kube.api import MERGE, Object
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.nodes import SimNodes
from proa.vm.simulated.releases import digest_of, release
from proa.vm.support.child import Child
from proa.vm.support.registry import LocalRegistry
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
KEY = Algorithm.ECDSA_P256.generate()
STRANGER = Algorithm.ED25519.generate()
REPOSITORY = "nodes/worker"
V2, V3 = release("v2"), release("v3")
QUICK = ("--ready-seconds", "0", "--zones", "Ignore", "--max-unavailable", "3")


@dataclass
class Person:
    """Somebody with kubectl."""

    cluster: ControlPlane

    def __call__(self, *words: str | Path, status: int = 0, kubeconfig: Path | None = None) -> ProcessResult:
        done = self.cluster.kubectl("proa", *(str(word) for word in words), check=False, kubeconfig=kubeconfig)
        assert done.status == status, done.stderr.decode()
        return done

    def json(self, *words: str | Path, status: int = 0) -> Any:
        return json.loads(self(*words, "--json", status=status).stdout)

    def refused(self, *words: str | Path) -> tuple[str, Exit]:
        """The code of an error, and the exit status, which is that of the code."""
        done = self.cluster.kubectl("proa", *(str(word) for word in words), "--json", check=False)
        document = json.loads(done.stdout)
        assert (document["schema"], document["exit"]) == ("proa.error/v1", done.status)
        return document["code"], Exit(done.status)


@pytest.fixture
def person(cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> Person:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return Person(cluster)


def rollout(cluster: ControlPlane, name: str = "workers") -> Object:
    return cluster.api.get(f"{OS_ROLLOUTS}/{name}")


def marks(cluster: ControlPlane) -> dict[str, str]:
    """Those of the rollout that people's commands write."""
    found = cluster.api.get(f"{OS_ROLLOUTS}/workers")["metadata"].get("annotations") or {}
    return {key: value for key, value in found.items() if key in (ATTEMPT, PAUSED)}


def spec(cluster: ControlPlane, name: str = "workers") -> Object:
    found: Object = rollout(cluster, name)["spec"]
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[LayoutDir, str]:
    """A release in a folder that nobody has signed, and its digest."""
    folder = tmp_path_factory.mktemp("built")
    files = {name: folder / name for name in MEDIA_TYPES}
    for number, path in enumerate(files.values()):
        path.write_bytes(bytes([number]) * 4096)
    made = Release(
        name="worker",
        version="1.2.0",
        architecture="amd64",
        compatible="worker",
        created="2026-01-01T00:00:00+00:00",
        serial=1,
        floor=1,
        root=Root("erofs", 40 * 4096, 4096, "a" * 64, "bb" * 32, 4096, 128 * 1024),
        boot=Boot(4096, f"sha256:{'c' * 64}", f"sha256:{'d' * 64}"),
        requires=Requires(1, "0.1.0", 1),
        blobs={name: blob_of(path) for name, path in files.items()},
    )
    digest = release_artifact.write_release(folder / "layout", made, files)
    return LayoutDir(parse(f"oci:{folder}/layout:1.2.0")), digest


@pytest.fixture
def pushed(registry: LocalRegistry, built: tuple[LayoutDir, str]) -> tuple[str, str]:
    """A signed release in a registry: its reference by a tag, and its digest."""
    layout, digest = built
    with registry.open(REPOSITORY, "1.2.0") as target:
        release_artifact.copy_release(layout, target)
        release_artifact.sign_release(target, digest, [KEY])
    return str(registry.reference(REPOSITORY, "1.2.0")), digest


# start, and what a release must be


def test_a_tag_becomes_its_digest(person: Person, registry: LocalRegistry, pushed: tuple[str, str]) -> None:
    tag, digest = pushed
    told = person.json("start", "workers", tag, "--ca-file", registry.ca_file or "")
    assert (told["schema"], told["changed"]) == ("proa.rollout/v1", True)
    assert told["rollout"]["release"] == f"{tag}@{digest}" == spec(person.cluster)["release"]
    assert told["notes"] == ["It selects all nodes."]


def test_a_key_may_be_demanded(
    person: Person, registry: LocalRegistry, pushed: tuple[str, str], tmp_path: Path
) -> None:
    tag, _ = pushed
    for name, key in (("ours.pub", KEY), ("strangers.pub", STRANGER)):
        (tmp_path / name).write_bytes(key.public.pem)
    words = ("start", "workers", tag, "--ca-file", registry.ca_file or "")
    assert person.refused(*words, "--key", tmp_path / "strangers.pub") == ("SIGNATURE", Exit.REFUSED)
    assert person.cluster.api.find(f"{OS_ROLLOUTS}/workers") is None
    person(*words, "--key", tmp_path / "ours.pub")


def test_what_is_not_there_or_not_signed_is_refused(
    person: Person, registry: LocalRegistry, built: tuple[LayoutDir, str]
) -> None:
    layout, _ = built
    with registry.open("nodes/unsigned", "1") as target:
        release_artifact.copy_release(layout, target)
    authority = ("--ca-file", registry.ca_file or "")
    unsigned, absent = registry.reference("nodes/unsigned", "1"), registry.reference("nodes/unsigned", "2")
    assert person.refused("start", "workers", str(unsigned), *authority) == ("UNSIGNED", Exit.REFUSED)
    assert person.refused("start", "workers", str(absent), *authority) == ("NOT_FOUND", Exit.PERMANENT)
    assert person.refused("start", "workers", "oci:somewhere") == ("REFERENCE", Exit.USAGE)
    assert person.refused("start", "workers", "worker") == ("REFERENCE", Exit.USAGE)
    assert person.refused("start", "workers", f"{V2.partition('@')[0]}", "--offline") == ("REFERENCE", Exit.USAGE)
    assert person.cluster.api.find(f"{OS_ROLLOUTS}/workers") is None


def test_a_dry_run_prints_what_can_be_applied(person: Person) -> None:
    words = ("start", "workers", V2, "--offline", "-l", "pool=a,tier in (x,y)", "--canary", "1", "--soak", "5m")
    printed = person(*words, "--dry-run").text
    assert person.cluster.api.find(f"{OS_ROLLOUTS}/workers") is None
    person.cluster.kubectl("apply", "-f", "-", stdin=printed)
    applied = spec(person.cluster)
    person.cluster.api.delete(f"{OS_ROLLOUTS}/workers")
    person(*words)
    assert spec(person.cluster) == applied
    assert applied["canary"] == {"nodes": 1, "soak": "5m"}
    assert rollout(person.cluster)["status"] == {"observedGeneration": 0}, "kstatus takes it for done"
    assert applied["nodeSelector"] == {
        "matchLabels": {"pool": "a"},
        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["x", "y"]}],
    }


def test_the_api_server_takes_groups_alerts_and_jobs_from_the_command_line(person: Person) -> None:
    groups = ("--group", "test:stage=test:1h", "--group", "stores:site in (north, south)", "--zone-soak", "5m")
    others = ("--alert", "critical=ALERTS", "--wait-for", "job=nightly:2h", "--cordoned", "include")
    person("start", "workers", V2, "--offline", *groups, *others, "--undrainable", "skip")
    found = spec(person.cluster)
    assert [(one["name"], one["soak"]) for one in found["order"]["groups"]] == [("test", "1h"), ("stores", "0s")]
    assert (found["order"]["zoneSoak"], found["cordoned"], found["drain"]["undrainable"]) == ("5m", "Include", "Skip")
    assert found["health"]["alerts"] == [{"name": "critical", "query": "ALERTS"}]
    person("start", "workers", V2, "--offline", "--wait-for", "kind=report:3h", "--zones", "ignore", "--alert", "")
    found = spec(person.cluster)
    assert found["drain"]["waitFor"] == {"selector": {"matchLabels": {"kind": "report"}}, "timeout": "3h"}
    assert found["health"].get("alerts", []) == []
    person("start", "workers", V2, "--offline", "--wait-for", "", "--group", "")
    found = spec(person.cluster)
    assert ("waitFor" in found["drain"], found["order"].get("groups", [])) == (False, [])


def test_only_what_is_said_is_changed(person: Person) -> None:
    person("start", "workers", V2, "--offline", "-l", "pool=a", "--max-unavailable", "25%", "--on-failure", "rollback")
    person("start", "workers", V3, "--offline", "-l", "other=b", "--max-failures", "2", "--paused")
    found = spec(person.cluster)
    assert found["release"] == V3
    assert found["nodeSelector"]["matchLabels"] == {"other": "b"}
    assert (found["maxUnavailable"], found["paused"]) == ("25%", True)
    assert found["failure"] == {"max": 2, "action": "Rollback"}
    version = rollout(person.cluster)["metadata"]["resourceVersion"]
    assert "unchanged" in person("start", "workers", V3, "--offline").text
    assert rollout(person.cluster)["metadata"]["resourceVersion"] == version
    assert person("start", "workers", V2, "--offline").stderr.decode().startswith("note: It is paused")


@pytest.mark.parametrize(
    "words", [("--max-unavailable", "101%"), ("--soak", "soon"), ("-l", "a=b=c"), ("--on-failure", "Shrug")]
)
def test_what_cannot_be_is_a_wrong_command_line(person: Person, words: tuple[str, ...]) -> None:
    assert person.refused("start", "workers", V2, "--offline", *words) == ("USAGE", Exit.USAGE)


# pause, resume, rollback


def test_pause_and_resume(person: Person) -> None:
    person("start", "workers", V2, "--offline")
    assert person.json("pause", "workers")["rollout"]["paused"] is True
    assert (spec(person.cluster)["paused"], marks(person.cluster)) == (False, {PAUSED: "true"})
    assert person.json("pause", "workers")["changed"] is False
    assert person.json("resume", "workers", "--dry-run")["request"]["metadata"]["annotations"] == {PAUSED: None}
    assert marks(person.cluster) == {PAUSED: "true"}
    person("resume", "workers")
    assert (spec(person.cluster)["paused"], marks(person.cluster)) == (False, {})
    assert person.json("resume", "workers", "--attempt")["rollout"]["attempt"] == 1
    assert (spec(person.cluster)["attempt"], marks(person.cluster)) == (0, {ATTEMPT: "1"})


def test_an_approval_says_who_gave_it_and_for_which_release(person: Person) -> None:
    person("start", "workers", V2, "--offline", "--approval", "Required")
    told = person.json("approve", "workers")
    assert told["rollout"]["approved"].startswith("proa-admin at 20")
    assert person.json("approve", "workers")["changed"] is False
    person("start", "workers", V3, "--offline")
    (other,) = person.json("status", "workers")["rollouts"]
    assert other["approved"] == ""


def test_each_group_is_approved_by_itself(person: Person) -> None:
    person("start", "workers", V2, "--offline", "--approval", "EachGroup", "--group", "test:stage=test")
    assert person.refused("approve", "workers") == ("USAGE", Exit.USAGE)
    assert "group test" in person("approve", "workers", "--group", "test").text
    told = person.json("approve", "workers", "--no-group")["rollout"]["approved_groups"]
    assert set(told) == {"test", "in_no_group"}
    assert all(said.startswith("proa-admin at 20") for said in told.values())


def test_c14_a_spec_that_is_applied_again_undoes_no_pause_and_no_attempt(person: Person) -> None:
    """As a controller does that applies what is in git, every few minutes."""
    person("start", "workers", V2, "--offline")
    applied = {"apiVersion": "proa.dev/v1alpha1", "kind": "OSRollout", "metadata": {"name": "workers"}}
    person("pause", "workers")
    person("resume", "workers", "--attempt")
    person("pause", "workers")
    person.cluster.apply([{**applied, "spec": {"release": V2, "paused": False, "attempt": 0}}])
    (told,) = person.json("status", "workers")["rollouts"]
    assert (told["paused"], told["attempt"]) == (True, 1)


def halt(cluster: ControlPlane) -> None:
    """The scheduler halts the rollout."""
    told = {"phase": "Halted", "halted": "failed on 2 nodes", "release": V2, "failedDigests": [digest_of(V2)]}
    cluster.api.call("PATCH", f"{OS_ROLLOUTS}/workers/status", {"status": told}, content=MERGE).check()


def test_what_was_halted_is_resumed_by_an_attempt_only(person: Person) -> None:
    person("start", "workers", V2, "--offline")
    halt(person.cluster)
    assert person.refused("resume", "workers") == ("HALTED", Exit.STATE)
    assert "halted: failed on 2 nodes" in person("status").text
    assert "It halted" in person("start", "workers", V2, "--offline").stderr.decode()
    person("resume", "workers", "--attempt")
    assert marks(person.cluster) == {ATTEMPT: "1"}


def test_what_was_halted_goes_back_by_itself(person: Person) -> None:
    person("start", "workers", V2, "--offline")
    halt(person.cluster)
    assert "goes back to its other slot" in person("rollback", "workers").text
    assert spec(person.cluster)["failure"]["action"] == "Rollback"
    assert spec(person.cluster)["release"] == V2
    assert person.json("rollback", "workers")["changed"] is False


def test_there_must_be_something_to_go_back_to(person: Person) -> None:
    person("start", "workers", V2, "--offline")
    assert person.refused("rollback", "workers") == ("NO_PREVIOUS", Exit.STATE)
    assert person.json("rollback", "workers", "--to", V3, "--offline")["rollout"]["release"] == V3


# who, and where


def test_errors_of_the_cluster(person: Person, tmp_path: Path) -> None:
    for verb in ("pause", "resume", "rollback", "status", "plan"):
        assert person.refused(verb, "nobody") == ("CLUSTER_MISSING", Exit.STATE), verb
    assert person.refused("explain", "no-node") == ("CLUSTER_MISSING", Exit.STATE)
    assert person.refused("status", "--kubeconfig", tmp_path / "none") == ("KUBECONFIG", Exit.USAGE)
    assert person.refused("start", "Not_A_Name", V2, "--offline") == ("CLUSTER_INVALID", Exit.USAGE)
    config = person.cluster.kubeconfig_for("default", "default")
    done = person("start", "workers", V2, "--offline", status=3, kubeconfig=config)
    assert "error[CLUSTER_FORBIDDEN]" in done.stderr.decode()


def test_an_empty_cluster(person: Person) -> None:
    assert "There is no rollout" in person("status").text
    told = person.json("status")
    assert (told["schema"], told["rollouts"], told["nodes"]) == ("proa.rollouts/v1", [], [])


# all of it, with the real scheduler


@pytest.fixture
def scheduler(cluster: ControlPlane, tmp_path: Path) -> Iterator[Child]:
    program = Path(sys.executable).with_name("proa-scheduler")
    words: list[str | Path] = [program, "run", "--kubeconfig", cluster.kubeconfig, "--namespace", "default"]
    child = Child("proa-scheduler run", words, tmp_path / "scheduler.log")
    child.start()
    yield child
    child.stop()


def test_there_and_back(person: Person, nodes: Callable[..., SimNodes], scheduler: Child) -> None:
    fleet = nodes(3)

    def complete(version: str) -> bool:
        (found,) = person.json("status", "workers")["rollouts"]
        return (found["observed"], found["phase"], found["release"]) == (True, "Complete", version)

    person("start", "workers", V2, "--offline", *QUICK)
    until(lambda: complete(V2), "the first release everywhere")
    assert {fleet.status(name).booted.release for name in fleet.machines} == {digest_of(V2)}  # type: ignore[union-attr]
    person("start", "workers", V3, "--offline")
    until(lambda: complete(V3), "the second release everywhere")
    told = person.json("status", "workers")
    assert told["versions"] == {"v3": 3}
    assert [one["reason"] for one in told["nodes"]] == ["UpToDate"] * 3
    assert [one["release"] for one in told["rollouts"][0]["history"]] == [V2]
    shown = person("status", "workers").text
    assert "Complete" in shown
    assert f"workers: before: {V2}: Complete on 3 nodes" in shown
    assert "It runs the target release" in person("explain", "node-0000").text
    assert "3 of 3 nodes are done" in person("plan", "workers").text
    boots = fleet.boots()
    assert V2 in person("rollback", "workers").text
    until(lambda: complete(V2), "the first release everywhere again")
    assert {name: count - boots[name] for name, count in fleet.boots().items()} == dict.fromkeys(boots, 1)
    assert fleet.problems == []
