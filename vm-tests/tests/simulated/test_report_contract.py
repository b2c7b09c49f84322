"""``plan``, ``explain``, ``snapshot`` and ``simulate`` on a live cluster: they read it, and write nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proa.core.runtime import process
from proa.core.runtime.errors import Exit
from proa.core.schema.model import document
from proa.scheduler.kube import paths
from proa.scheduler.spec.crd import NODE_OSES
from proa.scheduler.spec.rollout import RolloutSpec
from proa.vm.kube.control_flags import ADMINS
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.nodes import SimNodes
from proa.vm.simulated.releases import release
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
BIN = Path(sys.executable).parent


def ask(kubeconfig: Path, *words: str | Path, status: int = 0) -> Any:
    """What a command prints with ``--json``."""
    argv = [BIN / "proa-scheduler", *words, "--json"]
    done = process.run(argv, env={"KUBECONFIG": str(kubeconfig)}, check=False)
    assert done.status == status, done.text
    return json.loads(done.stdout)


def test_a_live_cluster_is_explained(cluster: ControlPlane, nodes: Callable[..., SimNodes], tmp_path: Path) -> None:
    nodes(4, control_planes=1)
    body = {"apiVersion": "proa.dev/v1alpha1", "kind": "OSRollout", "metadata": {"name": "workers"}}
    cluster.apply([{**body, "spec": document(RolloutSpec(release("2"), paused=True))}])
    names = sorted(item["metadata"]["name"] for item in cluster.api.items(paths.NODES))
    cluster.kubectl("annotate", "node", names[1], "proa.dev/hold=debugging")
    for name in names:
        node = cluster.api.get(f"{paths.NODES}/{name}")
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
        metadata = {"name": name, "ownerReferences": [owner]}
        cluster.apply([{"apiVersion": "proa.dev/v1alpha1", "kind": "NodeOS", "metadata": metadata, "spec": {}}])
    until(lambda: all(item.get("status") for item in cluster.api.items(NODE_OSES)), "all nodes to report")
    reader = cluster.user("proa-reader", [ADMINS]).write(tmp_path / "reader.conf")

    found = ask(reader, "plan", "workers")
    assert {node["name"] for node in found["nodes"]} == set(names)
    assert found["phase"] in ("Pending", "Paused")

    explained = ask(reader, "explain", names[1])
    assert [gate["reason"] for gate in explained["gates"]] == ["Paused", "Held"]

    file = tmp_path / "cluster.json"
    words: list[str | Path] = [BIN / "proa-scheduler", "snapshot", "--hash-names", "-o", file]
    process.run(words, env={"KUBECONFIG": str(reader)})
    assert not any(name in file.read_text() for name in (*names, "zone-0"))
    assert len(json.loads(file.read_text())["nodes"]) == 5
    simulated = ask(reader, "simulate", "--from", file, status=Exit.STATE)  # it is paused
    assert simulated["nodes"] == 5
    assert simulated["boots"] == 0

    assert ask(reader, "explain", "nobody", status=5)["code"] == "CLUSTER_MISSING"
    asked = cluster.audit(user="proa-reader")
    assert asked
    assert {one.verb for one in asked} == {"list"}
