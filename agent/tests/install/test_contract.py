"""The command as a process of its own: killed, stopped, measured, on loop devices, against a registry with a login."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proa.agent.slot.region import open_direct, open_for_reading
from proa.agent.slot.writer import BUFFER, BUFFERS
from proa.agent.testing import synthetic
from proa.agent.testing.synthetic import Recipe, digest_of_range
from proa.core.artifact.release_artifact import copy_release
from proa.core.oci.reference import parse
from proa.core.oci.registry import open_source
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.runtime.files import replace
from proa.core.runtime.process import run
from proa.core.signing import trust
from proa.core.signing.keys import Algorithm, PrivateKey
from proa.partition.boot.bootstate import BootState, Slot, initial
from proa.partition.boot.statefile import StateFile, make_state_image
from proa.partition.disk.layout import Layout, LayoutRequest, Sizes, plan
from proa.partition.disk.slots import Extent
from proa.partition.disk.table import write_table
from proa.vm.support.registry import LocalRegistry

pytestmark = pytest.mark.contract

MIB = 1 << 20
SMALL, LARGE = 48 * MIB, 192 * MIB
PEAK = 80 * MIB
"""The promise: all of the process, whatever the size."""


@dataclass(frozen=True)
class Site:
    """A disk image with a factory's release in slot A, a node's folders, and releases to install."""

    folder: Path
    key: PrivateKey
    layout: Layout

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def state(self) -> BootState:
        return StateFile.within(self.disk, self.layout["STATE"].start).current()

    def good_bytes(self) -> list[str]:
        parts = (self.layout[name] for name in ("ROOT-A", "UKI-A"))
        return [digest_of_range(self.disk, part.start, part.size) for part in parts]

    def another(self) -> str:
        """Of two releases the one that is not in the standby."""
        held = self.agent("status")["slots"]["b"]
        return self.reference("other" if held["complete"] and held["version"] == "2" else "small")

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "proa.agent.cli.main", "--root", str(self.root), "--disk", str(self.disk), *words]

    def agent(self, *words: str, status: int = 0) -> dict[str, Any]:
        done = subprocess.run(self.words(*words, "--json"), capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(self.words(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def reference(self, name: str) -> str:
        return f"oci:{self.folder / name}/oci"

    def release(self, name: str, size: int, version: str) -> str:
        work = self.folder / name
        work.mkdir()
        synthetic.make_noise(work / "image", size, int(version))
        boot = self.folder / "boot"
        recipe = Recipe(work / "image", boot, self.folder / "uki", version=version, serial=int(version), level=1)
        synthetic.make_release(recipe, work / "oci", [self.key], work)
        return self.reference(name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    layout = plan(LayoutRequest("site", Sizes(uki=8 * MIB, root=LARGE + 8 * MIB, persist=16 * MIB)))
    site = Site(folder, Algorithm.ECDSA_P256.generate(), layout)
    write_table(site.disk, layout)
    make_state_image(folder / "state", initial())
    synthetic.make_noise(folder / "uki", 3 * MIB, 1)
    synthetic.make_boot_image(folder / "boot", folder / "uki", 6 * MIB)
    with site.disk.open("r+b") as disk:
        disk.seek(layout["STATE"].start)
        disk.write((folder / "state").read_bytes())
        for name in ("ROOT-A", "UKI-A"):
            disk.seek(layout[name].start)
            disk.write(random.Random(1).randbytes(4 * MIB))
    trust.save(site.root / "usr/lib/proa/trust", trust.Trust((site.key.public,), compatible="test"))
    site.release("small", SMALL, "2")
    site.release("large", LARGE, "3")
    site.release("other", SMALL, "4")
    return site


def seen(process: subprocess.Popen[str], step: str, count: int) -> None:
    """Wait until the process has told of so much progress in a step."""
    assert process.stderr
    for line in process.stderr:
        event = json.loads(line)
        count -= event["event"] == "Progress" and event["step"].startswith(step)
        if count <= 0:
            return
    raise AssertionError(process.communicate())


@pytest.mark.parametrize(
    ("step", "count"), [("tree", 1), ("root", 1), ("root", 7), ("root", 30), ("boot", 1), ("boot", 5)]
)
def test_f43_killed_in_the_middle_the_next_install_works(site: Site, step: str, count: int) -> None:
    before, reference = site.good_bytes(), site.another()
    process = site.start("install", reference, "--activate", "--progress", "json")
    seen(process, step, count)
    process.kill()
    process.communicate()
    assert (site.state.good, site.state.trial, site.state.alt) == (Slot.A, None, False)
    assert site.agent("status")["slots"]["b"]["state"] == "partial"
    assert site.agent("activate", status=Exit.STATE)["code"] == "NOT_STAGED"
    assert site.agent("install", reference, "--activate")["slot"] == "b"
    assert site.agent("scrub", "b")["ok"]
    assert site.good_bytes() == before
    site.agent("deactivate")


@pytest.mark.parametrize("how", ["signal", "verb"])
def test_f43_stopped_it_ends_with_130_and_nothing_is_armed(site: Site, how: str) -> None:
    process = site.start("install", site.reference("large"), "--activate", "--json", "--progress", "json")
    seen(process, "tree", 1)
    if how == "signal":
        process.terminate()
    else:
        site.agent("cancel")
    stdout, _ = process.communicate(timeout=600)
    assert process.returncode == Exit.INTERRUPTED
    assert json.loads(stdout)["code"] == "INTERRUPTED"
    assert site.state.trial is None
    assert site.agent("status")["last"]["code"] == "INTERRUPTED"


@pytest.mark.parametrize("limit", ["nofile=7", "nofile=9", "as=100000000", "data=45000000", "fsize=1000000"])
def test_f41_what_the_system_refuses_this_process_is_an_error_of_its_own(site: Site, limit: str) -> None:
    """Too few open files, too little memory for threads and buffers, too short files: prlimit(1)."""
    before, reference = site.good_bytes(), site.another()
    words = ["prlimit", f"--{limit}", *site.words("install", reference, "--activate", "--json", "--progress", "none")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == Exit.FAILED, done.stdout + done.stderr
    assert json.loads(done.stdout)["code"] == "RESOURCES"
    assert "Traceback" not in done.stderr
    assert (site.state.good, site.state.trial) == (Slot.A, None)
    assert site.agent("install", reference)["slot"] == "b"
    assert site.good_bytes() == before


def test_memory_does_not_grow_with_the_image(site: Site, tmp_path: Path) -> None:
    """From a registry over TLS: that is the most that is imported."""
    peaks = []
    with LocalRegistry(tmp_path / "registry") as registry:
        for number, reference in enumerate(map(site.reference, ("other", "large"))):
            with open_source(parse(reference)) as source, registry.open("os", str(number)) as target:
                copy_release(source, target, str(number))
            where = str(registry.reference("os", str(number)))
            report = site.agent("install", where, "--ca-file", str(registry.ca_file))
            assert report["bytes"]["fetch"] > 0
            peaks.append(report["peak_memory"])
    assert max(peaks) <= PEAK
    # A fixed set of buffers goes round; how many of them are ever touched is a matter of the disk's pace.
    assert peaks[1] - peaks[0] < BUFFERS * BUFFER, peaks


def test_no_secret_is_told(site: Site, tmp_path: Path) -> None:
    canary = "canary-PASSWORD-1"
    with LocalRegistry(tmp_path / "registry", tls=False, auth=("node", canary)) as registry:
        with open_source(parse(site.reference("small"))) as source, registry.open("os", "2") as target:
            copy_release(source, target, "2")
        where = str(registry.reference("os", "2"))
        wrong = tmp_path / "wrong.json"
        login = (registry.auth_file or wrong).read_text()
        replace(
            wrong, json.dumps({"auths": {registry.address: {"username": "node", "password": canary + "x"}}}).encode()
        )
        for auth, status in ((wrong, Exit.PERMANENT), (registry.auth_file, Exit.DONE)):
            words = site.words("install", where, "--auth-file", str(auth), "--progress", "json", "--json")
            done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
            assert done.returncode == status, done.stdout + done.stderr
            told = done.stdout + done.stderr + (site.root / "var/lib/proa/agent.json").read_text()
            assert canary not in told
            assert not any(entry["auth"] in told for entry in json.loads(login)["auths"].values())


@contextmanager
def loop_device(image: Path) -> Iterator[Path]:
    device = run(["losetup", "--find", "--show", "--partscan", image]).text.strip()
    run(["partx", "--update", device], check=False)
    try:
        yield Path(device)
    finally:
        run(["losetup", "--detach", device])


def test_f38_a_device_that_is_in_use_is_not_touched(site: Site, tmp_path: Path) -> None:
    with loop_device(site.disk) as device:
        words = ["--root", str(site.root), "--disk", str(device)]
        command = [sys.executable, "-m", "proa.agent.cli.main", *words]
        persist = Path(f"{device}p7")
        run(["mke2fs", "-q", "-F", persist])
        place = tmp_path / "mnt"
        place.mkdir()
        run(["mount", persist, place])
        try:
            busy = run([*command, "install", site.reference("small"), "--json"], check=False)
        finally:
            run(["umount", place])
        assert (busy.status, json.loads(busy.text)["code"]) == (Exit.DEVICE, "DEVICE_BUSY")
        before = site.good_bytes()
        done = run([*command, "install", site.reference("small"), "--json"], check=False)
        assert done.status == 0, done.text
        assert json.loads(run([*command, "scrub", "b", "--json"]).text)["ok"]
    assert site.good_bytes() == before
    recipe = site.folder / "small/image"
    standby = site.layout["ROOT-B"]
    assert digest_of_range(site.disk, standby.start, SMALL) == digest_of_range(recipe, 0, SMALL)


def test_what_is_written_is_held_by_nobody_else(site: Site) -> None:
    with loop_device(site.disk) as device:
        partition = Path(f"{device}p6")
        number = f"{os.major(partition.stat().st_rdev)}:{os.minor(partition.stat().st_rdev)}"
        with open_direct(partition, True) as held:
            assert held.number == number
            for path in (partition, device):
                with pytest.raises(ProaError) as caught:
                    open_direct(path, True)
                assert caught.value.code is Code.DEVICE_BUSY
            open_direct(partition, False).close()
        open_direct(partition, True).close()
        with pytest.raises(ProaError) as caught, open_for_reading(Extent(partition, 0, MIB, "7:4095")):
            pass
        assert caught.value.code is Code.AMBIGUOUS


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = Path(synthetic.__file__).parents[1] / "systemd/proa-agent.service"
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/usr/lib/proa/python/proa/agent/daemon/serve.py", __file__))
    done = run(["systemd-analyze", "verify", copy], check=False)
    assert "proa-agent.service" not in (done.stderr.decode() + done.text), done.stderr
