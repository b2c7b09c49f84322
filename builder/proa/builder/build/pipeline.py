"""A whole build: the steps in order, kept results, and an output folder that appears only when all is done."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from proa.builder.build import record
from proa.builder.build.record import BuildReport, PlannedBuild, PlannedStep
from proa.builder.config.loading import Loaded
from proa.builder.config.settings import Config
from proa.builder.engine import cache as kept
from proa.builder.engine import output, resolve, scratch
from proa.builder.engine.cache import Entry, StepCache
from proa.builder.engine.context import BuildContext, BuildStep, Made
from proa.builder.engine.keys import Keys
from proa.builder.engine.resolve import Resolved, Supply
from proa.builder.inputs import fingerprint, imports
from proa.builder.node import accounts, software
from proa.builder.steps import packages
from proa.builder.steps.disk import DISK
from proa.builder.steps.early import EARLY
from proa.builder.steps.esp import ESP
from proa.builder.steps.fit import FIT
from proa.builder.steps.initrd import INITRD
from proa.builder.steps.loader import LOADER
from proa.builder.steps.modules import MODULES
from proa.builder.steps.packages import PACKAGES
from proa.builder.steps.provenance import PROVENANCE
from proa.builder.steps.release import RELEASE
from proa.builder.steps.root import ROOT
from proa.builder.steps.sbom import SBOM
from proa.builder.steps.software import SOFTWARE
from proa.builder.steps.uki import UKI
from proa.builder.steps.verity import VERITY
from proa.core.runtime import events, process
from proa.core.runtime.errors import Code, ProaError, ProaErrors
from proa.core.runtime.events import Monitor, Note, StepOutcome
from proa.core.runtime.files import new_folder, os_errors, replace
from proa.core.schema.model import document

STEPS: Final[tuple[BuildStep, ...]] = (
    PACKAGES,
    SOFTWARE,
    MODULES,
    ROOT,
    VERITY,
    SBOM,
    EARLY,
    INITRD,
    UKI,
    LOADER,
    ESP,
    FIT,
    PROVENANCE,
    RELEASE,
    DISK,
)
"""Every step, each behind those that it needs."""
RESULTS: Final[Mapping[str, tuple[str, str]]] = {
    "disk.raw": (DISK.name, "disk.raw"),
    "release": (RELEASE.name, "release"),
    "sbom.spdx.json": (SBOM.name, "sbom.spdx.json"),
    "sbom.cdx.json": (SBOM.name, "sbom.cdx.json"),
}
"""What the output folder holds besides build.json: its name there, and the step and the name it comes from."""
_EPOCH: Final = re.compile(r"[0-9]{1,10}")


def steps_of(config: Config) -> tuple[BuildStep, ...]:
    """The steps that a configuration asks for."""
    return tuple(step for step in STEPS if step is not DISK or "raw" in config.build.formats)


@dataclass(frozen=True)
class BuildOrder:
    """What is to be built.

    Attributes:
        loaded: The configuration.
        out: The output folder; what is there is replaced when all is done.
        keys: The private keys, or None for an unsigned build.
        cache: The folder of kept results.
        monitor: Where progress goes.
        steps: The steps, each behind those that it needs.
        supply: How packages may be come by.
    """

    loaded: Loaded
    out: Path
    keys: Keys | None
    cache: StepCache
    monitor: Monitor
    steps: tuple[BuildStep, ...] = STEPS
    supply: Supply = field(default_factory=Supply)

    @property
    def folder(self) -> Path:
        """The folder of proa.toml."""
        return self.loaded.path.parent

    @property
    def scratch(self) -> Path:
        """Where temporary folders are made."""
        return self.cache.folder / "tmp"


def build(order: BuildOrder) -> BuildReport:
    """Build everything.

    Returns:
        The content of build.json.

    Raises:
        ProaError: ``BUSY`` if another build writes the same output, ``FILE_EXISTS`` if the output folder holds
            something else, or what a step says. Nothing half done is left.
    """
    started = time.monotonic()
    check_output(order)
    with os_errors(order.out.parent):
        order.out.parent.mkdir(parents=True, exist_ok=True)
    with output.lock(order.out):
        scratch.spread(order.scratch)
        scratch.sweep(order.scratch)
        check_trust(order)
        run_hooks(order, "build-before", order.folder)
        resolve.forget()
        if PACKAGES in order.steps:
            _resolve_beside(order)
        epoch = source_date_epoch(order)
        check_expiry(order.loaded, epoch)
        output.sweep(order.out)
        with (
            os_errors(order.out),
            new_folder(order.out) as work,
            scratch.folder(work, "steps") as results,
            ExitStack() as held,
        ):
            made, outputs = _run_all(order, epoch, results, held)
            for name, (step, source) in RESULTS.items():
                if step in outputs:
                    output.place(outputs[step] / source, work / name)
            report = record.report(
                order.loaded.config.release,
                made,
                outputs,
                epoch=epoch,
                signed=order.keys is not None,
                seconds=time.monotonic() - started,
            )
            (work / output.REPORT).write_text(json.dumps(document(report), indent=1) + "\n")
            run_hooks(order, "build-after", work)
            _keep_numbers(order, outputs)
    return report


def check_output(order: BuildOrder) -> None:
    """Refuse an output folder that is not one before anything is built.

    Raises:
        ProaError: ``FILE_EXISTS``.
    """
    inputs = {order.folder: "the configuration", order.cache.folder: "the cache", Path.cwd(): "the current folder"}
    if order.keys is not None:
        inputs[order.keys.folder] = "the keys"
    output.check(order.out, inputs)


def check_trust(order: BuildOrder) -> None:
    """Say what builds but will hardly be meant, and refuse what no release could ever satisfy.

    Raises:
        ProaError: ``CONFIG_VALUE`` when more keys must sign than are trusted.
    """
    trust, keys = order.loaded.config.trust, order.keys
    trusted = len(trust.keys or (keys.public if keys is not None else ()))
    if not trusted:
        text = "no trusted key: nodes with this image will refuse every release; pass --keys, or set trust.keys"
        order.monitor.emit(Note(text, "warning"))
    elif trust.threshold > trusted:
        at = order.loaded.origins.get("trust.threshold", order.loaded.path)
        raise ProaError(Code.CONFIG_VALUE, f"{trust.threshold} keys must sign, but only {trusted} are trusted", at=at)
    elif keys is None:
        order.monitor.emit(Note("no --keys: neither the boot chain nor the release is signed", "warning"))


def check_expiry(loaded: Loaded, epoch: int) -> None:
    """No node would ever install a release that has expired when it is built.

    Raises:
        ProaError: ``CONFIG_VALUE``.
    """
    expires = loaded.config.release.expires
    if expires and datetime.fromisoformat(expires).timestamp() <= epoch:
        what = f"the release expires at {expires}, before the time of its build"
        raise ProaError(Code.CONFIG_VALUE, what, at=loaded.place("release.expires"))


def plan(order: BuildOrder) -> PlannedBuild:
    """What a build would do: for each step whether its result is kept, as far as that follows from kept results.

    Raises:
        ProaError: ``FILE_EXISTS``, ``MIRROR``, or what is wrong with the configuration.
    """
    check_output(order)
    resolve.forget()
    epoch = source_date_epoch(order, fetch=False)
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
                words = f"made: {differs} differs from last time" if differs else "made: for the first time"
        steps.append(PlannedStep(step.name, step.title, words))
    return PlannedBuild(str(order.out), epoch, order.keys is not None, tuple(steps))


def source_date_epoch(order: BuildOrder, *, fetch: bool = True) -> int:
    """The time of the build in seconds: ``SOURCE_DATE_EPOCH``, else the date of the newest of its packages.

    Args:
        order: What is to be built.
        fetch: Whether packages that are not kept are fetched; else only the kept ones count.

    Raises:
        ProaError: ``USAGE`` if the variable is not a number, ``MIRROR``.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given:
        if not _EPOCH.fullmatch(given):
            raise ProaError(
                Code.USAGE, f"SOURCE_DATE_EPOCH is '{given}', which is not a number of seconds before the year 2286"
            )
        return int(given)
    request = packages.request(order.loaded.config, order.folder, order.cache.folder, order.supply)
    found = resolved(order)
    if fetch:
        resolve.fetch(request, found)
    return resolve.newest(request, found)


