"""The tiers of tests: runs those that are named, one after the other, and says what became of them.

The summary (:mod:`upkeep.summary`) is written after every tier, so it is there too when one fails or when all is
interrupted: by Ctrl-C or SIGTERM, after which pytest still writes its report.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from upkeep.summary import Case, Result, read, summary, table

ROOT: Final = Path(__file__).resolve().parents[2]
REPORTS: Final = Path("build/test")
FOLDERS: Final = ("core", "partition", "builder", "agent", "scheduler", "vm-tests")
END_SECONDS: Final = 180.0
"""How long a command may take to end once it was interrupted: it takes its machines down and writes its report."""


@dataclass(frozen=True)
class Command:
    """One program of a tier.

    Attributes:
        name: As the summary calls it.
        argv: Its command line; the program is looked for beside the interpreter first.
        env: Variables besides those that are there.
        report: The JUnit report that it leaves; one that leaves none counts as one test itself.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    report: Path | None = None


@dataclass(frozen=True)
class Tier:
    """What runs under one name.

    Attributes:
        what: It, in words.
        commands: In the order in which they begin.
        at_once: How many of them run at a time; of several, the output is shown when each has ended.
    """

    what: str
    commands: tuple[Command, ...]
    at_once: int = 1


@dataclass(frozen=True)
class Ended:
    """What became of a command: its exit status, None when it did not begin any more; and what it took."""

    command: Command
    status: int | None
    seconds: float = 0.0


def pytest(name: str, *words: str, env: Mapping[str, str] | None = None) -> Command:
    """A run of pytest that leaves ``NAME.xml`` among the reports."""
    report = REPORTS / f"{name}.xml"
    return Command(name, ("pytest", "-q", f"--junitxml={report}", *words), dict(env or {}), report)


def _unit() -> Iterator[Command]:
    """Folder by folder. Agent's and builder's tests start many programs, and the scheduler's are many: two at once."""
    for folder in (*FOLDERS, "docs", "scripts"):
        workers = "2" if folder in ("agent", "builder", "scheduler") else "0"
        yield pytest(f"unit-{folder}", "-n", workers, "-m", "not contract and not vm", f"{folder}/tests")


def _lint() -> Iterator[Command]:
    """The folder that uses all others first: mypy keeps what it finds out about them for the next ones."""
    yield Command("mypy vm-tests", ("mypy", "vm-tests"))
    yield Command("import-linter", ("lint-imports", "--no-logo"))
    yield Command("ruff check", ("ruff", "check", "."))
    yield Command("ruff format", ("ruff", "format", "--check", "."))
    yield Command("lines", ("python", "-m", "upkeep.lines", "--check"))
    for folder in ("scheduler", "agent", "builder", "partition", "core", "scripts"):
        yield Command(f"mypy {folder}", ("mypy", folder))


_APART: Final = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
"""Two workers, each with a control plane or a machine of its own. A file stays together: its tests share them."""
_SCHEDULES: Final = {"PROA_SCHEDULES": os.environ.get("PROA_SCHEDULES", "1000")}
_PROPERTIES: Final = "scheduler/tests/planning/test_planner_properties.py"
TIERS: Final[Mapping[str, Tier]] = {
    "lint": Tier("ruff, mypy --strict, import-linter", tuple(_lint()), at_once=2),
    "unit": Tier("no network, no sleep, folder by folder", tuple(_unit())),
    "rollouts": Tier(
        f"random schedules of the planner, {_SCHEDULES['PROA_SCHEDULES']} of each kind",
        (pytest("rollouts", "-n", "2", "--timeout=0", _PROPERTIES, env=_SCHEDULES),),
    ),
    "contract": Tier(
        "real registry, cosign, loop devices, packages, Kubernetes API server",
        (pytest("contract", "-m", "contract", *_APART),),
    ),
    "vm": Tier("real firmware, boot loader and kernel in QEMU", (pytest("vm", "-m", "vm", *_APART),)),
}
"""Every tier by name, in the order in which `make test` runs them."""


