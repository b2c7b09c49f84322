"""``kubectl proa status --watch``: again whenever something changes, until there is nothing to wait for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from proa.core.runtime.clock import VirtualClock
from proa.scheduler.cli.options import ClusterOption, paint
from proa.scheduler.cli.watching import PAUSE, watched
from proa.scheduler.planning.views import RolloutView, Snapshot
from proa.scheduler.report.source import ClusterLook
from proa.scheduler.report.status_view import Look, Painted
from proa.scheduler.spec.rolloutstatus import RolloutPhase, RolloutStatus
from proa.scheduler.testing.situations import NOW, SPEC, done, ready


@dataclasses.dataclass(frozen=True)
class Shown(ClusterOption):
    """A cluster that looks otherwise each time."""

    looks: Iterator[Snapshot] = dataclasses.field(default_factory=lambda: iter(()))

    def look(self, *_: Any, **__: Any) -> ClusterLook:
        return ClusterLook(next(self.looks), NOW, ())


def seen(phase: str, part: Any, **spec: Any) -> Snapshot:
    node, os = part
    status = RolloutStatus(observed_generation=1, phase=phase, release=SPEC.release, progress="0/1")
    view = RolloutView("workers", "uid", 1, dataclasses.replace(SPEC, **spec), status)
    return Snapshot({node.name: node}, {node.name: os}, {"workers": view})


def watch(looks: Sequence[Snapshot]) -> tuple[int, float]:
    clock = VirtualClock()
    found = watched(Shown("", "", iter(looks)), "workers", Look(alone=True), clear=False, clock=clock)
    return found, clock.monotonic()


def test_p10_it_is_shown_again_when_it_changes_and_ends_with_the_rollout(capsys: pytest.CaptureFixture[str]) -> None:
    busy = seen(RolloutPhase.PROGRESSING, ready())
    status, seconds = watch([busy, busy, busy, seen(RolloutPhase.COMPLETE, done())])
    said = capsys.readouterr().out
    assert (status, seconds) == (0, 3 * PAUSE)
    assert said.count("ROLLOUT") == 2, "what has not changed is not shown again"
    assert "workers: about" in said
    assert " left" in said
    assert said.index("Progressing") < said.index("Complete")


@pytest.mark.parametrize("phase", [RolloutPhase.HALTED, RolloutPhase.ROLLED_BACK, RolloutPhase.INVALID])
def test_p10_its_exit_status_tells_whether_the_rollout_is_complete(phase: str) -> None:
    assert watch([seen(phase, ready())]) == (1, 0.0)


def test_a_line_stays_one_whatever_a_node_has_written_into_it(capsys: pytest.CaptureFixture[str]) -> None:
    paint([Painted.of("n1  a\nb\x1b[2J", "red")])
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "\x1b[2J" not in said