def resolved(order: BuildOrder) -> Resolved:
    """The packages of the build.

    Raises:
        ProaError: ``PACKAGES``, ``MIRROR``, with the place of the setting that asks for what is not there.
    """
    config = order.loaded.config
    try:
        return resolve.resolve(packages.request(config, order.folder, order.cache.folder, order.supply))
    except ProaErrors as several:
        errors = [
            ProaError(one.code, one.message, at=packages.setting_of(config, one.at) or one.at, hint=one.hint)
            for one in several.errors
        ]
        raise ProaErrors([_at_place(one, order.loaded) for one in errors]) from several


def _resolve_beside(order: BuildOrder) -> None:
    """Ask the mirrors, and read meanwhile what the keys of the steps have of our own code."""
    with imports.remembering(order.cache.folder / "sources.json"), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(resolved, order)
        for step in order.steps:
            fingerprint.code(type(step).__module__)
        if ROOT in order.steps:
            software.files()
        asked.result()


def run_hooks(order: BuildOrder, point: str, cwd: Path) -> None:
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


class _DamagedError(Exception):
    """A kept result was thrown away because it is not what was made."""


def _run_all(order: BuildOrder, epoch: int, results: Path, held: ExitStack) -> tuple[list[Made], dict[str, Path]]:
    """Run the steps; from the start for each kept result that turns out to be damaged when a step needs it."""
    while True:
        try:
            return _run_steps(order, epoch, results, held)
        except _DamagedError:
            scratch.remove(results)
            results.mkdir()


