"""The wheel has all that the repository ships, and nothing else."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from proa.core.runtime.process import run
from upkeep.lines import FOLDERS, ROOT
from upkeep.version import read_version


def shipped() -> set[str]:
    """Every file below ``FOLDER/proa``, as it is named in the wheel."""
    paths = ((path, ROOT / folder) for folder in FOLDERS for path in (ROOT / folder / "proa").rglob("*"))
    return {
        str(path.relative_to(folder)) for path, folder in paths if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_has_every_file_of_every_package(tmp_path: Path) -> None:
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT])
    (wheel,) = tmp_path.iterdir()
    assert wheel.name == f"proa-{read_version(ROOT)}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == shipped()
