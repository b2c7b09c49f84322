"""Named ways to break a trial on a running node, without building or signing anything.

Most are a unit or a file in /etc, which the agent takes along into the trial; it acts on a trial only. The others
damage what lies in the standby slot.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from proa.partition.boot.bootstate import Slot
from proa.vm.node.node import Node

_UNIT = """\
[Unit]
Description=Break this trial: {what}
ConditionPathExists=/run/proa/boot.json
After=local-fs.target
DefaultDependencies=no

[Service]
Type=oneshot
ExecCondition=/bin/grep -q '"trial": true' /run/proa/boot.json
ExecStart=/bin/sh -c '{command}'
"""
_NO_AGENT = """\
[Service]
ExecCondition=/bin/sh -c '! grep -q trial.:.true /run/proa/boot.json'
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
        expected: Bad signs on the console that belong to it (:mod:`proa.vm.machine.console_patterns`).
    """

    what: str
    apply: Callable[[Node, Slot], None]
    expected: tuple[str, ...] = ()


def _unit(command: str, what: str) -> Callable[[Node, Slot], None]:
    """A unit that runs ``command`` early in the trial."""

    def apply(node: Node, _: Slot) -> None:
        _clear(node)
        node.put_into_etc("systemd/system/proa-break.service", _UNIT.format(what=what, command=command))
        wants = "/etc/systemd/system/sysinit.target.wants"
        node.machine.succeed(f"mkdir -p {wants} && ln -sf ../proa-break.service {wants}/proa-break.service")

    return apply


def _unhealthy(node: Node, _: Slot) -> None:
    _clear(node)
    script = f"#!/bin/sh\n{_ON_TRIAL}echo 'this release was broken on purpose' >&2\nexit 1\n"
    node.put_into_etc("proa/health.d/50-broken", script, "755")


def _no_agent(node: Node, _: Slot) -> None:
    _clear(node)
    node.put_into_etc("systemd/system/proa-agent.service.d/proa-break.conf", _NO_AGENT)


def _clear(node: Node) -> None:
    """Take away an earlier break."""
    files = "systemd/system/proa-break.service systemd/system/sysinit.target.wants/proa-break.service "
    files += "proa/health.d/50-broken systemd/system/proa-agent.service.d/proa-break.conf"
    node.machine.succeed(f"cd /etc && rm -f {files}")


def _flip(partition: str, offset: int) -> Callable[[Node, Slot], None]:
    """Invert the byte at ``offset`` of the standby's partition, past all caches."""

    def apply(node: Node, slot: Slot) -> None:
        device = f"/dev/disk/by-partlabel/{partition}-{slot.value.upper()}"
        flip = f"import os;f=os.open('{device}',os.O_RDWR);b=os.pread(f,1,{offset});"
        flip += f"os.pwrite(f,bytes([b[0]^255]),{offset});os.fsync(f)"
        node.machine.succeed(f'python3 -c "{flip}"')

    return apply


class Break(enum.Enum):
    """The ways, by the names that ``proa-vm rehearse --break`` takes."""

    PANIC = Fault(
        "the kernel panics",
        _unit("echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger", "the kernel panics"),
        ("kernel-panic",),
    )
    HANG = Fault(
        "the system hangs and only the hardware watchdog is left",
        _unit(_STARVE, "PID 1 gets no time"),
        ("rcu-stall", "soft-lockup"),
    )
    UNHEALTHY = Fault("a health check fails", _unhealthy)
    EMERGENCY = Fault(
        "the system drops to an emergency shell",
        _unit("systemctl --no-block --job-mode=replace-irreversibly isolate emergency.target", "emergency shell"),
        ("emergency-mode", "failed-unit", "dependency-failed"),
    )
    NO_AGENT = Fault("the agent never starts", _no_agent)
    CORRUPT = Fault(
        "a byte of the root is altered",
        _flip("ROOT", 1024),
        ("kernel-panic", "panic-on-verity", "verity-error", "erofs-error"),
    )
    CORRUPT_UKI = Fault(
        "a byte of the kernel image is altered", _flip("UKI", 8 << 20), ("signature-refused", "grub-error")
    )

    @property
    def option(self) -> str:
        """The name on the command line."""
        return self.name.lower().replace("_", "-")

    @classmethod
    def of(cls, option: str) -> Break:
        """The break of that name on the command line; ``KeyError`` if there is none."""
        return cls[option.upper().replace("-", "_")]
