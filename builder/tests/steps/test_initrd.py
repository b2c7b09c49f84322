"""The initrd's module and scripts, with the shell that runs them on a node and real images."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from proa.builder.config.image_settings import Kernel
from proa.builder.engine.context import BuildContext
from proa.builder.inputs import fingerprint
from proa.builder.steps import initrd
from proa.core.release.verity import Geometry, build_tree
from proa.partition.boot import bootstate, initrdscript
from proa.partition.boot.bootstate import BootState, Slot
from proa.partition.boot.statefile import StateFile, make_state_image
from proa.partition.disk.layout import MIB, LayoutRequest, Sizes, plan
from proa.partition.disk.table import write_table

SCRIPTS = Path(initrd.__file__).parent.parent / "initrd"
Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "90proa"
    initrd.assemble(folder, ("mpt3sas",))
    return folder


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Runs a line with the initrd's shell; nothing reaches the kernel's log, no command is root's to harm."""
    run, fakes = tmp_path / "run", tmp_path / "fakes"
    fakes.mkdir()
    for name in ("sleep", "systemctl", "modprobe"):
        (fakes / name).write_text("#!/bin/sh\n")
        (fakes / name).chmod(0o755)

    def call(*words: str | Path, **files: str) -> subprocess.CompletedProcess[str]:
        run.mkdir(exist_ok=True)
        for name, value in files.items():
            (run / name).write_text(value + "\n")
        path = f"{fakes}:{os.environ['PATH']}:/usr/sbin:/sbin"
        env = {"PATH": path, "PROA_RUN": str(run), "PROA_LOG": str(tmp_path / "log"), "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            ["sh", *map(str, words)], env=env, capture_output=True, text=True, timeout=600, check=False
        )

    return call


def functions(script: Path, before: str) -> str:
    """A script's functions, without what it does."""
    text = script.read_text()
    assert before in text
    return text[: text.index(before)].replace('"${0%/*}"', str(script.parent))


def test_the_module_holds_all_that_its_setup_installs(module: Path) -> None:
    setup = (module / "module-setup.sh").read_text()
    names = setup.split("for file in ")[1].split(";")[0].split()
    assert all((module / f"proa-{name}.sh").stat().st_mode & 0o111 for name in names)
    assert (module / "proa-state.sh").read_text() == initrdscript.script()
    assert (module / "drivers.list").read_text().endswith("mpt3sas\n")


def test_every_script_is_one_that_the_shell_can_read(module: Path, shell: Shell) -> None:
    for path in module.glob("proa-*.sh"):
        assert shell("-n", path).stderr == ""


def test_the_inputs_change_with_the_drivers_and_the_time(step_context: BuildContext) -> None:
    first = fingerprint.of(initrd.INITRD.inputs(step_context))
    kernel = dataclasses.replace(step_context.config, kernel=Kernel(initrd_modules=("mpt3sas",)))
    for other in (dataclasses.replace(step_context, config=kernel), dataclasses.replace(step_context, epoch=1)):
        assert fingerprint.of(initrd.INITRD.inputs(other)) != first
    data = initrd.INITRD.inputs(step_context)["data"]
    assert isinstance(data, dict)
    assert data.keys() == {path.name for path in SCRIPTS.iterdir()}


def test_what_proa_disk_reset_asked_for_is_done_and_can_be_cut_off(module: Path, shell: Shell, tmp_path: Path) -> None:
    persist = tmp_path / "persist"
    for name in ("lost+found", ".proa", ".hidden", "etc/a/upper", "var/lib"):
        (persist / name).mkdir(parents=True)
    for name in (".proa/reset", ".proa/booting", "etc/a/upper/machine-id", ".hidden/file", "a file"):
        (persist / name).touch()
    script = functions(module / "proa-check.sh", "\nopen\n")
    (module / "try.sh").write_text(script.replace("persist=$run/mount", f"persist={persist}") + "\nempty\n")
    done = shell(module / "try.sh")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in persist.rglob("*")} == {"lost+found", ".proa", "new"}
    text = (module / "proa-check.sh").read_text()
    assert text.index('rm -rf "$path"') < text.index("sync\n") < text.index('rm -f "$persist/.proa/reset"')


@pytest.mark.parametrize("sector_size", [512])
def test_partitions_are_read_from_the_table(module: Path, shell: Shell, tmp_path: Path, sector_size: int) -> None:
    layout = plan(LayoutRequest("test", Sizes(uki=8 * MIB, root=64 * MIB, persist=64 * MIB), sector_size=sector_size))
    write_table(tmp_path / "disk.raw", layout)
    script = functions(module / "proa-slot.sh", "\nstage disk") + '\npartitions "$1"\n'
    (module / "try.sh").write_text(script)
    done = shell(module / "try.sh", tmp_path / "disk.raw")
    found = [line.split() for line in done.stdout.splitlines()]
    assert [(name, guid.lower()) for _, guid, name in found] == [(p.name, p.guid) for p in layout.partitions]
    assert [node for node, _, _ in found] == [f"{tmp_path}/disk.raw{number}" for number in range(1, 8)]


