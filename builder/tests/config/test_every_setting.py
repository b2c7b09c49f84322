"""The settings' table, setting by setting: each refuses what it cannot mean, first by itself, then against the tree."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from proa.builder.config.image_settings import File, Kernel, ReleaseConfig, SystemConfig, Units, User
from proa.builder.config.loading import load
from proa.builder.config.node_settings import Check, HealthConfig, Persist
from proa.builder.config.settings import SECTIONS, Config
from proa.builder.engine import debconf
from proa.builder.node import accounts, agree, assemble, modules, system
from proa.builder.node.tree import Tree
from proa.builder.steps import initrd
from proa.core.runtime.errors import ProaError, ProaErrors
from proa.core.signing.keys import Algorithm

SETTINGS = [setting.name for section in SECTIONS for setting in section.settings]
SHORT_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA a"
ALONE = {
    "release.name": ('"My Node"', "is not a name"),
    "release.version": ('"1 0"', "is not a version"),
    "release.serial": ("-1", "a number from 0"),
    "release.floor": ("5000000", "above the release's own serial"),
    "release.compatible": ('"?"', "is not a name"),
    "release.architecture": ('"amd46"', 'did you mean "amd64"?|is not "amd64"'),
    "release.expires": ('"tomorrow"', "is not a time"),
    "system.distribution": ('"debain"', 'is not "debian"'),
    "system.suite": ('"bookwrm"', 'did you mean "bookworm"?'),
    "system.packages": ('["Curl"]', "is not a package"),
    "system.recommends": ('"yes"', "is not true or false"),
    "system.machine_sources": ("1", "is not true or false"),
    "system.debs": ('["gone"]', "gone does not exist"),
    "system.preseed": ('["short.pub"]', "short.pub:1: there is no type"),
    "system.documentation": ('"yes"', "is not true or false"),
    "system.translations": ('["german"]', "is not a language"),
    "system.locale": ('"de DE"', "is not the name of a locale"),
    "system.timezone": ('"Europe/Berln"', "there is no time zone"),
    "system.hostname": ('"node-"', "is not a host name"),
    "system.credentials": ('["a/b"]', "is not the name of a credential"),
    "source.uri": ('"mirror.test/debian"', "is not the URI"),
    "source.suites": ("[]", "a list of at least 1"),
    "source.components": ('["main contrib"]', "is not a word"),
    "source.signed_by": ('"release.pub"', "is not an OpenPGP keyring"),
    "source.check_valid_until": ('"no"', "is not true or false"),
    "file.path": ('"/etc/ssh/ssh_host_rsa_key"', "each node makes its own"),
    "file.content": ("1", "is not a string"),
    "file.source": ('"gone"', "gone does not exist"),
    "file.mode": ('"rwx"', "is not a mode"),
    "file.owner": ('"root"', "is not an owner"),
    "file.capabilities": ('"cap_net_rwa=ep"', "did you mean 'cap_net_raw'?"),
    "file.xattrs": ('["security.x=y"]', "is not an extended attribute"),
    "user.name": ('"Admin"', "is not an account"),
    "user.uid": ("60000", "a number from 0"),
    "user.groups": ('["a b"]', "is not an account"),
    "user.ssh_keys": (f'["{SHORT_KEY}"]', "is cut short or damaged"),
    "user.ssh_key_files": ('["short.pub"]', "short.pub:1: .*is cut short or damaged"),
    "user.shell": ('"bash"', "is not an absolute path"),
    "units.enable": ('["ssh"]', "does not end in the type of a unit"),
    "units.disable": ('["ssh.servce"]', "does not end in the type of a unit"),
    "units.mask": ('["getty@tty1"]', "does not end in the type of a unit"),
    "kernel.package": ('"Linux"', "is not a package"),
    "kernel.arguments": ('["root=/dev/sda1"]', "the builder sets"),
    "kernel.drivers": ('"sever"', 'did you mean "server"?'),
    "kernel.compress": ('"zstd"', "is not true or false"),
    "kernel.exclude": ('["../modules"]', "is not a pattern"),
    "kernel.initrd_modules": ('["mpt3sas mlx5"]', "is not a word"),
    "boot.generation": ("0", "a number from 1"),
    "disk.sector_size": ("1024", "one of 512, 4096"),
    "disk.size": ('"1 GiB"', "but the disk has"),
    "disk.boot": ('"1 MiB"', "is not a size"),
    "disk.uki": ('"1 MiB"', "is not a size"),
    "disk.root": ('"1 MiB"', "is not a size"),
    "disk.persist": ("0", "is not a size"),
    "persist.keep": ('["/etc"]', "would hide a part of the release"),
    "persist.encryption": ('"tpm"', 'did you mean "tpm2"?'),
    "health.deadline": ('"1 s"', "is not a time"),
    "health.timeout": ('"10 min"', "the whole trial has"),
    "health.watchdog": ('"1 s"', "is not a time"),
    "health.seconds": ('"1 week"', "is not a time"),
    "health.required": ('["kubelet"]', "does not end in the type of a unit"),
    "check.name": ('"../x"', "is not a file name"),
    "check.content": ('"exit 0"', "begins neither with '#!'"),
    "check.source": ('"release.pub"', "begins neither with '#!'"),
    "cluster.group": ("0", "a number from 1"),
    "cluster.commit": ('"ordr"', 'did you mean "order"?'),
    "trust.keys": ('["short.pub"]', "short.pub: "),
    "trust.threshold": ("0", "a number from 1"),
    "hook.at": ('"tree-afer"', 'did you mean "tree-after"?'),
    "hook.run": ('"gone"', "gone does not exist"),
    "settings.sysctl": ('["kernel.core_pattern"]', "can never be set: it makes the kernel run a program"),
    "settings.kubelet": ('["maxPodz"]', "did you mean 'maxPods'?"),
    "settings.limits": ('["nofile=0..1"]', "leaves no value"),
    "settings.time": ('["server"]', "did you mean 'servers'?"),
    "settings.dns": ('["servers=1..2"]', "for whole numbers only"),
    "settings.proxy": ('["http", "http"]', "is in the list twice"),
    "settings.registries": ('["docker.io=https://x"]', "name the hosts that may be mirrors"),
    "settings.files": ('["/etc/sudoers"]', "can never be set"),
    "build.compression": ("20", "a number from 1"),
    "build.budget": ('"1 KiB"', "is not a size"),
    "build.formats": ('["rwa"]', 'is not "raw"'),
}
"""Each setting: a value that has no meaning by itself, and what `check` says of it."""
REST = {
    "release": {"name": '"node"', "version": '"1.0.0"'},
    "source": {"uri": '"http://x/y"', "suites": '["a"]'},
    "file": {"path": '"/etc/x"', "content": '"x"'},
    "user": {"name": '"a"'},
    "check": {"name": '"a"', "content": '"#!/bin/sh"'},
    "hook": {"at": '"tree-after"', "run": '"hook"'},
}
"""What a section needs besides."""


@pytest.mark.parametrize("name", SETTINGS)
def test_b08_a_value_without_meaning_is_told_with_its_place(tmp_path: Path, name: str) -> None:
    value, said = ALONE[name]
    section, key = name.split(".")
    rest = REST.get(section, {}) | {key: value}
    if key == "source":
        rest.pop("content", None)
    many = {one.name for one in SECTIONS if one.many}
    lines = ["[release]", 'name = "node"', 'version = "1.0.0"'] if section != "release" else []
    lines += [
        f"[[{section}]]" if section in many else f"[{section}]",
        *(f"{one} = {text}" for one, text in rest.items()),
    ]
    path = tmp_path / "proa.toml"
    path.write_text("\n".join(lines) + "\n")
    (tmp_path / "release.pub").write_bytes(Algorithm.ED25519.generate().public.pem)
    (tmp_path / "short.pub").write_text(f"{SHORT_KEY}\n")
    (tmp_path / "hook").write_text("#!/bin/sh\n")
    (tmp_path / "hook").chmod(0o755)
    with pytest.raises(ProaErrors) as raised:
        load(path)
    line = max(number for number, text in enumerate(lines, 1) if text.startswith(f"{key} = "))
    (error,) = raised.value.errors
    assert re.search(said, error.message), error.message
    assert error.at.startswith(f"{path}:{line}:")


def tree_of(folder: Path) -> Tree:
    tree = Tree(folder / "root", owners=False)
    tree.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
    tree.write("/etc/group", "root:x:0:\nsystemd-journal:x:5:\n")
    tree.write("/etc/shells", "/bin/sh\n/bin/bash\n")
    tree.write("/usr/bin/bash", "", 0o755)
    tree.link("/bin", "usr/bin")
    tree.link("/bin/sh", "/usr/bin/bash")
    tree.write("/usr/lib/systemd/system/ssh.service", "[Install]\nWantedBy=multi-user.target\n")
    tree.write("/usr/lib/systemd/system/getty@.service", "[Install]\nWantedBy=getty.target\n")
    tree.write("/usr/lib/systemd/system/static.service", "[Service]\n")
    tree.write("/usr/share/zoneinfo/Europe/Berlin", "")
    tree.write("/usr/share/zoneinfo/UTC", "")
    tree.write("/usr/lib/modules/6.1/kernel/sound/snd.ko", "")
    tree.write("/srv/file", "")
    tree.folder("/usr/lib/tmpfiles.d")
    tree.write("/usr/lib/proa/health.d/a", "#!/usr/bin/bahs\n")
    return tree


def made(**sections: object) -> Config:
    return Config(ReleaseConfig("node", "1.0.0"), **sections)  # type: ignore[arg-type]


def answers_of(tree: Tree) -> Path:
    path = tree.root / "answers"
    path.write_text("x a/c string x\n")
    return path


def journal(tree: Tree, config: Config) -> None:
    numbers = accounts.assign(accounts.read_tree(tree.read("/etc/passwd"), tree.read("/etc/group")), config.user, EMPTY)
    accounts.add(tree, config.user, numbers, {})


WITH_SHELL = dataclasses.replace(User("a"), shell="/bin/bsh")  # noqa: S604 -- a setting
EMPTY = accounts.read_lock_text("")
IN_TREE: dict[str, tuple[Callable[[Tree], object], str, str]] = {
    "system.locale": (
        lambda tree: system.set_up(tree, made(system=SystemConfig(locale="de_DE.UTF-8"))),
        "system.locale",
        "locales-all",
    ),
    "system.timezone": (
        lambda tree: system.set_up(tree, made(system=SystemConfig(timezone="Europe"))),
        "system.timezone",
        "Europe/Berlin",
    ),
    "file.owner": (
        lambda tree: assemble.add_file(tree, File("/x", content="", owner="rot:root"), tree.root, "file[0].owner"),
        "file[0].owner",
        "'root'",
    ),
    "user.groups": (
        lambda tree: journal(tree, made(user=(User("a", groups=("systemd-jurnal",)),))),
        "user[0].groups[0]",
        "'systemd-journal'",
    ),
    "user.shell": (
        lambda tree: agree.check(tree, made(user=(WITH_SHELL,))),
        "user[0].shell",
        "'/bin/bash'|'/bin/sh'",
    ),
    "units.enable": (
        lambda tree: agree.check_units(tree, made(units=Units(enable=("sshd.service",)))),
        "units.enable[0]",
        "'ssh.service'",
    ),
    "units.disable": (
        lambda tree: agree.check_units(tree, made(units=Units(disable=("ssh.socket",)))),
        "units.disable[0]",
        "",
    ),
    "units.mask": (
        lambda tree: agree.check_units(tree, made(units=Units(mask=("gety@tty1.service",)))),
        "units.mask[0]",
        "'getty@.service'",
    ),
    "kernel.exclude": (
        lambda tree: modules.leave_out([tree.path("/usr/lib/modules/6.1")], Kernel(exclude=("kernel/sund",))),
        "kernel.exclude[0]",
        "",
    ),
    "kernel.initrd_modules": (
        lambda tree: initrd.check_drivers("kernel/drivers/scsi/mpt3sas.ko.xz\n", ("mpt3-sas",)),
        "kernel.initrd_modules[0]",
        "'mpt3sas'",
    ),
    "system.preseed": (
        lambda tree: debconf.check({"answers": answers_of(tree)}, "Name: a/b\nDescription: x\nType: string\n"),
        "system.preseed[0]",
        "'a/b'",
    ),
    "persist.keep": (
        lambda tree: agree.check(tree, made(persist=Persist(keep=("/srv/file",)))),
        "persist.keep[0]",
        "",
    ),
    "health.required": (
        lambda tree: agree.check(tree, made(health=HealthConfig(required=("ssh.servic",)))),
        "health.required[0]",
        "'ssh.service'",
    ),
    "check.content": (
        lambda tree: agree.check(tree, made(check=(Check("a", content="#!/usr/bin/bahs\n"),))),
        "check[0].content",
        "'/usr/bin/bash'",
    ),
    "check.source": (
        lambda tree: agree.check(tree, made(check=(Check("a", source="x"),))),
        "check[0].source",
        "'/usr/bin/bash'",
    ),
}
"""Settings that name what packages bring: a word that is not there, the setting that is told, the nearest one."""
BY_APT = {
    *("system.packages", "system.machine_sources", "system.debs", "kernel.package"),
    *(name for name in SETTINGS if name.startswith("source.")),
}
"""Settings that are judged against the mirrors' indexes."""
BY_THEMSELVES = set(SETTINGS) - IN_TREE.keys() - BY_APT


