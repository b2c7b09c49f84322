"""Results kept by content: found when whole, thrown away when damaged, never half there."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from proa.builder.engine import cache as kept
from proa.builder.engine.cache import KEPT_PER_STEP, StepCache
from proa.builder.inputs import fingerprint
from proa.core.runtime.errors import Code, ProaError

INPUTS = {"code": "1", "inputs": {"a": [1, 2], "b": "x"}}


def keep(cache: StepCache, key: str, text: str = "content") -> None:
    with cache.new("step", key, INPUTS) as out:
        (out / "file").write_text(text)
        (out / "folder").mkdir()
        (out / "folder" / "program").write_text("x")
        (out / "folder" / "program").chmod(0o755)
        (out / "link").symlink_to("file")


def test_what_was_kept_is_found(tmp_path: Path) -> None:
    cache = StepCache(tmp_path)
    assert cache.find("step", "k") is None
    keep(cache, "k")
    entry = cache.find("step", "k")
    assert entry is not None
    assert (entry.folder / "file").read_text() == "content"
    assert entry.digest == kept.digest(entry.folder)
    assert cache.find("step", "other") is None


def test_equal_content_has_one_digest_and_other_content_another(tmp_path: Path) -> None:
    cache = StepCache(tmp_path)
    digests = []
    for key, text in (("a", "same"), ("b", "same"), ("c", "other")):
        keep(cache, key, text)
        entry = cache.find("step", key)
        assert entry is not None
        digests.append(entry.digest)
    assert (digests[0] == digests[1], digests[0] == digests[2]) == (True, False)


@pytest.mark.parametrize("damage", ["alter", "remove", "add", "mode", "link", "record"])
def test_a_damaged_result_is_thrown_away(tmp_path: Path, damage: str) -> None:
    cache = StepCache(tmp_path)
    keep(cache, "k")
    entry = cache.find("step", "k")
    assert entry is not None
    match damage:
        case "alter":
            (entry.folder / "file").write_text("CONTENT")
        case "remove":
            (entry.folder / "file").unlink()
        case "add":
            (entry.folder / "more").touch()
        case "mode":
            (entry.folder / "folder" / "program").chmod(0o644)
        case "link":
            (entry.folder / "link").unlink()
            (entry.folder / "link").symlink_to("elsewhere")
        case "record":
            (entry.folder.parent / "made.json").write_text("{")
    assert cache.find("step", "k") is None
    keep(cache, "k", "made again")
    assert cache.find("step", "k") is not None


def test_a_result_that_looks_as_it_did_is_found_unread_and_read_before_use(tmp_path: Path) -> None:
    """A disk that loses bits changes no time; here the record is made to fit, which nobody else can do."""
    cache = StepCache(tmp_path)
    keep(cache, "k")
    assert cache.intact("step", "k")
    output, made = (tmp_path / "steps/step/k" / name for name in ("output", "made.json"))
    before = json.loads(made.read_text())
    (output / "file").write_text("CONTENT")
    status = (output / "file").lstat()
    seen = [status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    made.write_text(json.dumps(before | {"seen": before["seen"] | {"file": seen}}))
    assert cache.find("step", "k") is not None
    assert not cache.intact("step", "k")
    assert cache.find("step", "k") is None


def test_a_copy_of_a_cache_is_read(tmp_path: Path) -> None:
    """As CI keeps it: every file is another one, with the same bytes."""
    keep(StepCache(tmp_path / "one"), "k")
    shutil.copytree(tmp_path / "one", tmp_path / "other", symlinks=True)
    assert StepCache(tmp_path / "other").find("step", "k") is not None
    (tmp_path / "other/steps/step/k/output/file").write_text("CONTENT")
    assert StepCache(tmp_path / "other").find("step", "k") is None


def test_a_step_that_fails_leaves_nothing(tmp_path: Path) -> None:
    cache = StepCache(tmp_path)

    def interrupted() -> None:
        with cache.new("step", "k", INPUTS) as out:
            (out / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert cache.find("step", "k") is None
    assert list((tmp_path / "steps" / "step").iterdir()) == []


def test_a_full_disk_has_its_code(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as raised, StepCache(tmp_path).new("step", "k", INPUTS):
        raise OSError(28, "No space left on device")
    assert raised.value.code is Code.DISK_FULL
    with pytest.raises(ProaError) as early:
        kept.check_space(tmp_path, 1 << 60, "everything")
    assert (early.value.code, "MiB are free" in early.value.message) == (Code.DISK_FULL, True)


def test_the_results_used_last_are_kept(tmp_path: Path) -> None:
    cache = StepCache(tmp_path)
    for number in range(KEPT_PER_STEP + 2):
        keep(cache, f"k{number}")
        os.utime(tmp_path / "steps" / "step" / f"k{number}", (number, number))
    with ExitStack() as done:
        assert cache.use("step", "k0", done) is not None
    assert cache.find("step", "k1") is not None  # only looked at
    cache.prune("step")
    left = {path.name for path in (tmp_path / "steps" / "step").iterdir()}
    assert left == {"k0", *(f"k{number}" for number in range(3, KEPT_PER_STEP + 2))}


def test_what_another_build_uses_is_not_pruned(tmp_path: Path) -> None:
    cache = StepCache(tmp_path)
    keep(cache, "mine")
    with ExitStack() as held:
        entry = cache.use("step", "mine", held)
        assert entry is not None
        for number in range(KEPT_PER_STEP):
            keep(cache, f"k{number}")
        os.utime(entry.folder.parent, (0, 0))
        cache.prune("step")
        assert (entry.folder / "file").read_text() == "content"
    cache.prune("step")
    assert not entry.folder.exists()


def test_what_a_killed_build_left_is_pruned(tmp_path: Path) -> None:
    cache = StepCache(tmp_path)
    keep(cache, "k")
    left = tmp_path / "steps" / "step" / ".other.k2j4x_9a"
    (left / "output").mkdir(parents=True)
    cache.prune("step")
    assert not left.exists()
    assert cache.find("step", "k") is not None


def test_looking_changes_nothing(tmp_path: Path) -> None:
    cache = StepCache(tmp_path)
    keep(cache, "k")
    (tmp_path / "steps" / "step" / "k" / "output" / "file").write_text("damaged")
    assert cache.find("step", "k") is None
    assert (tmp_path / "steps" / "step" / "k").is_dir()
    with ExitStack() as held:
        assert cache.use("step", "k", held) is None
    assert not (tmp_path / "steps" / "step" / "k").exists()


def test_why_nothing_was_found(tmp_path: Path) -> None:
    cache = StepCache(tmp_path)
    assert cache.missed("step", INPUTS) == ""
    keep(cache, "k")
    assert cache.missed("step", {"code": "1", "inputs": {"a": (1, 2), "b": "y"}}) == "inputs.b"
    assert cache.missed("step", {"code": "1", "inputs": {"a": (1, 2), "b": "x"}}) == ""


def test_a_hash_does_not_depend_on_order_or_kind_of_sequence() -> None:
    assert fingerprint.of({"a": (1, 2), "b": 3}) == fingerprint.of({"b": 3, "a": [1, 2]})
    assert fingerprint.of({"a": 1}) != fingerprint.of({"a": "1"})


def test_the_code_of_a_step_is_all_that_it_imports() -> None:
    one, other = fingerprint.code("proa.builder.steps.verity"), fingerprint.code("proa.builder.steps.sbom")
    assert len(one) == 64
    assert one != other
    assert fingerprint.code("proa.builder.steps.verity") == one
    assert fingerprint.code("proa.core.nothing") == fingerprint.code("no.such.module")


def test_s13_nobody_else_reads_what_is_kept(tmp_path: Path) -> None:
    steps = tmp_path / "cache/steps"
    steps.mkdir(parents=True)
    steps.chmod(0o755)
    keep(StepCache(tmp_path / "cache"), "k")
    assert steps.stat().st_mode & 0o777 == 0o700
    with StepCache(tmp_path / "other").lock("step"):
        assert (tmp_path / "other/steps").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o755), (0o077, 0o700), (0o027, 0o750)])
def test_s13_the_mask_is_kept(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        keep(StepCache(tmp_path / "cache"), "k")
    finally:
        os.umask(before)
    assert (tmp_path / "cache/steps/step/k").stat().st_mode & 0o777 == mode


def test_s13_contents_are_kept_by_their_hash() -> None:
    config = {"file": [{"path": "/etc/key", "content": "hunter2", "mode": "0600"}], "check": ({"content": None},)}
    hidden = fingerprint.hidden(config)
    assert "hunter2" not in str(hidden)
    assert hidden["file"][0]["path"] == "/etc/key"
    assert hidden["check"] == [{"content": None}]
    other = {"file": [{"path": "/etc/key", "content": "hunter3", "mode": "0600"}], "check": ({"content": None},)}
    assert fingerprint.of(fingerprint.hidden(other)) != fingerprint.of(hidden)
    assert "file" in fingerprint.explain(hidden, fingerprint.hidden(other))
