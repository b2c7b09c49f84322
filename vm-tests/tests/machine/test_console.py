"""The console: bytes become lines whatever they are cut into, patterns are waited for, bad signs are found."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from proa.core.runtime.clock import Deadline, VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine.console import Console, Line, Transcript, scan
from proa.vm.machine.console_patterns import BAD_SIGNS

EXAMPLES = {
    "kernel-panic": "[   12.3] Kernel panic - not syncing: VFS: Unable to mount root fs",
    "kernel-oops": "[    1.0] Oops: 0002 [#1] PREEMPT SMP NOPTI",
    "kernel-bug": "[    1.0] kernel BUG at fs/ext4/inode.c:2721!",
    "kernel-warning": "[    1.0] WARNING: CPU: 0 PID: 1 at kernel/fork.c:1 copy_process+0x1",
    "soft-lockup": "[   60.0] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [swapper/1:0]",
    "rcu-stall": "[   60.0] rcu: INFO: rcu_preempt self-detected stall on CPU",
    "hung-task": "[  242.1] INFO: task dd:123 blocked for more than 120 seconds.",
    "out-of-memory": "[   90.1] Out of memory: Killed process 812 (python3) total-vm:1kB",
    "segfault": "[   10.1] sshd[455]: segfault at 0 ip 00007f00 sp 00007ffc error 4 in libc.so.6",
    "io-error": "[   10.1] I/O error, dev vda, sector 2048 op 0x1:(WRITE)",
    "ext4-error": "[   10.1] EXT4-fs error (device vda7): ext4_lookup:1855: inode #2: comm ls: bad entry",
    "fat-error": "[   10.1] FAT-fs (vda1): Volume was not properly unmounted. Some data may be corrupt.",
    "erofs-error": "[   10.1] erofs: (device dm-0): z_erofs_readahead: readahead error at page 1",
    "verity-error": "[   10.1] device-mapper: verity: 254:5: data block 77 is corrupted",
    "panic-on-verity": "[   10.1] Kernel panic - not syncing: dm-verity device corrupted",
    "emergency-mode": "You are in emergency mode. After logging in, type journalctl -xb",
    "ordering-cycle": "[   10.1] systemd[1]: a.service: Found ordering cycle on b.service/start",
    "failed-unit": "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mproa-agent.service\x1b[0m.",
    "dependency-failed": "[DEPEND] Dependency failed for persist.mount - /persist.",
    "unit-crash-loop": "systemd[1]: proa-agent.service: Start request repeated too quickly.",
    "setting-ignored": "systemd-journald[455]: 50-proa.conf:5: Failed to parse size value, ignoring: 15%",
    "init-died": "[    3.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
    "python-traceback": "proa-agent[500]: Traceback (most recent call last):",
    "missing-module": "[    3.1] systemd-modules-load[99]: Failed to find module 'br_netfilter'",
    "grub-error": "error: file `/EFI/proa/uki.efi' not found.",
    "signature-refused": "error: bad shim signature.",
}

MORE_EXAMPLES = (
    ("verity-error", "[   11.6] proa-slot.sh[232]: Verification failed at position 0."),
    ("verity-error", "[   11.6] proa-slot.sh[232]: Verification of data area failed."),
    ("signature-refused", "Verification failed: (0x1A) Security Violation"),
    (
        "setting-ignored",
        "[   74.3] systemd-journald[535]: 50-proa.conf:5: Failed to parse A=15%, ignoring: Invalid argument",
    ),
    ("setting-ignored", "systemd[1]: proa-agent.service:9: Unknown key name 'Reboot' in section 'Service', ignoring."),
)
HARMLESS = (
    "[    0.0] Command line: root=/dev/mapper/proa-root panic=10 rd.emergency=reboot",
    "[    0.5] Kernel command line: console=ttyS0 oops=panic",
    "[    1.0] EXT4-fs (vda7): mounted filesystem with ordered data mode. Quota mode: none.",
    "[    1.0] EXT4-fs (vda7): re-mounted. Opts: errors=remount-ro. Quota mode: none.",
    "[    1.0] erofs: (device dm-0): mounted with root inode @ nid 36.",
    '[    1.0] device-mapper: verity: sha256 using implementation "sha256-generic"',
    "[  OK  ] Started proa-agent.service - Proa agent.",
    "[  OK  ] Reached target emergency-network.target",
    "[    1.0] tsc: Marking TSC unstable due to check_tsc_sync_source failed",
    "[   11.9] systemd[1]: Failed to copy os-release for propagation, ignoring: No such file or directory",
    "[  178.9] systemd-shutdown[1]: Failed to finalize DM devices, ignoring.",
    "         Starting systemd-modules-load.service - Load Kernel Modules...",
    "[    1.0] BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 30s!",
    "[    1.0] RETBleed: WARNING: Spectre v2 mitigation leaves CPU vulnerable",
    "[   31.8] I/O error, dev vda, sector 2773024 op 0x0:(READ) flags 0x80700 phys_seg 7 prio class 2",
)


def lines_of(*chunks: bytes) -> list[str]:
    transcript = Transcript(lambda: 0.0)
    for chunk in chunks:
        transcript.feed(chunk)
    transcript.end_line()
    return [line.text for line in transcript.lines]


SAID = (
    "\x1b[2J\x1b[01;01H\x1b[=3h\x1b[2J\x1b[01;01HBdsDxe: loading Boot0001\r\n"
    "\x1b[0m\x1b[37m\x1b[40mGRUB\x1b[5;10Hentry \N{BULLET}\x1b[0m\x1b[6;10Hother\r\n\r\n"
    "[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mssh.service\x1b[0m.\r\r\n\x1b]0;title\x07root@node:~# \x1b[6n"
).encode()
SHOWN = [
    "BdsDxe: loading Boot0001",
    "GRUB",
    "entry \N{BULLET}",
    "other",
    "[  OK  ] Started ssh.service.",
    "root@node:~#",
]


def test_control_sequences_go_and_cursor_moves_begin_a_line() -> None:
    assert lines_of(SAID) == SHOWN


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_the_cuts_between_reads_do_not_matter(size: int) -> None:
    assert lines_of(*(SAID[at : at + size] for at in range(0, len(SAID), size))) == SHOWN


def test_what_is_no_utf8_does_not_stop_it() -> None:
    assert lines_of(b"a\xff\xfeb\n") == ["a\ufffd\ufffdb"]


@pytest.mark.parametrize("sign", BAD_SIGNS, ids=lambda sign: sign.name)
def test_every_bad_sign_has_an_example_that_shows_it(sign: object) -> None:
    name = getattr(sign, "name", "")
    (line,) = lines_of(EXAMPLES[name].encode())
    assert name in {finding.sign.name for finding in scan([Line(0.0, line)])}


@pytest.mark.parametrize(("name", "line"), MORE_EXAMPLES)
def test_one_line_is_one_sign(name: str, line: str) -> None:
    assert [finding.sign.name for finding in scan([Line(0.0, line)])] == [name]


def test_the_table_is_sound() -> None:
    names = [sign.name for sign in BAD_SIGNS]
    assert len(set(names)) == len(names)
    assert set(EXAMPLES) == set(names)
    assert all(sign.reason.endswith(".") for sign in BAD_SIGNS)


@pytest.mark.parametrize("line", HARMLESS)
def test_harmless_lines_are_no_bad_sign(line: str) -> None:
    assert scan([Line(0.0, line)]) == []


def test_allowed_signs_pass_and_unknown_names_are_an_error() -> None:
    line = Line(0.0, EXAMPLES["verity-error"])
    assert scan([line], ["verity-error"]) == []
    with pytest.raises(ProaError) as caught:
        scan([line], ["verity"])
    assert caught.value.code is Code.USAGE
    assert "verity-error" in caught.value.hint


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path)


@pytest.fixture
def guest(console: Console) -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    console.attach(ours)
    with theirs:
        yield theirs
        theirs.shutdown(socket.SHUT_WR)
        console.finish()


def test_it_waits_for_a_pattern_also_in_the_unfinished_line(console: Console, guest: socket.socket) -> None:
    threading.Timer(0.05, guest.sendall, [b"boot\r\nlogin: "]).start()
    assert console.wait_for(r"log(\w+):", Deadline("login", 300)).group(1) == "in"
    assert console.text == "boot\nlogin: "


def test_a_match_that_may_still_grow_is_waited_for(tmp_path: Path) -> None:
    console = Console(tmp_path, clock=VirtualClock())  # never silent: no time passes
    ours, theirs = socket.socketpair()
    console.attach(ours)
    with theirs:
        theirs.sendall(b"typed 4")
        threading.Timer(0.05, theirs.sendall, [b"2\r"]).start()
        assert console.wait_for(r"typed (\d)", Deadline("typed", 300)).group(1) == "4"
        threading.Timer(0.05, theirs.sendall, [b"\ntyped 5"]).start()
        threading.Timer(0.10, theirs.sendall, [b"6\r\n"]).start()
        assert console.wait_for(r"typed 5\d*", Deadline("typed", 300)).group() == "typed 56"
    console.finish()


def test_it_looks_only_behind_the_mark(console: Console, guest: socket.socket) -> None:
    guest.sendall(b"ready\r\n")
    console.wait_for("ready", Deadline("ready", 300))
    mark = console.mark()
    guest.sendall(b"again ready\r\n")
    assert console.wait_for(".*ready", Deadline("ready", 300), since=mark).group() == "again ready"


def test_time_that_is_up_shows_the_last_lines(console: Console, guest: socket.socket) -> None:
    guest.sendall(b"this and that\r\n")
    console.wait_for("that", Deadline("that", 300))
    with pytest.raises(ProaError) as caught:
        console.wait_for("never", Deadline("the word", 0.02))
    assert caught.value.code is Code.TIMEOUT
    assert "this and that" in caught.value.hint


def test_a_machine_that_ended_is_not_waited_for(console: Console, guest: socket.socket) -> None:
    with pytest.raises(ProaError) as caught:
        console.wait_for("never", Deadline("the word", 60), alive=lambda: False)
    assert caught.value.code is Code.CONSOLE


def test_what_is_typed_reaches_the_guest(console: Console, guest: socket.socket) -> None:
    console.send(b"root\n")
    assert guest.recv(100) == b"root\n"


def test_nothing_can_be_typed_when_it_is_off(console: Console) -> None:
    with pytest.raises(ProaError) as caught:
        console.send(b"root\n")
    assert caught.value.code is Code.TOOL


def test_logs_hold_every_byte_and_every_line_with_its_time(tmp_path: Path, console: Console) -> None:
    for said in (b"first\r\n\x1b[31mred\x1b[0m", b"after the power cut\r\n"):
        ours, theirs = socket.socketpair()
        console.attach(ours)
        with theirs:
            theirs.sendall(said)
        console.finish()
    assert (tmp_path / "console.raw").read_bytes() == b"first\r\n\x1b[31mred\x1b[0mafter the power cut\r\n"
    logged = [line[12:] for line in (tmp_path / "console.log").read_text().splitlines()]
    assert logged == ["first", "red", "after the power cut"]


def test_signs_are_allowed_only_inside_the_block(console: Console, guest: socket.socket) -> None:
    def say(line: str) -> None:
        mark = console.mark()
        guest.sendall(f"{line}\r\n".encode())
        console.wait_for(r"\S", Deadline("said", 300), since=mark)

    with console.allowing("verity-error"):
        say("device-mapper: verity: 254:0: data block 1 is corrupted")
        say("Kernel panic - not syncing: x")
    say("device-mapper: verity: 254:0: data block 2 is corrupted")
    found = [(finding.sign.name, finding.line.text.split()[-2]) for finding in console.findings()]
    assert found == [("kernel-panic", "syncing:"), ("verity-error", "is")]
    assert [finding.sign.name for finding in console.findings(["verity-error"])] == ["kernel-panic"]
