"""What a package draws at random is no part of a release: nodes make it themselves, or the build fails."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from proa.builder.node import identities, var
from proa.builder.node.identities import KNOWN, Identity
from proa.builder.node.tree import Tree
from proa.core.runtime.errors import Code, ProaErrors

KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
UUID = "0b3f6e0c-6f5d-4b8e-9f3e-0123456789ab"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "root", owners=False)


@pytest.mark.parametrize("identity", KNOWN, ids=lambda one: one.path)
def test_b01_every_known_identity_is_taken_out_and_made_again_by_the_node(tree: Tree, identity: Identity) -> None:
    tree.write(identity.path, "drawn at random")
    tree.link(f"{identity.path}.link", Path(identity.path).name)
    assert identities.forget(tree, {}) == [identity]
    assert not tree.exists(identity.path)
    assert not tree.exists(f"{identity.path}.link")
    made = tree.read(identities.SCRIPT)
    assert identity.path in made
    assert identity.make in made
    assert subprocess.run(["dash", "-n"], input=made.encode(), check=False, capture_output=True).stderr == b""
    assert tree.path(f"/usr/lib/systemd/system/sysinit.target.wants/{identities.UNIT}").is_symlink()


@pytest.mark.parametrize(("package", "size"), [("pacemaker", 4096), ("rabbitmq-server", 57)])
def test_b01_what_a_cluster_authenticates_by_is_drawn_anew_each_time(tmp_path: Path, package: str, size: int) -> None:
    (identity,) = [one for one in KNOWN if one.package == package]
    for name in "ab":
        subprocess.run(["dash", "-c", identity.make], check=True, env={"new": str(tmp_path / name), "PATH": "/usr/bin"})
    drawn = {(tmp_path / name).read_bytes() for name in "ab"}
    assert (len(drawn), {len(data) for data in drawn}) == (2, {size})


def test_b01_without_one_there_is_no_unit(tree: Tree) -> None:
    tree.write("/etc/hosts", "")
    assert identities.forget(tree, {}) == []
    assert not tree.exists(identities.SCRIPT)


def test_b01_one_that_the_configuration_gives_is_meant(tree: Tree) -> None:
    tree.write("/etc/munge/munge.key", "shared by a cluster")
    assert identities.forget(tree, {"/etc/munge/munge.key": "file /etc/munge/munge.key"}) == []
    assert tree.read("/etc/munge/munge.key") == "shared by a cluster"


def test_b01_a_database_that_a_hook_fills_is_meant(tree: Tree) -> None:
    for path in ("/var/lib/mysql/mysql/user.frm", "/var/lib/postgresql/15/main/PG_VERSION"):
        tree.write(path, "15")
    (found,) = identities.forget(tree, {"/var/lib/mysql/shop/orders.frm": "hook fill"})
    assert found.path == "/var/lib/postgresql/15/main"
    assert tree.exists("/var/lib/mysql/mysql/user.frm")
    assert not tree.exists("/var/lib/postgresql/15/main")


def test_b01_a_database_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "main"
    (tmp_path / "main.new").mkdir()
    (tmp_path / "main.new/half").write_text("of an attempt that a power cut ended")
    own = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    made = identities.script([Identity("x", str(place), 'mkdir "$new" && echo 15 >"$new/VERSION"', "0700", own)])
    for _ in range(2):
        subprocess.run(["dash", "-c", made], check=True, capture_output=True)
        assert [path.name for path in place.iterdir()] == ["VERSION"]
        assert place.stat().st_mode & 0o777 == 0o700


BACULA = """\
Director {
  Name = @dir
  Password = "G_v8UtssEGZhoZX-cfQppXzLlWKkeAedV"
}
Director {
  Password = "H1hw93MjJ-3L0MZNGOvEQbUYdwrFnFte0"
  Monitor = yes
}
"""


def test_b01_passwords_among_settings_are_drawn_by_each_node_and_the_rest_stays(tree: Tree, tmp_path: Path) -> None:
    tree.write("/etc/bacula/bacula-fd.conf", BACULA)
    tree.write("/etc/bacula/common_default_passwords", "DIRPASSWD=G_v8UtssEGZhoZX-cfQppXzLlWKkeAedV\n")
    (identity,) = identities.forget(tree, {})
    everything = "".join(path.read_text() for path in tree.root.rglob("*") if path.is_file())
    assert "G_v8" not in everything
    assert "H1hw" not in everything
    make = identity.make.replace("/usr/share/proa/identities", f"{tree.root}/usr/share/proa/identities")
    drawn = []
    for name in "ab":
        place = {"path": identity.path, "new": str(tmp_path / name), "PATH": "/usr/bin:/bin"}
        subprocess.run(["dash", "-c", make], check=True, env=place)
        text = (tmp_path / name).read_text()
        drawn += re.findall(r'Password = "([\w-]{32})"', text)
        assert re.sub(r'(Password = ").*"', r'\1"', text) == re.sub(r'(Password = ").*"', r'\1"', BACULA)
    assert len(set(drawn)) == 4


@pytest.mark.parametrize("path", ["/etc/ldap/slapd.d/cn=config.ldif", "/etc/bacula/bacula-dir.conf"])
def test_b01_what_no_node_can_make_for_itself_fails_the_build_with_what_to_do(tree: Tree, path: str) -> None:
    tree.write(path, "drawn")
    with pytest.raises(ProaErrors) as raised:
        identities.check(tree, {})
    (error,) = raised.value.errors
    assert (error.code, error.at) == (Code.PACKAGES, path)
    assert "[[file]]" in error.hint
    identities.check(tree, {path: f"file {path}"})


def test_b01_a_node_makes_each_once_and_whole(tmp_path: Path) -> None:
    place = tmp_path / "a key"
    own = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    made = identities.script([Identity("x", str(place), 'echo drawn >"$new"', "0640", own)])
    for _ in range(2):
        subprocess.run(["dash", "-c", made], check=True, capture_output=True)
        assert place.read_text() == "drawn\n"
        assert place.stat().st_mode & 0o777 == 0o640
    place.unlink()
    failing = identities.script([Identity("x", str(place), 'echo half >"$new" && false', "0640", own)])
    assert subprocess.run(["dash", "-c", failing], check=False, capture_output=True).returncode == 1
    assert not place.exists()


@pytest.mark.parametrize("make", ['echo drawn >"$new"', "echo drawn >'{}'"])
def test_n01_an_identity_is_flushed_with_its_folder_or_told(tmp_path: Path, make: str) -> None:
    """Else it is another one after a power cut, although somebody may have been told the first."""
    place = tmp_path / "key"
    own = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    made = identities.script([Identity("x", str(place), make.format(place), "0640", own)])
    log = f'sync() {{ echo "$*" >>"{tmp_path}/log"; }}\n'
    subprocess.run(["dash", "-c", log + made], check=True, capture_output=True)
    flushed = (tmp_path / "log").read_text().split()
    assert flushed[-1] == str(tmp_path)
    assert flushed[0] in (str(place), f"{place}.new")
    place.unlink()
    failing = f"sync() {{ return 1; }}\n{made}"
    assert subprocess.run(["dash", "-c", failing], check=False, capture_output=True).returncode == 1


@pytest.mark.parametrize(
    ("path", "text", "what"),
    [
        ("/etc/app/server.key", KEY, "a private key"),
        ("/etc/app/rsa.pem", KEY.replace("PRIVATE", "RSA PRIVATE"), "a private key"),
        ("/etc/app/ssh_key", KEY.replace("PRIVATE", "OPENSSH PRIVATE"), "a private key"),
        ("/etc/app/dropbear.key", "\0\0\0\x0bssh-ed25519\0\0\0\x40", "a private key"),
        ("/etc/app/ecdsa", "\0\0\0\x13ecdsa-sha2-nistp256\0\0\0\x08nistp256", "a private key"),
        ("/var/lib/app/key", f"# comment\n{KEY}", "a private key"),
        ("/usr/local/etc/key", KEY, "a private key"),
        ("/etc/app/id", f"{UUID}\n", "a UUID"),
        ("/etc/app/nqn", f"nqn.2014-08.org.nvmexpress:uuid:{UUID}\n", "a UUID"),
        ("/etc/other/initiator", "InitiatorName=iqn.1993-08.org.debian:01:abc\n", "the name of an iSCSI initiator"),
    ],
)
def test_b01_an_unknown_one_fails_the_build_with_its_path(tree: Tree, path: str, text: str, what: str) -> None:
    tree.write(path, text)
    with pytest.raises(ProaErrors) as raised:
        identities.check(tree, {path: "hook x"})
    (error,) = raised.value.errors
    assert (error.code, error.at, what in error.message) == (Code.PACKAGES, path, True)
    assert "tree-after" in error.hint
    identities.check(tree, {path: f"file {path}"})


def test_b01_what_only_mentions_one_is_fine(tree: Tree) -> None:
    tree.write("/etc/app.conf", f"# id = {UUID}\nkey = /etc/app/server.key\n")
    tree.write("/etc/ssl/certs/ca.pem", "-----BEGIN CERTIFICATE-----\n")
    tree.write("/usr/lib/python3/tests/key.pem", KEY)
    tree.link("/etc/link", "/usr/lib/python3/tests/key.pem")
    identities.check(tree, {})


@pytest.mark.parametrize("name", ["systemd/credential.secret", "systemd/random-seed", "dbus/machine-id"])
def test_b01_systemds_own_secrets_are_not_copied_to_every_node(tree: Tree, name: str) -> None:
    tree.folder("/usr/lib/tmpfiles.d")
    tree.write(f"/var/lib/{name}", "drawn")
    var.move_out(tree)
    assert name not in tree.read(var.CONF)
    assert not tree.exists(f"/usr/share/factory/var/lib/{name}")
