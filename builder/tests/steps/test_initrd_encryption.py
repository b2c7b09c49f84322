"""s16: the initrd's script for an encrypted PERSIST, under both shells, on headers that the real cryptsetup made."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from proa.builder.steps import initrd
from proa.partition.disk.layout import MIB

pytestmark = pytest.mark.contract

SCRIPT: Final = "proa-crypt.sh"
SIZE: Final = 32 * MIB
KEY: Final = "nhklkdjr-ceidhfhr-tnbcjdie-ttvkbvfl-nbkituhu-jifuurjd-bhijecrc-hjuuccrv"
SHUTDOWN: Final = bytes.fromhex("8001 0000000c 00000145 0000")
REAL: Final = 'PATH=/usr/sbin:/sbin:/usr/bin:/bin exec cryptsetup "$@"'
STEPS: Final = (
    "cryptsetup luksFormat",
    "systemd-cryptenroll --unlock-key-file --tpm2-device",
    "cryptsetup open",
    "mke2fs",
    "mount",
    "systemd-cryptenroll --unlock-key-file --recovery-key",
    "umount",
    "systemd-cryptenroll --wipe-slot",
    "cryptsetup config",
)
"""What makes PERSIST, in order."""


class Initrd:
    """The script in a folder of its own; what would reach this machine's disks or TPM is a fake that notes words."""

    def __init__(self, folder: Path, shell: str) -> None:
        self.folder, self.shell = folder, shell
        self.module, self.run, self.fakes = folder / "module", folder / "run", folder / "fakes"
        for path in (self.run, self.fakes, folder / "extra", folder / "efivars", folder / "inside"):
            path.mkdir()
        initrd.assemble(self.module, (), "tpm2")
        self.device = folder / "persist.img"
        with self.device.open("wb") as file:
            file.truncate(SIZE)
        for program in ("modprobe", "sleep", "stty", "systemd-pcrphase", "systemd-cryptsetup", "mke2fs", "umount"):
            self.fake(program)
        self.fake("cryptsetup", f"case $1 in open | close) ;; *) {REAL} ;; esac")
        self.fake("mount", f'for last do :; done; cp -r {folder}/inside/. "$last"')
        self.fake("systemd-cryptenroll", f'case $* in *--recovery-key*) echo {KEY}; echo "scan it: {KEY}" >&2 ;; esac')
        self.tpm()

    def fake(self, program: str, body: str = "") -> None:
        """Note the words in the log of calls, then do something."""
        path = self.fakes / program
        path.write_text(f'#!/bin/sh\necho "{program} $*" >>{self.folder}/calls\n{body}\n')
        path.chmod(0o755)

    def tpm(self, *, there: bool = True) -> None:
        for name in ("tpm0", "tpmrm0"):
            (self.folder / name).unlink(missing_ok=True)
            if there:
                (self.folder / name).write_bytes(b"")

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def __call__(self, *words: str | Path, **variables: str | Path) -> subprocess.CompletedProcess[str]:
        env = {"PATH": f"{self.fakes}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "PROA_WAIT": "5"}
        env |= {"PROA_RUN": f"{self.run}", "PROA_LOG": f"{self.folder}/log", "PROA_TPM": f"{self.folder}/tpm"}
        env |= {"PROA_EXTRA": f"{self.folder}/extra", "PROA_EFIVARS": f"{self.folder}/efivars"}
        env |= {"PROA_CONSOLE": f"{self.folder}/console"} | {name: str(value) for name, value in variables.items()}
        posix = ["--posix"] if self.shell == "bash" else []
        argv = [self.shell, *posix, self.module / SCRIPT, *words]
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)

    def content(self) -> str:
        """What the script takes the partition for."""
        done = self("content", self.device)
        assert done.returncode == 0
        return done.stdout.strip()

    def format(self, label: str) -> None:
        """A header as cryptsetup makes it."""
        (self.run / "persist.key").write_bytes(b"k" * 64)
        done = self("format", self.device)
        assert (done.returncode, done.stderr) == (0, "")
        words = ["cryptsetup", "config", "--label", label, str(self.device)]
        subprocess.run(words, check=True, env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})


@pytest.fixture(params=["dash", "bash"])
def scripts(request: pytest.FixtureRequest, tmp_path: Path) -> Initrd:
    return Initrd(tmp_path, request.param)


def altered(device: Path, old: bytes, new: bytes) -> None:
    """Change both copies of a header, with good checksums (LUKS2 On-Disk Format Specification 1.1.4, section 2.1)."""
    assert len(old) == len(new)
    data = bytearray(device.read_bytes())
    size = int.from_bytes(data[8:16], "big")
    for start in (0, size):
        header = data[start : start + size].replace(old, new)
        header[448:512] = bytes(64)
        header[448:480] = hashlib.sha256(header).digest()
        data[start : start + size] = header
    device.write_bytes(data)


