"""``make demo``: one node's whole life, told while it happens.

Build, sign, boot under Secure Boot, upgrade from a real registry, commit; then a broken release, and the return. Every
command is the one a user types. The report is ``build/demo/report.json`` (``proa.demo/v1``) and ``report.html``.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proa.core.runtime import output, process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import StepFinished, StepStarted, human_bytes
from proa.core.runtime.renderers import monitor
from proa.partition.boot.bootstate import Slot
from proa.vm.machine import accel, calibration
from proa.vm.machine.disks import DiskImage
from proa.vm.machine.machine import Machine
from proa.vm.machine.qemu import Hardware
from proa.vm.node.expectation import Witness, hint
from proa.vm.node.faults import BROKEN_CHECK, BROKEN_CHECK_STATUS, Break
from proa.vm.node.images import watchdog
from proa.vm.node.node import Node
from proa.vm.support.registry import LocalRegistry
from proa.vm.support.report import DemoReport, StepRecord, Story

FOLDER = Path("build/demo")
_BROKEN_CHECK = f"""
[[check]]
name = "{BROKEN_CHECK}"
content = '''
#!/bin/sh
echo "this release was broken on purpose" >&2
exit {BROKEN_CHECK_STATUS}
'''
"""
TRIAL_SECONDS = 600
"""The deadline of a trial on the reference machine."""
BROKEN_SECONDS = 240
"""The same of the broken release, whose trial lasts until then."""


@dataclass
class Demo:
    """The story and what its steps share."""

    folder: Path
    story: Story = field(default_factory=lambda: Story(DemoReport, "Proa: one node's life"))
    consoles: dict[str, str] = field(default_factory=dict)
    slowness: float = 1.0
    """How many times as slowly as the reference this machine runs guests."""

    @property
    def keys(self) -> Path:
        """The folder of keys; kept from run to run, as a user keeps his."""
        return self.folder / "keys"

    def run(self) -> None:
        """Tell the whole story; the report is written however it ends.

        Raises:
            ProaError: What went wrong.
        """
        self.slowness = calibration.now()
        say(f"Emulation or virtualisation: {accel.choose().accel.name}. Files are in {self.folder}/.")
        say(f"   Guests take {self.slowness:.1f} times as long here as on the reference machine; deadlines are scaled.")
        with self.story.written(self.folder, self.consoles, say):
            self._keys()
            for version in ("1.0.0", "2.0.0", "3.0.0"):
                self._build(version)
            for name in ("registry", "vm"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
            with (
                LocalRegistry(self.folder / "registry", auth=("node", "demo-password")) as registry,
                Machine(self._hardware(), (self.folder / "vm").resolve(), name="node") as machine,
            ):
                try:
                    self._live(registry, machine)
                finally:
                    self.consoles["node"] = machine.console.text

    # build

    def _keys(self) -> None:
        say("1. Keys: one pair signs releases; three certificates become the firmware's own Secure Boot keys.")
        if not self.keys.exists():
            self._command("make keys", "proa-build", "keys", "init", str(self.keys))
        else:
            say(f"   {self.keys} exists from an earlier run.")

    def _build(self, version: str) -> None:
        config = self.folder / "node" / "proa.toml"
        if version == "1.0.0":
            say("2. A node image from a package list. Later releases reuse every step whose inputs are the same.")
            shutil.rmtree(config.parent, ignore_errors=True)
            self._command("write proa.toml", "proa-build", "init", str(config.parent))
        if version == "3.0.0":
            say("   Version 3.0.0 is broken on purpose: its health check always fails.")
        config = self.config(config, broken=version == "3.0.0")
        words = ["proa-build", "image", "-c", str(config), "-o", str(self._out(version)), "--version", version]
        with self._shown(f"build {version}", *words, "--keys", str(self.keys)) as (record, built):
            record.details |= {"root_hash": built["root_hash"], "sizes": built["sizes"]}

    def config(self, template: Path, *, broken: bool) -> Path:
        """The user's proa.toml with deadlines that fit this machine; and what is broken, if it is."""
        seconds = calibration.stretched(BROKEN_SECONDS if broken else TRIAL_SECONDS, self.slowness)
        health = f'[health]\ndeadline = "{seconds} s"\nwatchdog = "{watchdog(self.slowness)} s"\n'
        config = template.with_name("broken.toml" if broken else "demo.toml")
        config.write_text(template.read_text().replace("[health]\n", health) + (_BROKEN_CHECK if broken else ""))
        return config

    def _out(self, version: str) -> Path:
        return self.folder / version

    # live

    def _hardware(self) -> Hardware:
        return Hardware(disks=(DiskImage((self._out("1.0.0") / "disk.raw").resolve()),), keys=self.keys.resolve())

    def _live(self, registry: LocalRegistry, machine: Machine) -> None:
        node = Node(machine)
        say("3. A real registry, with TLS and a login, gets the releases with their signatures.")
        references = {version: self._push(registry, version) for version in ("2.0.0", "3.0.0")}
        say("4. The disk boots in QEMU: firmware with only our keys, shim, GRUB, kernel image, verified root.")
        with self._step("first boot") as record:
            machine.wait_for_boot()
            first = node.booted()
            record.details |= slots(node.status())
        node.trust_registry(registry)
        say("5. The node upgrades itself: verify, stream to the other slot, read back, try, check, commit.")
        self._install(node, "2.0.0", references)
        with self._step("try 2.0.0 and commit") as record:
            self._reboot_into_trial(node)
            second = node.wait_for_slot(first.slot.other, after=first.boot_id)
            record.details |= slots(node.status())
        say("6. A broken release: its health check fails, so nothing commits it, and the node returns by itself.")
        self._install(node, "3.0.0", references)
        with self._step("try 3.0.0 and return") as record:
            self._reboot_into_trial(node)
            node.wait_for_slot(second.slot, after=second.boot_id)
            status = node.status()
            record.details |= slots(status) | {"why": status["returned"]}
            check_return(status, self.slowness)
        machine.shutdown()

    def _push(self, registry: LocalRegistry, version: str) -> str:
        name = f"demo/node:{version}"
        words = ["proa-build", "push", str(self._out(version)), f"{registry.address}/{name}"]
        words += ["--ca-file", str(registry.ca_file), "--auth-file", str(registry.auth_file)]
        with self._shown(f"push {version}", *words) as (record, pushed):
            record.details["reference"] = pushed["reference"]
        return f"{registry.guest_address}/{name}"

    def _install(self, node: Node, version: str, references: dict[str, str]) -> None:
        with self._step(f"install {version}") as record:
            done = node.install(references[version])
            record.details |= {"bytes": done["bytes"], "peak_memory": done["peak_memory"]}

    def _reboot_into_trial(self, node: Node) -> None:
        node.arm()
        node.machine.succeed("systemctl reboot --no-block")

    # telling

    def _command(self, name: str, *words: str) -> None:
        with self._step(name):
            say_command(words)
            process.run([_program(words[0]), *words[1:]], show=True)

    @contextlib.contextmanager
    def _shown(self, name: str, *words: str) -> Iterator[tuple[StepRecord, dict[str, Any]]]:
        """A step that is one command with ``--json``: its progress is seen, its document is given."""
        with self.story.step(name) as record:
            say_command(words)
            result = process.run([_program(words[0]), *words[1:], "--json"], show=True, check=False)
            document = json.loads(result.stdout or b"{}")
            if result.status != 0:
                raise process.failure(result)
            yield record, document

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[StepRecord]:
        shown = monitor("auto")
        shown.emit(StepStarted(name))
        with self.story.step(name) as record:
            yield record
        shown.emit(StepFinished(name, record.seconds, detail=str(record.details.get("slots", ""))))


