"""``status --watch``: the same again whenever it changes, until there is nothing to wait for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import click

from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.output import say
from proa.scheduler.cli.options import ClusterOption, paint
from proa.scheduler.kube.times import read
from proa.scheduler.report import status_view
from proa.scheduler.report.preview import preview
from proa.scheduler.report.rendering import span
from proa.scheduler.report.source import ClusterLook
from proa.scheduler.simulation.simulate import ENDED
from proa.scheduler.spec.rolloutstatus import RolloutPhase

PAUSE: Final = 2.0
"""Seconds between two looks."""
FORESEEN: Final = 500
"""Nodes up to which each look foresees the end: that is a simulation of the rest."""


def watched(cluster: ClusterOption, rollout: str, look: status_view.Look, *, clear: bool, clock: Clock = SYSTEM) -> int:
    """Show rollouts until they have ended; the exit status: 0 if all are complete, else 1.

    Args:
        cluster: Where they are.
        rollout: Only this one; all if empty.
        look: How it looks.
        clear: Whether each look takes the place of the one before, as on a terminal.
        clock: For the pauses.

    Raises:
        ProaError: As the cluster answers; an interrupt ends it as well.
    """
    before: list[str] = []
    while True:
        seen = cluster.look(rollout=rollout)
        report = status_view.status_report(seen.snapshot, seen.now, rollout, seen.notes)
        lines = [*status_view.status_lines(report, look), *_ahead(seen, [one.name for one in report.rollouts])]
        if lines != before:
            if clear:
                click.clear()
            elif before:
                say("")
            paint(lines)
        before = lines
        phases = [one.phase if one.observed else "" for one in report.rollouts]
        if all(phase in ENDED for phase in phases):
            return 0 if all(phase == RolloutPhase.COMPLETE for phase in phases) else 1
        clock.sleep(PAUSE)


def _ahead(seen: ClusterLook, names: Sequence[str]) -> Iterator[str]:
    """When each rollout is about done, by a simulation of the rest."""
    if len(seen.snapshot.nodes) > FORESEEN:
        return
    for name in names:
        if seen.snapshot.rollouts[name].status.phase in ENDED:
            continue
        ends = read(preview(seen.snapshot, name, seen.now).report.ends or "")
        if ends is not None and ends > seen.now:
            yield f"{name}: about {span(ends - seen.now)} left"