@pytest.mark.parametrize("damage", [None, 0, 4095])
def test_the_root_is_known_by_the_top_of_its_tree(
    module: Path, shell: Shell, tmp_path: Path, damage: int | None
) -> None:
    salt, data = hashlib.sha256(b"salt").digest(), os.urandom(300 * 4096)
    image = tmp_path / "root.img"
    image.write_bytes(data)
    with image.open("r+b") as source, (tmp_path / "tree").open("wb") as sink:
        root_hash = build_tree(source, sink, salt)
    offset = Geometry.of(len(data)).hash_offset
    whole = bytearray(data + (tmp_path / "tree").read_bytes())
    if damage is not None:
        whole[offset + damage] ^= 1
    image.write_bytes(whole)
    (module / "try.sh").write_text(functions(module / "proa-slot.sh", "\nstage disk") + '\ncheck_root "$1"\n')
    text = (module / "try.sh").read_text()
    values = f"salt={salt.hex()} hash_offset={offset} root_hash={root_hash} slot=a\n"
    (module / "try.sh").write_text(text.replace("load_drivers() {", values + "load_drivers() {", 1))
    done = shell(module / "try.sh", image)
    assert done.returncode == (0 if damage is None else 1), done.stderr
    if damage is not None:
        assert "does not hold the root" in (tmp_path / "log").read_text()


FAILURES = [
    ("root", "false", BootState(5, Slot.A, None, 0, True), True),
    ("switch", "false", BootState(5, Slot.A, None, 0, True), True),
    ("disk", "false", BootState(5, Slot.A, None, 0, True), False),
    ("persist", "false", BootState(5, Slot.A, None, 0, True), False),
    ("root", "false", BootState(5, Slot.A, None, 0, False), False),
    ("root", "true", BootState(5, Slot.B, Slot.A, 1, True), False),
    ("root", "false", BootState(5, Slot.B, None, 0, True), False),
]


@pytest.mark.parametrize(("stage", "trial", "state", "heals"), FAILURES)
def test_a_broken_good_slot_arms_the_other_one_once(
    module: Path, shell: Shell, tmp_path: Path, stage: str, trial: str, state: BootState, heals: bool
) -> None:
    image = tmp_path / "state.img"
    make_state_image(image, state)
    done = shell(module / "proa-fail.sh", stage=stage, trial=trial, slot="a", state=str(image), error="it is broken")
    after = StateFile(image).current()
    assert after == (bootstate.heal(state) if heals else state)
    assert "it is broken" in (tmp_path / "log").read_text()
    assert ("the initrd failed (stage" in (tmp_path / "log").read_text()) is (trial == "true")
    assert done.stderr == ""


@pytest.fixture
def note(module: Path, shell: Shell, tmp_path: Path) -> Callable[..., dict[str, object]]:
    """Runs ``proa-ended.sh`` in a trial; what stands on PERSIST then."""
    folder = tmp_path / "run/mount/.proa"
    folder.mkdir(parents=True)

    def call(*words: str) -> dict[str, object]:
        done = shell(module / "proa-ended.sh", *words, **{"try": '"root_hash": "ab", "seq": 7, "left": 1'})
        assert (done.returncode, done.stderr) == (0, "")
        found: dict[str, object] = json.loads((folder / "trial").read_text())
        assert [path.name for path in folder.iterdir()] == ["trial"]
        return found

    return call


def test_a_try_that_has_begun_is_noted_and_its_end_stands_over_that(
    note: Callable[..., dict[str, object]], tmp_path: Path
) -> None:
    begun = {"schema": "proa.try/v1", "root_hash": "ab", "seq": 7, "left": 1, "cause": "started", "what": ""}
    assert note("started") == begun
    assert not (tmp_path / "log").exists()
    assert note("deadline", "not in time") == begun | {"cause": "deadline", "what": "not in time"}
    assert (tmp_path / "log").read_text() == "<2>proa: not in time\n"


def test_the_first_end_of_a_try_counts(note: Callable[..., dict[str, object]]) -> None:
    """An emergency shell waits for its reboot; the deadline may pass meanwhile, and PERSIST come up late."""
    first = note("emergency", "a shell")
    assert note("deadline", "not in time") == first
    assert note("started") == first


def test_an_end_says_what_no_json_could_hold(note: Callable[..., dict[str, object]]) -> None:
    said = note("initrd", 'stage "root": \\ no\nroot\x1b ' + "x" * 999)["what"]
    assert said == "stage 'root': / noroot ".ljust(500, "x")


