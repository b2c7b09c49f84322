"""Whether a release fits its slots is asked in every build, before anything is signed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from proa.builder.build import pipeline
from proa.builder.config import build_settings, image_settings, node_settings, settings
from proa.builder.engine.context import BuildContext
from proa.builder.steps.fit import FIT
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Note, Recorder
from proa.partition.disk.layout import MIB

SIZES = node_settings.DiskConfig(boot=264 * MIB, uki=8 * MIB, root=64 * MIB, persist=64 * MIB)


@pytest.fixture
def context(step_context: BuildContext, tmp_path: Path) -> BuildContext:
    outputs = {name: tmp_path / name for name in ("root", "verity", "uki", "esp")}
    for name, file, size in (
        ("root", "root.erofs", 40 * MIB),
        ("verity", "root.tree", MIB),
        ("uki", "boot.img", 6 * MIB),
        ("esp", "esp.img", 264 * MIB),
    ):
        outputs[name].mkdir()
        with (outputs[name] / file).open("wb") as stream:
            stream.truncate(size)
    config = dataclasses.replace(step_context.config, disk=SIZES)
    return dataclasses.replace(step_context, config=config, outputs=outputs)


def grow(context: BuildContext, output: str, name: str, size: int) -> None:
    with (context.output(output) / name).open("r+b") as file:
        file.truncate(size)


@pytest.mark.parametrize("formats", ["[]", '["raw"]'])
def test_b06_every_build_asks_before_it_signs(formats: str) -> None:
    config = settings.Config(
        image_settings.ReleaseConfig("node"), build=build_settings.Build(formats=tuple(json.loads(formats)))
    )
    names = [step.name for step in pipeline.steps_of(config)]
    assert names.index("fit") < names.index("release")


def test_b06_the_room_that_is_left_is_told(context: BuildContext, tmp_path: Path) -> None:
    FIT.run(context, tmp_path)
    found = json.loads((tmp_path / "fit.json").read_text())
    assert found == {"headroom": {"boot": 2 * MIB, "root": 23 * MIB}, "budget": 0}


def test_b06_sizes_that_follow_from_the_contents_leave_half_as_much_again(
    context: BuildContext, tmp_path: Path
) -> None:
    derived = dataclasses.replace(context.config, disk=dataclasses.replace(SIZES, uki=0, root=0))
    FIT.run(dataclasses.replace(context, config=derived), tmp_path)
    left = json.loads((tmp_path / "fit.json").read_text())["headroom"]
    assert left["root"] >= 20 * MIB
    assert left["boot"] >= 2 * MIB


@pytest.mark.parametrize(
    ("output", "name", "size"),
    [
        ("root", "root.erofs", 65 * MIB),
        ("verity", "root.tree", 25 * MIB),
        ("uki", "boot.img", 9 * MIB),
        ("esp", "esp.img", 265 * MIB),
    ],
)
def test_b06_what_fits_no_slot_is_refused(
    context: BuildContext, tmp_path: Path, output: str, name: str, size: int
) -> None:
    grow(context, output, name, size)
    with pytest.raises(ProaError) as raised:
        FIT.run(context, tmp_path)
    assert raised.value.code is Code.TOO_LARGE


@pytest.mark.parametrize(("budget", "allowed"), [(40 * MIB, True), (40 * MIB - 1, False), (0, True)])
def test_a_root_beyond_its_budget_is_refused(context: BuildContext, tmp_path: Path, budget: int, allowed: bool) -> None:
    build = build_settings.Build(budget=budget)
    context = dataclasses.replace(context, config=dataclasses.replace(context.config, build=build))
    if allowed:
        FIT.run(context, tmp_path)
        assert json.loads((tmp_path / "fit.json").read_text())["budget"] == budget
        return
    with pytest.raises(ProaError) as raised:
        FIT.run(context, tmp_path)
    assert (raised.value.code, raised.value.at) == (Code.TOO_LARGE, "build.budget")


def test_a_slot_that_is_nearly_full_is_told(context: BuildContext, tmp_path: Path) -> None:
    grow(context, "uki", "boot.img", 7 * MIB)
    FIT.run(context, tmp_path)
    assert isinstance(context.monitor, Recorder)
    (note,) = [event for event in context.monitor.events if isinstance(event, Note)]
    assert note.level == "warning"
    assert "UKI-A is 88% full" in note.text
