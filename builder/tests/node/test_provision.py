"""The script that gives a node what makes it that node: what it puts where, and what it leaves alone."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from proa.builder.node import system
from proa.core.runtime import process

NO_GROUPS = 'chgrp() { echo "$1" >"${2%.new}.group"; }'
"""In place of a change of the group, which takes root's rights, the group is noted."""


@dataclass(frozen=True)
class Node:
    """A node in a folder: the script's absolute paths lead into it."""

    root: Path

    def provision(self, before: str = "") -> str:
        """Run the script, with an open umask; what it complained of.

        Args:
            before: Lines of shell that come first; functions stand in for programs.
        """
        text = (system.DATA / "usr/lib/proa/provision").read_text()
        for path in ("/persist/", "/run/credentials", "/etc/", "/usr/lib/proa/", "/proc/sys/kernel/"):
            text = text.replace(path, f"{self.root}{path}")
        umask = os.umask(0)
        try:
            return process.run(["sh", "-c", f"{NO_GROUPS}\n{before}\n{text}"]).stderr.decode()
        finally:
            os.umask(umask)

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
    table = (system.DATA / "usr/lib/proa/credentials").read_text()
    node.write("usr/lib/proa/credentials", table.replace(" /etc/", f" {tmp_path}/etc/"))
    node.write("proc/sys/kernel/hostname", "")
    return node


SECRETS = {
    "proa.registry": "etc/proa/registry.toml",
    "proa.registry.auth": "etc/proa/auth.json",
    "kubelet.bootstrap": "etc/kubernetes/bootstrap-kubelet.conf",
}
OPEN = {
    "ssh.authorized_keys.root": "etc/ssh/authorized_keys.seed/root",
    "network.10-lan.network": "etc/systemd/network/10-lan.network",
}


MODES = {"network.10-lan.network": 0o640}


@pytest.mark.parametrize("source", ["persist/proa.seed", "run/credentials/@system"])
def test_what_was_given_is_put_into_place_and_secrets_are_roots_alone(node: Node, source: str) -> None:
    for name in {**SECRETS, **OPEN}:
        node.write(f"{source}/{name}", f"this is {name}\n")
    node.provision()
    for name, path in {**SECRETS, **OPEN}.items():
        assert node.read(path) == f"this is {name}\n"
        mode = stat.S_IMODE((node.root / path).stat().st_mode)
        assert mode == MODES.get(name, 0o600 if name in SECRETS else 0o644), path


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


@pytest.mark.parametrize(
    "name", ["a b", "x\ny", "\x1b[2J", "h\N{LATIN SMALL LETTER E WITH ACUTE}", "a" * 65, "-a", "."]
)
def test_a_name_that_no_machine_can_have_is_told_and_not_taken(node: Node, name: str) -> None:
    node.write("run/credentials/@system/system.hostname", name)
    assert "system.hostname is not taken" in node.provision()
    assert node.read("etc/hostname").startswith("node-")


def test_credentials_are_taken_by_their_whole_names(node: Node) -> None:
    for name in ("ssh.authorized_keys.a b", "ssh.authorized_keys.*", "network.x y.network"):
        node.write(f"run/credentials/@system/{name}", f"{name}\n")
    assert node.provision() == ""
    for path in (
        "etc/ssh/authorized_keys.seed/a b",
        "etc/ssh/authorized_keys.seed/*",
        "etc/systemd/network/x y.network",
    ):
        assert (node.root / path).exists()
    assert len(list((node.root / "etc/ssh/authorized_keys.seed").iterdir())) == 2


def test_what_cannot_be_put_into_its_place_is_named(node: Node) -> None:
    node.write("etc/proa/registry.toml/in/the/way", "")
    node.write("run/credentials/@system/proa.registry", "ca_file = 'x'\n")
    assert "proa.registry cannot be put into" in node.provision()


TABLE = [
    ("system.hostname", "etc/hostname", 0o644, ""),
    ("ssh.authorized_keys.root", "etc/ssh/authorized_keys.seed/root", 0o644, ""),
    ("network.10-lan.network", "etc/systemd/network/10-lan.network", 0o640, "systemd-network"),
    ("network.20-wg0.netdev", "etc/systemd/network/20-wg0.netdev", 0o640, "systemd-network"),
    ("network.30-x.link", "etc/systemd/network/30-x.link", 0o640, "systemd-network"),
    ("proa.registry", "etc/proa/registry.toml", 0o600, ""),
    ("proa.registry.auth", "etc/proa/auth.json", 0o600, ""),
    ("kubelet.bootstrap", "etc/kubernetes/bootstrap-kubelet.conf", 0o600, ""),
]


