"""The container image of scheduler and proxy: what is in it, and that it works where nothing may be written."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shlex
import sys
import tarfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from container import build, push, software
from proa.builder.engine import namespace
from proa.core import VERSION
from proa.core.oci.layoutdir import TAG
from proa.core.runtime import process
from proa.core.runtime.errors import ProaError
from proa.scheduler.cli.main import cli
from proa.scheduler.install import render
from proa.scheduler.install.names import SCHEDULER
from proa.scheduler.install.settings import NAMESPACE, USER, InstallSettings
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.installed import installed
from proa.vm.support.child import Child
from proa.vm.support.ports import free_ports
from proa.vm.support.registry import LocalRegistry
from proa.vm.support.tools import go_tool
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
ROOT = Path(__file__).parents[3]
LIMIT = 120 << 20
PATH = "PATH=/usr/sbin:/usr/bin"
MODULES = """
import importlib, pathlib, sys
site = pathlib.Path("/usr/lib/proa/python")
sys.path.insert(0, str(site))
for path in site.glob("proa/**/*.py"):
    importlib.import_module(".".join(path.relative_to(site).with_suffix("").parts).removesuffix(".__init__"))
print(len([name for name in sys.modules if name.startswith("proa.")]))
"""
WHO = """
import os
print(os.getuid(), os.getgid(), os.getgroups())
for path in ("/x", "/etc/x", "/usr/lib/proa/python/x", "/tmp/x"):
    try:
        open(path, "w")
    except OSError as error:
        print(error.errno)
"""


@dataclass(frozen=True)
class Built:
    """The image as it was built."""

    folder: Path
    image: build.Image

    def blob(self, digest: str) -> bytes:
        return (self.folder / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()

    def json(self, digest: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.blob(digest))
        return found

    @property
    def manifest(self) -> dict[str, Any]:
        return self.json(self.image.digest)

    @property
    def layer(self) -> Path:
        digest: str = self.manifest["layers"][0]["digest"]
        return self.folder / "blobs/sha256" / digest.removeprefix("sha256:")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("image") / "oci"
    return Built(folder, build.build(folder, VERSION))


@pytest.fixture(scope="module")
def tree(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image unpacked, as a container engine does it."""
    folder = tmp_path_factory.mktemp("tree")
    folder.chmod(0o755)
    inside(["tar", "-C", folder, "-xpzf", built.layer])
    return folder


def inside(words: Sequence[str | Path], tree: Path | None = None) -> process.ProcessResult:
    """Run something in a room of its own; in a tree as the image's user, without rights, and unable to write."""
    if tree is None:
        return process.run((*namespace.enter(network=False), *words))
    return process.run((*namespace.enter(network=False), *confined(tree), *words))


def confined(tree: Path, *variables: str) -> list[str]:
    """The words that run something in a tree, as a container engine does it."""
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd "$1" && tree=$1 && shift &&'
    script += " exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+setuid,+setgid,+sys_chroot"
    script += f" env -i {shlex.join((PATH, *variables))}"
    script += f' chroot --userspec={USER}:{USER} --groups={USER} "$tree" "$@"'
    return ["sh", "-c", script, "sh", str(tree)]