class TestContent:
    """What is there decides; nothing that a person may miss is taken for nothing."""

    @pytest.mark.parametrize(
        ("inside", "found"),
        [
            ([".proa/new"], "bare"),
            ([".proa/new", "lost+found/x"], "bare"),
            ([], "other"),
            ([".proa/new", "var/lib/x"], "other"),
            ([".proa/new", ".proa/lost"], "other"),
            ([".proa/new", ".hidden"], "other"),
            ([".proa/booting"], "other"),
        ],
    )
    def test_s16_only_a_file_system_without_files_is_bare(self, scripts: Initrd, inside: list[str], found: str) -> None:
        for name in inside:
            path = scripts.folder / "inside" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        assert scripts.content() == found
        assert any(call.startswith("mount") and "ro,noload" in call for call in scripts.calls)

    def test_s16_what_cannot_be_mounted_is_no_reason_to_make_it_anew(self, scripts: Initrd) -> None:
        scripts.fake("mount", "exit 32")
        assert scripts.content() == "other"

    @pytest.mark.parametrize(("label", "found"), [("unfinished", "unfinished"), ("PERSIST", "whole"), ("x", "whole")])
    def test_s16_a_header_says_by_its_label_whether_it_is_finished(
        self, scripts: Initrd, label: str, found: str
    ) -> None:
        scripts.format(label)
        assert scripts.content() == found

    def test_s16_a_mark_stands_for_a_header_that_is_being_written(self, scripts: Initrd) -> None:
        scripts.fake("mount", "exit 32")
        before = scripts.device.read_bytes()
        assert scripts("put_mark", scripts.device).returncode == 0
        assert scripts.content() == "unfinished"
        scripts.device.write_bytes(b"LUKS\xba\xbe half" + scripts.device.read_bytes()[11:])
        assert scripts.content() == "unfinished"
        assert scripts("take_mark", scripts.device).returncode == 0
        assert scripts.content() == "other"
        assert scripts.device.read_bytes()[11:] == before[11:]


class TestHeader:
    """Whoever can write the disk can write the header."""

    def test_s16_one_that_was_made_here_is_taken(self, scripts: Initrd) -> None:
        scripts.format("PERSIST")
        assert scripts("as_made", scripts.device).returncode == 0

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b'"encryption":"aes-xts-plain64"', b'"encryption":"cipher_null-ecb"'),
            (b'"encryption":"aes-xts-plain64"', b'"encryption":"aes-cbc-plain64"'),
        ],
    )
    def test_s16_one_with_another_cipher_is_not(self, scripts: Initrd, old: bytes, new: bytes) -> None:
        scripts.format("PERSIST")
        altered(scripts.device, old, new)
        assert scripts("as_made", scripts.device).returncode != 0
        assert scripts("open", scripts.device).returncode == 1
        assert not [call for call in scripts.calls if call.startswith("systemd-cryptsetup")]
        assert "has a header that this node has not made" in scripts.log

    def test_s16_an_altered_copy_is_one_that_cryptsetup_takes(self, scripts: Initrd) -> None:
        """Else the test above would show that of cryptsetup alone."""
        scripts.format("PERSIST")
        altered(scripts.device, b'"encryption":"aes-xts-plain64"', b'"encryption":"cipher_null-ecb"')
        assert scripts.content() == "whole"
        done = subprocess.run(
            ["/usr/sbin/cryptsetup", "luksDump", scripts.device], capture_output=True, text=True, check=True
        )
        assert "cipher_null-ecb" in done.stdout


