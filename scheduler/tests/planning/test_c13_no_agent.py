"""Nodes that no agent ever reported from do not count: they can never be updated."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.views import Mark, NodeOSView, NodeView
from proa.scheduler.testing.situations import MARK, NOW, Part, change, done, marked, node, planned, ready


def speechless(name: str = "v1", minutes: int = 60, **rest: Any) -> Part:
    view = node(name, **rest)
    return view, NodeOSView(name, f"os-{name}", view.uid, created=NOW - timedelta(minutes=minutes))


def test_c13_a_rollout_is_complete_without_them() -> None:
    made = planned(done("n1"), speechless())
    status = made.statuses["workers"]
    assert (status.phase, status.progress, status.counts.no_agent) == ("Complete", "1/1", 1)
    assert made.verdicts["v1"].reason is Reason.NoAgent


def test_c13_a_joiner_has_a_time_to_speak() -> None:
    made = planned(done("n1"), speechless(minutes=9))
    assert made.statuses["workers"].phase == "Waiting"
    assert (made.verdicts["v1"].reason, made.wake) == (Reason.AgentSilent, NOW + timedelta(minutes=1))


def test_c13_a_percentage_does_not_count_them() -> None:
    parts = [ready(f"n{number}") for number in range(4)]
    others = [speechless(f"v{number}") for number in range(4)]
    assert len(planned(*parts, *others, spec=change(max_unavailable="25%")).actions) == 1
    assert len(planned(*parts, spec=change(max_unavailable="50%")).actions) == 2


def test_c13_one_that_is_away_takes_a_place_all_the_same() -> None:
    """Nobody knows whether an agent spoke before its object was deleted."""
    made = planned(ready("n1"), speechless(ready=False))
    assert made.actions == ()
    assert "v1 (not Ready)" in str(made.verdicts["n1"])


def test_c13_one_that_has_our_mark_counts() -> None:
    mark = dataclasses.replace(MARK, since=NOW)
    view: NodeView = marked("v1", mark)
    made = planned((view, speechless()[1]), done("n1"))
    assert made.statuses["workers"].counts.no_agent == 0
    assert isinstance(view.mark, Mark)


def test_c13_a_cluster_without_any_agent_is_pending() -> None:
    assert planned(speechless("v1"), speechless("v2")).statuses["workers"].phase == "Pending"