def _run_steps(order: BuildOrder, epoch: int, results: Path, held: ExitStack) -> tuple[list[Made], dict[str, Path]]:
    made: dict[str, Made] = {}
    outputs: dict[str, Path] = {}
    read: set[str] = set()
    for step in order.steps:
        with events.step(order.monitor, step.title) as handle, scratch.folder(order.scratch, step.name) as room:
            context = _context(order, step, epoch, outputs, room)
            started = time.monotonic()
            inputs = _inputs(step, context, made)
            key = fingerprint.of(inputs)

            def check(needs: tuple[str, ...] = step.needs) -> None:
                _check_kept(order.cache, [made[name] for name in needs if name not in read])
                read.update(needs)

            with _placed(order.loaded):
                if step.keep:
                    entry, found = _kept(order, step, context, inputs, held, check)
                else:
                    check()
                    entry, found = _made(order, step, context, inputs, results), False
            outputs[step.name] = entry.folder
            handle.outcome = StepOutcome.CACHED if found else StepOutcome.DONE
            seconds = time.monotonic() - started
            made[step.name] = Made(step.name, key, entry.digest, cached=found, seconds=seconds)
    given = {step for step, _ in RESULTS.values()} - read
    _check_kept(order.cache, [one for one in made.values() if one.step in given])
    return list(made.values()), outputs


def _check_kept(cache: StepCache, needed: Iterable[Made]) -> None:
    """Read what a step is about to work with, where it was only looked at until now."""
    if not all(cache.intact(one.step, one.key) for one in needed if one.cached):
        raise _DamagedError


@contextmanager
def _placed(loaded: Loaded) -> Iterator[None]:
    """Errors that name a setting get its place in the file."""
    try:
        yield
    except ProaErrors as several:
        raise ProaErrors([_at_place(one, loaded) for one in several.errors]) from several
    except ProaError as error:
        raise _at_place(error, loaded) from error


def _at_place(error: ProaError, loaded: Loaded) -> ProaError:
    place = loaded.place(error.at)
    return ProaError(error.code, error.message, at=place, hint=error.hint) if place else error


def _context(order: BuildOrder, step: BuildStep, epoch: int, outputs: Mapping[str, Path], room: Path) -> BuildContext:
    return BuildContext(
        config=order.loaded.config,
        folder=order.folder,
        keys=order.keys,
        epoch=epoch,
        scratch=room,
        cache=order.cache.folder,
        monitor=order.monitor,
        outputs={name: outputs[name] for name in step.needs},
        supply=order.supply,
    )


def _inputs(step: BuildStep, context: BuildContext, made: Mapping[str, Made]) -> dict[str, object]:
    """All that goes into a step's key."""
    return {
        "step": step.name,
        "code": fingerprint.code(type(step).__module__),
        "tools": {name: fingerprint.tool(name) for name in step.tools},
        "needs": {name: made[name].digest for name in step.needs},
        "inputs": step.inputs(context),
    }


def _made(
    order: BuildOrder, step: BuildStep, context: BuildContext, inputs: Mapping[str, object], results: Path
) -> Entry:
    """The output of a step that is made every time."""
    out = results / step.name
    out.mkdir()
    _run(step, context, inputs, out)
    needed = any(step.name in other.needs for other in order.steps)
    return Entry(out, kept.digest(out) if needed else "")


def _kept(
    order: BuildOrder,
    step: BuildStep,
    context: BuildContext,
    inputs: Mapping[str, object],
    held: ExitStack,
    check: Callable[[], None],
) -> tuple[Entry, bool]:
    """A step's output in the cache, where it stays until ``held`` is closed, and whether it was there before."""
    key = fingerprint.of(inputs)
    with order.cache.lock(step.name):
        if (entry := order.cache.use(step.name, key, held)) is not None:
            return entry, True
        check()
        with order.cache.new(step.name, key, inputs) as out:
            _run(step, context, inputs, out)
        entry = order.cache.use(step.name, key, held)
        order.cache.prune(step.name)
    if entry is None:
        raise ProaError(Code.DEVICE, "a result reads back different from what was written", at=order.cache.folder)
    return entry, False


def _run(step: BuildStep, context: BuildContext, inputs: Mapping[str, object], out: Path) -> None:
    step.run(context, out)
    if fingerprint.of(step.inputs(context)) != fingerprint.of(inputs["inputs"]):
        what = "an input of this step changed while the step ran"
        raise ProaError(Code.CONFIG, f"{step.title}: {what}", hint="Build again.")


def _keep_numbers(order: BuildOrder, outputs: Mapping[str, Path]) -> None:
    """Write the lock file of users' numbers if the release has new ones."""
    if "root" not in outputs:
        return
    text = json.loads((outputs["root"] / "root.json").read_text())["accounts"]
    path = order.folder / accounts.LOCK
    if not path.exists() or path.read_text() != text:
        replace(path, text.encode())
        order.monitor.emit(Note(f"wrote {path}: keep it next to proa.toml, under version control"))
