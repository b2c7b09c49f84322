"""The health check for control-plane nodes in docs/examples, against a real etcd of three members."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proa.vm.kube import programs
from proa.vm.support.certificates import Authority
from proa.vm.support.child import Child
from proa.vm.support.ports import free_ports
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
CHECK = Path(__file__).parents[3] / "docs/examples/health/30-etcd"


@dataclass
class Etcd:
    """Three members, and the folder that has what kubeadm puts on a node of the first one."""

    members: list[Child]
    clients: list[str]
    node: Path

    def check(self, **more: str) -> tuple[int, str]:
        """Run the check as the agent does: with little in its environment. Its exit status and its output."""
        paths = {"ETCD_CREDENTIALS": str(self.node), "ETCD_MANIFEST": str(self.node / "etcd.yaml")}
        environment = {"PATH": os.environ["PATH"], "ETCD_ENDPOINT": self.clients[0], **paths, **more}
        done = subprocess.run([CHECK], env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.stderr == ""
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    folder = tmp_path_factory.mktemp("etcd")
    bin_folder, authority, ports = programs.gather(folder / "bin"), Authority(folder / "ca"), free_ports(6)
    server = authority.issue(("127.0.0.1",), client=True, server=True)
    peers = [f"https://127.0.0.1:{port}" for port in ports[3:]]
    clients = [f"https://127.0.0.1:{port}" for port in ports[:3]]
    members = []
    for number, (client, peer) in enumerate(zip(clients, peers, strict=True)):
        argv: list[str | Path] = [
            *(bin_folder / "etcd", f"--name=m{number}", f"--data-dir={folder / f'data{number}'}", "--unsafe-no-fsync"),
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
            "--initial-cluster=" + ",".join(f"m{n}={one}" for n, one in enumerate(peers)),
        ]
        for prefix in ("", "peer-"):
            argv += [f"--{prefix}cert-file={server.cert_file}", f"--{prefix}key-file={server.key_file}"]
            argv += [f"--{prefix}trusted-ca-file={authority.ca_file}", f"--{prefix}client-cert-auth"]
        members.append(Child(f"m{number}", argv, folder / f"m{number}.log"))
    node = folder / "node"
    node.mkdir()
    user = authority.issue_user("healthcheck")
    (node / "healthcheck-client.crt").write_bytes(Path(user.cert_file).read_bytes())
    (node / "healthcheck-client.key").write_bytes(Path(user.key_file).read_bytes())
    (node / "ca.crt").write_bytes(Path(authority.ca_file).read_bytes())
    (node / "etcd.yaml").touch()
    found = Etcd(members, clients, node)
    try:
        for member in members:
            member.start()
        until(lambda: found.check() == (0, "\n"), "the three members to be healthy")
        yield found
    finally:
        for member in members:
            member.kill()


def test_all_members_are_healthy(etcd: Etcd) -> None:
    assert etcd.check() == (0, "\n")


@pytest.mark.parametrize("gone", [1, 2])
def test_one_other_member_that_is_down_is_named(etcd: Etcd, gone: int) -> None:
    """The cluster has its quorum still, and another reboot would take it."""
    etcd.members[gone].kill()
    status, said = etcd.check()
    etcd.members[gone].start()
    until(lambda: etcd.check() == (0, "\n"), "it to be back")
    assert status == 1
    assert f"m{gone} at {etcd.clients[gone]}" in said


def test_its_own_member_that_is_down_is_named(etcd: Etcd) -> None:
    etcd.members[0].kill()
    status, said = etcd.check()
    etcd.members[0].start()
    until(lambda: etcd.check() == (0, "\n"), "it to be back")
    assert (status, said.startswith(f"etcd at {etcd.clients[0]}: ")) == (1, True)


def test_a_member_that_answers_and_has_no_quorum_says_why(etcd: Etcd) -> None:
    for number in (1, 2):
        etcd.members[number].kill()
    status, said = etcd.check()
    for number in (1, 2):
        etcd.members[number].start()
    until(lambda: etcd.check() == (0, "\n"), "them to be back")
    assert status == 1
    assert said


def test_a_node_without_etcd_is_healthy(etcd: Etcd) -> None:
    assert etcd.check(ETCD_MANIFEST=str(etcd.node / "none"))[0] == 0


def test_credentials_that_are_missing_are_told(etcd: Etcd, tmp_path: Path) -> None:
    status, said = etcd.check(ETCD_CREDENTIALS=str(tmp_path))
    assert (status, "No such file" in said) == (1, True)
