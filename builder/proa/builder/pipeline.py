"""A whole build: the steps in order, kept results, and an output folder that appears only when all is done."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proa.builder import building, fingerprint, scratch, sources
from proa.builder import cache as kept
from proa.builder.cache import Cache
from proa.builder.config import Loaded
from proa.builder.context import Context, Made, Step
from proa.builder.keys import Keys
from proa.builder.node import accounts
from proa.builder.steps.disk import DISK
from proa.builder.steps.esp import ESP
from proa.builder.steps.initrd import INITRD
from proa.builder.steps.loader import LOADER
from proa.builder.steps.packages import PACKAGES
from proa.builder.steps.release import RELEASE
from proa.builder.steps.root import ROOT
from proa.builder.steps.sbom import SBOM
from proa.builder.steps.software import SOFTWARE
from proa.builder.steps.uki import UKI
from proa.builder.steps.verity import VERITY
from proa.core import events, process
from proa.core.errors import Code, ProaError
from proa.core.events import Monitor, Note, StepOutcome
from proa.core.files import new_folder, os_errors, replace

STEPS: Final[tuple[Step, ...]] = (
    PACKAGES,
    SOFTWARE,
    ROOT,
    VERITY,
    SBOM,
    INITRD,
    UKI,
    LOADER,
    ESP,
    RELEASE,
    DISK,
)
"""Every step, each behind those that it needs."""
RESULTS: Final[Mapping[str, tuple[str, str]]] = {
    "disk.raw": (DISK.name, "disk.raw"),
    "release": (RELEASE.name, "release"),
    "sbom.spdx.json": (SBOM.name, "sbom.spdx.json"),
}
"""What the output folder holds besides build.json: its name there, and the step and the name it comes from."""


@dataclass(frozen=True)
class Order:
    """What is to be built.

    Attributes:
        loaded: The configuration.
        out: The output folder; what is there is replaced when all is done.
        keys: The private keys, or None for an unsigned build.
        cache: The folder of kept results.
        monitor: Where progress goes.
        steps: The steps, each behind those that it needs.
    """

    loaded: Loaded
    out: Path
    keys: Keys | None
    cache: Cache
    monitor: Monitor
    steps: tuple[Step, ...] = STEPS

    @property
    def folder(self) -> Path:
        """The folder of proa.toml."""
        return self.loaded.path.parent

    @property
    def scratch(self) -> Path:
        """Where temporary folders are made."""
        return self.cache.folder / "tmp"


def build(order: Order) -> dict[str, Any]:
    """Build everything.

    Returns:
        The content of build.json (``proa.build/v1``).

    Raises:
        ProaError: ``BUSY`` if another build writes the same output, or what a step says. Nothing half done is left.
    """
    started = time.monotonic()
    with os_errors(order.out.parent):
        order.out.parent.mkdir(parents=True, exist_ok=True)
    with _lock(order.out):
        scratch.sweep(order.scratch)
        warn(order)
        run_hooks(order, "build-before", order.folder)
        epoch = source_date_epoch(order)
        with os_errors(order.out), new_folder(order.out) as work, scratch.folder(work, "steps") as results:
            made, outputs = _run_steps(order, epoch, results)
            for name, (step, source) in RESULTS.items():
                if step in outputs:
                    _place(outputs[step] / source, work / name)
            report = building.report(
                order.loaded.config.release,
                made,
                outputs,
                epoch=epoch,
                signed=order.keys is not None,
                seconds=time.monotonic() - started,
            )
            (work / "build.json").write_text(json.dumps(report, indent=1) + "\n")
            run_hooks(order, "build-after", work)
            _keep_numbers(order, outputs)
    return report


def warn(order: Order) -> None:
    """Say what builds but will hardly be meant."""
    if not order.loaded.config.trust.keys and order.keys is None:
        text = "no trusted key: nodes of this image refuse every release; give --keys, or set trust.keys"
        order.monitor.emit(Note(text, "warning"))
    elif order.keys is None:
        order.monitor.emit(Note("no --keys: neither the boot chain nor the release is signed", "warning"))


def plan(order: Order) -> dict[str, Any]:
    """What a build would do: for each step whether its result is kept, as far as that follows from kept results.

    Raises:
        ProaError: ``MIRROR``, or what is wrong with the configuration.
    """
    epoch = source_date_epoch(order)
    made: dict[str, Made] = {}
    outputs: dict[str, Path] = {}
    steps = []
    for step in order.steps:
        words = "made"
        if all(name in made for name in step.needs) and step.keep:
            context = _context(order, step, epoch, outputs, order.scratch)
            inputs = _inputs(step, context, made)
            entry = order.cache.find(step.name, fingerprint.of(inputs))
            if entry is not None:
                made[step.name] = Made(step.name, fingerprint.of(inputs), entry.digest, cached=True, seconds=0.0)
                outputs[step.name] = entry.folder
                words = "kept"
            else:
                differs = order.cache.missed(step.name, inputs)
                words = f"made: {differs} differs from the last time" if differs else "made: never made before"
        steps.append({"name": step.name, "title": step.title, "plan": words})
    return {"output": str(order.out), "epoch": epoch, "signed": order.keys is not None, "steps": steps}


def source_date_epoch(order: Order) -> int:
    """The time of the build in seconds: ``SOURCE_DATE_EPOCH``, else the date of the newest package index.

    Raises:
        ProaError: ``USAGE`` if the variable is no number, ``MIRROR``.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given:
        if not given.isdigit():
            raise ProaError(Code.USAGE, f"SOURCE_DATE_EPOCH is '{given}', not a number of seconds")
        return int(given)
    return sources.newest(sources.indexes(sources.archives(order.loaded.config, order.folder)))


