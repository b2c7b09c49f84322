"""To have ended is not to have succeeded: forecasts say so, and so does the exit status."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from proa.scheduler.cli.main import cli
from proa.scheduler.planning.views import ZONE
from proa.scheduler.report import document, rendering
from proa.scheduler.report.preview import preview
from proa.scheduler.simulation.behaviour import Behaviour, NodeFate
from proa.scheduler.simulation.simulate import run
from proa.scheduler.simulation.world import World
from proa.scheduler.spec.rollout import Approval, Group, RolloutSpec, Selector, Turns
from proa.scheduler.testing.lagging import FIRST, a_world


def halted() -> World:
    world = a_world(4, RolloutSpec(FIRST), behaviour=Behaviour(fate=lambda name, digest: NodeFate.RETURNS))
    run(world)
    return world


def exits(*words: object) -> int:
    return CliRunner().invoke(cli, [str(word) for word in ("simulate", *words)]).exit_code


def test_c16_a_plan_of_a_halted_rollout_promises_no_end() -> None:
    world = halted()
    found = preview(world.snapshot(), "workers", world.now)
    said = "\n".join(rendering.plan_lines(found))
    assert found.report.ends is None
    assert "about done" not in said
    assert "not done: it ends as Halted" in said


def test_c16_a_plan_of_one_that_cannot_act_promises_no_end() -> None:
    world = halted()
    view = world.rollouts["workers"]
    world.rollouts["workers"] = dataclasses.replace(view, problem="spec.release: it cannot be read")
    found = preview(world.snapshot(), "workers", world.now)
    assert found.report.ends is None
    assert "not done: it ends as Invalid" in "\n".join(rendering.plan_lines(found))


def test_c16_a_plan_that_comes_where_it_was_going_tells_when() -> None:
    world = a_world(4, RolloutSpec(FIRST))
    assert preview(world.snapshot(), "workers", world.now).report.ends is not None


def test_c16_who_will_have_no_turn_is_told_what_keeps_it_in_the_end() -> None:
    """That it fetches the release now is no answer to who asks when it has its turn."""
    groups = tuple(Group(f"group-{number}", Selector({ZONE: f"zone-{number}"})) for number in (0, 1))
    world = a_world(6, RolloutSpec(FIRST, approval=Approval.EACH_GROUP, order=Turns(groups=groups)))
    view = world.rollouts["workers"]
    world.rollouts["workers"] = dataclasses.replace(view, approved_groups={"group-0": "alice"})
    found = preview(world.snapshot(), "workers", world.now).report
    told = {one.zone: (one.reason, one.detail) for one in found.nodes if not one.position}
    earlier = f"group group-1: {', '.join(sorted(one.name for one in found.nodes if one.zone == 'zone-1'))}"
    assert told == {"zone-1": ("AwaitingApproval", "group group-1"), "zone-2": ("EarlierGroup", earlier)}
    assert found.ends is None


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--nodes", 6), 0),
        (("--nodes", 0), 0),
        (("--nodes", 6, "--returns", 100), 1),
        (("--nodes", 6, "--never-back", 100), 1),
        (("--nodes", 6, "--undrainable", 100, "--days", 1), 5),
        (("--nodes", 40, "--days", 0.001), 5),
    ],
)
def test_c16_the_exit_status_tells_the_outcome(words: tuple[object, ...], status: int) -> None:
    assert exits(*words) == status
    assert exits(*words, "--json") == status


def test_c16_the_same_of_a_file(tmp_path: Path) -> None:
    world, path = halted(), tmp_path / "cluster.json"
    path.write_text(json.dumps(document.write(world.snapshot(), world.now)))
    assert exits("--from", path) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--nodes", 10, "--from", "s.json"),
        ("--nodes", 10, "--context", "prod"),
        ("--nodes", 10, "--kubeconfig", "k"),
        ("--from", "s.json", "--zones", 2),
        ("--from", "s.json", "--control-planes", 1),
        ("--from", "s.json", "--max-unavailable", 1),
        ("--from", "s.json", "--context", "prod"),
    ],
)
def test_c16_options_that_contradict_are_usage_errors(words: tuple[object, ...]) -> None:
    assert exits(*words) == 2
