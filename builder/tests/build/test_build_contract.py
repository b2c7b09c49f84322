"""Real builds up to the initrd: packages, tree, root image, verity tree, bill of materials."""

from __future__ import annotations

import getpass
import json
import os
import pwd
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from proa.builder.build.pipeline import STEPS, BuildOrder, build
from proa.builder.config.loading import load
from proa.builder.engine import namespace
from proa.builder.engine.cache import StepCache
from proa.builder.node import accounts, software
from proa.core.runtime.clock import Deadline
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import SILENT
from proa.core.runtime.process import run

pytestmark = pytest.mark.contract
LIMIT = 900.0
"""Seconds after which something hangs; a busy machine needs minutes for what takes seconds."""

CONFIG = """
[release]
name = "contract"
version = "1.0.0"
[system]
packages = ["openssh-server", "systemd-resolved"]
preseed = ["preseed.txt"]
[kernel]
package = "linux-image-cloud-amd64"
initrd_modules = ["proa-own"]
[[user]]
name = "admin"
ssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f admin"]
groups = ["systemd-journal"]
[[file]]
path = "/etc/motd"
content = "hello"
mode = "0600"
owner = "admin:admin"
[[file]]
path = "/etc/ld.so.conf.d/own.conf"
content = "/opt/own\\n"
[[file]]
path = "/etc/udev/hwdb.d/99-own.hwdb"
content = "evdev:own:*\\n PROA_OWN=1\\n"
[[file]]
path = "/etc/modprobe.d/own.conf"
content = "options virtio_blk num_request_queues=1\\n"
[[file]]
path = "/usr/bin/lends"
content = "x"
mode = "4711"
owner = "admin:admin"
capabilities = "cap_net_raw=p"
[[hook]]
at = "packages-before"
run = "before.sh"
[[hook]]
at = "tree-after"
run = "hook.sh"
[[check]]
name = "10-true"
content = "#!/bin/sh\\nexit 0\\n"
[persist]
keep = ["/srv/data"]
"""
HOOK = """#!/bin/sh
set -eu
echo "$PROA_VERSION" >/etc/hooked
mkdir /opt/own
kernel=$(echo /usr/lib/modules/*)
mkdir "$kernel/updates"
cp "$kernel/kernel/drivers/block/virtio_blk.ko" "$kernel/updates/proa_own.ko"
cp /usr/lib/*/libzstd.so.1 /opt/own/libown.so.1
mkdir -p /etc/munge && echo drawn >/etc/munge/munge.key
[ "$(ls /sys/class/net 2>/dev/null | grep -cv lo)" = 0 ]
! getent hosts example.org
"""
BEFORE = """#!/bin/sh
set -eu
[ ! -e /usr/sbin/sshd ] && [ -x /usr/bin/dpkg ] && [ ! -e /proc/1/root/root/.ssh ]
[ "$(ls /sys/class/net 2>/dev/null | grep -cv lo)" = 0 ]
echo before:x:4000: >>/etc/group
mkdir /etc/ssh
echo "# of the user" >/etc/ssh/moduli
"""
PRESEED = "openssh-server openssh-server/password-authentication boolean false\n"
HALF = 8
"""How many of the steps are run here: the second half is the business of the boot tests."""
ELSEWHERE = """
hostname elsewhere
{ cat /etc/resolv.conf; echo "# of another machine"; } >"$1"
mount --bind "$1" "$(readlink -f /etc/resolv.conf)"
shift
umask 077
exec "$@"
"""
"""Runs a command as if on another machine: other name, other resolvers, another umask."""
BUILD = f"""
import sys
from pathlib import Path
from proa.builder.engine.cache import StepCache
from proa.builder.config.loading import load
from proa.builder.build.pipeline import STEPS, BuildOrder, build
from proa.core.runtime.events import SILENT
folder = Path(sys.argv[1])
build(BuildOrder(load(folder / "proa.toml"), folder / "out", None, StepCache(folder / "cache"), SILENT, STEPS[:{HALF}]))
"""


