"""Bad signs: what no console may show unless a test expects it. The one table; the docs list it."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class BadSign:
    """A kind of line that means trouble although the test may have passed."""

    name: str
    """How a test allows it."""
    pattern: str
    """A regular expression, searched in single lines."""
    reason: str
    """Why it is bad."""
    but: str = r"(?!)"
    """Lines that match this too are harmless."""

    def shows(self, line: str) -> bool:
        """Whether the line is one."""
        return re.search(self.pattern, line) is not None and re.search(self.but, line) is None


BAD_SIGNS: tuple[BadSign, ...] = (
    BadSign("kernel-panic", r"Kernel panic - not syncing", "The kernel gave up."),
    BadSign("kernel-oops", r"\b(Oops|general protection fault)\b.*\[#\d+\]|Oops: ", "The kernel did something wrong."),
    BadSign("kernel-bug", r"\bkernel BUG at |\bBUG: (?!soft lockup|workqueue)", "An assertion of the kernel failed."),
    BadSign(
        "kernel-warning",
        r"\bWARNING: CPU: \d+ PID: \d+",
        "The kernel reached a state that it does not expect.",
        but=r"tsc|clocksource",
    ),
    BadSign("soft-lockup", r"soft lockup - CPU#|watchdog: BUG: soft|hard LOCKUP", "A processor was stuck."),
    BadSign("rcu-stall", r"rcu.*(detected stalls|self-detected stall)", "A processor was stuck in the kernel."),
    BadSign(
        "hung-task", r"task \S+ blocked for more than \d+ seconds", "A process waits for I/O that does not finish."
    ),
    BadSign(
        "out-of-memory",
        r"Out of memory: Kill|oom-kill:|invoked oom-killer",
        "A process was killed because memory ran out.",
    ),
    BadSign("segfault", r"segfault at [0-9a-f]+|traps: \S+\[\d+\] ", "A program crashed."),
    BadSign(
        "io-error",
        r"(blk_update_request: )?I/O error, dev \S+|Buffer I/O error on dev",
        "A disk failed.",
        but=r"\(READ\) flags 0x8[0-9a-f]{4} ",  # read ahead (REQ_RAHEAD), which a reboot cuts off
    ),
    BadSign("ext4-error", r"EXT4-fs (error|\(\S+\): (error|.*Corrupt))|JBD2: .*(error|abort)", "PERSIST is damaged."),
    BadSign("fat-error", r"FAT-fs \(\S+\): (error|Volume was not properly unmounted)", "A FAT file system is damaged."),
    BadSign("erofs-error", r"\berofs(?::| \()(?!.*mounted).*(error|failed|corrupt|bogus)", "The root is damaged."),
    BadSign(
        "verity-error",
        r"device-mapper: verity.*(corrupt|is invalid)|verity.*metadata block \d+ is corrupted"
        r"|Verification failed at position \d+|Verification of \w+( \w+)* failed",
        "A block does not match its signed hash.",
    ),
    BadSign("panic-on-verity", r"dm-verity device corrupted", "The root was altered."),
    BadSign(
        "emergency-mode",
        r"You are in (emergency|rescue) mode|Entering emergency mode|Started .*[Ee]mergency Shell",
        "The boot ended in a shell that waits for a person.",
    ),
    BadSign(
        "ordering-cycle",
        r"Found ordering cycle|ordering cycle, deleting|deleted to break ordering cycle",
        "systemd left out a unit.",
    ),
    BadSign("failed-unit", r"\[FAILED\] Failed to \w+|systemd\[1\]: Failed to start ", "A unit failed."),
    BadSign(
        "dependency-failed", r"\[DEPEND\] Dependency failed|systemd\[1\]: Dependency failed", "A unit was left out."
    ),
    BadSign("unit-crash-loop", r"Start request repeated too quickly", "A unit kept failing."),
    BadSign(
        "setting-ignored",
        r"systemd[\w-]*\[\d+\]: .*(Failed to parse|Unknown (key|section)).*, ignoring",
        "A line of a unit or of a configuration file has no effect.",
    ),
    BadSign("init-died", r"Attempted to kill init|systemd\[1\]: (Caught <|Freezing execution)", "PID 1 crashed."),
    BadSign("python-traceback", r"Traceback \(most recent call last\)", "A program of Proa crashed."),
    BadSign("missing-module", r"Kernel module .* not found|Failed to find module", "The image lacks a driver."),
    BadSign("grub-error", r"^error: |grub rescue>|Minimal BASH-like line editing", "The boot loader failed."),
    BadSign(
        "signature-refused",
        r"[Ss]ecurity [Vv]iolation|bad shim signature|Verification failed(?! at position)|Access Denied"
        r"|secure boot policy",
        "Secure Boot found a wrong signature.",
    ),
)
"""All of them; names are unique."""

STARVED: tuple[str, ...] = ("soft-lockup", "rcu-stall")
"""Signs that an emulated machine also shows when its host gives it no time: there they prove nothing."""
