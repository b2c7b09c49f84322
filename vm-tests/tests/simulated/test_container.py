"""What the image of scheduler and proxy has of Proa is enough: without an image, in an emptied environment."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import pytest

from container import software
from proa.builder.testing.bare import EVERYTHING, PYTHON
from proa.core.runtime import process
from proa.scheduler.cli.main import cli

MANIFESTS = """
import sys
sys.path[:0] = sys.argv[1:]
sys.argv = ["proa-scheduler", "manifests"]
from proa.scheduler.cli.main import main
main()
"""
PACKAGES = sysconfig.get_path("purelib")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's own modules and data."""
    folder = tmp_path_factory.mktemp("site")
    for name, path in software.own().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(path.read_bytes())
    return folder


def test_every_module_can_be_imported_and_every_verb_has_its_help(site: Path) -> None:
    verbs = {"proa.scheduler.cli.main": ["", *cli.commands]}
    done = process.run([*PYTHON, "-c", EVERYTHING, site, json.dumps(verbs), PACKAGES])
    assert done.text.count("Usage: ") == len(cli.commands) + 1


def test_the_manifests_are_made_of_what_is_there(site: Path) -> None:
    text = process.run([*PYTHON, "-c", MANIFESTS, site, PACKAGES]).text
    assert text.count("\nkind: ") > 10


def test_what_only_tests_and_kubectl_run_is_not_there() -> None:
    names = software.own()
    assert "proa/scheduler/control/controller.py" in names
    assert not [
        name for name in names if "/testing/" in name or name.startswith(("proa/core/oci/upload", "proa/partition"))
    ]
    assert "proa/scheduler/cli/kubectl.py" not in names