def run_hooks(order: Order, point: str, cwd: Path) -> None:
    """Run the user's programs of a point on this machine.

    Raises:
        ProaError: ``HOOK``.
    """
    release = order.loaded.config.release
    for hook in (hook for hook in order.loaded.config.hook if hook.at == point):
        program = (order.folder / hook.run).absolute()
        variables = {"PROA_NAME": release.name, "PROA_VERSION": release.version, "PROA_OUT": str(cwd.absolute())}
        with events.step(order.monitor, f"hook {hook.run}"):
            done = process.run((program,), check=False, env=variables, cwd=cwd)
            if done.status != 0:
                raise process.failure(done, Code.HOOK)


def _run_steps(order: Order, epoch: int, results: Path) -> tuple[list[Made], dict[str, Path]]:
    made: dict[str, Made] = {}
    outputs: dict[str, Path] = {}
    for step in order.steps:
        with events.step(order.monitor, step.title) as handle, scratch.folder(order.scratch, step.name) as room:
            context = _context(order, step, epoch, outputs, room)
            started = time.monotonic()
            inputs = _inputs(step, context, made)
            key = fingerprint.of(inputs)
            outputs[step.name], digest, found = _result(order, step, context, inputs, results)
            handle.outcome = StepOutcome.CACHED if found else StepOutcome.DONE
            seconds = time.monotonic() - started
            made[step.name] = Made(step.name, key, digest, cached=found, seconds=seconds)
    return list(made.values()), outputs


def _context(order: Order, step: Step, epoch: int, outputs: Mapping[str, Path], room: Path) -> Context:
    return Context(
        config=order.loaded.config,
        folder=order.folder,
        keys=order.keys,
        epoch=epoch,
        scratch=room,
        cache=order.cache.folder,
        monitor=order.monitor,
        outputs={name: outputs[name] for name in step.needs},
    )


def _inputs(step: Step, context: Context, made: Mapping[str, Made]) -> dict[str, object]:
    """All that goes into a step's key."""
    return {
        "step": step.name,
        "code": fingerprint.code(type(step).__module__),
        "tools": {name: fingerprint.tool(name) for name in step.tools},
        "needs": {name: made[name].digest for name in step.needs},
        "inputs": step.inputs(context),
    }


def _result(
    order: Order, step: Step, context: Context, inputs: Mapping[str, object], results: Path
) -> tuple[Path, str, bool]:
    """The step's output folder, its digest, and whether it was kept from earlier."""
    if not step.keep:
        out = results / step.name
        out.mkdir()
        _run(step, context, inputs, out)
        needed = any(step.name in other.needs for other in order.steps)
        return out, kept.digest(out) if needed else "", False
    key = fingerprint.of(inputs)
    with order.cache.lock(step.name):
        entry = order.cache.find(step.name, key)
        if entry is not None:
            return entry.folder, entry.digest, True
        with order.cache.new(step.name, key, inputs) as out:
            _run(step, context, inputs, out)
        order.cache.prune(step.name)
        entry = order.cache.find(step.name, key)
    if entry is None:
        raise ProaError(Code.DEVICE, "a result reads back different from what was written", at=order.cache.folder)
    return entry.folder, entry.digest, False


def _run(step: Step, context: Context, inputs: Mapping[str, object], out: Path) -> None:
    step.run(context, out)
    if fingerprint.of(step.inputs(context)) != fingerprint.of(inputs["inputs"]):
        what = "what goes into this step changed while it ran"
        raise ProaError(Code.CONFIG, f"{step.title}: {what}", hint="Build again.")


def _place(source: Path, target: Path) -> None:
    """Bring a result into the output folder: moved if it is the build's own, else copied, holes kept."""
    with os_errors(target):
        if source.is_relative_to(target.parent):
            source.rename(target)
        else:
            process.run(("cp", "--recursive", "--reflink=auto", "--sparse=always", "--", source, target))


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    """Only one build at a time writes an output folder.

    The lock is a file in the machine's own temporary folder of this user, named by the output's path, so that the
    folder around the output stays clean.
    """
    name = hashlib.sha256(str(out.absolute()).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp")  # noqa: S108
    path = folder / f"proa-build-{os.geteuid()}-{name}.lock"
    handle = _locked(path, out)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _locked(path: Path, out: Path) -> int:
    """A handle that holds the lock; a file that its last holder took away in between does not count."""
    while True:
        with os_errors(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise ProaError(Code.BUSY, "another build writes this folder", at=out) from error
        if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
            return handle
        os.close(handle)


def _keep_numbers(order: Order, outputs: Mapping[str, Path]) -> None:
    """Write the lock file of users' numbers if the release has new ones."""
    if "root" not in outputs:
        return
    text = json.loads((outputs["root"] / "root.json").read_text())["accounts"]
    path = order.folder / accounts.LOCK
    if not path.exists() or path.read_text() != text:
        replace(path, text.encode())
        order.monitor.emit(Note(f"{path} was written: keep it beside proa.toml, under version control"))
