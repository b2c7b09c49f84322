"""Projects that use Proa see its types: a wheel of ours in an environment of its own, judged by mypy."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "partition", "builder", "agent", "scheduler", "vm")
RIGHT = """
from proa.agent.node.policy import Policy
from proa.builder.config.node_settings import ClusterConfig
from proa.core.oci.reference import Reference, parse
from proa.partition.boot.bootstate import Slot
from proa.scheduler.planning.reasons import Reason
from proa.vm.machine.qemu import Hardware

reference: Reference = parse("registry.example/node:1")
other: Slot = Slot.A.other
newest: int = Policy("pc").newest
keys: tuple[type, ...] = (ClusterConfig, Hardware, Reason)
"""
WRONG = RIGHT.replace("reference: Reference", "reference: int").replace("other: Slot", "other: bytes")

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has our wheel, and nothing else."""
    folder = tmp_path_factory.mktemp("outside")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    venv.create(folder / "venv")
    (wheel,) = folder.glob("*.whl")
    (site,) = (folder / "venv").glob("lib/python3*/site-packages")
    with zipfile.ZipFile(wheel) as packed:
        assert {f"proa/{name}/py.typed" for name in PACKAGES} <= set(packed.namelist())
        packed.extractall(site)
    return folder / "venv/bin/python"


def judged(python: Path, folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """What mypy says of a program outside of this repository."""
    (folder / "program.py").write_text(program)
    words = ["--strict", "--python-executable", str(python), "--cache-dir", str(folder / "cache"), "program.py"]
    return subprocess.run(
        [sys.executable, "-m", "mypy", *words], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_project_outside_sees_the_types(python: Path, tmp_path: Path) -> None:
    right = judged(python, tmp_path, RIGHT)
    assert (right.returncode, right.stdout) == (0, "Success: no issues found in 1 source file\n")
    wrong = judged(python, tmp_path, WRONG)
    assert 'has type "Reference", variable has type "int"' in wrong.stdout
    assert 'has type "Slot", variable has type "bytes"' in wrong.stdout