class Runner:
    """Runs tiers, and ends what runs when it is told to.

    Args:
        root: Where commands run; the reports are below it.
        tiers: Those that there are.
        say: Takes each line for a person.
    """

    def __init__(
        self, root: Path = ROOT, tiers: Mapping[str, Tier] = TIERS, say: Callable[[str], object] = print
    ) -> None:
        self._root = root
        self._tiers = tiers
        self._say = say
        self._running: list[subprocess.Popen[bytes]] = []
        self._stopped = 0.0
        self.results: list[Result] = []

    @property
    def interrupted(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped > 0

    def stop(self, *_: object) -> None:
        """Ask all that runs to end, and begin nothing more. What does not end is killed after a while."""
        self._stopped = self._stopped or time.monotonic()
        for child in tuple(self._running):
            child.send_signal(signal.SIGINT)

    def run(self, names: Sequence[str]) -> int:
        """Run tiers and leave the summary; returns the exit status: 130 when it was interrupted."""
        file = self._root / REPORTS / "summary.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        before = _last_times(file)
        for name in names:
            last = f" ({before[name]:.0f} s the last time)" if name in before else ""
            self._say(f"\033[1m==>\033[0m {name}: {self._tiers[name].what}{last}")
            self.results.append(self._tier(name, self._tiers[name]))
            file.write_text(json.dumps(summary(self.results, self.interrupted), indent=2) + "\n")
            if self.interrupted:
                break
            self._say(f"{name} took {self.results[-1].seconds:.0f} s")
        self._say(f"\n\033[1m==>\033[0m {'Interrupted' if self.interrupted else 'Summary'} ({file})")
        document = summary(self.results, self.interrupted)
        for line in table(document):
            self._say(line)
        return 130 if self.interrupted else int(not document["ok"])

    def _tier(self, name: str, tier: Tier) -> Result:
        for command in tier.commands:
            if command.report is not None:
                (self._root / command.report).unlink(missing_ok=True)
        started, used = time.monotonic(), _cpu()
        with ThreadPoolExecutor(tier.at_once) as pool:
            shown = tier.at_once == 1
            ended = list(pool.map(lambda command: self._execute(command, shown), tier.commands))
        seconds, cpu = time.monotonic() - started, _cpu() - used
        cases = [case for one in ended for case in self._cases(one)]
        broken = sum(one.status not in (0, None) and not self._blamed(one) for one in ended)
        return Result(name, all(one.status == 0 for one in ended), seconds, cpu, cases, broken)

    def _cases(self, ended: Ended) -> list[Case]:
        if ended.command.report is not None:
            return read(self._root / ended.command.report)
        if ended.status is None:
            return []
        return [Case(ended.command.name, ended.seconds, "failed" if ended.status else "passed")]

    def _blamed(self, ended: Ended) -> bool:
        """Whether some test says why the command failed."""
        return any(case.outcome == "failed" for case in self._cases(ended))

    def _execute(self, command: Command, shown: bool) -> Ended:
        if self._stopped:
            return Ended(command, None)
        beside = Path(sys.executable).with_name(command.argv[0])
        argv = [str(beside) if beside.exists() else command.argv[0], *command.argv[1:]]
        started = time.monotonic()
        child = subprocess.Popen(
            argv,
            cwd=self._root,
            env=os.environ | command.env,
            stdin=subprocess.DEVNULL,
            stdout=None if shown else subprocess.PIPE,
            stderr=None if shown else subprocess.STDOUT,
            process_group=0,  # so that Ctrl-C reaches it once: from here
        )
        self._running.append(child)
        if self._stopped:  # meanwhile
            child.send_signal(signal.SIGINT)
        output = self._wait(child)
        self._running.remove(child)
        seconds = time.monotonic() - started
        if not shown:
            self._say(f"{command.name}: {seconds:.0f} s\n{output.decode(errors='replace').rstrip()}")
        return Ended(command, child.returncode, seconds)

    def _wait(self, child: subprocess.Popen[bytes]) -> bytes:
        while True:
            try:
                return child.communicate(timeout=1.0)[0] or b""
            except subprocess.TimeoutExpired:
                if self.interrupted and time.monotonic() > self._stopped + END_SECONDS:
                    os.killpg(child.pid, signal.SIGKILL)


def _last_times(file: Path) -> Mapping[str, float]:
    """How many seconds each tier took the last time, as far as that is known."""
    try:
        return {one["name"]: float(one["seconds"]) for one in json.loads(file.read_bytes())["tiers"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _cpu() -> float:
    """Seconds of processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(words: Sequence[str]) -> int:
    """Run the tiers that are named; all of them when none is."""
    unknown = [word for word in words if word not in TIERS]
    if unknown:
        sys.stderr.write(f"no such tier: {', '.join(unknown)}; there are: {', '.join(TIERS)}\n")
        return 2
    runner = Runner()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, runner.stop)
    return runner.run(words or tuple(TIERS))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
