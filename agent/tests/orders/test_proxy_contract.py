"""A whole update of a node from the API server: real agent, real proxy, real registry. Only the boot is played."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from proa.agent.api.client import Client
from proa.agent.daemon.daemon import Daemon
from proa.agent.testing.node import Node
from proa.agent.testing.orders import Site
from proa.agent.testing.systemctl import Systemctl
from proa.core.artifact import release_artifact
from proa.core.oci.reference import parse
from proa.core.oci.registry import open_source
from proa.partition.boot.bootstate import Slot

if TYPE_CHECKING:
    from proa.vm.kube.controlplane import ControlPlane
    from proa.vm.support.registry import LocalRegistry

pytestmark = pytest.mark.contract
NAME = "node-1"
PATH = f"/apis/proa.dev/v1alpha1/nodeoses/{NAME}"


@contextmanager
def boot(node: Node) -> Iterator[Daemon]:
    """The daemon of one boot."""
    settings = {"group": os.getgid() or 4711, "commit": "order"}
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    node.write("usr/lib/proa/agent.toml", f"[health]\nseconds = 0\n[cluster]\n{lines}")
    node.__dict__.pop("context", None)
    ticks = threading.Event()
    node.clock.instead = lambda _: ticks.wait(0.01)
    daemon = Daemon(node.context, allowed=frozenset({os.getuid()}))
    thread = threading.Thread(target=daemon.run)
    thread.start()
    client = Client(daemon.context.paths.orders)
    try:
        while not client.is_running:
            assert thread.is_alive()
        yield daemon
    finally:
        daemon.context.cancel.ask()
        thread.join(300)
        assert not thread.is_alive()


@pytest.fixture
def plain_registry(tmp_path: Path) -> Iterator[LocalRegistry]:
    from proa.vm.support.registry import LocalRegistry

    with LocalRegistry(tmp_path / "registry", tls=False) as running:
        yield running


@pytest.fixture
def proxy(cluster: ControlPlane, site: Site, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """The proxy of the node, to be started; its object is there."""
    from proa.vm.support.child import Child

    cluster.apply([{"apiVersion": "proa.dev/v1alpha1", "kind": "NodeOS", "metadata": {"name": NAME}, "spec": {}}])
    program = Path(sys.executable).with_name("proa-scheduler")
    words = ["proxy", "--node", NAME, "--socket", str(site.node.paths.orders), "--kubeconfig", str(cluster.kubeconfig)]
    child = Child("proa-scheduler proxy", [program, *words], tmp_path / "proxy.log")
    yield child.start
    child.check()
    child.stop()


def test_a_node_comes_to_a_release(
    cluster: ControlPlane,
    site: Site,
    systemctl: Systemctl,
    release2: str,
    plain_registry: LocalRegistry,
    proxy: Callable[[], None],
) -> None:
    from proa.vm.kube.api import MERGE
    from proa.vm.support.waiting import until

    def give(number: int, action: str, **more: Any) -> None:
        order = {"id": number, "action": action, "fence": 1, **more}
        cluster.api.call("PATCH", PATH, {"spec": {"order": order}}, content=MERGE).check()

    def told(**wanted: Any) -> dict[str, Any]:
        """The status once it says what is wanted."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = cluster.api.get(PATH).get("status", {})
            return found if all(found.get(key) == value for key, value in wanted.items()) else None

        return until(look, f"the status to say {wanted}")

    def done(number: int, action: str) -> dict[str, Any]:
        return told(observedOrder={"id": number, "action": action, "result": "Done"})

    with open_source(parse(release2)) as source, plain_registry.open("nodes/test", "2") as target:
        digest = release_artifact.copy_release(source, target)
    release = f"{plain_registry.address}/nodes/test:2@{digest}"
    proxy()
    with boot(site.node):
        first = told(phase="Good")
        assert (first["booted"]["slot"], first["booted"]["committed"]) == ("a", True)
        give(1, "Stage", release=release)
        staged = done(1, "Stage")
        assert (staged["phase"], staged["standby"]["release"]) == ("Staged", digest)
        give(2, "Boot", release=release)
        told(phase="Booting")
        until(lambda: site.reboots == 1, "the reboot to be asked for")
    assert site.reboot(agent=False) is Slot.B
    with boot(site.node):
        trial = told(phase="Trial")
        assert trial["booted"]["release"] == digest
        assert trial["booted"]["bootID"] != first["booted"]["bootID"]
        until(lambda: {one["type"]: one["status"] for one in told()["conditions"]}["Healthy"] == "True", "its checks")
        give(3, "Commit", trial={"bootID": trial["booted"]["bootID"], "rootHash": trial["booted"]["rootHash"]})
        good = done(3, "Commit")
        assert (good["phase"], good["booted"]["slot"], good["booted"]["committed"]) == ("Good", "b", True)
    assert site.node.state.good is Slot.B
    assert site.reboots == 1
