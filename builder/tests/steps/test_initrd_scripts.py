"""The initrd's scripts under the shells that they run in, with crafted disks, tables and credentials."""

from __future__ import annotations

import struct
import subprocess
import uuid
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proa.builder.steps import initrd
from proa.partition.boot.bootstate import ROUNDS_MAX, BootState, Slot
from proa.partition.boot.statefile import StateFile, make_state_image
from proa.partition.disk.layout import MIB, LayoutRequest, Sizes, plan
from proa.partition.disk.table import write_table

SHELLS = ("dash", "bash")
FAKES = ("systemctl", "modprobe", "mount", "umount")
SMALL = Sizes(uki=MIB, root=MIB, persist=16 * MIB)


@dataclass
class Initrd:
    """The scripts in a folder, run by one of the shells; nothing reaches the machine itself."""

    folder: Path
    shell: str
    kept: dict[str, str] = field(default_factory=dict)
    limit: float = 60.0

    @property
    def module(self) -> Path:
        return self.folder / "module"

    @property
    def persist(self) -> Path:
        return self.folder / "run/mount"

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def run(self, script: Path, *words: str | Path, **variables: str | Path) -> subprocess.CompletedProcess[str]:
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        for name, value in self.kept.items():
            (run / name).write_text(value + "\n")
        env = {"PATH": f"{self.folder}/fakes:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        for name, place in (("RUN", "run"), ("LOG", "log"), ("CMDLINE", "cmdline")):
            env[f"PROA_{name}"] = str(self.folder / place)
        env |= {name: str(value) for name, value in variables.items()}
        posix = ["--posix"] if self.shell == "bash" else []
        return subprocess.run(
            [self.shell, *posix, script, *words],
            env=env,
            capture_output=True,
            text=True,
            timeout=self.limit,
            check=False,
        )

    def call(self, name: str, before: str, line: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a line with the functions of a script, those that stand before ``before``."""
        text = (self.module / name).read_text()
        functions = text[: text.index(before)].replace('"${0%/*}"', str(self.module))
        (self.module / "try.sh").write_text(f"{functions}\n{line}\n")
        return self.run(self.module / "try.sh", *words)


@pytest.fixture(params=SHELLS)
def scripts(request: pytest.FixtureRequest, tmp_path: Path) -> Initrd:
    (tmp_path / "fakes").mkdir()
    for name in FAKES:
        (tmp_path / "fakes" / name).write_text("#!/bin/sh\n")
        (tmp_path / "fakes" / name).chmod(0o755)
    (tmp_path / "cmdline").write_text("quiet\n")
    made = Initrd(tmp_path, request.param)
    initrd.assemble(made.module, ())
    return made


class TestCredentials:
    """s15: what carries code is thrown away before anything acts on it."""

    GIVEN = ("system.hostname", "ssh.authorized_keys.root", "network.a.netdev", "tmpfiles.extra", "a b", "*")

    def left(self, scripts: Initrd, line: str) -> set[str]:
        folder = scripts.folder / "given"
        folder.mkdir()
        code = ("systemd.extra-unit.x.service", "passwd.plaintext-password.root", ".hidden", "..hidden")
        for name in (*self.GIVEN, *code, "kubernetes.bootstrap"):
            (folder / name).write_text("x")
        (scripts.folder / "cmdline").write_text(line + "\n")
        done = scripts.run(scripts.module / "proa-credentials.sh", PROA_CREDENTIALS=folder)
        assert (done.returncode, done.stderr) == (0, "")
        return {path.name for path in folder.iterdir()}

    OWN = frozenset({"system.hostname", "ssh.authorized_keys.root", "network.a.netdev"})

    def test_s15_only_what_the_table_names_is_taken(self, scripts: Initrd) -> None:
        assert self.left(scripts, "quiet") == self.OWN
        assert "tmpfiles.extra is not taken" in scripts.log

    def test_s15_a_release_may_take_more(self, scripts: Initrd) -> None:
        more = self.left(scripts, "proa.credentials=kubernetes.*,tmpfiles.extra")
        assert more == self.OWN | {"kubernetes.bootstrap", "tmpfiles.extra"}

    def test_s15_a_second_list_is_refused(self, scripts: Initrd) -> None:
        (scripts.folder / "cmdline").write_text("proa.credentials=a proa.credentials=tmpfiles.extra\n")
        done = scripts.run(scripts.module / "proa-credentials.sh", PROA_CREDENTIALS=scripts.folder / "none")
        assert done.returncode == 1


class TestIdentity:
    """n10: a node that had an identity does not make another one in silence."""

    def look(self, scripts: Initrd, *, first_boot: bool = False) -> str:
        scripts.kept |= {"first_boot": str(first_boot).lower(), "persist_check": "repaired"}
        done = scripts.call("proa-check.sh", "\nopen\n", "identity; kept identity_lost")
        assert done.stderr == ""
        return done.stdout.strip()

    @pytest.fixture(autouse=True)
    def persist(self, scripts: Initrd) -> Path:
        (scripts.persist / ".proa").mkdir(parents=True)
        return scripts.persist

    def test_n10_a_disk_from_the_factory_has_none_to_lose(self, scripts: Initrd, persist: Path) -> None:
        (persist / ".proa/new").touch()
        assert [self.look(scripts, first_boot=True), self.look(scripts)] == ["false", "false"]
        assert (persist / ".proa/new").exists(), "until there is one"

    @pytest.mark.parametrize("slot", ["a", "b"])
    def test_n10_a_node_that_has_one_keeps_it(self, scripts: Initrd, persist: Path, slot: str) -> None:
        (persist / f"etc/{slot}/upper").mkdir(parents=True)
        (persist / f"etc/{slot}/upper/machine-id").write_text("0123\n")
        (persist / ".proa/new").touch()
        assert self.look(scripts) == "false"
        assert not (persist / ".proa/new").exists()

    @pytest.mark.parametrize("left", ["nothing", "", "\0" * 33, "\n"], ids=["nothing", "empty", "zeroes", "blank"])
    def test_n10_a_loss_is_told_and_stands_there(self, scripts: Initrd, persist: Path, left: str) -> None:
        if left != "nothing":
            (persist / "etc/a/upper").mkdir(parents=True)
            (persist / "etc/a/upper/machine-id").write_text(left)
        assert self.look(scripts) == "true"
        assert "LOST THE IDENTITY" in scripts.log
        assert "repaired" in (persist / ".proa/lost").read_text()

    def test_a_reset_leaves_nothing_whatever_it_is_called(self, scripts: Initrd, persist: Path) -> None:
        for name in ("..data", ".hidden", "a b", "-rf", "*", ".proa/.secret", ".proa/recovery", ".proa/reset"):
            (persist / name).write_text("x")
        assert scripts.call("proa-check.sh", "\nopen\n", "empty").returncode == 0
        assert [path.relative_to(persist) for path in persist.rglob("*")] == [Path(".proa"), Path(".proa/new")]

    def test_n10_a_disk_that_was_emptied_by_order_has_not_lost_it(self, scripts: Initrd, persist: Path) -> None:
        for name in (".proa/reset", "etc/a/upper/machine-id"):
            (persist / name).parent.mkdir(parents=True, exist_ok=True)
            (persist / name).write_text("x")
        assert scripts.call("proa-check.sh", "\nopen\n", "empty").returncode == 0
        assert self.look(scripts) == "false"


class TestKept:
    """n15: what a node keeps grows and shrinks from release to release, and nothing that is there gets lost."""

    def boot(self, scripts: Initrd, *keep: str) -> list[tuple[str, str]]:
        """Boot a release that keeps some folders; what is bound where, below persist and below the root."""
        new, log = scripts.folder / "sysroot", scripts.folder / "mounts"
        log.unlink(missing_ok=True)
        (scripts.folder / "fakes/mount").write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{log}\n')
        for name in keep:
            (new / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
        line = f"new={new} persist={new}/persist; for path in {' '.join(keep)}; do bind $path; done"
        done = scripts.call("proa-persist.sh", "\nstage persist", line)
        assert (done.returncode, done.stderr) == (0, "")
        words = [line.split() for line in log.read_text().splitlines()]
        return [(one.removeprefix(f"{new}/persist"), two.removeprefix(str(new))) for _, one, two in words]

    def test_n15_a_kept_folder_that_is_widened_has_what_was_kept_below_it(self, scripts: Initrd) -> None:
        persist = scripts.folder / "sysroot/persist"
        assert self.boot(scripts, "/srv/data") == [("/srv/data", "/srv/data")]
        (persist / "srv/data/mine").write_text("x")
        assert self.boot(scripts, "/srv") == [("/srv", "/srv")]
        assert (persist / "srv/data/mine").read_text() == "x"

    def test_n15_one_that_is_narrowed_leaves_the_rest_for_the_way_back(self, scripts: Initrd) -> None:
        persist = scripts.folder / "sysroot/persist"
        self.boot(scripts, "/srv")
        for name in ("data", "www"):
            (persist / "srv" / name).mkdir()
            (persist / "srv" / name / "mine").write_text(name)
        assert self.boot(scripts, "/srv/data") == [("/srv/data", "/srv/data")]
        assert self.boot(scripts, "/srv") == [("/srv", "/srv")]
        assert {path.parent.name: path.read_text() for path in persist.glob("srv/*/mine")} == {
            "data": "data",
            "www": "www",
        }

    def test_n15_a_copy_that_was_cut_short_is_made_again(self, scripts: Initrd) -> None:
        (scripts.folder / "sysroot/srv/empty").mkdir(parents=True)
        half = scripts.folder / "sysroot/persist/srv.new/half"
        half.mkdir(parents=True)
        self.boot(scripts, "/srv")
        persist = scripts.folder / "sysroot/persist"
        assert sorted(path.name for path in persist.rglob("*")) == ["empty", "srv"]


class TestProduct:
    """s15: two products under one key do not boot on each other's nodes."""

    def boot(self, scripts: Initrd, compatible: str) -> int:
        scripts.kept["compatible"] = compatible
        return scripts.call("proa-check.sh", "\nopen\n", "same_product").returncode

    def test_s15_a_disk_keeps_its_product(self, scripts: Initrd) -> None:
        scripts.persist.mkdir(parents=True)
        assert [self.boot(scripts, name) for name in ("mine", "mine", "other", "mine", "")] == [0, 0, 1, 0, 0]
        assert "this release is for other, but the node is a mine" in scripts.log
        assert (scripts.persist / ".proa/compatible").read_text() == "mine\n"

    def test_s15_a_name_that_was_cut_short_is_none(self, scripts: Initrd) -> None:
        (scripts.persist / ".proa").mkdir(parents=True)
        (scripts.persist / ".proa/compatible").touch()
        assert self.boot(scripts, "mine") == 0
        assert (scripts.persist / ".proa/compatible").read_text() == "mine\n"


class TestCheck:
    """n10: what e2fsck found is known afterwards."""

    def check(self, scripts: Initrd, first: str, second: str = "exit 9") -> tuple[int, str]:
        (scripts.folder / "fakes/e2fsck").write_text(f'#!/bin/sh\nif [ "$1" = -p ]; then {first}; else {second}; fi\n')
        (scripts.folder / "fakes/e2fsck").chmod(0o755)
        done = scripts.call("proa-check.sh", "\nopen\n", "check /dev/x >&2; kept persist_check")
        return done.returncode, done.stdout.strip()

    @pytest.mark.parametrize(
        ("first", "second", "result"),
        [
            ("exit 0", "exit 9", "clean"),
            ("echo 'x: recovering journal'; exit 1", "exit 9", "clean"),
            ("echo 'x contains a file system with errors, check forced.'; exit 1", "exit 9", "mended"),
            ("exit 4", "exit 1", "repaired"),
            ("exit 12", "exit 2", "repaired"),
        ],
    )
    def test_n10_the_result_is_kept(self, scripts: Initrd, first: str, second: str, result: str) -> None:
        assert self.check(scripts, first, second) == (0, result)

    @pytest.mark.parametrize(
        ("before", "found", "after"),
        [
            (None, "clean", None),
            (None, "mended", "mended\n"),
            (None, "repaired", "repaired\n"),
            ("mended\n", "clean", "mended\n"),
            ("mended\n", "repaired", "repaired\n"),
            ("repaired\n", "mended", "repaired\n"),
            ("", "mended", "mended\n"),
        ],
    )
    def test_n10_the_result_outlives_the_boot_that_found_it(
        self, scripts: Initrd, before: str | None, found: str, after: str | None
    ) -> None:
        note = scripts.persist / ".proa/damaged"
        note.parent.mkdir(parents=True)
        if before is not None:
            note.write_text(before)
        scripts.kept["persist_check"] = found
        assert scripts.call("proa-check.sh", "\nopen\n", "damage").stderr == ""
        assert (note.read_text() if note.exists() else None) == after

    @pytest.mark.parametrize("status", [4, 8, 128])
    def test_n10_one_that_cannot_be_mended_ends_the_boot_and_says_what_to_do(
        self, scripts: Initrd, status: int
    ) -> None:
        assert self.check(scripts, "exit 4", f"exit {status}")[0] == 1
        assert "proa-disk reset" in scripts.log


class TestEncrypted:
    """s16: what the release says of PERSIST and what is there agree, or the boot ends."""

    @pytest.fixture(autouse=True)
    def device(self, scripts: Initrd) -> Path:
        path = scripts.folder / "persist.img"
        path.write_bytes(b"LUKS\xba\xbe" + bytes(100))
        scripts.kept["persist"] = str(path)
        (scripts.module / "proa-crypt.sh").write_text(f'#!/bin/sh\necho "$*" >>{scripts.folder}/calls\n')
        (scripts.module / "proa-crypt.sh").chmod(0o755)
        return path

    def opened(self, scripts: Initrd, line: str) -> subprocess.CompletedProcess[str]:
        (scripts.folder / "cmdline").write_text(line + "\n")
        text = (scripts.module / "proa-check.sh").read_text()
        (scripts.module / "try.sh").write_text(text[: text.index("\nopen\n")] + '\nopen\necho "$device"\n')
        return scripts.run(scripts.module / "try.sh")

    def test_s16_the_file_system_lies_on_what_was_opened(self, scripts: Initrd, device: Path) -> None:
        assert self.opened(scripts, "proa.encryption=tpm2").stdout == "/dev/mapper/proa-persist\n"
        assert (scripts.folder / "calls").read_text() == f"open {device}\n"

    def test_s16_what_does_not_open_ends_the_boot(self, scripts: Initrd) -> None:
        (scripts.module / "proa-crypt.sh").write_text("#!/bin/sh\nexit 1\n")
        done = self.opened(scripts, "proa.encryption=tpm2")
        assert (done.returncode, done.stdout) == (1, "")

    @pytest.mark.parametrize(
        "line", ["proa.encryption=tpm2 proa.encryption=x", "proa.encryption=x proa.encryption=tpm2"]
    )
    def test_s16_nobody_turns_it_off_by_a_second_word(self, scripts: Initrd, line: str) -> None:
        assert self.opened(scripts, line).returncode == 1

    def test_s16_a_release_that_does_not_open_it_says_so(self, scripts: Initrd) -> None:
        assert self.opened(scripts, "quiet").returncode == 1
        assert "is encrypted, but this release does not open it" in scripts.log

    def test_s16_without_it_nothing_changes(self, scripts: Initrd, device: Path) -> None:
        device.write_bytes(bytes(4096))
        assert self.opened(scripts, "quiet").stdout == f"{device}\n"
        assert not (scripts.folder / "calls").exists()


class TestFail:
    """n21, n10: whatever fails, it does not go round for ever."""

    @pytest.fixture(autouse=True)
    def state(self, scripts: Initrd) -> StateFile:
        (scripts.folder / "fakes/sleep").write_text('#!/bin/sh\n[ "$1" = 10 ] || kill -TERM "$PPID"\n')
        (scripts.folder / "fakes/sleep").chmod(0o755)
        scripts.kept |= {"trial": "false", "slot": "a", "error": "it is broken"}
        scripts.kept["state"] = str(scripts.folder / "state.img")
        return StateFile(scripts.folder / "state.img")

    @pytest.mark.parametrize("stage", ["persist", "root"])
    @pytest.mark.parametrize("alt", [True, False])
    def test_n21_rounds_are_counted_and_end(self, scripts: Initrd, state: StateFile, stage: str, alt: bool) -> None:
        make_state_image(state.path, BootState(5, Slot.A, None, 0, alt))
        scripts.kept["stage"] = stage
        for number in range(1, ROUNDS_MAX + 1):
            assert scripts.run(scripts.module / "proa-fail.sh").returncode == 0
            assert state.read().rounds == number
            assert (state.current() != BootState(5, Slot.A, None, 0, alt)) is (alt and stage == "root")
            if alt and stage == "root":  # GRUB uses the try, the other slot fails too
                make_tried(state)
        assert "STOPPED" not in scripts.log
        before = state.read()
        stopped = scripts.run(scripts.module / "proa-fail.sh")
        assert stopped.returncode != 0, "it was still there when it was ended"
        assert "STOPPED: no slot comes up (it is broken)" in scripts.log
        assert state.read() == before

    def test_n21_a_trial_is_counted_by_its_tries_alone(self, scripts: Initrd, state: StateFile) -> None:
        make_state_image(state.path, BootState(5, Slot.B, Slot.A, 1, alt=True))
        scripts.kept |= {"trial": "true", "stage": "root", "try": '"left": 1'}
        assert scripts.run(scripts.module / "proa-fail.sh").returncode == 0
        assert state.read().rounds == 0

    def test_n21_without_a_state_it_stops(self, scripts: Initrd, state: StateFile) -> None:
        state.path.write_bytes(bytes(MIB))
        scripts.kept["stage"] = "root"
        assert scripts.run(scripts.module / "proa-fail.sh").returncode != 0
        assert "STOPPED" in scripts.log

    def test_n21_without_its_disk_it_comes_back_in_an_hour(self, scripts: Initrd) -> None:
        (scripts.folder / "fakes/sleep").write_text(f'#!/bin/sh\necho "$1" >>{scripts.folder}/slept\n')
        del scripts.kept["state"]
        scripts.kept["stage"] = "disk"
        assert scripts.run(scripts.module / "proa-fail.sh").returncode == 0
        assert (scripts.folder / "slept").read_text().split() == ["3600", "10"]
        assert "STOPPED" in scripts.log


def make_tried(state: StateFile) -> None:
    """What GRUB makes of a try: one less, in the copy that counts; the count of rounds stays."""
    data = state.path.read_bytes()
    state.path.write_bytes(data.replace(b"LEFT=1\n", b"LEFT=0\n"))
    assert state.current().left == 0


def gpt_header(own: int, other: int, count: int, size: int) -> bytes:
    """A header with a good checksum (UEFI 2.10, table 5.5)."""
    fields = [b"EFI PART", 0x10000, 92, 0, 0, own, other, 34, 1000, bytes(16), 2, count, size, 0]
    form = struct.Struct("<8sIIIIQQQQ16sQIII")
    fields[3] = zlib.crc32(form.pack(*fields))
    return form.pack(*fields)


ODD = (
    *('a", uuid=EEEEEEEE-0000-0000, name="UKI-A', "x\ny : name=UKI-A", "$(touch pwned)", "`touch pwned`", "* ?", "'"),
    *("\\", "", "STATE ", " STATE", "state", ',name="STATE"', "\x1b[2J", "\ud800", "\N{SNOWMAN}" * 36, "PERSIST\t"),
)
"""Names that a stranger may give to a partition: none of them is one of ours."""


def craft(path: Path, names: tuple[str, ...], guids: tuple[int, ...] = ()) -> Path:
    """A disk with a table of its own, byte by byte: sfdisk would refuse what a stranger's tool may write."""
    entries = b""
    for number, name in enumerate(names):
        guid = uuid.UUID(int=guids[number] if guids else 1000 + number)
        kind = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
        entries += kind.bytes_le + guid.bytes_le + struct.pack("<QQQ", 2048 + 8 * number, 2055 + 8 * number, 0)
        entries += name.encode("utf-16-le", "surrogatepass")[:72].ljust(72, b"\0")
    last, entries = 8 * MIB // 512 - 1, entries.ljust(128 * 128, b"\0")
    form = struct.Struct("<8sIIIIQQQQ16sQIII")
    with path.open("wb") as file:
        file.truncate(8 * MIB)
        file.seek(446)
        file.write(b"\0\0\2\0\xee\xff\xff\xff" + struct.pack("<II", 1, last))
        file.write(bytes(48) + b"\x55\xaa")
        for own, other, place in ((1, last, 2), (last, 1, last - 32)):
            fields = [b"EFI PART", 0x10000, 92, 0, 0, own, other, 34, last - 33, bytes(16), place, 128, 128]
            fields.append(zlib.crc32(entries))
            fields[3] = zlib.crc32(form.pack(*fields))
            file.seek(own * 512)
            file.write(form.pack(*fields))
            file.seek(place * 512)
            file.write(entries)
    return path


class TestNames:
    """Item 6: names and GUIDs of strangers, on the node's own disk and on others."""

    def node(self, scripts: Initrd, disk: Path, name: str) -> subprocess.CompletedProcess[str]:
        line = 'disk=$1 table=$(partitions "$1"); node "$2"'
        return scripts.call("proa-slot.sh", "\nstage disk", line, disk, name)

    @pytest.mark.parametrize("name", ["STATE", "UKI-A", "PERSIST"])
    def test_odd_names_are_none_of_ours(self, scripts: Initrd, name: str) -> None:
        disk = craft(scripts.folder / "disk", (*ODD, "STATE", "UKI-A", "PERSIST"))
        done = self.node(scripts, disk, name)
        number = len(ODD) + 1 + ("STATE", "UKI-A", "PERSIST").index(name)
        assert (done.stdout.strip(), done.returncode) == (f"{disk}{number}", 0), scripts.log
        assert not list(scripts.folder.rglob("pwned"))

    def test_twins_are_refused_with_the_name(self, scripts: Initrd) -> None:
        done = self.node(scripts, craft(scripts.folder / "disk", ("STATE", "x", "STATE")), "STATE")
        assert done.returncode == 1
        assert "has not exactly one partition STATE" in scripts.log

    def test_every_name_has_its_own_guid(self, scripts: Initrd) -> None:
        disk = craft(scripts.folder / "disk", ODD)
        done = scripts.call("proa-slot.sh", "\nstage disk", 'partitions "$1"', disk)
        lines = done.stdout.splitlines()
        assert len(lines) == len(ODD) - 1, "one has no name"
        for line in lines:
            node, guid, _ = line.split(" ", 2)
            assert uuid.UUID(guid).int == 999 + int(node.removeprefix(str(disk)))

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("0fc63daf-8483-4772-8e79-3d69d8477de4\0", "0FC63DAF-8483-4772-8E79-3D69D8477DE4"),
            (".*\0", ""),
            ("$(touch pwned)\0", ""),
            ("\0", ""),
            ("", ""),
        ],
    )
    def test_what_the_firmware_says_is_taken_for_no_pattern(self, scripts: Initrd, text: str, found: str) -> None:
        variable = scripts.folder / "variable"
        variable.write_bytes(b"\6\0\0\0" + text.encode("utf-16-le"))
        done = scripts.call("proa-slot.sh", "\nstage disk", "loader_partition=$1; booted_guid", variable)
        assert (done.stdout.strip(), done.returncode) == (found, 0 if found else 1)
        assert found or "LoaderDevicePartUUID" in scripts.log

    def test_two_partitions_of_one_guid_are_no_slot(self, scripts: Initrd) -> None:
        disk = craft(scripts.folder / "disk", ("UKI-A", "UKI-B"), (7, 7))
        line = 'partitions "$1" | sed -n "s/^[^ ]* $2 //p"'
        done = scripts.call("proa-slot.sh", "\nstage disk", line, disk, str(uuid.UUID(int=7)).upper())
        assert done.stdout.split() == ["UKI-A", "UKI-B"], "the case that follows knows no such slot"


