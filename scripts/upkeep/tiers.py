"""The tiers of tests: runs those that are named, and says what became of them.

The summary (:mod:`upkeep.summary`) is written after every tier, so it is there too when one fails or when all is
interrupted: by Ctrl-C or SIGTERM, after which pytest still writes its report.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from upkeep import coverage, diskspace
from upkeep.lines import FOLDERS
from upkeep.summary import Case, Result, read, summary, table

ROOT: Final = Path(__file__).resolve().parents[2]
REPORTS: Final = Path("build/test")
END_SECONDS: Final = 180.0
"""How long a command may take to end once it was interrupted: it takes its machines down and writes its report."""
TAIL_SECONDS: Final = 5.0
"""How long the output of a command that has ended is still read, should something else hold it open."""
_POLL: Final = 0.1


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
        at_once: How many of them run at a time; each line of their output begins with the command's name then.
    """

    what: str
    commands: tuple[Command, ...]
    at_once: int = 1


@dataclass(frozen=True)
class Ended:
    """What became of a command: its exit status, None when it did not begin any more; and what it took, in seconds."""

    command: Command
    status: int | None
    seconds: float = 0.0
    cpu: float = 0.0


def pytest(name: str, *words: str, env: Mapping[str, str] | None = None) -> Command:
    """A run of pytest that leaves ``NAME.xml`` among the reports."""
    report = REPORTS / f"{name}.xml"
    # Without what pytest keeps for --last-failed: several runs would write it at the same time.
    return Command(
        name, ("pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *words), dict(env or {}), report
    )


def _unit() -> Iterator[Command]:
    """Each folder in a process of its own, what takes longest first, so that both cores are busy to the end."""
    for folder in ("partition", "scheduler", "builder", "agent", "vm-tests", "core", "docs", "scripts"):
        words, env = (coverage.options(folder), coverage.variables(folder)) if folder in FOLDERS else ((), None)
        yield pytest(f"unit-{folder}", "-n", "0", "-m", "not contract and not vm", *words, f"{folder}/tests", env=env)


_SHELLCHECK: Final = ("--shell=sh", "--exclude=SC1091,SC2002,SC2012,SC2015,SC2034,SC2153,SC2154")
"""Not told: variables of another file, a cat that must be, ``A && B || C`` where both are wanted."""


def shell_scripts(root: Path = ROOT) -> tuple[str, ...]:
    """The scripts that run on nodes, and those that make an initrd and a tree."""
    folders = ("builder/proa/builder", "agent/proa/agent/health.d")
    files = [path for folder in folders for path in sorted((root / folder).rglob("*")) if path.is_file()]
    return tuple(str(path.relative_to(root)) for path in files if _is_posix_shell(path))


def _is_posix_shell(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline(64).rstrip() == b"#!/bin/sh" or path.name == "proa-common.sh"


def _lint() -> Iterator[Command]:
    """The folder that uses all others first: mypy keeps what it finds out about them for the next ones."""
    yield Command("mypy vm-tests", ("mypy", "vm-tests"))
    yield Command("import-linter", ("lint-imports", "--no-logo"))
    yield Command("ruff check", ("ruff", "check", "."))
    yield Command("ruff format", ("ruff", "format", "--check", "."))
    yield Command("shellcheck", ("shellcheck", *_SHELLCHECK, *shell_scripts()))
    yield Command("lines", ("python", "-m", "upkeep.lines", "--check"))
    for folder in ("scheduler", "agent", "builder", "partition", "core", "scripts"):
        yield Command(f"mypy {folder}", ("mypy", folder))


def marked(marker: str, root: Path = ROOT) -> tuple[str, ...]:
    """The files of tests that speak of a marker, what takes longest first, so that all workers are busy to the end.

    To collect all others too takes three processes 20 s and more.
    """
    files = [file for file in root.glob("*/tests/**/test_*.py") if f"mark.{marker}" in file.read_text()]
    return tuple(str(file.relative_to(root)) for file in sorted(files, key=lambda file: (_turn(file.name), file)))


def _turn(name: str) -> int:
    return _LONGEST.index(name) if name in _LONGEST else len(_LONGEST)


_LONGEST: Final = (
    "test_proof.py",
    "test_returns_running.py",
    "test_boot_chain.py",
    "test_returns_early.py",
    "test_node_upgrade.py",
    "test_pages.py",
    "test_encrypted_persist.py",
    "test_first_boot_cut.py",
    "test_build_contract.py",
    "test_container_contract.py",
    "test_kill_matrix_contract.py",
    "test_uninstall_contract.py",
    "test_manifests_contract.py",
    "test_cluster_faults_contract.py",
    "test_api_faults_contract.py",
)
"""Files of tests that take minutes, the longest first: no worker is to be left with one of these at the end."""
_APART: Final = ("--dist", "loadfile", "--no-loadscope-reorder")
"""Each worker has a control plane or a machine of its own. A file stays together: its tests share them."""
_SCHEDULES: Final = {"PROA_SCHEDULES": os.environ.get("PROA_SCHEDULES", "1000")}
_PROPERTIES: Final = "scheduler/tests/planning/test_planner_properties.py"
TIERS: Final[Mapping[str, Tier]] = {
    "lint": Tier("ruff, mypy --strict, import-linter", tuple(_lint()), at_once=2),
    # One more than there are cores: programs that write partition tables sleep now and then.
    "unit": Tier("no network, no sleep, folder by folder", tuple(_unit()), at_once=3),
    "coverage": Tier(
        "what the unit tests have run of each folder, against the floors",
        (Command("coverage", ("python", "-m", "upkeep.coverage", "--check")),),
    ),
    "rollouts": Tier(
        f"random schedules of the planner, {_SCHEDULES['PROA_SCHEDULES']} of each kind",
        (pytest("rollouts", "-n", "2", "--timeout=0", _PROPERTIES, env=_SCHEDULES),),
    ),
    "contract": Tier(
        "real registry, cosign, loop devices, packages, Kubernetes API server",
        # They wait for one another's answers more than for a processor.
        (pytest("contract", "-m", "contract", "-n", "4", *_APART, *marked("contract")),),
    ),
    "vm": Tier(
        "real firmware, boot loader and kernel in QEMU",
        (pytest("vm", "-m", "vm", "-n", "2", *_APART, *marked("vm")),),
    ),
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
        self,
        root: Path = ROOT,
        tiers: Mapping[str, Tier] = TIERS,
        say: Callable[[str], object] = print,
    ) -> None:
        self._root = root
        self._tiers = tiers
        self._say = say
        self._running: list[int] = []
        self._stopped = 0.0
        self._results: dict[str, Result] = {}

    def stop(self, *_: object) -> None:
        """Ask all that runs to end, and begin nothing more. What does not end is killed after a while."""
        self._stopped = self._stopped or time.monotonic()
        for pid in tuple(self._running):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)

    def run(self, names: Sequence[str]) -> int:
        """Run tiers and leave the summary; returns the exit status: 130 when it was interrupted."""
        file = self._root / REPORTS / "summary.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        started, before, document = time.monotonic(), _last_times(file), summary((), 0.0)
        for name in names:
            last = f" ({before[name]:.0f} s the last time)" if name in before else ""
            self._say(f"\033[1m==>\033[0m {name}: {self._tiers[name].what}{last}")
            self._results[name] = self._tier(name)
            done = [self._results[name] for name in names if name in self._results]
            document = summary(done, time.monotonic() - started, interrupted=self._stopped > 0)
            file.write_text(json.dumps(document, indent=2) + "\n")
            if self._stopped:
                break
        self._say(f"\n\033[1m==>\033[0m {'Interrupted' if self._stopped else 'Summary'} ({file})")
        for line in table(document):
            self._say(line)
        return 130 if self._stopped else int(not document["ok"])

    def _tier(self, name: str) -> Result:
        tier = self._tiers[name]
        for command in tier.commands:
            if command.report is not None:
                (self._root / command.report).unlink(missing_ok=True)
        started = time.monotonic()
        with ThreadPoolExecutor(tier.at_once) as pool:
            shown = tier.at_once == 1
            ended = list(pool.map(lambda command: self._execute(command, shown), tier.commands))
        seconds = time.monotonic() - started
        self._say(f"{name} took {seconds:.0f} s")
        cases = [case for one in ended for case in self._cases(one)]
        broken = sum(one.status not in (0, None) and not self._blamed(one) for one in ended)
        cpu = sum(one.cpu for one in ended)
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
        beside = Path(sys.executable).parent / command.argv[0]
        argv = [str(beside) if beside.exists() else command.argv[0], *command.argv[1:]]
        started = time.monotonic()
        with subprocess.Popen(
            argv,
            cwd=self._root,
            env=os.environ | command.env,
            stdin=subprocess.DEVNULL,
            stdout=None if shown else subprocess.PIPE,
            stderr=None if shown else subprocess.STDOUT,
            process_group=0,  # so that Ctrl-C reaches it once: from here
        ) as child:
            self._running.append(child.pid)
            reader = threading.Thread(target=self._tell, args=(command.name, child.stdout), daemon=True)
            reader.start()
            if self._stopped:  # meanwhile
                self.stop()
            child.returncode, cpu = self._wait(child.pid)
            self._running.remove(child.pid)
            reader.join(TAIL_SECONDS)
        return Ended(command, child.returncode, time.monotonic() - started, cpu)

    def _tell(self, name: str, output: IO[bytes] | None) -> None:
        for line in output or ():
            self._say(f"{name}: {line.decode(errors='replace').rstrip()}")

    def _wait(self, pid: int) -> tuple[int, float]:
        """Its exit status, and the seconds of processor time that it and all its descendants have used."""
        while True:
            ended, status, used = os.wait4(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
            if self._stopped and time.monotonic() > self._stopped + END_SECONDS:
                os.killpg(pid, signal.SIGKILL)
            time.sleep(_POLL)


def _last_times(file: Path) -> Mapping[str, float]:
    """How many seconds each tier took the last time, as far as that is known."""
    try:
        return {one["name"]: float(one["seconds"]) for one in json.loads(file.read_bytes())["tiers"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def listen(runner: Runner) -> None:
    """Stop it by Ctrl-C and SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, runner.stop)


def main(words: Sequence[str], free: Callable[[Path], int] = diskspace.free_bytes) -> int:
    """Run the tiers that are named, all of them when none is, if the disks have space for them."""
    unknown = [word for word in words if word not in TIERS]
    if unknown:
        sys.stderr.write(f"no such tier: {', '.join(unknown)}; there are: {', '.join(TIERS)}\n")
        return 2
    names = tuple(words) or tuple(TIERS)
    if lacking := diskspace.lacking(names, diskspace.places(), free):
        sys.stderr.write(f"{lacking}\n")
        return 2
    runner = Runner()
    listen(runner)
    return runner.run(names)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
