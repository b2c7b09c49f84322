"""`proa-build diff` over two real releases whose roots differ in known ways."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click.testing
import pytest

from proa.builder.cli import comparing
from proa.builder.cli.contents import opened
from proa.builder.cli.main import cli
from proa.builder.config.image_settings import Kernel
from proa.builder.engine.context import BuildContext
from proa.builder.steps.release import RELEASE
from proa.builder.steps.uki import UKI
from proa.builder.steps.verity import VERITY
from proa.core.oci.access import Access

NOISE = os.urandom(3 << 20)
FILES = {
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nold:x:100:100::/:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/same": "the same",
    "etc/content": "before",
    "etc/mode": "x",
    "etc/gone": "gone",
    "etc/systemd/system/multi-user.target.wants/old.service": "",
}
CHANGED = {
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nnew:x:100:100::/:/bin/sh\n",
    "etc/content": "behind!",
    "etc/added": "some",
    "usr/lib/systemd/system/timers.target.wants/new.timer": "",
}


def release(context: BuildContext, name: str, files: Mapping[str, str], packages: Mapping[str, str]) -> Path:
    """An output folder, of a root with these files and a bill of these packages."""
    work = context.folder / name
    outputs = {step: work / step for step in ("root", "verity", "initrd", "uki", "sbom", "provenance")}
    for folder in (*outputs.values(), work / "out", work / "scratch"):
        folder.mkdir(parents=True)
    for path, text in files.items():
        (work / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (work / "tree" / path).write_text(text)
    (work / "tree/noise").write_bytes(NOISE)
    (work / "tree/etc/mode").chmod(0o600 if name == "new" else 0o644)
    image = outputs["root"] / "root.erofs"
    words = ["mkfs.erofs", "--quiet", "-T1", "--chunksize=65536", "--all-root", str(image), str(work / "tree")]
    subprocess.run(words, check=True, capture_output=True)
    (outputs["initrd"] / "initrd.img").write_bytes(b"initrd" * (1000 if name == "old" else 2000))
    listed = [
        {"SPDXID": f"SPDXRef-deb-{one}", "name": one, "versionInfo": version} for one, version in packages.items()
    ]
    (outputs["sbom"] / "sbom.spdx.json").write_text(json.dumps({"packages": listed}))
    for made in (outputs["sbom"] / "sbom.cdx.json", outputs["provenance"] / "provenance.json"):
        made.write_text("{}")
    context = dataclasses.replace(context, outputs={**context.outputs, **outputs}, scratch=work / "scratch")
    VERITY.run(context, outputs["verity"])
    UKI.run(context, outputs["uki"])
    RELEASE.run(context, work / "out")
    return work / "out"


@pytest.fixture
def pair(step_context: BuildContext) -> tuple[Path, Path]:
    old = release(step_context, "old", FILES, {"a": "1", "b": "1", "gone": "1"})
    kernel = Kernel(arguments=("console=tty0", "quiet"))
    number = dataclasses.replace(step_context.config.release, version="1.3.0", serial=2)
    config = dataclasses.replace(step_context.config, kernel=kernel, release=number)
    files = {name: text for name, text in FILES.items() if name != "etc/gone" and "old.service" not in name} | CHANGED
    new = release(dataclasses.replace(step_context, config=config), "new", files, {"a": "1", "b": "2", "c": "3"})
    return old, new


def run(*words: str | Path) -> Any:
    done = click.testing.CliRunner().invoke(cli, ["diff", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_all_that_differs_is_told(pair: tuple[Path, Path]) -> None:
    found = json.loads(run(*pair, "--json"))
    assert (found["schema"], found["old"]) == ("proa.diff/v1", str(pair[0]))
    assert found["settings"] == [
        {"name": "version", "old": "1.2.3", "new": "1.3.0"},
        {"name": "serial", "old": "1", "new": "2"},
    ]
    assert found["packages"] == {
        "added": [{"name": "c", "version": "3"}],
        "removed": [{"name": "gone", "version": "1"}],
        "changed": [{"name": "b", "old": "1", "new": "2"}],
    }
    files = found["files"]
    added = {one["path"]: one["size"] for one in files["added"]}
    assert added["/etc/added"] == 4
    assert {one["path"] for one in files["removed"]} == {
        "/etc/gone",
        "/etc/systemd",
        "/etc/systemd/system",
        "/etc/systemd/system/multi-user.target.wants",
        "/etc/systemd/system/multi-user.target.wants/old.service",
    }
    assert files["changed"] == [
        {"path": "/etc/content", "old": 6, "new": 7, "what": ["content"]},
        {"path": "/etc/mode", "old": 1, "new": 1, "what": ["mode"]},
        {
            "path": "/etc/passwd",
            "old": len(FILES["etc/passwd"]),
            "new": len(CHANGED["etc/passwd"]),
            "what": ["content"],
        },
    ]
    assert found["accounts"] == {"added": ["user new 100"], "removed": ["user old 100"]}
    assert found["units"] == {"added": ["new.timer"], "removed": ["old.service"]}
    assert found["arguments"] == {"added": ["quiet"], "removed": ["console=ttyS0"]}
    sizes = {one["name"]: (one["old"], one["new"]) for one in found["sizes"]}
    assert sizes["initrd"] == (6000, 12000)
    assert sizes["root"][1] == (pair[1].parent / "root/root.erofs").stat().st_size
    fetched = found["bytes"]
    assert 0 < fetched["frames"] < fetched["full"] - len(NOISE) // 2  # the noise lies alike in both


def test_people_are_told_the_same_in_short(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    said = run(*pair)
    for line in ("version: 1.2.3 -> 1.3.0", "  ~ b 1 -> 2", "  + user new 100", "  + quiet", "  - old.service"):
        assert line in said.splitlines()
    assert "  ~ /etc/content  6 B -> 7 B (+1 B)  (content)" in said
    assert "a node that runs OLD fetches " in said


def test_a_release_does_not_differ_from_itself(pair: tuple[Path, Path]) -> None:
    with opened(str(pair[0]), Access()) as one, opened(f"oci:{pair[0]}/release", Access()) as other:
        found = comparing.compare(one, other)
    assert (found.settings, found.bytes.frames) == ((), 0)
    assert comparing.text(found).splitlines()[:2] == ["", "sizes:"]
    for part in ("packages", "files", "accounts", "units", "arguments"):
        assert not any(dataclasses.asdict(getattr(found, part)).values())


def test_long_lists_are_cut_for_people() -> None:
    files = comparing.FileChanges(tuple(comparing.SizedFile(f"/{number}", 1) for number in range(100)), (), ())
    none = comparing.NameChanges((), ())
    packages = comparing.PackageChanges((), (), ())
    found = comparing.Differences("a", "b", (), packages, files, none, none, none, (), comparing.FetchedBytes(0, 0))
    lines = comparing.text(found).splitlines()
    assert [line for line in lines if line.startswith("  +")][-1] == "  + ... and 60 more, see --json"


def test_a_folder_without_a_release_is_told(tmp_path: Path) -> None:
    done = click.testing.CliRunner().invoke(cli, ["diff", str(tmp_path), str(tmp_path)])
    assert done.exit_code != 0
    assert "does not contain a release" in str(done.exception)
