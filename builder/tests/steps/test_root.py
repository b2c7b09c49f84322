"""The key of the root image: everything that shapes it, and nothing that does not."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from proa.builder.config import build_settings, image_settings, node_allow, node_settings
from proa.builder.config.settings import Config
from proa.builder.engine.context import BuildContext
from proa.builder.inputs import fingerprint
from proa.builder.node import software, units
from proa.builder.steps.root import ROOT, shaping
from proa.core.runtime.process import run

REPOSITORY = Path(__file__).parents[3]
ELSEWHERE = (
    "agent/proa/agent/testing/synthetic.py",
    "partition/proa/partition/testing/statecases.py",
    "partition/proa/partition/disk/table.py",
    "core/proa/core/oci/upload.py",
    "builder/proa/builder/steps/root.py",
    "builder/proa/builder/steps/release.py",
)
KEYS = """
import json, pathlib, sys
from proa.builder.inputs import fingerprint, imports
from proa.builder.node import software
repository = pathlib.Path(sys.argv[1])
for names in json.loads(sys.argv[2]):
    for name in names:
        with (repository / name).open("a") as file:
            file.write("# A comment.\\n")
    imports.module.cache_clear()
    software.files.cache_clear()
    fingerprint.code.cache_clear()
    files = software.files()
    assert all(path.is_relative_to(repository) for path in files.values())
    kept = {place: fingerprint.file(path) for place, path in files.items()}
    print(fingerprint.of([kept, fingerprint.code("proa.builder.steps.root")]))
"""
"""Prints what the root's key has of a repository's code, each time after comments in some more modules."""


@pytest.fixture
def context(step_context: BuildContext) -> BuildContext:
    packages = step_context.output("packages")
    (packages / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (packages / "group").write_text("root:x:0:\n")
    (step_context.folder / "hook").touch()
    return step_context


def key(context: BuildContext, config: Config | None = None) -> str:
    return fingerprint.of(ROOT.inputs(dataclasses.replace(context, config=config or context.config)))


OF_OTHER_STEPS: dict[str, Any] = {
    "kernel": image_settings.Kernel(
        package="linux-image-cloud-amd64", arguments=("quiet",), initrd_modules=("mpt3sas",)
    ),
    "boot": image_settings.BootConfig(generation=2),
    "disk": node_settings.DiskConfig(root=1 << 30),
    "health": node_settings.HealthConfig(deadline=60),
    "build": build_settings.Build(compression=1),
    "source": (image_settings.SourceConfig("http://x/y", ("a",)),),
}
OF_THE_ROOT: dict[str, Any] = {
    "kernel": image_settings.Kernel(exclude=("kernel/sound",), drivers="all"),
    "health": node_settings.HealthConfig(watchdog=30),
    "units": image_settings.Units(enable=("a.service",)),
    "persist": node_settings.Persist(keep=("/srv",)),
    "file": (image_settings.File("/etc/x", content="x"),),
    "user": (image_settings.User("a"),),
    "check": (node_settings.Check("a", content="x"),),
    "cluster": node_settings.ClusterConfig(group=4711),
    "hook": (build_settings.Hook("tree-after", "hook"),),
    "trust": node_settings.TrustConfig(threshold=2),
    "settings": node_allow.SettingsConfig(sysctl=("vm.swappiness",)),
    "system": image_settings.SystemConfig(timezone="Europe/Berlin"),
    "release": image_settings.ReleaseConfig(name="my-node", version="2", serial=2, compatible="my-node"),
}


@pytest.mark.parametrize("section", OF_OTHER_STEPS)
def test_what_shapes_other_steps_keeps_the_root(context: BuildContext, section: str) -> None:
    config = dataclasses.replace(context.config, **{section: OF_OTHER_STEPS[section]})
    assert key(context, config) == key(context)
    assert shaping(config) == shaping(context.config)


@pytest.mark.parametrize("section", OF_THE_ROOT)
def test_what_shapes_the_root_makes_it_anew(context: BuildContext, section: str) -> None:
    assert key(context, dataclasses.replace(context.config, **{section: OF_THE_ROOT[section]})) != key(context)


def test_every_section_is_one_or_the_other() -> None:
    assert {field.name for field in dataclasses.fields(Config)} == OF_OTHER_STEPS.keys() | OF_THE_ROOT.keys()


def test_all_that_a_node_gets_of_proa_is_in_the_key(context: BuildContext) -> None:
    found: Any = ROOT.inputs(context)["agent"]
    assert found.keys() == software.files().keys()
    assert {f"{units.FOLDER}/proa-deadline.{kind}" for kind in ("service", "timer")} < found.keys()
    assert f"{software.SITE}/proa/agent/daemon/serve.py" in found


def test_a_comment_where_no_node_runs_it_leaves_the_key_alone(tmp_path: Path) -> None:
    """Not in a room for tests, nor in what pushes, nor in the builder; a node's own modules are kept to the byte."""
    for folder in ("core", "partition", "agent", "builder"):
        shutil.copytree(REPOSITORY / folder / "proa", tmp_path / folder / "proa")
    places = os.pathsep.join(str(tmp_path / folder) for folder in ("core", "partition", "agent", "builder"))
    rounds = [[], ELSEWHERE, ["core/proa/core/oci/remote.py"]]
    done = run([sys.executable, "-B", "-c", KEYS, tmp_path, json.dumps(rounds)], env={"PYTHONPATH": places})
    before, elsewhere, there = done.text.split()
    assert elsewhere == before
    assert there != before


def test_a_file_behind_a_link_is_in_the_key(context: BuildContext) -> None:
    (context.folder / "real").write_text("one")
    (context.folder / "motd").symlink_to("real")
    config = dataclasses.replace(context.config, file=(image_settings.File("/etc/motd", source="motd"),))
    before = key(context, config)
    (context.folder / "real").write_text("other")
    assert key(context, config) != before
