"""A cluster in a few lines, drawn again and again on a terminal, or told line by line elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

import click

from proa.core.runtime.printable import printable
from proa.scheduler.kube import paths
from proa.scheduler.planning.views import ZONE
from proa.scheduler.spec.crd import NODE_OSES, OS_ROLLOUTS
from proa.vm.kube.api import KubeApi, Object

_COLORS: Final = {"Good": "green", "Trial": "yellow", "Booting": "yellow", "RolledBack": "red", "Failed": "red"}


@dataclass(frozen=True)
class Row:
    """One node.

    Attributes:
        name: Its name.
        zone: Its zone.
        ready: Whether it is Ready.
        cordoned: Whether it takes no new pods.
        phase: What its agent says that it does.
        runs: The version that runs; a star behind one that is not committed.
        holds: The version in its other slot.
    """

    name: str
    zone: str
    ready: bool
    cordoned: bool
    phase: str
    runs: str
    holds: str

    @property
    def text(self) -> str:
        """As a line of the table."""
        state = ("Ready" if self.ready else "NotReady") + (",cordoned" if self.cordoned else "")
        return f"{self.name:<11} {self.zone:<7} {state:<18} {self.phase:<11} {self.runs:<9} {self.holds}"


@dataclass(frozen=True)
class ClusterSight:
    """What there is to see at one moment."""

    rows: tuple[Row, ...]
    status: Mapping[str, Any]
    available: int
    """Pods of the workload that are Ready."""

    @property
    def away(self) -> int:
        """Nodes that take no pods."""
        return sum(row.cordoned or not row.ready for row in self.rows)

    @property
    def line(self) -> str:
        """How the rollout stands, in one line."""
        counts = self.status.get("counts", {})
        return (
            f"{self.status.get('phase', ''):<12} {self.status.get('progress', ''):>7} up to date,"
            f" {counts.get('staged', 0)} staged, {self.away} unavailable, {counts.get('failed', 0)} failed,"
            f" web: {self.available} pods Ready"
        )


HEAD: Final = f"{'node':<11} {'zone':<7} {'state':<18} {'phase':<11} {'runs':<9} other slot"


def look(api: KubeApi, rollout: str, namespace: str) -> ClusterSight:
    """Look at the cluster.

    Raises:
        ProaError: ``TOOL`` when the API server does not answer.
    """
    oses = {item["metadata"]["name"]: item.get("status", {}) for item in api.items(NODE_OSES)}
    nodes = sorted(api.items(paths.NODES), key=lambda item: str(item["metadata"]["name"]))
    rows = tuple(_row(item, oses.get(item["metadata"]["name"], {})) for item in nodes)
    found = api.find(paths.named(OS_ROLLOUTS, rollout)) or {}
    pods = api.items(paths.within(paths.PODS, namespace))
    return ClusterSight(rows, found.get("status", {}), sum(_is_ready(pod) and not _is_ending(pod) for pod in pods))


def _row(node: Object, status: Mapping[str, Any]) -> Row:
    booted, standby = status.get("booted", {}), status.get("standby", {})
    return Row(
        name=node["metadata"]["name"],
        zone=node["metadata"].get("labels", {}).get(ZONE, ""),
        ready=_is_ready(node),
        cordoned=node["spec"].get("unschedulable", False),
        phase=str(status.get("phase", "")),
        runs=booted.get("version", "") + ("" if booted.get("committed", True) else "*"),
        holds=" ".join(part for part in (standby.get("version", ""), standby.get("state", "")) if part),
    )


def _is_ready(item: Object) -> bool:
    conditions = item.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _is_ending(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


@dataclass
class ClusterView:
    """Shows sights: a table that is drawn over on a terminal; a line where something has changed elsewhere.

    Attributes:
        stream: Where.
    """

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    _drawn: int = 0
    _line: str = ""

    def show(self, sight: ClusterSight) -> None:
        """Show one."""
        if self.stream.isatty():
            lines = [
                printable(sight.line),
                HEAD,
                *(click.style(printable(row.text), fg=_COLORS.get(row.phase)) for row in sight.rows),
            ]
            back = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
            print(back + "\n".join(lines), file=self.stream, flush=True)
            self._drawn = len(lines)
        elif sight.line != self._line:
            print(f"   {printable(sight.line)}", file=self.stream, flush=True)
        self._line = sight.line

    def end(self) -> None:
        """What comes now is shown below."""
        self._drawn = 0