@pytest.mark.parametrize("name", IN_TREE)
def test_b08_a_word_that_the_tree_does_not_have_is_told_with_the_nearest(tmp_path: Path, name: str) -> None:
    act, at, near = IN_TREE[name]
    with pytest.raises(ProaError) as raised:
        act(tree_of(tmp_path))
    assert raised.value.at == at
    assert re.search(near, raised.value.hint)


def test_b08_no_other_setting_names_what_a_tree_must_have() -> None:
    """A new setting has to find its place: here if its words stand for nothing in the tree."""
    assert {
        *(
            name
            for name in SETTINGS
            if name.split(".")[0] in ("release", "boot", "disk", "cluster", "settings", "trust", "build")
        ),
        *(
            "system.distribution",
            "system.suite",
            "system.recommends",
            "persist.encryption",
            "system.hostname",
            "system.credentials",
            "kernel.arguments",
            "kernel.drivers",
            "kernel.compress",
            "system.documentation",
            "system.translations",
        ),
        *("file.path", "file.content", "file.source", "file.mode", "file.capabilities", "file.xattrs"),
        *("user.name", "user.uid", "user.ssh_keys", "user.ssh_key_files", "check.name", "hook.at", "hook.run"),
        *("health.deadline", "health.timeout", "health.watchdog", "health.seconds"),
    } == BY_THEMSELVES


