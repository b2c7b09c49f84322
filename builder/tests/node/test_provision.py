"""The script that gives a node what makes it that node: what it puts where, and what it leaves alone."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from proa.builder.node import system
from proa.core.runtime import process


@dataclass(frozen=True)
class Node:
    """A node in a folder: the script's absolute paths lead into it."""

    root: Path

    def provision(self) -> None:
        """Run the script, with an open umask."""
        text = (system.DATA / "usr/lib/proa/provision").read_text()
        for path in ("/persist/", "/run/credentials", "/etc/", "/usr/lib/proa/", "/proc/sys/kernel/"):
            text = text.replace(path, f"{self.root}{path}")
        before = os.umask(0)
        try:
            process.run(["sh", "-c", text])
        finally:
            os.umask(before)

    def write(self, path: str, text: str) -> None:
        """Write a file, and the folders that lead to it."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def read(self, path: str) -> str:
        """Read a file."""
        return (self.root / path).read_text()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(tmp_path)
    node.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    node.write("usr/lib/proa/hostname", "node-????\n")
    node.write("proc/sys/kernel/hostname", "")
    return node


SECRETS = {"proa.registry.auth": "etc/proa/auth.json", "kubelet.bootstrap": "etc/kubernetes/bootstrap-kubelet.conf"}
OPEN = {
    "proa.registry": "etc/proa/registry.toml",
    "ssh.authorized_keys.root": "etc/ssh/authorized_keys.seed/root",
    "network.10-lan.network": "etc/systemd/network/10-lan.network",
}


@pytest.mark.parametrize("source", ["persist/proa.seed", "run/credentials/@system"])
def test_what_was_given_is_put_into_place_and_secrets_are_roots_alone(node: Node, source: str) -> None:
    for name in {**SECRETS, **OPEN}:
        node.write(f"{source}/{name}", f"this is {name}\n")
    node.provision()
    for name, path in {**SECRETS, **OPEN}.items():
        assert node.read(path) == f"this is {name}\n"
        mode = stat.S_IMODE((node.root / path).stat().st_mode)
        assert mode == (0o600 if name in SECRETS else 0o644), path


def test_what_is_there_already_stays(node: Node) -> None:
    for name, path in {**SECRETS, **OPEN, "system.hostname": "etc/hostname"}.items():
        node.write(f"run/credentials/@system/{name}", "another\n")
        node.write(path, "changed on the node\n")
    node.provision()
    for path in [*SECRETS.values(), *OPEN.values(), "etc/hostname"]:
        assert node.read(path) == "changed on the node\n"


def test_persist_comes_before_a_credential(node: Node) -> None:
    node.write("persist/proa.seed/system.hostname", "of-persist\n")
    node.write("run/credentials/@system/system.hostname", "of-the-credential\n")
    node.provision()
    assert node.read("etc/hostname") == node.read("proc/sys/kernel/hostname") == "of-persist\n"


def test_a_node_without_a_name_gets_one_from_its_machine_id_and_keeps_it(node: Node) -> None:
    node.provision()
    first = node.read("etc/hostname")
    assert first.startswith("node-")
    assert len(first.removeprefix("node-").strip()) == 4
    assert set(first.removeprefix("node-").strip()) <= set("0123456789abcdef")
    node.provision()
    assert node.read("etc/hostname") == first
    node.write("etc/machine-id", "fedcba9876543210fedcba9876543210\n")
    (node.root / "etc/hostname").unlink()
    node.provision()
    assert node.read("etc/hostname") != first
