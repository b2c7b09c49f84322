"""The walk over a user's files: whatever the copy has of them is in the key, and nothing else is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proa.builder.config.image_settings import File
from proa.builder.inputs import localfiles
from proa.builder.node.assemble import add_file
from proa.builder.node.tree import Tree
from proa.core.runtime.errors import Code, ProaError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "files" / "app"
    (folder / "empty").mkdir(parents=True)
    (folder / "sub" / "__pycache__").mkdir(parents=True)
    (folder / "sub" / "__pycache__" / "x.pyc").write_text("changes by itself")
    (folder / "program").write_text("#!/bin/sh\n")
    (folder / "program").chmod(0o755)
    (folder / "sub" / "data").write_text("data")
    (folder / "sub" / "data").chmod(0o644)
    (folder / "link").symlink_to("sub/data")
    (tmp_path / "files" / "one").symlink_to("app/program")
    return tmp_path / "files"


def copied(source: Path, name: str, tmp_path: Path) -> dict[str, tuple[str, str]]:
    """What the builder copies: each path with its kind and mode, and its content."""
    root = tmp_path / f"tree{len(list(tmp_path.glob('tree*')))}"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    add_file(Tree(root, owners=False), File("/x", source=name), source)
    found = {}
    for path in (root / "x", *sorted((root / "x").rglob("*"))):
        mode = "link" if path.is_symlink() else f"{path.stat().st_mode:o}"
        content = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
        found[str(path.relative_to(root))] = (mode, content)
    return found


def test_the_copy_has_links_empty_folders_and_no_caches(source: Path, tmp_path: Path) -> None:
    assert copied(source, "app", tmp_path) == {
        "x": ("40755", ""),
        "x/empty": ("40755", ""),
        "x/link": ("link", "sub/data"),
        "x/program": ("100755", "#!/bin/sh\n"),
        "x/sub": ("40755", ""),
        "x/sub/data": ("100644", "data"),
    }


def test_a_source_that_is_a_link_stands_for_what_it_leads_to(source: Path, tmp_path: Path) -> None:
    assert copied(source, "one", tmp_path) == {"x": ("100755", "#!/bin/sh\n")}


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda source: None,
    "content": lambda source: (source / "app/sub/data").write_text("other"),
    "executable": lambda source: (source / "app/sub/data").chmod(0o744),
    "bits that are not kept": lambda source: (source / "app/sub/data").chmod(0o654),
    "private": lambda source: (source / "app/program").chmod(0o700),
    "link": lambda source: relink(source / "app/link", "program"),
    "folder": lambda source: (source / "app/empty/more").mkdir(),
    "no folder": lambda source: (source / "app/empty").rmdir(),
    "cache": lambda source: (source / "app/sub/__pycache__/x.pyc").write_text("changed"),
    "name": lambda source: (source / "app/sub/data").rename(source / "app/sub/date"),
    "target of the link": lambda source: (source / "app/program").write_text("#!/bin/bash\n"),
    "other target": lambda source: relink(source / "one", "app/sub/data"),
}


@pytest.mark.parametrize("name", ["app", "one"])
@pytest.mark.parametrize("change", CHANGES)
def test_the_key_changes_when_the_copy_does(source: Path, tmp_path: Path, name: str, change: str) -> None:
    before = localfiles.key(source / name), copied(source, name, tmp_path)
    CHANGES[change](source)
    after = localfiles.key(source / name), copied(source, name, tmp_path)
    assert (before[0] == after[0]) is (before[1] == after[1])


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as raised:
        localfiles.key(tmp_path / "gone")
    assert (raised.value.code, raised.value.at) == (Code.FILE_MISSING, str(tmp_path / "gone"))


def test_names_are_in_order_whatever_the_folder_gives(source: Path) -> None:
    names = [item.name for item in localfiles.walk(source / "app")]
    assert names == ["", "empty", "link", "program", "sub", "sub/data"]
    assert os.fspath(next(localfiles.walk(source / "one")).path) == str(source / "app/program")


def test_a_pipe_is_refused_where_reading_it_would_wait(source: Path) -> None:
    os.mkfifo(source / "app/sub/pipe")
    with pytest.raises(ProaError, match="neither a file, a folder nor a link") as caught:
        localfiles.key(source / "app")
    assert caught.value.at == str(source / "app/sub/pipe")