class TestMaking:
    @pytest.fixture(autouse=True)
    def bare(self, scripts: Initrd) -> None:
        (scripts.folder / "inside/.proa").mkdir()
        (scripts.folder / "inside/.proa/new").touch()

    def made(self, scripts: Initrd) -> list[str]:
        """The calls that change something, in short."""
        found = []
        for call in scripts.calls:
            for step in STEPS:
                words = step.split()
                if call.startswith(words[0]) and all(f" {word}" in call for word in words[1:]) and "noload" not in call:
                    found.append(step)
                    break
        return found

    def test_s16_it_is_finished_by_its_last_step_alone(self, scripts: Initrd) -> None:
        assert scripts("open", scripts.device).returncode == 0
        assert [step for step in self.made(scripts) if step != "umount"] == [step for step in STEPS if step != "umount"]
        assert scripts.content() == "whole"
        assert not (scripts.run / "persist.key").exists()
        assert scripts.calls.index("systemd-pcrphase --graceful enter-initrd") == 1

    @pytest.mark.parametrize("last", [step for step in STEPS if step != "umount"])
    def test_s16_wherever_the_power_fails_it_is_made_again(self, scripts: Initrd, last: str) -> None:
        program, *words = last.split()
        body = (scripts.fakes / program).read_text().partition("\n")[2].partition("\n")[2]
        wanted = " && ".join(f'case " $*" in *" {word}"*) ;; *) false ;; esac' for word in words) or "true"
        unless = 'case "$*" in *noload*) false ;; esac && ' if program == "mount" else ""
        scripts.fake(program, f"if {unless}{wanted}; then kill -KILL $PPID; exit 1; fi\n{body}")
        scripts("open", scripts.device)
        scripts.fake(program, body)
        if last != STEPS[0]:
            scripts.fake(
                "mount",
                f'for last do :; done; case $* in *noload*) exit 32 ;; esac; cp -r {scripts.folder}/inside/. "$last"',
            )
        assert scripts("open", scripts.device).returncode == 0
        assert scripts.content() == "whole"

    def test_s16_the_policy_is_the_signed_one_and_secure_boots(self, scripts: Initrd) -> None:
        assert scripts("open", scripts.device).returncode == 0
        (sealed,) = (call for call in scripts.calls if "--tpm2-device" in call)
        assert "--tpm2-pcrs=7 " in sealed
        assert "--tpm2-public-key-pcrs=11 " in sealed
        assert f"--tpm2-public-key={scripts.folder}/extra/tpm2-pcr-public-key.pem " in sealed
        assert f"--tpm2-signature={scripts.folder}/extra/tpm2-pcr-signature.json " in sealed

    def test_s16_the_recovery_key_is_roots_and_in_no_log(self, scripts: Initrd) -> None:
        done = scripts("open", scripts.device)
        path = scripts.run / "mount/.proa/recovery-key"
        assert path.read_text() == f"{KEY}\n"
        assert path.stat().st_mode & 0o777 == 0o600
        assert KEY not in done.stdout + done.stderr + scripts.log

    @pytest.mark.parametrize(("value", "off"), [(b"\6\0\0\0\1", False), (b"\6\0\0\0\0", True), (b"", True)])
    def test_s16_without_secure_boot_it_says_what_that_means(self, scripts: Initrd, value: bytes, off: bool) -> None:
        (scripts.folder / "efivars/SecureBoot-8be4df61").write_bytes(value)
        assert scripts("open", scripts.device).returncode == 0
        assert ("SECURE BOOT IS OFF" in scripts.log) is off

    def test_s16_without_a_tpm_nothing_is_written(self, scripts: Initrd) -> None:
        scripts.tpm(there=False)
        before = scripts.device.read_bytes()
        assert scripts("open", scripts.device).returncode == 1
        assert "this machine has no TPM 2.0" in scripts.log
        assert scripts.device.read_bytes() == before

    def test_s16_files_are_never_lost_to_it(self, scripts: Initrd) -> None:
        (scripts.folder / "inside/var").mkdir()
        before = scripts.device.read_bytes()
        assert scripts("open", scripts.device).returncode == 1
        assert "proa-disk reset" in scripts.log
        assert scripts.device.read_bytes() == before


