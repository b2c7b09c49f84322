"""/etc by slot: carried over, set aside, compared."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proa.agent.node.paths import Paths
from proa.agent.trial.etc import KEPT, NAMES, carry_over, hidden_files, lacks_etc, set_aside
from proa.core.runtime.process import run
from proa.partition.boot.bootstate import Slot


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    for slot in Slot:
        paths.etc_upper(slot).mkdir(parents=True)
    return paths


def put(folder: Path, name: str, text: str = "x", mode: int = 0o644) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_copy_is_exact(paths: Paths) -> None:
    upper = paths.etc_upper(Slot.A)
    secret = put(upper, "ssh/key", "secret", 0o600)
    os.utime(secret, (1, 1))
    os.link(secret, upper / "ssh/same")
    (upper / "link").symlink_to("/nowhere")
    os.mkfifo(upper / "pipe")
    carry_over(paths, Slot.A, Slot.B)
    copy = paths.etc_upper(Slot.B)
    status = (copy / "ssh/key").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime, status.st_nlink) == (0o600, 1, 2)
    assert (copy / "link").readlink() == Path("/nowhere")
    assert (copy / "pipe").is_fifo()
    assert sorted(path.name for path in copy.parent.iterdir()) == ["upper"]


def test_what_was_deleted_stays_deleted(paths: Paths) -> None:
    os.mknod(paths.etc_upper(Slot.A) / "gone", stat.S_IFCHR, os.makedev(0, 0))
    carry_over(paths, Slot.A, Slot.B)
    assert stat.S_ISCHR((paths.etc_upper(Slot.B) / "gone").lstat().st_mode)


def test_what_the_standby_had_is_replaced(paths: Paths) -> None:
    put(paths.etc_upper(Slot.B), "stale")
    put(paths.etc_upper(Slot.B).parent, "upper.new/half")
    put(paths.etc_upper(Slot.A), "fresh")
    carry_over(paths, Slot.A, Slot.B)
    assert [path.name for path in paths.etc_upper(Slot.B).iterdir()] == ["fresh"]


def test_a_cut_at_any_rename_leaves_the_slot_its_etc(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    put(paths.etc_upper(Slot.B), "stale")

    class Cut(BaseException):
        pass

    def cut(self: Path, target: Path) -> Path:
        raise Cut

    monkeypatch.setattr(Path, "rename", cut)
    carry_over(paths, Slot.A, Slot.B)
    assert list(paths.etc_upper(Slot.B).iterdir()) == []


@pytest.mark.parametrize("source", [True, False])
def test_it_is_one_that_everybody_may_enter(paths: Paths, source: bool) -> None:
    """The daemon's own mask is strict."""
    if not source:
        paths.etc_upper(Slot.A).rmdir()
    paths.etc_upper(Slot.B).rmdir()
    before = os.umask(0o077)
    try:
        carry_over(paths, Slot.A, Slot.B)
    finally:
        os.umask(before)
    assert stat.S_IMODE(paths.etc_upper(Slot.B).stat().st_mode) == 0o755


def test_a_second_return_at_the_same_time_is_kept_beside_the_first(paths: Paths) -> None:
    for number in range(2):
        put(paths.etc_upper(Slot.B), f"file{number}")
        assert set_aside(paths, Slot.B, Slot.A, "now") is not None
    kept = sorted(paths.etc_uppers.glob("returned-*"))
    assert [[file.name for file in folder.iterdir()] for folder in kept] == [["file0"], ["file1"]]


def test_who_lacks_one(paths: Paths, tmp_path: Path) -> None:
    assert not lacks_etc(paths, Slot.B)
    paths.etc_upper(Slot.B).rmdir()
    assert lacks_etc(paths, Slot.B)
    assert not lacks_etc(Paths(tmp_path / "none"), Slot.B), "a node without an overlay"


def test_a_slot_without_changes_of_its_own(paths: Paths) -> None:
    paths.etc_upper(Slot.A).rmdir()
    put(paths.etc_upper(Slot.B), "stale")
    carry_over(paths, Slot.A, Slot.B)
    assert list(paths.etc_upper(Slot.B).iterdir()) == []


def test_a_node_without_an_overlay_is_left_alone(tmp_path: Path) -> None:
    carry_over(Paths(tmp_path), Slot.A, Slot.B)
    assert list(tmp_path.iterdir()) == []


