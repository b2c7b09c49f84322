"""Whether this boot is healthy: systemd's units, and the checks of the release and of the node's owner."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.agent.node.failure import HealthFailure
from proa.agent.node.paths import Paths
from proa.agent.node.settings import HealthSettings
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.process import run

SYSTEMCTL_LIMIT: Final = 20.0
"""Seconds that systemctl may take to answer."""
OUTPUT_LIMIT: Final = 4096
"""Bytes that are kept of each output of a check: the last ones."""
MAX_FAILURES: Final = 50
"""Failures that one report names; a node where everything fails needs no longer list."""
FINAL_STATUS: Final = 100
"""How a check exits that no later look can find well: the trial ends at once, not at its deadline."""


@dataclass(frozen=True)
class HealthReport:
    """What one round of looking found.

    Attributes:
        failures: What is wrong.
        units: Units that must be active.
        checks: Checks that were run.
        restarts: How often systemd has restarted each service since the machine booted.
        known: Units that have failed, and had before the upgrade as well: told, but no reason to go back.
        final: Whether a check said that no later look will be better.
    """

    failures: tuple[HealthFailure, ...]
    units: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    restarts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    known: tuple[str, ...] = ()
    final: bool = False

    @property
    def healthy(self) -> bool:
        """Whether the trial may be committed."""
        return not self.failures

    @property
    def waiting(self) -> bool:
        """Whether nothing is wrong but that something is not done yet."""
        return bool(self.failures) and all(failure.waiting for failure in self.failures)

    @property
    def summary(self) -> str:
        """What is wrong, in one line."""
        return "; ".join(f"{failure.what}: {failure.why}" for failure in self.failures) or "healthy"


def check_health(paths: Paths, settings: HealthSettings, failed_before: Collection[str] = ()) -> HealthReport:
    """Look once: first the units, then, when nothing is wrong with them, every check.

    The checks are not run while units are starting or have failed: the boot is not healthy anyway.

    Args:
        paths: Where the checks are.
        settings: What is asked of the units, and how long a check may take.
        failed_before: Units that had failed in the boot that the trial was armed in.
    """
    failures, restarts = unit_failures(settings, failed_before), dict[str, int]()
    try:
        services = _services((*settings.ignore, *failed_before))
        restarts = {name: one.restarts for name, one in services.items()}
        failures += [HealthFailure(f"unit {name}", one.down) for name, one in services.items() if one.down]
    except ProaError as error:
        failures = failures or [HealthFailure("system", error.message, waiting=error.code is Code.TIMEOUT)]
    checks = [] if failures else [check for folder in paths.health for check in _checks(folder)]
    failed = [failure for check in checks if (failure := _check_failure(check, settings.check_limit))]
    names = tuple(check.name for check in checks)
    known = tuple(sorted(set(failed_before) & set(failed_units()))) if failed_before else ()
    told = tuple([*failures, *failed][:MAX_FAILURES])
    final = any(failure.why == exited(FINAL_STATUS) for failure in failed)
    return HealthReport(told, settings.units, names, restarts, known, final)


def unit_failures(settings: HealthSettings, failed_before: Collection[str] = ()) -> list[HealthFailure]:
    """What systemd says: still starting, failed units, required units that are not active."""
    try:
        failed = _failed_units()
        excused = {*settings.ignore, *failed_before}
        failures = _unit_results([name for name in failed if name not in excused])
        failures += [
            HealthFailure(f"unit {name}", f"is {state}, but must be active", waiting=state == "activating")
            for name, state in _unit_states(settings.units)
            if state != "active"
        ]
        system = _ask("is-system-running")
    except ProaError as error:
        return [HealthFailure("system", error.message, waiting=error.code is Code.TIMEOUT)]
    if system in ("initializing", "starting"):
        failures.append(HealthFailure("system", "is still starting", waiting=True))
    elif system == "degraded" and not failed:
        failures.append(HealthFailure("system", "is degraded, but no failed unit is named"))
    elif system not in ("running", "degraded"):
        failures.append(HealthFailure("system", f"is in state '{system}'"))
    return failures


def _ask(*words: str, check: bool = False) -> str:
    """What systemctl says; its status says what its words do, unless it is to be a list."""
    return run(["systemctl", *words], check=check, timeout=SYSTEMCTL_LIMIT).text.strip()


def failed_units() -> tuple[str, ...]:
    """The units that have failed, or crash again and again; the first of very many, none where systemd is silent."""
    try:
        looping = [name for name, one in _services(()).items() if one.down]
        return tuple(dict.fromkeys([*_failed_units(), *looping]))[:MAX_FAILURES]
    except ProaError:
        return ()


def _failed_units() -> list[str]:
    words = ("list-units", "--state=failed", "--full", "--plain", "--no-legend", "--no-pager")
    return [line.split()[0] for line in _ask(*words, check=True).splitlines() if line.strip()]


def _unit_states(names: Sequence[str]) -> list[tuple[str, str]]:
    if not names:
        return []
    states = _ask("is-active", "--", *names).splitlines()
    return list(zip(names, states, strict=False)) if len(states) == len(names) else [(names[0], "unknown")]


def _unit_results(names: list[str]) -> list[HealthFailure]:
    """Why units failed; systemctl prints one value each, with empty lines between."""
    told = _ask("show", "--property=Result", "--value", "--", *names[:MAX_FAILURES]).split() if names else []
    results = told if len(told) == len(names) else ["no result"] * len(names)
    return [HealthFailure(f"unit {name}", f"failed ({result})") for name, result in zip(names, results, strict=True)]


@dataclass(frozen=True)
class _Service:
    """What systemd says of a service.

    Attributes:
        restarts: How often systemd has restarted it since the machine booted.
        down: Why it is down although nothing calls it failed; empty if it is not.
    """

    restarts: int
    down: str


def _services(ignore: Sequence[str]) -> dict[str, _Service]:
    """The services that are loaded, by name; systemctl prints an empty line between them."""
    told = _ask("show", "--property=Id,NRestarts,SubState,Result", "--", "*.service", check=True)
    found = [dict(line.split("=", 1) for line in one.splitlines() if "=" in line) for one in told.split("\n\n")]
    named = {one.get("Id", ""): one for one in found if one.get("NRestarts", "").isdecimal()}
    asked = {name: one for name, one in named.items() if name and name not in ignore}
    return {name: _Service(int(one["NRestarts"]), _down(one)) for name, one in asked.items()}


def _down(service: Mapping[str, str]) -> str:
    """A service that has crashed and waits for its restart is neither failed nor restarted for all that time."""
    if not service.get("SubState", "").startswith("auto-restart") or service.get("Result") == "success":
        return ""
    return f"failed ({service.get('Result', 'no result')}) and waits for systemd to restart it"


def _checks(folder: Path) -> list[Path]:
    """The checks of a folder in the order of names; whatever has no name with a dot first is one."""
    return sorted(path for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []


def exited(status: int) -> str:
    """How a check failed that ended by itself; the proofs look for it."""
    return f"exited with status {status}"


def _check_failure(check: Path, limit: float) -> HealthFailure | None:
    if not os.access(check, os.X_OK):
        return HealthFailure(f"check {check.name}", "is not an executable file")
    try:
        done = run([check], check=False, timeout=limit, keep=OUTPUT_LIMIT)
    except ProaError as error:
        return HealthFailure(f"check {check.name}", error.message, waiting=error.code is Code.TIMEOUT)
    if done.status == 0:
        return None
    how = exited(done.status) if done.status > 0 else f"was killed by signal {-done.status}"
    return HealthFailure(f"check {check.name}", how, (done.stdout + done.stderr).decode(errors="replace").strip())
