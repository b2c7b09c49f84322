"""The layout of a pod's image, and that nothing else needs what only a checkout has."""

import gzip
import hashlib
import json
import sys
import tarfile
from pathlib import Path
from typing import Any, cast

import pytest

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.vm.kube import podimages
from proa.vm.support.tools import TOOLS, GoTool

FAKE_GO = '#!/bin/sh\n[ "$1" = version ] && echo "go version go1.99" || echo program >"$3"\n'


@pytest.fixture(autouse=True)
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake ``go``, the only one there is: what it builds is one line of text."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/go"
    program.write_text(FAKE_GO)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PROA_CACHE", str(tmp_path / "cache"))


def blob(folder: Path, digest: str) -> bytes:
    return (folder / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


def parts(folder: Path, digest: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest and the configuration."""
    manifest = json.loads(blob(folder, digest))
    return manifest, json.loads(blob(folder, manifest["config"]["digest"]))


@pytest.mark.parametrize("verb", podimages.USERS)
def test_every_part_is_what_its_descriptor_says(tmp_path: Path, verb: str) -> None:
    digest = podimages.build(tmp_path / "oci", verb)
    (entry,) = json.loads((tmp_path / "oci/index.json").read_text())["manifests"]
    assert entry["digest"] == digest
    manifest, config = parts(tmp_path / "oci", digest)
    (layer,) = manifest["layers"]
    for part in (entry, manifest["config"], layer):
        data = blob(tmp_path / "oci", part["digest"])
        assert (len(data), "sha256:" + hashlib.sha256(data).hexdigest()) == (part["size"], part["digest"])
    tar = gzip.decompress(blob(tmp_path / "oci", layer["digest"]))
    assert config["rootfs"] == {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest()]}


@pytest.mark.parametrize(("verb", "user"), [("pause", "65535:65535"), ("serve", "65532:65532")])
def test_it_runs_one_verb_as_a_user_without_rights(tmp_path: Path, verb: str, user: str) -> None:
    _, config = parts(tmp_path / "oci", podimages.build(tmp_path / "oci", verb))
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    run = config["config"]
    assert (run["User"], run["Entrypoint"], run["Cmd"]) == (user, ["/workload"], [verb])


def test_there_is_only_the_program_and_it_is_roots(tmp_path: Path) -> None:
    manifest, _ = parts(tmp_path / "oci", podimages.build(tmp_path / "oci", "pause"))
    path = tmp_path / "oci/blobs/sha256" / manifest["layers"][0]["digest"].removeprefix("sha256:")
    with tarfile.open(path) as tar:
        (member,) = tar.getmembers()
        content = tar.extractfile(member)
        assert content is not None
        assert content.read() == b"program\n"
    assert (member.name, member.mode, member.uid, member.gid, member.mtime) == ("workload", 0o755, 0, 0, 0)


def test_equal_programs_give_equal_images(tmp_path: Path) -> None:
    first = podimages.build(tmp_path / "one", "serve")
    assert podimages.build(tmp_path / "two", "serve") == first
    assert podimages.build(tmp_path / "three", "pause") != first


def test_without_the_source_it_says_where_to_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast("dict[str, GoTool]", TOOLS), "workload", GoTool("nowhere"))
    with pytest.raises(ProaError) as caught:
        podimages.build(tmp_path / "oci", "pause")
    assert caught.value.code is Code.TOOL_MISSING
    assert "checkout" in caught.value.hint


def test_the_command_needs_nothing_that_is_not_in_a_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the true Python
    code = (
        "import sys; sys.modules['container'] = None; import proa.vm.cli.main;"
        "print('proa.vm.kube.podimages' in sys.modules)"
    )
    assert process.run([sys.executable, "-c", code]).text == "True\n"