@pytest.mark.parametrize(("name", "path", "mode", "group"), TABLE)
def test_n14_every_place_has_its_mode_and_its_readers(node: Node, name: str, path: str, mode: int, group: str) -> None:
    node.write(f"run/credentials/@system/{name}", "given\n")
    node.provision()
    assert stat.S_IMODE((node.root / path).stat().st_mode) == mode
    noted = node.root / f"{path}.group"
    assert (noted.read_text().strip() if noted.exists() else "") == group


def test_n14_the_table_is_the_one_that_is_tested() -> None:
    text = (system.DATA / "usr/lib/proa/credentials").read_text()
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    assert len(rows) == len(TABLE)
    for row, (_, path, mode, group) in zip(rows, TABLE, strict=True):
        assert (int(row[2], 8), "".join(row[3:])) == (mode, group)
        assert f"/{path}".startswith(row[1])


def test_n14_without_that_group_it_is_roots_alone(node: Node) -> None:
    node.write("run/credentials/@system/network.20-wg0.netdev", "PrivateKey=secret\n")
    node.provision("chgrp() { return 1; }")
    assert stat.S_IMODE((node.root / "etc/systemd/network/20-wg0.netdev").stat().st_mode) == 0o600


@pytest.mark.parametrize(("name", "path"), [(row[0], row[1]) for row in TABLE])
@pytest.mark.parametrize("damage", ["empty", "zeroes", "a line's end", "a folder"])
def test_n01_a_file_that_a_power_cut_has_emptied_counts_as_absent(
    node: Node, name: str, path: str, damage: str
) -> None:
    node.write(f"run/credentials/@system/{name}", "given\n")
    place = node.root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if damage != "a folder":
        place.write_text({"empty": "", "zeroes": "\0" * 4096}.get(damage, "\n"))
        (place.parent / f"{place.name}.new").write_text("half")
    else:
        (place.parent / f"{place.name}.new").mkdir()
    node.provision()
    assert place.read_text() == "given\n"
    assert not (place.parent / f"{place.name}.new").exists()


def test_n01_a_name_that_was_emptied_is_made_again_and_is_the_same(node: Node) -> None:
    node.provision()
    first = node.read("etc/hostname")
    (node.root / "etc/hostname").write_text("")
    node.provision()
    assert node.read("etc/hostname") == first


def test_n01_what_is_given_empty_makes_no_empty_file(node: Node) -> None:
    node.write("run/credentials/@system/proa.registry.auth", "")
    node.provision()
    assert not (node.root / "etc/proa/auth.json").exists()


@pytest.mark.parametrize("failing", ["chmod", "sync"])
def test_n01_a_file_that_cannot_be_kept_does_not_get_its_name(node: Node, failing: str) -> None:
    node.write("run/credentials/@system/proa.registry", "given\n")
    node.provision(f"{failing}() {{ return 1; }}")
    assert not (node.root / "etc/proa/registry.toml").exists()


def test_n01_each_file_is_flushed_before_it_has_its_name_and_its_folder_after(node: Node, tmp_path: Path) -> None:
    node.write("run/credentials/@system/proa.registry", "given\n")
    log = tmp_path / "calls"
    node.provision(f'sync() {{ echo "sync $*" >>{log}; }}; mv() {{ echo "mv $3" >>{log}; command mv "$@"; }}')
    calls = log.read_text().replace(f"{tmp_path}/", "").splitlines()
    start = calls.index("sync etc/proa/registry.toml.new")
    assert calls[start + 1 : start + 4] == ["mv etc/proa/registry.toml", "sync etc/proa", "sync etc"]


KEYS = ("ssh_host_ed25519_key", "ssh_host_ecdsa_key")


def make_keys(folder: Path) -> dict[str, bytes]:
    """Run the script; what is in the folder then."""
    process.run(["sh", system.DATA / "usr/lib/proa/ssh-keys"], env={"PROA_SSH": str(folder)})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_n01_ssh_host_keys_are_made_once(tmp_path: Path) -> None:
    made = make_keys(tmp_path)
    assert set(made) == {*KEYS, *(f"{key}.pub" for key in KEYS)}
    assert all(stat.S_IMODE((tmp_path / key).stat().st_mode) == 0o600 for key in KEYS)
    assert make_keys(tmp_path) == made


@pytest.mark.parametrize("damage", ["empty", "cut", "public", "gone"])
def test_n01_an_ssh_host_key_that_is_not_whole_is_made_again(tmp_path: Path, damage: str) -> None:
    made = make_keys(tmp_path)
    broken = tmp_path / (f"{KEYS[0]}.pub" if damage == "public" else KEYS[0])
    if damage == "gone":
        broken.unlink()
    else:
        broken.write_bytes(made[KEYS[0]][:100] if damage == "cut" else b"")
    again = make_keys(tmp_path)
    public = process.run(["ssh-keygen", "-y", "-f", tmp_path / KEYS[0]]).text.split()[:2]
    assert again[f"{KEYS[0]}.pub"].decode().split()[:2] == public
    assert again[KEYS[1]] == made[KEYS[1]], "the other one stays"