class TestTables:
    """s09: a table of anybody's disk is looked at before it is read."""

    def disk(self, folder: Path, *headers: tuple[int, int, int, int]) -> Path:
        path = folder / "disk"
        with path.open("wb") as file:
            file.truncate(64 * MIB)
            for header in headers:
                file.seek(header[0] * 512)
                file.write(gpt_header(*header))
        return path

    def modest(self, scripts: Initrd, disk: Path) -> bool:
        done = scripts.run(scripts.module / "proa-modest.sh", disk)
        assert done.stderr == ""
        return done.returncode == 0

    LAST = 64 * MIB // 512 - 1

    @pytest.mark.parametrize(
        "headers",
        [
            [(1, LAST, 16 << 20, 128)],
            [(1, LAST, 128, 1 << 30)],
            [(1, LAST, 0xFFFFFFFF, 0xFFFFFFFF)],
            [(1, LAST, 128, 128), (LAST, 1, 16 << 20, 128)],
            [(LAST, 1, 16 << 20, 128)],
            [(1, 5000, 128, 128), (5000, 1, 16 << 20, 128)],
            [(1, 5000, 128, 128), (5000, 1, 16 << 20, 128), (LAST, 1, 128, 128)],
        ],
    )
    def test_s09_a_huge_table_is_not_read(self, scripts: Initrd, headers: list[tuple[int, int, int, int]]) -> None:
        disk = self.disk(scripts.folder, *headers)
        assert not self.modest(scripts, disk)
        (scripts.folder / "fakes/sfdisk").write_text(f"#!/bin/sh\ntouch {scripts.folder}/read\n")
        (scripts.folder / "fakes/sfdisk").chmod(0o755)
        scripts.call("proa-slot.sh", "\nstage disk", 'partitions "$1"', disk)
        assert not (scripts.folder / "read").exists()

    @pytest.mark.parametrize("content", ["none", "short", "ours", "usual"])
    def test_s09_what_is_small_is_read(self, scripts: Initrd, content: str) -> None:
        disk = self.disk(scripts.folder, *([(1, self.LAST, 128, 128)] if content == "usual" else []))
        if content == "short":
            disk.write_bytes(b"EFI PART")
        if content == "ours":
            write_table(disk, plan(LayoutRequest("test", SMALL)))
        assert self.modest(scripts, disk)


