"""What the images of the tests and of the demo are told about time: as much as this machine needs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from proa.vm.machine import calibration
from proa.vm.node.demo import Demo
from proa.vm.node.images import RECIPES, WATCHDOG_MAX, watchdog


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine on which guests take five times as long as on the reference."""
    monkeypatch.setenv(calibration.VARIABLE, "5")
    calibration.factor.cache_clear()
    yield
    calibration.factor.cache_clear()


@pytest.mark.usefixtures("slow")
def test_deadlines_and_watchdogs_of_the_tests_images_follow_the_machine() -> None:
    for recipe in RECIPES.values():
        health = tomllib.loads(recipe.config())["health"]
        assert health == {"deadline": f"{recipe.seconds} s", "watchdog": "300 s", "seconds": "10 s"}
    assert (RECIPES["1"].seconds, RECIPES["doomed"].seconds) == (1200, 720)


@pytest.mark.parametrize(("factor", "seconds"), [(0.1, 60), (1.0, 60), (3.0, 180), (100.0, WATCHDOG_MAX)])
def test_a_watchdog_has_no_less_than_its_default_and_no_more_than_a_config_may_say(factor: float, seconds: int) -> None:
    assert watchdog(factor) == seconds


@pytest.mark.parametrize(("broken", "deadline"), [(False, "1500 s"), (True, "600 s")])
def test_the_demo_has_deadlines_that_fit_the_machine(tmp_path: Path, broken: bool, deadline: str) -> None:
    template = tmp_path / "proa.toml"
    template.write_text('[release]\nversion = "1.0.0"\n\n[health]\nrequired = ["ssh.service"]\n')
    written = Demo(tmp_path, slowness=2.5).config(template, broken=broken)
    config = tomllib.loads(written.read_text())
    assert config["health"] == {"deadline": deadline, "watchdog": "150 s", "required": ["ssh.service"]}
    assert [check["name"] for check in config.get("check", [])] == (["50-broken"] if broken else [])
