"""The release that is written, opened again as a node does, and restored by zstd."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from proa.builder.engine.context import BuildContext
from proa.builder.engine.keys import Keys
from proa.builder.steps import release
from proa.builder.steps.verity import VERITY
from proa.core.artifact import release_artifact
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import Reference
from proa.core.release import frames
from proa.core.runtime.errors import Code, ProaError
from proa.core.signing.trust import Trust


@pytest.fixture
def contents(step_context: BuildContext, tmp_path: Path) -> BuildContext:
    outputs = {name: tmp_path / name for name in ("root", "verity", "uki", "sbom", "provenance")}
    for folder in outputs.values():
        folder.mkdir()
    (outputs["root"] / "root.erofs").write_bytes(os.urandom(400_000) + bytes(9_600))
    (outputs["uki"] / "uki.efi").write_bytes(b"uki" * 100)
    (outputs["uki"] / "boot.img").write_bytes(b"boot" * 50_176)
    (outputs["sbom"] / "sbom.spdx.json").write_text("{}\n")
    (outputs["sbom"] / "sbom.cdx.json").write_text('{"bomFormat": "CycloneDX"}\n')
    (outputs["provenance"] / "provenance.json").write_text('{"buildDefinition": {}}\n')
    context = dataclasses.replace(step_context, outputs=outputs)
    VERITY.run(context, outputs["verity"])
    return context


def opened(folder: Path, keys: Keys) -> release_artifact.OpenedRelease:
    trust = Trust(keys.public, 1)
    return release_artifact.open_release(LayoutDir(Reference("", "", tag="1.2.3", layout=folder)), trust)


@pytest.fixture
def written(contents: BuildContext, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    out.mkdir()
    release.RELEASE.run(contents, out)
    return out


def test_a_node_opens_what_was_written(written: Path, contents: BuildContext, secure_boot: Keys) -> None:
    found = opened(written / "release", secure_boot)
    assert found.release.encode() == (written / "release.json").read_bytes()
    assert (found.release.name, found.release.version, found.release.serial) == ("my-node", "1.2.3", 1)
    assert found.release.created == "2023-11-14T22:13:20+00:00"
    boot = (contents.output("uki") / "boot.img").read_bytes()
    assert found.release.boot.digest == f"sha256:{hashlib.sha256(boot).hexdigest()}"
    maps = frames.decode_maps(found.small("map"), expected=frames.expected(found.release))
    assert maps["root"].size == found.release.root.size


@pytest.mark.contract
@pytest.mark.parametrize(
    ("blob", "source"), [("root", "root/root.erofs"), ("tree", "verity/root.tree"), ("boot", "uki/boot.img")]
)
def test_zstd_restores_the_payload(written: Path, secure_boot: Keys, tmp_path: Path, blob: str, source: str) -> None:
    found = opened(written / "release", secure_boot)
    data = b"".join(found.source.blob(found.blob(blob).digest, found.blob(blob).size))
    plain = subprocess.run(["zstd", "-d", "-c"], input=data, capture_output=True, check=True).stdout
    assert plain == (tmp_path / source).read_bytes()


def test_without_keys_nothing_is_signed(contents: BuildContext, tmp_path: Path, secure_boot: Keys) -> None:
    out = tmp_path / "out"
    out.mkdir()
    release.RELEASE.run(dataclasses.replace(contents, keys=None), out)
    with pytest.raises(ProaError) as caught:
        opened(out / "release", secure_boot)
    assert caught.value.code is Code.UNSIGNED


def test_equal_input_gives_an_equal_manifest(
    written: Path, contents: BuildContext, tmp_path: Path, secure_boot: Keys
) -> None:
    scratch, again = tmp_path / "scratch2", tmp_path / "again"
    scratch.mkdir()
    again.mkdir()
    release.RELEASE.run(dataclasses.replace(contents, scratch=scratch), again)
    one, two = opened(written / "release", secure_boot), opened(again / "release", secure_boot)
    assert one.manifest_digest == two.manifest_digest