def test_what_a_trial_changed_is_set_aside(paths: Paths) -> None:
    for slot in Slot:
        put(paths.etc_upper(slot), "same", "same")
        put(paths.etc_upper(slot), "changed", slot.value)
    put(paths.etc_upper(Slot.B), "d/added")
    put(paths.etc_upper(Slot.A), "removed")
    found = set_aside(paths, Slot.B, Slot.A, "2026-01-01T00:00:00+00:00")
    assert found is not None
    assert found.files == ("changed", "d", "d/added", "removed")
    assert (found.folder / "changed").read_text() == "b"
    assert (paths.etc_upper(Slot.B) / "changed").read_text() == "a", "the slot may be one that still boots"
    assert (paths.etc_upper(Slot.B) / "removed").exists()


def test_nothing_changed_nothing_kept(paths: Paths) -> None:
    put(paths.etc_upper(Slot.A), "same")
    put(paths.etc_upper(Slot.B), "same")
    assert set_aside(paths, Slot.B, Slot.A, "now") is None
    assert paths.etc_upper(Slot.B).exists()


def test_only_the_last_are_kept(paths: Paths) -> None:
    for number in range(KEPT + 2):
        put(paths.etc_upper(Slot.B), f"file{number}")
        set_aside(paths, Slot.B, Slot.A, f"2026-01-0{number + 1}")
    kept = sorted(path.name for path in paths.etc_uppers.glob("returned-*"))
    assert kept == ["returned-0003-2026-01-03", "returned-0004-2026-01-04", "returned-0005-2026-01-05"]


@pytest.mark.parametrize("years", [(2026, 2000, 2000), (2000, 2038, 1970), (2026, 2026, 2026)])
def test_n11_the_last_ones_are_those_that_came_last_whatever_the_clock_says(
    paths: Paths, years: tuple[int, ...]
) -> None:
    """A machine without a battery begins in the same year at each boot."""
    for number in range(KEPT):
        (paths.etc_uppers / f"returned-2026-01-0{number}T000000+0000").mkdir()  # an older agent's
    found = []
    for number, year in enumerate(years):
        put(paths.etc_upper(Slot.B), f"file{number}")
        found.append(set_aside(paths, Slot.B, Slot.A, f"{year}-01-01T00:00:00+00:00"))
        assert found[-1] is not None
        assert (found[-1].folder / f"file{number}").exists()
    assert {path.name for path in paths.etc_uppers.glob("returned-*")} == {one.folder.name for one in found if one}


def test_a_report_names_only_so_many(paths: Paths) -> None:
    for number in range(NAMES + 5):
        put(paths.etc_upper(Slot.B), f"file{number}")
    found = set_aside(paths, Slot.B, Slot.A, "now")
    assert found is not None
    assert len(found.files) == NAMES


def test_files_that_hide_what_the_release_has(paths: Paths) -> None:
    upper, lower = paths.etc_upper(Slot.A), paths.lower_etc
    for folder, names in (
        (lower, ("same", "d/other", "release alone", "becomes link")),
        (upper, ("same", "mine alone")),
    ):
        for name in names:
            put(folder, name)
    put(upper, "d/other", "mine")
    (upper / "becomes link").symlink_to("same")
    see(paths)
    put(lower, "machine-id", "")
    put(upper, "machine-id", "0123")  # the node's identity is no change of anybody's
    assert hidden_files(paths, Slot.A) == ("becomes link", "d/other")


def see(paths: Paths) -> None:
    """Lay the upper over the release's /etc, as overlay does with what is neither deleted nor opaque."""
    shutil.copytree(paths.lower_etc, paths.root / "etc", symlinks=True, dirs_exist_ok=True)
    for path in sorted(paths.etc_upper(Slot.A).rglob("*")):
        place = paths.root / "etc" / path.relative_to(paths.etc_upper(Slot.A))
        if path.is_dir() and not path.is_symlink():
            place.mkdir(exist_ok=True)
        else:
            place.unlink(missing_ok=True)
            shutil.copy2(path, place, follow_symlinks=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.chmod(0o600),
        lambda path: os.setxattr(path, "user.label", b"x"),
        lambda path: path.chmod(0o4755),
        lambda path: path.write_text("other"),
    ],
)
@pytest.mark.parametrize("name", ["file", "folder"])
def test_n05_a_trial_that_changed_only_an_attribute_is_set_aside(
    tmp_path_factory: pytest.TempPathFactory, change: Callable[[Path], Any], name: str
) -> None:
    paths = Paths(tmp_path_factory.mktemp("disk"))  # not in memory, where files have no user attributes
    for slot in Slot:
        put(paths.etc_upper(slot), "file")
        put(paths.etc_upper(slot), "folder/inner")
    place = paths.etc_upper(Slot.B) / name
    if name == "folder" and "write_text" in change.__code__.co_names:
        place = place / "new"
    change(place)
    found = set_aside(paths, Slot.B, Slot.A, "now")
    assert found is not None
    assert found.files == (str(place.relative_to(paths.etc_upper(Slot.B))),)


