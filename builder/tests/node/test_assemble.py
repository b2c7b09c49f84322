"""What becomes of /var, of units and of the agent in a tree."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

from proa.builder.config import image_settings, node_settings, settings
from proa.builder.node import assemble, clean, system, units, var
from proa.builder.node.tree import Tree
from proa.core.runtime.errors import Code, ProaError

UID, GID = os.geteuid(), os.getegid()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    for name in ("var/lib/dpkg/info", "var/log/app", "var/cache/apt", "usr/lib/tmpfiles.d", "usr/share"):
        (tmp_path / name).mkdir(parents=True)
    for path in tmp_path.rglob("*"):
        path.chmod(0o755)
    return Tree(tmp_path, owners=False)


def test_var_is_emptied_and_made_again_by_tmpfiles(tree: Tree) -> None:
    (tree.root / "var/lib/dpkg/status").write_text("Package: x\n")
    (tree.root / "var/lib/dpkg/lock").touch()
    (tree.root / "var/lib/app").mkdir(mode=0o750)
    (tree.root / "var/lib/app" / "data file").write_text("50%")
    (tree.root / "var/lib/app" / "data file").chmod(0o640)
    (tree.root / "var/lib/app" / "empty").touch(0o600)
    (tree.root / "var/lib/app" / "link").symlink_to("/run/app")
    (tree.root / "var/lib/known").mkdir()
    (tree.root / "var/cache/apt/pkgcache.bin").touch()
    (tree.root / "usr/lib/tmpfiles.d/known.conf").write_text("# note\nd /var/lib/known 0700 - - -\n")
    var.move_out(tree)
    assert list((tree.root / "var").iterdir()) == []
    lines = tree.read(var.CONF).splitlines()[1:]
    assert lines == [
        "L+ /var/lib/dpkg - - - - ../../usr/lib/sysimage/dpkg",
        f"d /var/cache 0755 {UID} {GID} -",
        f"d /var/lib 0755 {UID} {GID} -",
        f"d /var/lib/app 0750 {UID} {GID} -",
        f'C "/var/lib/app/data file" 0640 {UID} {GID} -',
        f"f /var/lib/app/empty 0600 {UID} {GID} -",
        "L /var/lib/app/link - - - - /run/app",
        f"d /var/log 0755 {UID} {GID} -",
        f"d /var/log/app 0755 {UID} {GID} -",
    ]
    assert (tree.root / "usr/lib/sysimage/dpkg/status").read_text() == "Package: x\n"
    assert not (tree.root / "usr/lib/sysimage/dpkg/lock").exists()
    copied = tree.root / "usr/share/factory/var/lib/app/data file"
    assert stat.S_IMODE(copied.stat().st_mode) == 0o640


def test_our_units_are_enabled_in_usr(tree: Tree) -> None:
    tree.write(
        f"{units.FOLDER}/proa-x.service",
        "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target a.target\nRequiredBy=b.target\n",
    )
    units.enable(tree, "proa-x.service")
    folder = tree.root / "usr/lib/systemd/system"
    assert (folder / "multi-user.target.wants/proa-x.service").readlink() == Path("../proa-x.service")
    assert (folder / "a.target.wants/proa-x.service").resolve() == folder / "proa-x.service"
    assert (folder / "b.target.requires/proa-x.service").is_symlink()


def test_the_files_that_every_node_has() -> None:
    names = {str(path.relative_to(system.DATA)) for path in system.DATA.rglob("*") if path.is_file()}
    assert "usr/lib/systemd/system/proa-provision.service" in names
    assert "etc/ssh/sshd_config.d/10-proa.conf" in names


@pytest.mark.parametrize(
    ("cluster", "written"),
    [
        (node_settings.ClusterConfig(), {"commit": "checks"}),
        (node_settings.ClusterConfig(4711, "order"), {"commit": "order", "group": 4711}),
    ],
)
def test_the_agents_settings(
    tree: Tree, tmp_path: Path, cluster: node_settings.ClusterConfig, written: dict[str, Any]
) -> None:
    health = node_settings.HealthConfig(timeout=7, required=("a.service", "b.service"))
    config = settings.Config(image_settings.ReleaseConfig("node", "1", 1, 0, "node"), health=health, cluster=cluster)
    system.add_health(tree, config, tmp_path)
    assert tomllib.loads(tree.read("/usr/lib/proa/agent.toml")) == {
        "health": {"check_limit": 7, "seconds": 60, "units": ["a.service", "b.service"]},
        "cluster": written,
    }


@pytest.mark.parametrize(
    ("locale", "there", "code"),
    [
        ("C.UTF-8", "", ""),
        ("de_DE.UTF-8", "", "system.locale"),
        ("de_DE.UTF-8", "de_DE.utf8", ""),
        ("de_DE.UTF-8", "locale-archive", ""),
        ("de_DE@euro", "de_DE@euro", ""),
    ],
)
def test_a_locale_must_be_there(tmp_path: Path, locale: str, there: str, code: str) -> None:
    config = settings.Config(
        image_settings.ReleaseConfig("node", "1.0.0"), system=image_settings.SystemConfig(locale=locale)
    )
    if there:
        (tmp_path / "usr/lib/locale" / there).mkdir(parents=True)
    if code:
        with pytest.raises(ProaError) as caught:
            system.set_up(Tree(tmp_path, owners=False), config)
        assert caught.value.at == code
    else:
        system.set_up(Tree(tmp_path, owners=False), config)
        assert (tmp_path / "etc/locale.conf").read_text() == f"LANG={locale}\n"


def test_a_file_may_be_empty(tree: Tree, tmp_path: Path) -> None:
    (tree.root / "etc").mkdir()
    (tree.root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tree.root / "etc/group").write_text("root:x:0:\n")
    assemble.add_file(tree, image_settings.File("/etc/nologin", content=""), tmp_path)
    assert (tree.root / "etc/nologin").read_bytes() == b""


@pytest.mark.parametrize(
    ("link", "target", "place"),
    [
        ("/etc/alias", "/usr/lib/proa/trust", "/etc/alias/x.pub"),
        ("/opt/up", "../usr/lib", "/opt/up/proa/trust/x.pub"),
        ("/opt/all", "/", "/opt/all/usr/lib/os-release"),
    ],
)
def test_s14_a_link_leads_no_file_to_a_place_that_is_ours(
    tree: Tree, tmp_path: Path, link: str, target: str, place: str
) -> None:
    """A key that the release would trust, by a path that says nothing of it."""
    for name in ("/usr/lib/proa/trust/own.pub", "/usr/lib/os-release"):
        tree.write(name, "own")
    tree.write("/etc/group", "root:x:0:\n")
    tree.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    tree.link(link, target)
    with pytest.raises(ProaError) as caught:
        assemble.add_file(tree, image_settings.File(place, content="a stranger's"), tmp_path)
    assert (caught.value.code, caught.value.at) == (Code.CONFIG_VALUE, place)
    assert sorted(path.read_text() for path in tree.root.rglob("usr/lib/proa/**/*.pub")) == ["own"]
    assert tree.read("/usr/lib/os-release") == "own"


def test_what_differs_from_build_to_build_is_no_part_of_a_release(tree: Tree) -> None:
    gone = [
        "etc/ssh/ssh_host_ed25519_key",
        "etc/ssh/ssh_host_ed25519_key.pub",
        "etc/passwd-",
        "etc/shadow-",
        "etc/.pwd.lock",
        "etc/udev/hwdb.bin",
        "root/.cache/pip/http",
        "run/lock/apt",
        "tmp/hook.log",
    ]
    kept = ["etc/ssh/sshd_config", "etc/ssh/ssh_known_hosts", "etc/passwd", "root/.profile"]
    for name in [*gone, *kept]:
        (tree.root / name).parent.mkdir(parents=True, exist_ok=True)
        (tree.root / name).touch()
    (tree.root / "etc/shadow").write_text("root:*:20454:0:99999:7:::\nadmin:*:20455::::::\n")
    clean.before_sealing(tree)
    left = {str(path.relative_to(tree.root)) for path in tree.root.rglob("*")}
    assert not left & set(gone)
    assert left >= {*kept, "run", "tmp"}
    assert tree.read("/etc/shadow") == "root:*::0:99999:7:::\nadmin:*:::::::\n"


def test_a_machine_id_is_empty_and_each_node_makes_its_own(tree: Tree) -> None:
    """Where it were missing, systemd took each boot for the first one (machine-id(5))."""
    tree.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    system.set_up(tree, settings.Config(image_settings.ReleaseConfig("node", "1.0.0")))
    found = tree.path("/etc/machine-id")
    assert found.read_bytes() == b""
    assert stat.S_IMODE(found.stat().st_mode) == 0o444