@pytest.mark.parametrize(
    ("list_text", "names"),
    [
        ("=drivers/ata sd_mod # why\n", {"ahci", "ata_piix", "sd_mod"}),
        ("=drivers/ata -ata-piix\n", {"ahci"}),
        ("=drivers/none\n=drivers/watchdog", {"softdog", "wdat_wdt"}),
    ],
)
def test_n09_drivers_are_those_that_the_kernel_has(scripts: Initrd, list_text: str, names: set[str]) -> None:
    disks = ("ata/ahci.ko.xz", "ata/deep/ata-piix.ko", "scsi/sd_mod.ko")
    for name in (*disks, "watchdog/softdog.ko", "watchdog/wdat_wdt.ko.zst"):
        path = scripts.folder / "modules/kernel/drivers" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (scripts.folder / "list").write_text(list_text)
    done = scripts.run(scripts.module / "proa-drivers.sh", scripts.folder / "list", scripts.folder / "modules")
    assert (done.returncode, set(done.stdout.split())) == (0, names)


RULE = """
mkdir -p /run/udev
mount -t tmpfs tmpfs /run/udev && mkdir /run/udev/rules.d
sed "s|/usr/lib/proa/modest|$2|" "$1" >/run/udev/rules.d/59-proa-tables.rules
loop=$(losetup --find --show --read-only "$3")
trap 'losetup --detach "$loop"' EXIT
udevadm test "/sys/block/${loop#/dev/}" 2>&1
"""


@pytest.mark.contract
@pytest.mark.parametrize("count", [128, 16 << 20])
def test_s09_udev_lets_blkid_read_no_huge_table(tmp_path: Path, count: int) -> None:
    """By the real udevadm, with the node's rule: blkid takes minutes and 2 GiB for such a disk."""
    disk, node = TestTables().disk(tmp_path, (1, TestTables.LAST, count, 128)), initrd.CREDENTIALS.parents[2]
    words = (node / "lib/udev/rules.d/59-proa-tables.rules", node / "lib/proa/modest", disk)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-euc", RULE, "sh", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ("UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG=1" in done.stdout) is (count > 128)
    assert ("Importing properties from results of builtin command 'blkid" in done.stdout) is (count == 128)