def test_n05_an_empty_folder_that_a_trial_made_is_a_change(paths: Paths) -> None:
    (paths.etc_upper(Slot.B) / "made").mkdir()
    found = set_aside(paths, Slot.B, Slot.A, "now")
    assert found is not None
    assert found.files == ("made",)


@pytest.mark.contract
class TestOverlay:
    """A real overlay, with the options of a node."""

    @pytest.fixture
    def laid(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paths]:
        paths = Paths(tmp_path_factory.mktemp("node"))
        lower, upper, merged = paths.lower_etc, paths.etc_upper(Slot.A), paths.root / "etc"
        for folder in (lower, upper, merged, upper.with_name("work")):
            folder.mkdir(parents=True)
        for name in (
            "plain",
            "mode",
            "owner",
            "label",
            "acl",
            "content",
            "gone",
            "d/one",
            "d/two",
            "link.d/x",
            "kept.d/y",
        ):
            put(lower, name)
        put(lower, "folder/inner").parent.chmod(0o755)
        (lower / "link").symlink_to("plain")
        options = f"lowerdir={lower},upperdir={upper},workdir={upper.with_name('work')}"
        options += ",index=off,metacopy=off,xino=off,redirect_dir=nofollow"
        run(["mount", "-t", "overlay", "etc", merged, "-o", options])
        try:
            yield paths
        finally:
            run(["umount", merged])

    def test_n05_what_was_not_changed_is_not_hidden(self, laid: Paths) -> None:
        etc = laid.root / "etc"
        put(etc, "mine")
        put(etc, "kept.d/mine")
        (etc / "plain").chmod(0o600)
        (etc / "plain").chmod(0o644)
        assert (laid.etc_upper(Slot.A) / "plain").exists()
        assert hidden_files(laid, Slot.A) == ()

    def test_n05_every_attribute_counts(self, laid: Paths) -> None:
        etc = laid.root / "etc"
        (etc / "mode").chmod(0o600)
        os.chown(etc / "owner", 7, 8)
        os.setxattr(etc / "label", "user.label", b"x")
        (etc / "content").write_text("other")
        (etc / "folder").chmod(0o700)
        (etc / "gone").unlink()
        (etc / "link").unlink()
        (etc / "link").symlink_to("elsewhere")
        assert hidden_files(laid, Slot.A) == ("content", "folder", "gone", "label", "link", "mode", "owner")

    def test_n05_what_lies_below_an_opaque_folder_is_hidden(self, laid: Paths) -> None:
        etc = laid.root / "etc"
        shutil.rmtree(etc / "d")
        put(etc, "d/two")
        assert os.getxattr(laid.etc_upper(Slot.A) / "d", "trusted.overlay.opaque") == b"y"
        assert hidden_files(laid, Slot.A) == ("d/one",)

    def test_n05_a_link_in_the_place_of_a_folder_hides_it(self, laid: Paths) -> None:
        etc = laid.root / "etc"
        shutil.rmtree(etc / "link.d")
        (etc / "link.d").symlink_to("kept.d")
        assert hidden_files(laid, Slot.A) == ("link.d",)

    def test_n05_opaque_folders_and_whiteouts_go_along_and_are_told(self, laid: Paths) -> None:
        etc = laid.root / "etc"
        carry_over(laid, Slot.A, Slot.B)
        shutil.rmtree(etc / "d")
        put(etc, "d/one")
        (etc / "gone").unlink()
        found = set_aside(laid, Slot.A, Slot.B, "now")
        assert found is not None
        assert set(found.files) == {"d", "d/one", "gone"}
        assert os.getxattr(found.folder / "d", "trusted.overlay.opaque") == b"y"


def test_what_cannot_be_seen_is_not_guessed(paths: Paths) -> None:
    assert hidden_files(paths, Slot.A) is None