def check_return(status: dict[str, Any], slowness: float) -> None:
    """Check that the broken release came back because it is broken.

    Raises:
        ProaError: ``REHEARSAL``.
    """
    returned = status["returned"]
    if not returned:
        raise ProaError(Code.REHEARSAL, "the node runs the good slot, but knows of no trial that returned")
    if problem := Break.UNHEALTHY.value.cause.problem(returned, Witness()):
        raise ProaError(Code.REHEARSAL, problem, hint=hint(returned, slowness))


def slots(status: dict[str, Any]) -> dict[str, str]:
    """Both slots in words, for the table."""
    both = {name: f"{slot['version'] or 'empty'} ({slot['state']})" for name, slot in status["slots"].items()}
    return {"booted": status["booted"], "slots": ", ".join(f"{slot.value}: {both[slot.value]}" for slot in Slot)}


def table(story: Story) -> str:
    """The final table: step, seconds, what it came to."""
    rows = [f"{'step':<28} {'seconds':>8}  what"]
    for record in story.steps:
        details = record.details
        size = details.get("bytes")
        what = details.get("slots") or (human_bytes(size["fetch"]) + " fetched" if isinstance(size, dict) else "")
        what = what or (f"root hash {details['root_hash'][:16]}..." if "root_hash" in details else "")
        rows.append(f"{record.name:<28} {record.seconds:>8.1f}  {what if record.ok else 'FAILED'}".rstrip())
    return "\n".join([*rows, f"{'in all':<28} {story.seconds:>8.1f}"])


def say(text: str) -> None:
    """One line of commentary."""
    output.say(text, bold=not text.startswith(" "))


def say_command(words: tuple[str, ...]) -> None:
    """The command that runs now, as it can be typed."""
    output.say(f"   $ {process.pasteable(words)}")


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def main() -> None:
    """Run the demo; exit status 0 when all came out as promised."""
    demo = Demo(FOLDER)
    try:
        demo.run()
    except ProaError as error:
        output.say(error.text("demo"), err=True)
        sys.exit(int(error.exit))
    finally:
        output.say("\n" + table(demo.story))
        output.say(f"\nreport: {FOLDER / 'report.json'}, {FOLDER / 'report.html'}, {FOLDER / 'console-node.log'}")


if __name__ == "__main__":
    main()
