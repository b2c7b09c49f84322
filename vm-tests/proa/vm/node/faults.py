"""Named ways to break a trial on a running node, without building or signing anything.

Most are a unit or a file in /etc, which the agent takes along into the trial; it acts on a trial only. The others
damage what lies in the standby slot. Each has a cause of its own that the node must report, and no other will do.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from proa.agent.node.cause import Cause
from proa.agent.trial.health import FINAL_STATUS, exited
from proa.agent.trial.returned import NO_AGENT
from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot.bootstate import Slot
from proa.vm.node.expectation import Expected, Witness
from proa.vm.node.node import Node

MARK = "/var/lib/proa-break"
"""Written in the trial by a break that is about to act, so that what came of it is told from what came by itself."""
BROKEN_CHECK = "50-broken"
"""The health check that fails."""
BROKEN_CHECK_STATUS = FINAL_STATUS
_UNIT = """\
[Unit]
Description=Break this trial: {what}
ConditionPathExists=/run/proa/boot.json
After=local-fs.target
DefaultDependencies=no

[Service]
Type=oneshot
ExecCondition=/bin/grep -q '"trial": true' /run/proa/boot.json
ExecStart=/bin/sh -c 'echo {name} >{mark} && sync {mark}; {command}'
"""
_NO_AGENT = f"""\
[Service]
ExecCondition=/bin/sh -c '! grep -q trial.:.true /run/proa/boot.json || {{ echo no-agent >{MARK}; sync; exit 1; }}'
"""
_ON_TRIAL = "grep -q '\"trial\": true' /run/proa/boot.json || exit 0\n"
_STARVE = (
    "echo -1 >/proc/sys/kernel/sched_rt_runtime_us; "
    'for cpu in 0 1 2 3 4 5 6 7; do chrt -f 99 sh -c "while :; do :; done" & done; wait'
)
"""Real-time loops on every processor, so that PID 1 can no longer ping the watchdog."""


@dataclass(frozen=True)
class Fault:
    """What a break does.

    Attributes:
        what: In words.
        apply: Called with the node and the armed slot, after arming and before the reboot.
        cause: What the node must report.
        expected: Bad signs on the console that belong to it (:mod:`proa.vm.machine.console_patterns`).
    """

    what: str
    apply: Callable[[Node, Slot], None]
    cause: Expected
    expected: tuple[str, ...] = ()


def _unit(name: str, what: str, command: str) -> Callable[[Node, Slot], None]:
    """A unit that leaves its mark and runs ``command``, early in the trial."""
    words = {"name": name, "what": what, "command": command, "mark": MARK}

    def apply(node: Node, _: Slot) -> None:
        clear(node)
        node.put_into_etc("systemd/system/proa-break.service", _UNIT.format(**words))
        wants = "/etc/systemd/system/sysinit.target.wants"
        node.machine.succeed(f"mkdir -p {wants} && ln -sf ../proa-break.service {wants}/proa-break.service")

    return apply


def _unhealthy(node: Node, _: Slot) -> None:
    clear(node)
    script = f"#!/bin/sh\n{_ON_TRIAL}echo 'this release was broken on purpose' >&2\nexit {BROKEN_CHECK_STATUS}\n"
    node.put_into_etc(f"proa/health.d/{BROKEN_CHECK}", script, "755")


def _no_agent(node: Node, _: Slot) -> None:
    clear(node)
    node.put_into_etc("systemd/system/proa-agent.service.d/proa-break.conf", _NO_AGENT)


def clear(node: Node) -> None:
    """Take away an earlier break, and its mark."""
    files = "systemd/system/proa-break.service systemd/system/sysinit.target.wants/proa-break.service "
    files += "proa/health.d/50-broken systemd/system/proa-agent.service.d/proa-break.conf"
    node.machine.succeed(f"cd /etc && rm -f {files} {MARK}")


def _flip(partition: str, offset: int) -> Callable[[Node, Slot], None]:
    """Invert the byte at ``offset`` of the standby's partition, past all caches."""

    def apply(node: Node, slot: Slot) -> None:
        clear(node)
        device = f"/dev/disk/by-partlabel/{partition}-{slot.value.upper()}"
        flip = f"import os;f=os.open('{device}',os.O_RDWR);b=os.pread(f,1,{offset});"
        flip += f"os.pwrite(f,bytes([b[0]^255]),{offset});os.fsync(f)"
        node.machine.succeed(f'python3 -c "{flip}"')

    return apply