def test_every_part_is_what_its_descriptor_says(built: Built) -> None:
    assert json.loads((built.folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((built.folder / "index.json").read_text())["manifests"]
    assert entry["digest"] == built.image.digest
    assert entry["annotations"] == {TAG: VERSION}
    manifest = built.manifest
    assert entry["mediaType"] == manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert [one["mediaType"] for one in manifest["layers"]] == ["application/vnd.oci.image.layer.v1.tar+gzip"]
    for part in (entry, manifest["config"], *manifest["layers"]):
        data = built.blob(part["digest"])
        assert (len(data), "sha256:" + hashlib.sha256(data).hexdigest()) == (part["size"], part["digest"])
    assert len(list((built.folder / "blobs/sha256").iterdir())) == 3


def test_the_configuration(built: Built) -> None:
    config = built.json(built.manifest["config"]["digest"])
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert config["config"]["User"] == "65532:65532"
    assert config["config"]["Entrypoint"] == ["/usr/bin/proa-scheduler"]
    assert config["config"]["Labels"]["org.opencontainers.image.version"] == VERSION
    tar = gzip.decompress(built.layer.read_bytes())
    assert config["rootfs"] == {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest()]}


def test_small_enough_packed_and_unpacked(built: Built, tree: Path) -> None:
    used = int(process.run(["du", "-s", "--apparent-size", "--block-size=1", tree]).text.split()[0])
    assert built.image.packed < LIMIT // 3
    assert used < LIMIT


def test_the_files_belong_to_root_and_nobody_gains_rights_by_them(built: Built) -> None:
    with tarfile.open(built.layer) as tar:
        members = tar.getmembers()
    assert {(one.uid, one.gid) for one in members} == {(0, 0)}
    assert not [one.name for one in members if one.mode & 0o6000 or not (one.isreg() or one.isdir() or one.issym())]
    assert [one.name for one in members if one.mode & 0o022 and not one.issym()] == ["tmp"]


def test_there_is_no_shell_no_package_manager_and_no_secret(built: Built) -> None:
    with tarfile.open(built.layer) as tar:
        names = tar.getnames()
        files = {one.name: tar.extractfile(one) for one in tar.getmembers() if one.isreg()}
        texts = {name: file.read() for name, file in files.items() if file}
    programs = {Path(name).name for name in names if re.match(r"(usr/)?s?bin/", name)}
    assert programs == {"python3", "python3.11", "proa-scheduler"}
    assert not [name for name in names if re.search(r"(__pycache__|/pip/|\.pyc$|/perl|\.netrc|\.docker)", name)]
    marks = (b"-----BEGIN PRIVATE KEY", b"-----BEGIN EC PRIVATE KEY", b"-----BEGIN RSA PRIVATE KEY")
    found = [
        name
        for name, text in texts.items()
        if any(re.search(mark + rb"-----\s*\n[A-Za-z0-9+/]{40}", text) for mark in marks)
    ]
    assert found == []
    here = str(ROOT).encode()
    assert [name for name, text in texts.items() if here in text] == []


def test_it_works_as_its_user_and_can_write_nothing(tree: Path) -> None:
    said = inside(["/usr/bin/python3", "-IBc", WHO], tree).text.splitlines()
    assert said == ["65532 65532 [65532]", "30", "30", "30", "30"]  # EROFS
    assert inside(["/usr/bin/proa-scheduler", "--version"], tree).text.strip().endswith(VERSION)


def test_it_prints_manifests_that_run_it_as_its_user(built: Built, tree: Path) -> None:
    """What the image says of itself, and what the manifests ask of it, fit."""
    said = json.loads(inside(["/usr/bin/proa-scheduler", "manifests", "--json"], tree).stdout)
    pods = [one["spec"]["template"]["spec"] for one in said["items"] if one["kind"] in ("Deployment", "DaemonSet")]
    assert len(pods) == 2
    config = built.json(built.manifest["config"]["digest"])["config"]
    assert {str(pod["securityContext"]["runAsUser"]) for pod in pods} == {config["User"].partition(":")[0]}
    verbs = {pod["containers"][0]["args"][0] for pod in pods}
    assert verbs == {"run", "proxy"}
    for verb in verbs:
        assert "Usage: proa-scheduler" in inside([*config["Entrypoint"], verb, "--help"], tree).text
    assert inside(["/usr/bin/proa-scheduler", "manifests"], tree).text.startswith(("---", "apiVersion"))


def test_nothing_that_was_left_out_is_missed(tree: Path) -> None:
    own = {name for name in software.own() if name.endswith(".py")}
    assert {
        str(path.relative_to(tree / software.SITE)) for path in (tree / software.SITE / "proa").rglob("*.py")
    } == own
    assert int(inside(["/usr/bin/python3", "-IBc", MODULES], tree).text) == len(own)
    for verb in cli.commands:
        assert "Usage: proa-scheduler" in inside(["/usr/bin/proa-scheduler", verb, "--help"], tree).text
    zone = 'import zoneinfo; print(zoneinfo.ZoneInfo("Europe/Berlin"))'
    assert inside(["/usr/bin/python3", "-IBc", zone], tree).text.strip() == "Europe/Berlin"


def test_what_no_command_of_it_imports_is_not_there(tree: Path) -> None:
    """Wheels that the locked ones do not ask for, and modules that only kubectl's plugin or the tests run."""
    site = tree / software.SITE
    there = {path.name for path in site.iterdir()} | {path.name for path in (site / "proa").iterdir()}
    assert {"kubernetes", "click", "core", "scheduler"} <= there
    assert not there & {"cryptography", "zstandard", "oras", "jsonschema", "cffi", "partition", "agent"}
    assert not (site / "proa/scheduler/cli/kubectl.py").exists()
    assert not (site / "proa/scheduler/testing").exists()


def test_equal_inputs_give_an_equal_image(built: Built, tmp_path: Path) -> None:
    """By the command, in another folder, process and time zone."""
    with tarfile.open(built.layer) as tar:
        date = tar.getmember("usr/bin/proa-scheduler").mtime
    words = [sys.executable, "-m", "container.build", "-o", str(tmp_path / "again")]
    said = process.run(words, env={"SOURCE_DATE_EPOCH": str(int(date)), "TZ": "Asia/Tokyo"}).text.splitlines()
    assert said[0] == f"oci:{tmp_path}/again:{VERSION}@{built.image.digest}"
    assert re.fullmatch(r"[0-9.]+ MiB to pull, [0-9.]+ MiB unpacked, [0-9]+ packages", said[1])


def test_the_lock_is_what_the_project_is_tested_with() -> None:
    """What runs in the cluster are the versions that the tests run with."""
    tested = dict(
        re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / "requirements/dev.lock").read_text(), flags=re.MULTILINE)
    )
    locked = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", software.LOCK.read_text(), flags=re.MULTILINE))
    assert len(locked) > 20
    assert {name: version for name, version in locked.items() if tested.get(name) != version} == {}