@dataclass(frozen=True)
class Built:
    """A project folder with what was built in it."""

    folder: Path

    def order(self, *, version: str = "", config: str = "proa.toml") -> BuildOrder:
        loaded = load(self.folder / config, version=version)
        return BuildOrder(loaded, self.folder / "out", None, StepCache(self.folder / "cache"), SILENT, STEPS[:HALF])

    def output(self, step: str) -> Path:
        entries = (self.folder / "cache" / "steps" / step).glob("*/output")
        return max(entries, key=lambda path: path.parent.stat().st_mtime_ns)

    @property
    def report(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "out" / "build.json").read_text())
        return document


def make_project(folder: Path, text: str = CONFIG) -> Built:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "proa.toml").write_text(text)
    (folder / "preseed.txt").write_text(PRESEED)
    for name, program in (("hook.sh", HOOK), ("before.sh", BEFORE)):
        (folder / name).write_text(program)
        (folder / name).chmod(0o755)
    return Built(folder)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The first build, as whoever runs the tests."""
    built = make_project(tmp_path_factory.mktemp("first"))
    build(built.order())
    return built


@pytest.fixture(scope="module")
def tree(first: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The first build's root image, unpacked by the file system's own tool."""
    folder = tmp_path_factory.mktemp("tree") / "root"
    image = first.output("root") / "root.erofs"
    run((*namespace.enter(network=False), "fsck.erofs", f"--extract={folder}", "--preserve", image))
    yield folder
    run(namespace.remove(folder))


@pytest.fixture
def stranger() -> Iterator[str]:
    """The name of an ordinary user: a new one if the tests run as root, else oneself."""
    if os.geteuid() != 0:
        yield getpass.getuser()
        return
    name = f"proa-{uuid.uuid4().hex[:8]}"
    run(("useradd", "--create-home", "--user-group", name))
    try:
        run(("usermod", "--add-subuids", "1900000-1965535", "--add-subgids", "1900000-1965535", name))
        yield name
    finally:
        run(("userdel", "--remove", "--force", name), check=False)


def as_user(name: str) -> tuple[str, ...]:
    return ("runuser", "-u", name, "--") if os.geteuid() == 0 else ()


def test_an_ordinary_user_on_another_machine_builds_the_same_bytes(first: Built, stranger: str, tmp_path: Path) -> None:
    home = Path(pwd.getpwnam(stranger).pw_dir) if os.geteuid() == 0 else first.folder.parent / "elsewhere"
    other = make_project(home / "a longer path" / "second")
    shutil.copytree(first.folder / "cache" / "packages", other.folder / "cache" / "packages")
    if os.geteuid() == 0:
        run(("chown", "-R", f"{stranger}:", home))
    room = ("unshare", "--mount", "--uts", *(() if os.geteuid() == 0 else ("--map-auto", "--map-root-user")))
    elsewhere = (*room, "sh", "-euc", ELSEWHERE, "sh", tmp_path / "resolv.conf")
    run((*elsewhere, *as_user(stranger), sys.executable, "-c", BUILD, other.folder))
    digests = [{step["name"]: step["digest"] for step in built.report["steps"]} for built in (first, other)]
    assert digests[1] == digests[0]
    assert other.report["root_hash"] == first.report["root_hash"]
    run(("cmp", first.output("root") / "root.erofs", other.output("root") / "root.erofs"))
    assert list((other.folder / "cache" / "tmp").iterdir()) == []
    if os.geteuid() != 0:
        shutil.rmtree(other.folder)


def test_veritysetup_agrees_with_the_tree(first: Built) -> None:
    verity = json.loads((first.output("verity") / "verity.json").read_text())
    words = ("veritysetup", "verify", "--no-superblock", "--hash=sha256", f"--salt={verity['salt']}")
    size = f"--data-blocks={verity['data_blocks']}"
    image, tree_file = first.output("root") / "root.erofs", first.output("verity") / "root.tree"
    run((*words, size, image, tree_file, verity["root_hash"]))
    assert image.stat().st_size == verity["hash_offset"]
    assert tree_file.stat().st_size == verity["tree_size"]


def test_the_file_system_is_whole_and_made_of_chunks(first: Built) -> None:
    image = first.output("root") / "root.erofs"
    run(("fsck.erofs", image))
    assert "chunk" in run(("dump.erofs", "-s", image)).text