class Break(enum.Enum):
    """The ways, by the names that ``proa-vm rehearse --break`` takes."""

    PANIC = Fault(
        "the kernel panics",
        _unit("panic", "the kernel panics", "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger"),
        Expected((Cause.PANIC,), says="sysrq triggered crash", mark="panic"),
        ("kernel-panic",),
    )
    HANG = Fault(
        "the system hangs, so that only the hardware watchdog can act",
        _unit("hang", "PID 1 gets no CPU time", _STARVE),
        # An emulated reset is a new QEMU, whose watchdog knows of no other: there the node only sees silence.
        Expected((Cause.WATCHDOG, Cause.CUT_OFF), mark="hang", event="WATCHDOG"),
        ("rcu-stall", "soft-lockup"),
    )
    UNHEALTHY = Fault(
        "a health check fails",
        _unhealthy,
        Expected(
            (Cause.UNHEALTHY,),
            says=rf"check {BROKEN_CHECK}: {exited(BROKEN_CHECK_STATUS)}\b",
            failures=(f"check {BROKEN_CHECK}",),
        ),
    )
    EMERGENCY = Fault(
        "the system drops to an emergency shell",
        _unit(
            "emergency",
            "emergency shell",
            "systemctl --no-block --job-mode=replace-irreversibly isolate emergency.target",
        ),
        Expected((Cause.EMERGENCY,), mark="emergency"),
        ("emergency-mode", "failed-unit", "dependency-failed"),
    )
    NO_AGENT = Fault(
        "the agent never starts",
        _no_agent,
        Expected((Cause.DEADLINE,), says=NO_AGENT, mark="no-agent"),
    )
    CORRUPT = Fault(
        "a byte of the root is altered",
        _flip("ROOT", 1024),
        Expected((Cause.CORRUPT,), says="dm-verity device corrupted"),
        ("kernel-panic", "panic-on-verity", "verity-error", "erofs-error"),
    )
    CORRUPT_UKI = Fault(
        "a byte of the kernel image is altered",
        _flip("UKI", 8 << 20),
        Expected((Cause.REFUSED,)),
        ("signature-refused", "grub-error"),
    )

    @property
    def option(self) -> str:
        """The name on the command line."""
        return self.name.lower().replace("_", "-")

    @classmethod
    def of(cls, option: str) -> Break:
        """The break of that name on the command line; ``KeyError`` if there is none."""
        return cls[option.upper().replace("-", "_")]


@dataclass(frozen=True)
class Broken:
    """A trial that was broken and came back.

    Attributes:
        status: ``proa.status/v1`` of the good slot.
        witness: What was seen besides.
        lines: What the console said meanwhile.
    """

    status: Mapping[str, Any]
    witness: Witness
    lines: tuple[str, ...]

    @property
    def returned(self) -> Mapping[str, Any]:
        """Why the trial came back."""
        found: Mapping[str, Any] = self.status["returned"]
        return found


def break_trial(node: Node, spoil: Callable[[Node, Slot], object], deadline: float, *, tries: int = 1) -> Broken:
    """Arm the release in the other slot, break its trial, and wait until the slot that runs is back.

    Args:
        node: It runs its good slot.
        spoil: Breaks the trial of a slot that is armed, as :attr:`Fault.apply`.
        deadline: Seconds that the release in the other slot has to be committed.
        tries: Boots that the trial gets.

    Raises:
        ProaError: ``REHEARSAL`` when the trial was committed, or the node knows of none that came back; ``TIMEOUT``.
    """
    machine, before = node.machine, node.booted()
    events, mark = len(machine.events), machine.console.mark()
    node.arm(tries)
    spoil(node, before.slot.other)
    machine.succeed("systemctl reboot --no-block")
    seconds = tries * (deadline + machine.limits.boot) + 2 * machine.limits.boot
    node.wait_for_slot(before.slot, after=before.boot_id, seconds=seconds)
    status = node.status()
    if not status["returned"]:
        raise ProaError(Code.REHEARSAL, "the node runs the good slot, but knows of no trial that returned")
    acted = machine.succeed(f"cat {MARK} 2>/dev/null || true").strip()
    witness = Witness(acted, frozenset(event.name for event in machine.events[events:]))
    return Broken(status, witness, tuple(line.text for line in machine.console.lines[mark:]))
