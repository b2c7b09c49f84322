"""A Proa node in a virtual machine: the verbs of its agent, and waiting for what it does by itself."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proa.agent.node.settings import INITRD_DEADLINE
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.printable import printable
from proa.partition.boot.bootstate import Slot
from proa.vm.machine.machine import Machine
from proa.vm.support.registry import LocalRegistry

WELL = "systemctl is-system-running"
"""A command that succeeds once a node has come up with nothing failed, its agent answering."""
JOURNAL_LINES: Final = 30
"""How many of the last lines of a returned trial's journal a report shows."""
_LINE: Final = 400
_POLL_SECONDS = 2.0
_SETTLED = "systemctl is-active proa-agent.service && ! systemctl is-active proa-deadline.timer"
"""The agent serves, and no trial waits for its commit."""


@dataclass(frozen=True)
class BootedNode:
    """What the initrd found out about the running boot (``/run/proa/boot.json``)."""

    boot_id: str
    slot: Slot
    root_hash: str
    trial: bool


class Node:
    """The agent of a node, asked over SSH.

    Args:
        machine: A machine whose disk Proa built, with SSH.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    # asking

    def status(self) -> dict[str, Any]:
        """``proa-agent status`` as its JSON document (``proa.status/v1``).

        Raises:
            ProaError: ``TOOL``, ``TIMEOUT`` or ``NETWORK``.
        """
        return self.agent("status")

    def booted(self) -> BootedNode:
        """What is running.

        Raises:
            ProaError: ``TOOL``, ``TIMEOUT`` or ``NETWORK``.
        """
        text = self.machine.succeed("cat /proc/sys/kernel/random/boot_id /run/proa/boot.json")
        boot_id, document = text.split("\n", 1)
        seen = json.loads(document)
        return BootedNode(boot_id, Slot(seen["slot"]), seen["root_hash"], seen["trial"])

    def agent(self, *words: str, seconds: float | None = None) -> dict[str, Any]:
        """Run a verb of ``proa-agent`` and return its document.

        Raises:
            ProaError: the agent's own code where it gave one, else ``TOOL``; ``TIMEOUT``, ``NETWORK``.
        """
        command = shlex.join(("proa-agent", *words, "--json"))
        result = self.machine.execute(command, seconds=seconds)
        try:
            document = json.loads(result.text)
        except ValueError:
            said = (result.stdout + result.stderr).decode(errors="replace")[-2000:]
            raise ProaError(Code.TOOL, f"status {result.status}, and no JSON document:\n{said}", at=command) from None
        if result.status != 0:
            raise ProaError(Code[document["code"]], document["message"], at=command, hint=document["hint"])
        return dict(document)

    def journal_of_return(self) -> tuple[str, ...]:
        """The last lines that the trial which returned last left in its journal; none where it left no journal.

        Raises:
            ProaError: ``TOOL``, ``TIMEOUT`` or ``NETWORK``.
        """
        returned = self.status()["returned"]
        if not returned or not returned.get("journal"):
            return ()
        text = self.machine.succeed(f"proa-agent returned --journal | tail -n {JOURNAL_LINES} | cut -c 1-{_LINE}")
        return tuple(printable(line) for line in text.splitlines())

    def trial_deadline(self) -> float:
        """Seconds in which the running release must be committed when it is tried, by its signed command line.

        Raises:
            ProaError: ``TOOL``, ``TIMEOUT`` or ``NETWORK``.
        """
        line = self.machine.succeed("cat /proc/cmdline")
        given = [word.partition("=")[2] for word in line.split() if word.startswith("proa.deadline=")]
        return float(given[-1]) if given else INITRD_DEADLINE

    # acting

    def trust_registry(self, registry: LocalRegistry) -> None:
        """Give the node the registry's certificate authority and credentials, in ``/etc/proa``; a power cut keeps them.

        Raises:
            ProaError: ``TOOL``, ``TIMEOUT`` or ``NETWORK``.
        """
        settings = []
        for key, path in (("ca_file", registry.ca_file), ("auth_file", registry.auth_file)):
            if path is not None:
                target = f"/etc/proa/{key}"
                settings.append(f'{key} = "{target}"')
                self.machine.succeed(f"install -D -m 600 /dev/stdin {target}", stdin=path.read_bytes())
        text = "\n".join([*settings, ""])
        self.machine.succeed("install -D -m 600 /dev/stdin /etc/proa/registry.toml && sync", stdin=text.encode())

    def install(self, reference: str) -> dict[str, Any]:
        """Stage a release; returns ``proa.install/v1``.

        Raises:
            ProaError: the agent's refusal.
        """
        return self.agent("install", reference, "--progress", "none", seconds=self.machine.limits.command * 4)

    def arm(self, tries: int = 1) -> None:
        """Order the other slot to be tried at the next boot.

        Raises:
            ProaError: the agent's refusal.
        """
        self.agent("activate", "--tries", str(tries))

    def put_into_etc(self, path: str, content: str, mode: str = "644") -> None:
        """Write a file below /etc; a power cut keeps it. The agent takes the running /etc along into a trial.

        Raises:
            ProaError: ``TOOL``, ``TIMEOUT`` or ``NETWORK``.
        """
        target = shlex.quote(f"/etc/{path}")
        self.machine.succeed(f"install -D -m {mode} /dev/stdin {target} && sync", stdin=content.encode())

    # waiting

    def wait_for_slot(self, slot: Slot, after: str, seconds: float | None = None) -> BootedNode:
        """Wait until another boot than ``after`` (a boot id) runs ``slot`` as the good one, with its agent answering.

        Raises:
            ProaError: ``REHEARSAL`` when the other slot runs as the good one, and says why if a trial came back;
                ``TIMEOUT``, or ``CONSOLE`` when the machine ended.
        """
        machine = self.machine
        what = f"{machine.name}: slot {slot.value} committed"
        deadline = machine.limits.deadline("boot", what, seconds or machine.limits.boot * 3)
        while True:
            settled = None
            with contextlib.suppress(ProaError):
                machine.wait_for_boot(deadline.remaining)
                seen = self.booted()
                settled = self._settled(seen.slot) if seen.boot_id != after else None
            if settled and seen.slot is slot:
                return seen
            if settled:
                raise self._wrong_slot(settled, what)
            if not machine.running:
                raise ProaError(Code.CONSOLE, f"{what}: the machine ended", hint=machine.console.tail())
            if deadline.passed:
                raise ProaError(Code.TIMEOUT, f"{what}: not in {deadline.seconds:.0f} s", hint=machine.console.tail())
            machine.clock.sleep(_POLL_SECONDS)

    def _settled(self, slot: Slot) -> dict[str, Any] | None:
        """The status once the running slot is the good one and its agent serves; the agent, slow in emulation, is last.

        Raises:
            ProaError: ``TOOL`` while the agent does not serve, or a trial waits for its commit; ``NETWORK``.
        """
        self.machine.succeed(_SETTLED)
        status = self.status()
        return status if status["good"] == slot.value and status["state"] not in ("trial", "leaving") else None

    def _wrong_slot(self, status: Mapping[str, Any], what: str) -> ProaError:
        returned = status["returned"]
        why = f"the trial came back: {returned['cause']}: {returned['reason']}" if returned else "it was committed"
        told = f"{what}: slot {status['good']} runs, {why}"
        return ProaError(Code.REHEARSAL, told, hint=self.machine.console.tail())