class TestOpening:
    @pytest.fixture(autouse=True)
    def whole(self, scripts: Initrd) -> None:
        scripts.format("PERSIST")
        (scripts.folder / "calls").unlink()
        (scripts.run / "trial").write_text("false\n")

    def typed(self, scripts: Initrd, text: str) -> subprocess.CompletedProcess[str]:
        """Open it without the TPM's help, with a person who has typed something."""
        scripts.fake("systemd-cryptsetup", "exit 1")
        scripts.fake("cryptsetup", f'case $1 in open) [ "$(cat "$5")" = {KEY} ] ;; *) {REAL} ;; esac')
        person, console = os.openpty()
        try:
            os.write(person, text.encode())
            return scripts("open", scripts.device, PROA_CONSOLE=os.ttyname(console))
        finally:
            os.close(person)
            os.close(console)

    def test_s16_the_tpm_opens_it_and_nobody_is_asked(self, scripts: Initrd) -> None:
        assert scripts("open", scripts.device).returncode == 0
        (call,) = (call for call in scripts.calls if call.startswith("systemd-cryptsetup"))
        assert call.startswith(f"systemd-cryptsetup attach proa-persist {scripts.device} - ")
        assert "headless=1" in call
        assert scripts.log == ""

    def test_s16_the_recovery_key_opens_it_and_binds_it_to_the_tpm_that_is_there(self, scripts: Initrd) -> None:
        done = self.typed(scripts, f"{KEY}\n")
        assert done.returncode == 0
        assert "bound to the TPM of this machine" in scripts.log
        wiped, sealed = (call for call in scripts.calls if call.startswith("systemd-cryptenroll"))
        assert "--wipe-slot=tpm2" in wiped
        assert "--tpm2-device" in sealed
        assert KEY not in done.stdout + done.stderr + scripts.log
        assert not (scripts.run / "persist.key").exists()

    def test_s16_the_tpm_rests_while_a_person_is_waited_for(self, scripts: Initrd) -> None:
        self.typed(scripts, "")
        assert (scripts.folder / "tpm0").read_bytes() == SHUTDOWN

    def test_s16_without_a_tpm_it_opens_too(self, scripts: Initrd) -> None:
        scripts.tpm(there=False)
        assert self.typed(scripts, f"{KEY}\n").returncode == 0
        assert "the next boot asks again" in scripts.log

    def test_s16_a_wrong_key_is_told_and_asked_for_again(self, scripts: Initrd) -> None:
        assert self.typed(scripts, f"wrong\n{KEY}\n").returncode == 0
        assert scripts.log.count("type the recovery key") == 2

    def test_s16_three_wrong_ones_end_the_boot(self, scripts: Initrd) -> None:
        assert self.typed(scripts, "a\nb\nc\nd\n").returncode == 1
        assert scripts.log.count("this is not its recovery key") == 3
        assert "cannot be opened" in scripts.log

    def test_s16_a_trial_waits_for_nobody(self, scripts: Initrd) -> None:
        (scripts.run / "trial").write_text("true\n")
        assert self.typed(scripts, f"{KEY}\n").returncode == 1
        assert "type the recovery key" not in scripts.log


def test_s16_a_reset_gives_it_other_keys(scripts: Initrd) -> None:
    scripts.format("PERSIST")
    before = scripts.device.read_bytes()[: 16 * MIB]
    assert scripts("renew", scripts.device).returncode == 0
    calls = [call for call in scripts.calls if call.startswith("cryptsetup")]
    assert calls[0].startswith("cryptsetup luksFormat")  # the one above
    assert "--label unfinished" in next(call for call in calls if call.startswith("cryptsetup config"))
    assert scripts.content() == "whole"
    after = scripts.device.read_bytes()[: 16 * MIB]
    assert hashlib.sha256(before[4096:]).digest() != hashlib.sha256(after[4096:]).digest()


@pytest.mark.parametrize("state", ["opened", "made"])
def test_s16_the_tpm_rests_as_soon_as_it_has_given_the_key(scripts: Initrd, state: str) -> None:
    """Else each power cut while PERSIST is checked counts as a guess, and the third one locks the TPM."""
    if state == "opened":
        scripts.format("PERSIST")
        after = "systemd-cryptsetup"
    else:
        (scripts.folder / "inside/.proa").mkdir()
        (scripts.folder / "inside/.proa/new").touch()
        after = "mke2fs"
    tpm, seen = scripts.folder / "tpm0", scripts.folder / "seen"
    if state == "made":
        scripts.fake(after, f"cp {tpm} {seen}")
    assert scripts("open", scripts.device).returncode == 0
    assert (seen if state == "made" else tpm).read_bytes() == SHUTDOWN
    assert not any("leave-initrd" in call for call in scripts.calls)


def test_s16_leaving_closes_the_phase_and_lets_the_tpm_rest(scripts: Initrd) -> None:
    """TPM 2.0 Library, part 3, "TPM2_Shutdown": no sessions, 12 bytes, the command 0x145, TPM_SU_CLEAR."""
    assert scripts("leave").returncode == 0
    assert scripts.calls == ["systemd-pcrphase --graceful leave-initrd"]
    assert (scripts.folder / "tpm0").read_bytes() == SHUTDOWN


def test_s16_an_initrd_that_needs_none_of_it_has_none_of_it(tmp_path: Path) -> None:
    initrd.assemble(tmp_path / "plain", ())
    initrd.assemble(tmp_path / "encrypted", (), "tpm2")
    more = {path.name for path in (tmp_path / "encrypted").iterdir()} - {
        path.name for path in (tmp_path / "plain").iterdir()
    }
    assert more == set(initrd.ENCRYPTION)
    assert "dm_crypt" in (tmp_path / "encrypted/drivers.list").read_text()
    assert "dm_crypt" not in (tmp_path / "plain/drivers.list").read_text()