def test_the_kernel_is_told_to_leave_its_messages(module: Path, shell: Shell, tmp_path: Path) -> None:
    """PERSIST is not mounted yet: nothing else would tell of a deadline."""
    dump = tmp_path / "dump"
    dump.write_text("N")
    text = (module / "proa-ended.sh").read_text()
    assert "/sys/module/printk/parameters/always_kmsg_dump" in text
    (module / "try.sh").write_text(f"PROA_DUMP={dump}\n{text}")
    assert shell(module / "try.sh", "started").returncode == 0
    assert dump.read_text() == "N", "a trial that goes well leaves none"
    assert shell(module / "try.sh", "deadline", "late").returncode == 0
    assert dump.read_text() == "Y\n"


SUSPECTS = [
    ("a", "false", BootState(5, Slot.A, None, 0, True), True),
    ("b", "false", BootState(5, Slot.A, None, 0, True), False),
    ("", "false", BootState(5, Slot.A, None, 0, True), False),
    ("a", "true", BootState(5, Slot.B, Slot.A, 1, True), False),
    ("a", "false", BootState(5, Slot.A, None, 0, False), False),
]


@pytest.mark.parametrize(("mark", "trial", "state", "reads"), SUSPECTS)
def test_a_slot_whose_last_boot_did_not_end_is_suspect_if_there_is_another(
    module: Path, shell: Shell, tmp_path: Path, mark: str, trial: str, state: BootState, reads: bool
) -> None:
    make_state_image(tmp_path / "state.img", state)
    folder = tmp_path / "run/mount/.proa"
    folder.mkdir(parents=True)
    if mark:
        (folder / "booting").write_text(mark + "\n")
    (module / "try.sh").write_text(functions(module / "proa-check.sh", "\nopen\n") + "\nsuspect\n")
    done = shell(module / "try.sh", slot="a", trial=trial, state=str(tmp_path / "state.img"))
    assert (done.returncode == 0) is reads, done.stderr


@pytest.mark.parametrize(
    ("line", "value"),
    [("a=1 proa.x=2 b", "2"), ("proa.xy=2 xproa.x=1", ""), ("", ""), ("proa.x=a=b", "a=b")],
)
def test_arguments_are_whole_words(module: Path, shell: Shell, tmp_path: Path, line: str, value: str) -> None:
    (tmp_path / "cmdline").write_text(line + "\n")
    text = f'PROA_CMDLINE={tmp_path}/cmdline\n. "{module}/proa-common.sh"\nargument proa.x\n'
    (module / "try.sh").write_text(text)
    assert shell(module / "try.sh").stdout == value + "\n"


@pytest.mark.parametrize("line", ["proa.x=2 proa.x=3", "proa.x=2 a proa.x=2", "proa.x= proa.x=2"])
def test_s15_an_argument_that_stands_there_twice_is_refused(
    module: Path, shell: Shell, tmp_path: Path, line: str
) -> None:
    """Whoever runs the hypervisor may add to the command line; the last one must not win, nor the first."""
    (tmp_path / "cmdline").write_text(line + "\n")
    text = f'PROA_CMDLINE={tmp_path}/cmdline\n. "{module}/proa-common.sh"\nargument proa.x\n'
    (module / "try.sh").write_text(text)
    done = shell(module / "try.sh")
    assert (done.returncode, done.stdout) == (1, "")
    assert "proa.x more than once" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("names", "found"),
    [("STATE ROOT-A", "/dev/x2"), ("ROOT-A ROOT-B", "/dev/x1"), ("ROOT-A ROOT-A", None), ("STATE ROOT-B", None)],
)
def test_a_partition_is_found_by_its_name_if_there_is_just_one(
    module: Path, shell: Shell, names: str, found: str | None
) -> None:
    script = functions(module / "proa-slot.sh", "\nstage disk")
    lines = "\n".join(f"/dev/x{number} GUID {name}" for number, name in enumerate(names.split(), 1))
    (module / "try.sh").write_text(f"{script}\ndisk=/dev/x\ntable='{lines}'\nnode ROOT-A\n")
    done = shell(module / "try.sh")
    assert (done.stdout.strip() or None, done.returncode) == (found, 0 if found else 1)


@pytest.mark.parametrize("unit", ["emergency.service", "rescue.service"])
def test_systemd_accepts_what_ends_a_trial_instead_of_a_shell(tmp_path: Path, unit: str) -> None:
    """A unit with a bad setting is not started at all: the trial would go on as if nothing had happened."""
    drop_in = tmp_path / f"{unit}.d/50-proa.conf"
    drop_in.parent.mkdir()
    shutil.copyfile(SCRIPTS / "trial.conf", drop_in)
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit]
    env = os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    verdict = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (verdict.returncode, verdict.stderr) == (0, "")