@pytest.mark.parametrize("unit", ["ssh.service", "getty@tty1.service", "dev-sda1.mount", "run-lock.mount"])
def test_b08_units_that_are_there_or_come_at_boot_are_fine(tmp_path: Path, unit: str) -> None:
    agree.check_units(tree_of(tmp_path), made(units=Units(enable=(unit,))))


def test_b08_a_unit_that_nothing_can_want_is_not_enabled_in_silence(tmp_path: Path) -> None:
    tree = tree_of(tmp_path)
    config = made(units=Units(enable=("static.service",)))
    with pytest.raises(ProaErrors) as raised:
        agree.check_units(tree, config)
    assert "no [Install] section" in raised.value.message
    tree.write("/etc/systemd/system/static.service.d/wanted.conf", "[Install]\nWantedBy=multi-user.target\n")
    agree.check_units(tree, config)


@pytest.mark.parametrize("line", ["", "ssh-dss AAAA a", "ssh-rsa AAAAB3NzaC1yc2E= a", "ssh-ed25519 AAAA a", "rsa x"])
def test_b08_what_could_never_log_in_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "proa.toml"
    path.write_text(f'[release]\nname = "node"\nversion = "1.0.0"\n[[user]]\nname = "a"\nssh_keys = ["{line}"]\n')
    with pytest.raises(ProaErrors):
        load(path)
