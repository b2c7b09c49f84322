"""Two builds without the cache: equal ones pass, others are told by the first file that differs."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from proa.builder.build.pipeline import BuildOrder
from proa.builder.build.repeating import build_twice
from proa.builder.config.loading import load
from proa.builder.engine.cache import StepCache
from proa.builder.engine.context import BuildContext
from proa.builder.steps.disk import DISK
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import SILENT


@dataclass
class Step:
    """A step that does what it is told, and knows how often it ran."""

    name: str
    act: Callable[[BuildContext, Path, int], None]
    keep: bool = True
    needs: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    title: str = "A step"
    runs: int = 0

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        return {}

    def run(self, context: BuildContext, out: Path) -> None:
        self.runs += 1
        self.act(context, out, self.runs)


@pytest.fixture(autouse=True)
def _no_other_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


def order_of(folder: Path, *steps: Step) -> BuildOrder:
    path = folder / "proa.toml"
    path.write_text('[release]\nname = "node"\nversion = "1.0.0"\n')
    return BuildOrder(load(path), folder / "out", None, StepCache(folder / "cache"), SILENT, steps)


def same(context: BuildContext, out: Path, run: int) -> None:
    (out / "same").write_text("same")


def differs_in(folder: Path, act: Callable[[BuildContext, Path, int], None], *, keep: bool = True) -> str:
    with pytest.raises(ProaError) as raised:
        build_twice(order_of(folder, Step("first", same), Step("second", act, keep), Step("third", act)))
    assert raised.value.code is Code.NOT_REPRODUCIBLE
    assert list((folder / "cache/tmp").iterdir()) == []
    return raised.value.message


def test_equal_builds_pass_and_nothing_kept_is_used(tmp_path: Path) -> None:
    masks, folders = [], []

    def act(context: BuildContext, out: Path, run: int) -> None:
        (out / "made").touch(0o666)
        masks.append(stat.S_IMODE((out / "made").stat().st_mode))
        folders.append(out)
        assert (context.cache / "packages").samefile(tmp_path / "cache/packages")

    step = Step("one", act)
    for runs in (2, 4):
        report = build_twice(order_of(tmp_path, step))
        assert (step.runs, report.reproduced, report.cache_hits) == (runs, True, 0)
    assert masks[:2] == [0o644, 0o600]
    assert len(str(folders[0])) != len(str(folders[1]))
    assert json.loads((tmp_path / "out/build.json").read_text())["reproduced"] is True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out", "proa.toml"]
    assert os.umask(0o022) == 0o022


def test_the_first_byte_of_a_plain_file_is_told(tmp_path: Path) -> None:
    def act(context: BuildContext, out: Path, run: int) -> None:
        (out / "data").write_bytes(bytes((1 << 20) + 5) + bytes([run]))

    assert differs_in(tmp_path, act) == "two builds differ in step second: data, byte 1048581"


def test_a_file_that_grows_differs_at_its_end(tmp_path: Path) -> None:
    def act(context: BuildContext, out: Path, run: int) -> None:
        (out / "data").write_bytes(bytes(10 * run))

    assert differs_in(tmp_path, act) == "two builds differ in step second: data, byte 10"


def test_a_file_that_only_one_has_is_told(tmp_path: Path) -> None:
    def act(context: BuildContext, out: Path, run: int) -> None:
        (out / f"data-{run}").touch()

    assert differs_in(tmp_path, act) == "two builds differ in step second: only the first build has data-1"


def test_a_file_of_the_root_is_told_by_its_path(tmp_path: Path) -> None:
    def act(context: BuildContext, out: Path, run: int) -> None:
        tree = context.scratch / "tree"
        (tree / "etc").mkdir(parents=True)
        (tree / "etc/alike").write_text("x")
        (tree / "etc/drawn").write_text(str(run))
        (tree / "etc/later").write_text(str(run))
        for path in (tree, *tree.rglob("*")):
            path.chmod(0o755)
        words = ["mkfs.erofs", "--quiet", "-T1", f"-U{'0' * 8}-0000-0000-0000-{'0' * 12}", "--chunksize=4096"]
        subprocess.run([*words, str(out / "root.erofs"), str(tree)], check=True, capture_output=True)

    assert differs_in(tmp_path, act) == "two builds differ in step second: root.erofs, file /etc/drawn"


@pytest.mark.parametrize(("change", "told"), [("content", "./b"), ("owner", "./b"), ("more", "./c")])
def test_a_file_of_the_packages_tree_is_told_by_its_path(tmp_path: Path, change: str, told: str) -> None:
    def act(context: BuildContext, out: Path, run: int) -> None:
        with tarfile.open(out / "base.tar", "w") as file:
            for name in ("./a", "./b", *(["./c"] if change == "more" and run == 2 else [])):
                entry = tarfile.TarInfo(name)
                data = str(run if change == "content" and name == "./b" else 0).encode()
                entry.size, entry.uid = len(data), run if change == "owner" and name == "./b" else 0
                file.addfile(entry, io.BytesIO(data))

    assert differs_in(tmp_path, act) == f"two builds differ in step second: base.tar, file {told}"


def test_results_of_steps_that_are_never_kept_are_compared_too(tmp_path: Path) -> None:
    def act(context: BuildContext, out: Path, run: int) -> None:
        (out / "disk.raw").write_text(str(run))

    step = Step(DISK.name, act, keep=False)
    with pytest.raises(ProaError) as raised:
        build_twice(order_of(tmp_path, step))
    assert raised.value.message == "two builds differ in the results: disk.raw, byte 0"