def test_the_containerfile_makes_the_same(built: Built) -> None:
    """For whoever has docker: what it copies is there, and what it says of the image is what ours says."""
    text = (ROOT / "scheduler/container/Containerfile").read_text()
    for source in re.findall(r"^COPY (?!--from)(\S+)", text, flags=re.MULTILINE):
        assert (ROOT / source).exists(), source
    config = built.json(built.manifest["config"]["digest"])["config"]
    assert f"USER {config['User']}\n" in text
    assert f"ENTRYPOINT {json.dumps(config['Entrypoint'])}\n" in text
    for label in re.findall(r'(org\.[a-z.]+)="([^"]*)"', text):
        assert config["Labels"][label[0]] == label[1]
    assert set(re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)) == {"debian:bookworm-slim"}


def test_it_comes_to_a_registry_whole(built: Built, registry: LocalRegistry, tmp_path: Path) -> None:
    """And another program fetches it from there, byte for byte."""
    with registry.open("proa-scheduler", "0.1") as target:
        assert push.push(built.folder, target) == built.image.digest
    env = {"HOME": str(tmp_path), "SSL_CERT_FILE": str(registry.ca_file)}
    where = str(registry.reference("proa-scheduler", "0.1"))
    process.run([go_tool("oras"), "copy", "--to-oci-layout", where, "copy:0.1"], env=env, cwd=tmp_path)
    blobs = {path.name: path.read_bytes() for path in (tmp_path / "copy/blobs/sha256").iterdir()}
    assert blobs == {path.name: path.read_bytes() for path in (built.folder / "blobs/sha256").iterdir()}


def test_the_command_says_where_it_is_now(built: Built, registry: LocalRegistry) -> None:
    where = str(registry.reference("proa-scheduler", "0.2"))
    words = [sys.executable, "-m", "container.push", str(built.folder), where, "--ca-file", str(registry.ca_file)]
    assert process.run(words).text == f"{where}@{built.image.digest}\n"


def test_the_scheduler_in_it_leads_a_cluster(built: Built, cluster: ControlPlane, tmp_path: Path) -> None:
    """With the words of the manifests, the account and the rights that they give, and what a kubelet puts there."""
    folder = tmp_path / "tree"
    folder.mkdir()
    inside(["tar", "-C", folder, "-xpzf", built.layer])
    (deployment,) = (one for one in render.documents(InstallSettings()) if one["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (port,) = free_ports(1)
    own = {"$(POD_NAMESPACE)": NAMESPACE, "$(NODE_NAME)": "node-0000", "$(POD_NAME)": "proa-scheduler-0"}
    given = {**own, ":8080": f"127.0.0.1:{port}"}
    words = ["/usr/bin/proa-scheduler", *(given.get(word, word) for word in container["args"])]
    with installed(cluster):
        access = cluster.access_for(SCHEDULER, NAMESPACE)
        secrets = folder / "var/run/secrets/kubernetes.io/serviceaccount"
        secrets.mkdir(parents=True)
        for name, content in (
            ("token", access.token),
            ("ca.crt", access.ca_file.read_text()),
            ("namespace", NAMESPACE),
        ):
            (secrets / name).write_text(content)
        address = urlsplit(access.server)
        where = (f"KUBERNETES_SERVICE_HOST={address.hostname}", f"KUBERNETES_SERVICE_PORT={address.port}")
        # The shell stays: the kernel takes back from a program that changes its user that it dies with its parent.
        stays = ("sh", "-c", '"$@"; exit $?', "sh")
        argv = [*namespace.enter(network=True), *stays, *confined(folder, *where), *words]
        scheduler = Child("the scheduler in its image", argv, tmp_path / "log")
        scheduler.start()
        try:
            until(lambda: leads(scheduler, port), "it to lead")
            lease = cluster.api.get(f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{SCHEDULER}")
            assert lease["spec"]["holderIdentity"]
        except ProaError as error:
            raise scheduler.failure(str(error)) from error
        finally:
            scheduler.kill()


def leads(scheduler: Child, port: int) -> bool:
    scheduler.check()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=600) as answer:
            return b"\nproa_leader 1.0" in answer.read()
    except OSError:
        return False
