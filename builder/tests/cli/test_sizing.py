"""`proa-build size`: every byte of a root counts once, for the package that brought it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from proa.builder.cli import sizing
from proa.builder.formats.erofs import Entry

FILES = {
    "/usr/bin/tool": b"t" * 1000,
    "/usr/lib/x86_64-linux-gnu/libtool.so": b"l" * 500,
    "/usr/lib/python3/json/decoder.py": b"p" * 30,
    "/usr/lib/python3/json/__pycache__/decoder.cpython-311.pyc": b"c" * 70,
    "/usr/lib/proa/python/zstandard/backend.so": b"z" * 200,
    "/usr/lib/modules/6.1/kernel/fs/x.ko.zst": b"k" * 40,
    "/usr/share/dictionary.zst": b"d" * 3,
    "/etc/own": b"o" * 7,
    "/top": b"1",
    "/usr/lib/sysimage/dpkg/info/tool.list": b"/.\n/bin/tool\n/usr\n",
    "/usr/lib/sysimage/dpkg/info/libtool:amd64.list": b"/lib/x86_64-linux-gnu/libtool.so\n",
    "/usr/lib/sysimage/dpkg/info/linux-image.list": b"/lib/modules/6.1/kernel/fs/x.ko\n",
    "/usr/lib/sysimage/dpkg/info/python3.list": b"/usr/share/dictionary.zst\n/usr/share/dictionary\n"
    b"/usr/lib/python3/json/decoder.py\n",
}
LISTS = sum(len(data) for path, data in FILES.items() if path.endswith(".list"))


def contents(files: Mapping[str, bytes], name: str = "out") -> Any:
    entries = {path: Entry(path, 0o100644, len(data), (0, 0), (), "") for path, data in files.items()}
    entries["/usr/bin"] = Entry("/usr/bin", 0o040755, 0, (0, 0), (), "")
    release = SimpleNamespace(root=SimpleNamespace(size=4096), blobs={"root": SimpleNamespace(size=100)})
    image = SimpleNamespace(read=lambda path: files.get(path, b""))
    return SimpleNamespace(name=name, files=entries, image=image, release=release)


def test_files_count_for_the_package_that_brought_them() -> None:
    found = {part.name: part.bytes for part in sizing.measure(contents(FILES)).packages}
    assert found == {
        "tool": 1000,
        "libtool": 500,
        "python3": 103,
        "proa": 200,
        "linux-image": 40,
        "(no package)": 8 + LISTS,
    }


def test_folders_are_three_names_deep() -> None:
    found = {part.name: part.bytes for part in sizing.measure(contents(FILES)).folders}
    assert found == {
        "/usr/bin": 1000,
        "/usr/lib/x86_64-linux-gnu": 500,
        "/usr/lib/python3": 100,
        "/usr/lib/proa": 200,
        "/usr/lib/sysimage": LISTS,
        "/usr/lib/modules": 40,
        "/usr/share": 3,
        "/etc": 7,
        "/": 1,
    }


def test_an_older_release_is_set_beside_it() -> None:
    old = {path: data for path, data in FILES.items() if "tool" not in path or path.endswith(".list")}
    found = sizing.measure(contents(FILES), contents(old | {"/usr/bin/tool": b"t" * 10, "/opt/gone/x": b"x"}, "old"))
    parts = {part.name: (part.bytes, part.before) for part in (*found.packages, *found.folders)}
    assert (parts["tool"], parts["libtool"], parts["/opt/gone"]) == ((1000, 10), (500, 0), (0, 1))
    said = sizing.text(found)
    assert "  tool          1000 B (+990 B)" in said.splitlines()
    assert "  /opt/gone                  0 B (-1 B)" in said.splitlines()


@pytest.mark.parametrize(("budget", "line"), [(5000, "4.9 KiB, 904 B left"), (4000, "3.9 KiB, 96 B over")])
def test_the_budget_of_the_build_is_told(tmp_path: Path, budget: int, line: str) -> None:
    (tmp_path / "build.json").write_text(json.dumps({"budget": budget}))
    said = sizing.text(sizing.measure(contents(FILES, str(tmp_path)))).splitlines()
    assert said[:3] == ["root      4.0 KiB", f"budget    {line}", "download  100 B"]


def test_without_a_budget_nothing_is_said_of_one(tmp_path: Path) -> None:
    for name in (str(tmp_path), "registry.test/node:1"):
        found = sizing.measure(contents(FILES, name))
        assert found.budget == 0
        assert "budget" not in sizing.text(found)


def test_long_lists_are_cut_for_people() -> None:
    found = sizing.text(sizing.measure(contents({f"/opt/{number}/x": b"x" for number in range(100)})))
    assert found.endswith("  ... and 85 more, see --json")
