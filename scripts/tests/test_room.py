"""What a command sees in another root: the tree on /src, with folders of its own in the place of .venv and build."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proa.builder.engine import namespace
from proa.core.runtime.process import ProcessResult, run
from upkeep import python313

pytestmark = pytest.mark.contract
LINKS = ("bin", "sbin", "lib", "lib64")
FOLDERS = ("usr", "etc/ssl/certs", "proc", "sys", "dev", "run", "tmp", "root", "src")
BORROW = 'mount --rbind /usr "$1/usr" && exec sh "$0" "$@"'
"""The test's root has this machine's /usr, for there is no other Debian here."""
ENTER = Path(python313.__file__).with_name("enter.sh")


@pytest.fixture
def room(tmp_path: Path) -> Path:
    for name in FOLDERS:
        (tmp_path / "root" / name).mkdir(parents=True)
    for name in LINKS:
        (tmp_path / "root" / name).symlink_to(f"usr/{name}")
    for name in ("tree/.venv/of-the-tree", "tree/build/of-the-tree", "out/tmp", "out/home", "out/venv", "out/build"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tree" / "file").write_text("of the tree\n")
    return tmp_path


def inside(room: Path, script: str) -> ProcessResult:
    """Run a script in the room."""
    words = ("sh", "-c", BORROW, ENTER, room / "root", room / "tree", room / "out", "sh", "-c", script)
    return run((*namespace.enter(network=True), *map(str, words)), check=False)


def test_a_tree_has_an_environment_and_reports_of_its_own_there(room: Path) -> None:
    assert inside(room, "pwd; cat file; ls .venv build; touch build/report .venv/python ~/kept").text == (
        "/src\nof the tree\n.venv:\n\nbuild:\n"
    )
    assert os.listdir(room / "out/build") == ["report"]  # noqa: PTH208 -- names, not paths
    assert os.listdir(room / "out/venv") == ["python"]  # noqa: PTH208
    assert os.listdir(room / "out/home") == ["kept"]  # noqa: PTH208
    assert [path.name for path in (room / "tree").rglob("*") if path.name in ("report", "python")] == []


def test_nothing_of_the_machine_is_seen_but_what_is_shared(room: Path) -> None:
    assert inside(room, "ls -d /*").text.split() == sorted(
        f"/{name}" for name in {*LINKS, *(folder.split("/")[0] for folder in FOLDERS)}
    )
    assert run(["mount"]).text.count(str(room)) == 0


def test_builds_work_in_it(room: Path) -> None:
    assert inside(room, "unshare --user --map-root-user --mount true").status == 0


def test_the_exit_status_is_that_of_the_command(room: Path) -> None:
    assert inside(room, "exit 9").status == 9
