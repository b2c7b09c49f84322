"""The images of a test cluster's pods: they come to a registry whole, and what is in them does what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.vm.cluster.prober import ask
from proa.vm.cluster.unavailable import unavailable
from proa.vm.kube import podimages
from proa.vm.support.ports import free_ports
from proa.vm.support.registry import LocalRegistry
from proa.vm.support.tools import go_tool
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
LINGER = 2.0


def blob(folder: Path, digest: str) -> Path:
    return folder / "blobs/sha256" / digest.removeprefix("sha256:")


def read(folder: Path, digest: str) -> dict[str, Any]:
    return dict(json.loads(blob(folder, digest).read_bytes()))


@pytest.mark.parametrize("verb", sorted(podimages.USERS))
def test_another_program_fetches_it_and_it_is_what_it_says(verb: str, registry: LocalRegistry, tmp_path: Path) -> None:
    with registry.open(verb, "1") as target:
        digest = podimages.deliver(tmp_path / "made", verb, target)
    env = {"HOME": str(tmp_path), "SSL_CERT_FILE": str(registry.ca_file)}
    where = str(registry.reference(verb, "1"))
    process.run([go_tool("oras"), "copy", "--to-oci-layout", where, "copy:1"], env=env, cwd=tmp_path)
    manifest = read(tmp_path / "copy", digest)
    config = read(tmp_path / "copy", manifest["config"]["digest"])["config"]
    assert config["Cmd"] == [verb]
    assert config["User"] not in ("", "0", "root", "0:0")
    with tarfile.open(blob(tmp_path / "copy", manifest["layers"][0]["digest"])) as tar:
        (member,) = tar.getmembers()
        assert [f"/{member.name}"] == config["Entrypoint"]
        assert (member.mode, member.uid, member.gid) == (0o755, 0, 0)
        file = tar.extractfile(member)
        assert file is not None
        assert file.read() == go_tool("workload").read_bytes()


def test_a_server_goes_on_answering_for_a_while_after_its_end_was_asked_for() -> None:
    (port,) = free_ports(1)
    words = [str(go_tool("workload")), "serve", "-listen", f"127.0.0.1:{port}", "-linger", f"{LINGER}s"]
    with subprocess.Popen(words, env={"POD_NAME": "web-1", "NODE_NAME": "node-1"}) as server:
        try:
            until(lambda: answers(port), "an answer")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=600) as answer:
                told = json.load(answer)
            assert {"pod": "web-1", "node": "node-1"}.items() <= told.items()
            assert told["memory"]["MemTotal"] * 1024 == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            assert 0 < told["memory"]["MemAvailable"] < told["memory"]["MemTotal"]
            server.terminate()
            began = time.monotonic()
            while answers(port):
                time.sleep(0.05)
            assert time.monotonic() - began > LINGER * 0.8
            assert server.wait(300) == 0
        finally:
            server.kill()


def answers(port: int) -> bool:
    try:
        return ask(port)[0] == ""
    except OSError:
        return False


def test_the_first_process_of_a_pod_reaps_orphans_and_ends_when_asked(tmp_path: Path) -> None:
    """In a process namespace of its own, where the shell that leaves an orphan behind becomes the program."""
    leave = "(sh -c 'sleep 0.3 & exec sleep 0.1' &) ; exec \"$0\" pause"
    words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", leave, str(go_tool("workload"))]
    with subprocess.Popen(words) as outer:
        try:
            (inner,) = until(lambda: children(outer.pid), "it to start")
            until(lambda: Path(f"/proc/{inner}/comm").read_text() == "workload\n", "the program")
            until(lambda: not children(inner), "the orphans to be reaped")
            assert outer.poll() is None
            os.kill(inner, signal.SIGTERM)
            assert outer.wait(300) == 0
        finally:
            outer.kill()


def children(pid: int) -> list[int]:
    """A zombie that nobody reaps is one, too."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def test_a_registry_that_is_busy_says_so_and_is_back_afterwards(registry: LocalRegistry, tmp_path: Path) -> None:
    with registry.open("pause", "back") as target:
        digest = podimages.deliver(tmp_path / "made", "pause", target)
    with unavailable(registry), registry.open("pause", "back") as source, pytest.raises(ProaError) as caught:
        source.resolve()
    assert caught.value.code is Code.REGISTRY
    assert "503" in caught.value.message
    with registry.open("pause", "back") as source:
        assert source.resolve() == digest