def test_what_a_node_makes_for_itself_is_not_in_the_image(tree: Path) -> None:
    assert list((tree / "var").iterdir()) == []
    assert list((tree / "run").iterdir()) == []
    assert list((tree / "dev").iterdir()) == []
    assert list((tree / "boot").iterdir()) == []
    assert (tree / "etc" / "machine-id").read_bytes() == b""
    assert not (tree / "etc" / ".resolv.conf.systemd-resolved.bak").exists()
    assert not list((tree / "etc" / "ssh").glob("ssh_host_*"))
    assert not (tree / "etc" / "hostname").exists()
    assert [line.split(":")[2] for line in read(tree / "etc" / "shadow").splitlines()] == [""] * len(
        read(tree / "etc" / "shadow").splitlines()
    )


def read(path: Path) -> str:
    """A file of an unpacked tree, which may belong to a subordinate id."""
    return path.read_text() if os.access(path, os.R_OK) else run((*namespace.enter(network=False), "cat", path)).text


def test_no_account_has_a_password(tree: Path) -> None:
    passwords = {line.split(":")[1] for line in read(tree / "etc" / "shadow").splitlines()}
    assert passwords <= {"*", "!", "!*", "!!"}


def test_what_the_configuration_says_is_in_the_image(tree: Path, first: Built) -> None:
    os_release = read(tree / "usr" / "lib" / "os-release")
    assert 'IMAGE_ID="contract"\nIMAGE_VERSION="1.0.0"\n' in os_release
    assert 'PRETTY_NAME="contract 1.0.0 (Debian GNU/Linux 12 (bookworm))"' in os_release
    release = json.loads(read(tree / "usr" / "lib" / "proa" / "release.json"))
    assert (release["version"], release["serial"], release["compatible"]) == ("1.0.0", 1000000, "contract")
    assert read(tree / "etc" / "hooked") == "1.0.0\n"
    assert (tree / "persist").is_dir()
    assert (tree / "srv" / "data").is_dir()
    assert read(tree / "usr" / "lib" / "proa" / "keep") == "/srv/data\n"
    assert "ssh-ed25519" in read(tree / "etc" / "ssh" / "authorized_keys.d" / "admin")
    assert (tree / "usr" / "lib" / "proa" / "health.d" / "10-true").stat().st_mode & 0o777 == 0o755
    assert (tree / "etc" / "motd").stat().st_mode & 0o777 == 0o600
    if os.geteuid() == 0:
        assert (tree / "etc" / "motd").stat().st_uid == 1000
    wanted = tree / "usr" / "lib" / "systemd" / "system" / "multi-user.target.wants" / "proa-agent.service"
    assert wanted.is_symlink()


def test_b05_rights_that_a_file_lends_are_in_the_image(first: Built) -> None:
    """By the inode itself: erofs-utils show and extract no more than the lower nine bits (Linux, erofs_fs.h)."""
    image = first.output("root") / "root.erofs"
    told = run(("dump.erofs", "--path=/usr/bin/lends", image)).text
    number = int(re.findall(r"NID: (\d+)", told)[0])
    with image.open("rb") as file:
        file.seek(1024)
        block = file.read(128)
        start = (struct.unpack_from("<I", block, 40)[0] << block[12]) + number * 32
        file.seek(start)
        mode = struct.unpack("<H", file.read(6)[4:])[0]
    assert mode == stat.S_IFREG | 0o4711
    assert int(re.findall(r"Xattr size: (\d+)", told)[0]) > 0


def test_b01_an_identity_is_made_by_the_node(tree: Path) -> None:
    assert not (tree / "etc/munge/munge.key").exists()
    assert "mungekey" in read(tree / "usr/lib/proa/identities")
    assert (tree / "usr/lib/systemd/system/sysinit.target.wants/proa-identities.service").is_symlink()


def test_b15_what_is_compiled_knows_what_was_added(tree: Path) -> None:
    assert b"/opt/own/" in (tree / "etc/ld.so.cache").read_bytes()
    assert b"PROA_OWN" in (tree / "usr/lib/udev/hwdb.bin").read_bytes()


