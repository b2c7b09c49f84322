"""Rehearse an update: boot the old release, upgrade it by its own agent, then break the new one and watch it return."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proa.core.artifact.release_artifact import copy_release
from proa.core.oci.reference import parse
from proa.core.oci.registry import open_source
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import SILENT, Monitor, Note, step
from proa.core.runtime.files import check_writable, os_errors
from proa.core.schema.model import Report, field
from proa.vm.machine import calibration, firmware
from proa.vm.machine.disks import DiskImage
from proa.vm.machine.machine import Machine
from proa.vm.machine.qemu import Hardware
from proa.vm.node.beforehand import check_acceptance
from proa.vm.node.expectation import hint
from proa.vm.node.faults import Break, break_trial
from proa.vm.node.node import Node
from proa.vm.support.registry import LocalRegistry
from proa.vm.support.report import StepRecord, Story, StoryReport

_BREAKS = [fault.option for fault in Break]


@dataclass(frozen=True)
class RehearsalReport(StoryReport, schema="proa.rehearsal/v1"):
    """`proa-vm rehearse`, and `report.json` in its report folder."""

    old: str = field("The output folder of the build that the node ran.")
    new: str = field("The output folder of the build that the node was upgraded to.")
    secure_boot: bool = field("Whether Secure Boot was enforced.")
    breaks: tuple[str, ...] = field("How the new release was broken.", items={"enum": _BREAKS})


@dataclass(frozen=True)
class RehearsalPlan(Report, schema="proa.rehearsal-plan/v1"):
    """`proa-vm rehearse --dry-run`: what would be done; what can be checked before has been."""

    old: str = field("The output folder of the build that the node would run.")
    new: str = field("The output folder of the build that the node would be upgraded to.")
    breaks: tuple[str, ...] = field("How the new release would be broken.", items={"enum": _BREAKS})


@dataclass(frozen=True)
class RehearsalRequest:
    """What to rehearse.

    Attributes:
        old: The output folder of the build that the node runs.
        new: The output folder of the build that it is upgraded to.
        keys: The folder with the Secure Boot keys; None boots without Secure Boot.
        report: The folder for ``report.json``, ``report.html`` and the console.
        breaks: How the new release is broken afterwards.
        memory: MiB of the machine.
    """

    old: Path
    new: Path
    keys: Path | None
    report: Path
    breaks: Sequence[Break] = ()
    memory: int = 1024

    def check(self) -> None:
        """Check what can be checked before anything is booted.

        Raises:
            ProaError: ``FILE_MISSING``; ``KEY`` when the folder of keys is none; why the report cannot be written;
                what the node would refuse the release with.
        """
        for path in (self.old / "disk.raw", self.new / "release"):
            if not path.exists():
                raise ProaError(
                    Code.FILE_MISSING, f"{path} does not exist: is this the output folder of a build?", at=path
                )
        if self.keys is not None:
            firmware.check_keys(self.keys)
        check_writable(self.report)
        check_acceptance(self.old / "disk.raw", self.new / "release")


class Rehearsal:
    """One rehearsal; :meth:`run` does it."""

    def __init__(self, request: RehearsalRequest, monitor: Monitor = SILENT) -> None:
        self.request = request
        self.monitor = monitor
        self.story = Story(RehearsalReport, "Rehearsal of an update")

    def run(self) -> dict[str, Any]:
        """Do it and write the report, also when it fails.

        Returns:
            ``proa.rehearsal/v1``.

        Raises:
            ProaError: ``REHEARSAL`` when something did not come out as promised, with the report in ``at``; before
                anything is booted ``FILE_MISSING`` or what the registry raises.
        """
        self.request.check()
        with os_errors(self.request.report):
            self.request.report.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="proa-rehearse-"))
        consoles: dict[str, str] = {}
        with self.story.written(self.request.report, consoles, self._warn, self._facts):
            try:
                with LocalRegistry(work / "registry", auth=("node", "rehearsal")) as registry:
                    machine = Machine(self._hardware(), work / "vm", name="rehearsal")
                    try:
                        with machine:
                            self._tell(machine, registry)
                    finally:
                        consoles["node"] = machine.console.text
            except ProaError as error:
                raise ProaError(
                    Code.REHEARSAL,
                    f"{self.story.steps[-1].name if self.story.steps else 'preparing'}: {error.message}",
                    at=self.request.report / "report.html",
                    hint=error.hint,
                ) from error
            finally:
                shutil.rmtree(work, ignore_errors=True)
        return self.story.document(**self._facts())

    def _warn(self, text: str) -> None:
        self.monitor.emit(Note(text, "warning"))

    # the story

    def _tell(self, machine: Machine, registry: LocalRegistry) -> None:
        node = Node(machine)
        with self._step("push the new release"):
            reference = push(self.request.new, registry, "rehearsal")
        with self._step("boot the old release") as record:
            machine.wait_for_boot()
            first = node.booted()
            record.details["slots"] = _slots(node.status())
        node.trust_registry(registry)
        with self._step("install the new release") as record:
            installed = node.install(reference)
            record.details |= {"bytes": installed["bytes"], "node_seconds": installed["seconds"]}
        with self._step("try it and commit") as record:
            node.arm()
            machine.succeed("systemctl reboot --no-block")
            began = machine.clock.monotonic()
            with journal_told(node, record):
                now = node.wait_for_slot(first.slot.other, after=first.boot_id)
            took, deadline = machine.clock.monotonic() - began, node.trial_deadline()
            record.details |= {"slots": _slots(node.status()), "trial": {"seconds": round(took), "deadline": deadline}}
            if took > deadline / 2:
                self._warn(f"the trial took {took:.0f} s of its {deadline:.0f} s: on a busier machine it will return")
        if self.request.breaks:
            with self._step("roll back by order") as record:
                node.agent("rollback")
                machine.succeed("systemctl reboot --no-block")
                node.wait_for_slot(first.slot, after=now.boot_id)
                record.details["slots"] = _slots(node.status())
        for fault in self.request.breaks:
            with self._step(f"break it: {fault.option}") as record:
                node.install(reference)
                break_release(node, fault, deadline, record)
        self._check_console(machine)

    def _check_console(self, machine: Machine) -> None:
        allowed = {sign for fault in self.request.breaks for sign in fault.value.expected}
        findings = machine.findings(*allowed)
        if findings:
            raise ProaError(Code.CONSOLE, f"the console shows: {findings[0]}")

    # small parts

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[StepRecord]:
        with self.story.step(name) as record, step(self.monitor, name):
            yield record

    def _hardware(self) -> Hardware:
        disk = DiskImage(self.request.old / "disk.raw")
        return Hardware(disks=(disk,), memory=self.request.memory, keys=self.request.keys)

    def _facts(self) -> Mapping[str, Any]:
        return {
            "old": str(self.request.old),
            "new": str(self.request.new),
            "secure_boot": self.request.keys is not None,
            "breaks": [fault.option for fault in self.request.breaks],
        }


def rehearse(request: RehearsalRequest, monitor: Monitor = SILENT) -> dict[str, Any]:
    """Rehearse, and say where the report is. See :meth:`Rehearsal.run`."""
    document = Rehearsal(request, monitor).run()
    monitor.emit(Note(f"report: {request.report / 'report.html'}"))
    return document


def break_release(node: Node, fault: Break, deadline: float, record: StepRecord) -> None:
    """Break the trial of the release that is staged, and see why it comes back.

    Args:
        node: It runs its good slot.
        fault: How the trial is broken.
        deadline: Seconds that the release has to be committed.
        record: Gets what was found, also when that is wrong.

    Raises:
        ProaError: ``REHEARSAL`` when the node does not return, or for another reason than the break.
    """
    broken = break_trial(node, fault.value.apply, deadline)
    returned = broken.returned
    details = {"expected": fault.value.what, "cause": returned["cause"], "why": returned["reason"]}
    record.details |= {**details, "slots": _slots(broken.status), "journal": list(node.journal_of_return())}
    if problem := fault.value.cause.problem(returned, broken.witness):
        told = hint(returned, calibration.known()) or _end_of_journal(record)
        raise ProaError(Code.REHEARSAL, problem, hint=told)


@contextlib.contextmanager
def journal_told(node: Node, record: StepRecord) -> Iterator[None]:
    """Add the last lines of the trial's journal to a step in which it should have been committed, and was not.

    Raises:
        ProaError: what the block raised; those lines are its hint, where there are any.
    """
    try:
        yield
    except ProaError as error:
        with contextlib.suppress(ProaError):  # the node may not answer any more: that it failed is what counts
            record.details["journal"] = list(node.journal_of_return())
        told = _end_of_journal(record) or error.hint
        raise ProaError(error.code, error.message, at=error.at, hint=told) from error


def push(build: Path, registry: LocalRegistry, name: str) -> str:
    """Push the release of a build to a local registry; returns its reference as a guest writes it.

    Args:
        build: The output folder of the build.
        registry: The registry.
        name: The repository in it.

    Raises:
        ProaError: See :func:`proa.core.artifact.release_artifact.copy_release`.
    """
    with open_source(parse(f"oci:{build / 'release'}")) as source, registry.open(name) as target:
        return f"{registry.guest_address}/{name}@{copy_release(source, target)}"


def as_text(document: Mapping[str, Any]) -> str:
    """What was rehearsed as a person reads it: each step, why a trial returned, and the end of its journal."""
    lines = []
    for one in document["steps"]:
        lines.append(f"{one['seconds']:7.1f} s  {one['name']}")
        lines += [f"           {one[key]}" for key in ("slots", "why") if key in one]
        lines += [f"           | {line}" for line in one.get("journal", ())]
    return "\n".join([*lines, f"{document['seconds']:7.1f} s  as promised"])


def _end_of_journal(record: StepRecord) -> str:
    lines = record.details.get("journal", ())
    return "\n".join(("the trial's journal ends with:", *lines)) if lines else ""


def _slots(status: Mapping[str, Any]) -> str:
    """Both slots in one line, as ``a: 1.0.0 good, b: 2.0.0 fallback``."""
    return ", ".join(f"{name}: {slot['version'] or '-'} {slot['state']}" for name, slot in status["slots"].items())