def test_b15_the_initrd_has_the_options_and_drivers_that_were_added(first: Built) -> None:
    with subprocess.Popen(["zstd", "-dcq", first.output("initrd") / "initrd.img"], stdout=subprocess.PIPE) as child:
        data = child.communicate()[0]
    assert b"options virtio_blk num_request_queues=1" in data
    assert re.search(rb"usr/lib/modules/[^\0]*/updates/proa_own\.ko\0", data)


def test_packages_are_set_up_by_what_was_given_before(tree: Path) -> None:
    """An answer decides what a package writes; what a program wrote before stays, configuration files too."""
    assert "\nPasswordAuthentication no\n" in read(tree / "etc/ssh/sshd_config")
    assert "before:x:4000:" in read(tree / "etc/group")
    assert read(tree / "etc/ssh/moduli") == "# of the user\n"


def test_b06_what_a_hook_brought_is_in_the_bill_of_materials(first: Built) -> None:
    document = json.loads((first.folder / "out" / "sbom.spdx.json").read_text())
    brought = {file["fileName"]: file["comment"] for file in document["files"]}
    assert brought["./opt/own/libown.so.1"] == "added by hook hook.sh"
    assert brought["./etc/motd"] == "added by file /etc/motd"
    assert brought["./etc/ssh/moduli"] == "added by hook before.sh"


def test_the_agent_runs_on_the_images_own_python(tree: Path) -> None:
    chroot = (*namespace.enter(network=False), "chroot", str(tree))
    assert run((*chroot, "/usr/bin/proa-agent", "--version")).text.startswith("proa-agent")
    assert run((*chroot, "/usr/bin/proa-disk", "plan", "--json")).text.startswith("{")
    refused = run((*chroot, "/usr/bin/proa-disk", "create", "/disk.raw"), check=False)
    assert b"error[TOOL_MISSING]" in refused.stderr
    stale = "import sys, importlib.util; import cryptography, zstandard, pyudev; print(sys.dont_write_bytecode)"
    found = run(
        (*chroot, "/usr/bin/python3", "-IBc", f"import sys; sys.path.insert(0, '/usr/lib/proa/python'); {stale}")
    )
    assert found.text == "True\n"


def test_the_tree_has_of_proa_what_a_node_runs(tree: Path) -> None:
    site = tree / software.SITE.lstrip("/")
    names = {str(path.relative_to(tree)) for path in (site / "proa").rglob("*") if path.is_file()}
    there = {f"/{name}" for name in names if not name.endswith(".pyc")}
    assert there == {name for name in software.files() if name.startswith(f"{software.SITE}/")}
    everything = f"""
import importlib, pathlib, sys
sys.path.insert(0, {software.SITE!r})
for path in pathlib.Path({software.SITE!r}).glob("proa/**/*.py"):
    importlib.import_module(".".join(path.parts[5:]).removesuffix(".py").removesuffix(".__init__"))
"""
    run((*namespace.enter(network=False), "chroot", str(tree), "/usr/bin/python3", "-ISBc", everything))


def test_bytecode_is_bound_to_nothing_that_changes(tree: Path) -> None:
    compiled = [*tree.glob("usr/lib/python3*/**/*.pyc"), *tree.glob("usr/lib/proa/python/**/*.pyc")]
    assert len(compiled) > 500
    flags = {path.read_bytes()[4:8] for path in compiled}
    assert flags == {b"\x01\0\0\0"}  # bound to the source's hash, and not checked (PEP 552)
    missing = [
        path
        for path in tree.glob("usr/lib/proa/python/proa/**/*.py")
        if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))
    ]
    assert missing == []


def test_the_bill_of_materials_names_the_kernel_and_the_agents_packages(first: Built) -> None:
    path = first.folder / "out" / "sbom.spdx.json"
    assert validate_full_spdx_document(parse_file(str(path))) == []
    names = {package["name"] for package in json.loads(path.read_text())["packages"]}
    assert {"systemd", "linux-image-cloud-amd64", "shim-unsigned", "cryptography", "zstandard"} <= names


def test_the_next_release_keeps_the_packages_and_the_numbers(first: Built) -> None:
    lock = first.folder / accounts.LOCK
    before = lock.read_text()
    assert "user sshd " in before
    assert "user admin 1000 1000\n" in before
    report = build(first.order(version="1.1.0"))
    assert {step.name: step.cached for step in report.steps} == {
        "packages": True,
        "software": True,
        "modules": True,
        "root": False,
        "verity": False,
        "sbom": False,
        "early": False,
        "initrd": True,
    }
    assert lock.read_text() == before
    again = build(first.order(version="1.0.0"))
    assert again.cache_hits == HALF


def test_a_user_who_gets_another_number_fails_the_build(first: Built) -> None:
    (first.folder / "other.toml").write_text(CONFIG.replace('name = "admin"', 'name = "admin"\nuid = 1234'))
    with pytest.raises(ProaError) as raised:
        build(first.order(config="other.toml"))
    assert (raised.value.code, raised.value.message) == (Code.USERS_CHANGED, "user admin was 1000 and would be 1234")


def test_a_hook_that_fails_says_what_it_said(first: Built) -> None:
    (first.folder / "fails.sh").write_text("#!/bin/sh\necho the reason >&2\nexit 3\n")
    (first.folder / "fails.sh").chmod(0o755)
    text = CONFIG.replace('at = "tree-after"\nrun = "hook.sh"', 'at = "tree-before"\nrun = "fails.sh"')
    (first.folder / "other.toml").write_text(text)
    with pytest.raises(ProaError) as raised:
        build(first.order(config="other.toml"))
    assert (raised.value.code, raised.value.at) == (Code.HOOK, str(first.folder / "fails.sh"))
    assert "the reason" in raised.value.message


def test_a_package_that_does_not_exist_is_named(tmp_path: Path) -> None:
    built = make_project(tmp_path, CONFIG.replace('"openssh-server"', '"openssh-server", "no-such-package"'))
    with pytest.raises(ProaError) as raised:
        build(built.order())
    assert (raised.value.code, raised.value.message) == (Code.PACKAGES, "there is no package 'no-such-package'")
    assert raised.value.at == f"{tmp_path / 'proa.toml'}:6:31"
    assert not (tmp_path / "out").exists()


def proa_build(built: Built, *more: str | Path) -> tuple[str | Path, ...]:
    main = "from proa.builder.cli.main import main; main()"
    where = ("-c", built.folder / "proa.toml", "-o", built.folder / "out", "--cache", built.folder / "cache")
    return (sys.executable, "-c", main, "image", *where, *more)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    built = make_project(tmp_path / "project")
    small = built.folder / "cache"
    small.mkdir()
    script = 'mount -t tmpfs -o size=120M,mode=755 tmpfs "$1"; shift; exec "$@"'
    done = run(
        (*namespace.enter(network=True), "sh", "-c", script, "sh", small, *proa_build(built, "--json")), check=False
    )
    assert (done.status, json.loads(done.text)["code"]) == (7, "DISK_FULL"), done.text
    assert sorted(path.name for path in built.folder.iterdir()) == [
        "before.sh",
        "cache",
        "hook.sh",
        "preseed.txt",
        "proa.toml",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    built = make_project(tmp_path)
    words = [str(word) for word in proa_build(built, "--progress", "none")]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        deadline = Deadline("mmdebstrap starts", LIMIT)
        while not (at_work := using(tmp_path)):
            deadline.check()
            assert child.poll() is None
        child.send_signal(number)
        status = child.wait(LIMIT)
    assert status == (-signal.SIGKILL if number is signal.SIGKILL else 130)
    deadline = Deadline(f"what the build started ends: {at_work}", LIMIT)
    while using(tmp_path):
        deadline.check()
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    names = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".out."))
    assert names == ["before.sh", "cache", "hook.sh", "preseed.txt", "proa.toml"]
    if number is not signal.SIGKILL:
        assert list((tmp_path / "cache" / "tmp").iterdir()) == []
        assert sorted(path.name for path in tmp_path.iterdir()) == names


def using(folder: Path) -> list[str]:
    """Command lines of mmdebstrap's processes that name the folder."""
    found = []
    for process in Path("/proc").iterdir():  # to glob for the files fails where a process ends meanwhile
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "mmdebstrap" in words and str(folder) in words:
            found.append(words)
    return found
