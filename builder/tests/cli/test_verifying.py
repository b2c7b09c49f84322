"""``proa-build verify``: what is whole passes, anything else does not."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import click.testing
import pytest

from proa.builder.cli.main import cli
from proa.builder.cli.verifying import verify
from proa.builder.engine import keys as keyring
from proa.builder.engine.context import BuildContext
from proa.builder.engine.keys import Keys
from proa.builder.steps.release import RELEASE
from proa.builder.steps.uki import UKI
from proa.builder.steps.verity import VERITY
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import Reference
from proa.core.release.document import MEDIA_TYPES
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import SILENT
from proa.core.signing.trust import Trust


@pytest.fixture
def parts(step_context: BuildContext, tmp_path: Path) -> BuildContext:
    """Outputs of all steps that a release is made of, over a made-up root."""
    folders = {name: tmp_path / name for name in ("root", "verity", "initrd", "uki", "sbom", "provenance")}
    for folder in folders.values():
        folder.mkdir()
    (folders["root"] / "root.erofs").write_bytes(os.urandom(2_400_000) + bytes(57_600))
    (folders["initrd"] / "initrd.img").write_bytes(b"initrd" * 1000)
    package = {"SPDXID": "SPDXRef-deb-x", "name": "x", "versionInfo": "1"}
    (folders["sbom"] / "sbom.spdx.json").write_text(json.dumps({"packages": [package]}))
    for made in (folders["sbom"] / "sbom.cdx.json", folders["provenance"] / "provenance.json"):
        made.write_text("{}")
    context = dataclasses.replace(step_context, outputs={**step_context.outputs, **folders})
    VERITY.run(context, folders["verity"])
    UKI.run(context, folders["uki"])
    return context


def write_release(context: BuildContext, out: Path) -> Path:
    out.mkdir()
    scratch = out.parent / f"{out.name}-scratch"
    scratch.mkdir()
    RELEASE.run(dataclasses.replace(context, scratch=scratch), out)
    return out / "release"


def trust_of(keys: Keys) -> Trust:
    return Trust(keys.public)


def refused(folder: Path, trust: Trust) -> ProaError:
    with pytest.raises(ProaError) as raised:
        verify(LayoutDir(Reference("", "", layout=folder)), trust, SILENT)
    return raised.value


def test_a_whole_release_passes(parts: BuildContext, secure_boot: Keys, tmp_path: Path) -> None:
    folder = write_release(parts, tmp_path / "out")
    opened, checked = verify(LayoutDir(Reference("", "", layout=folder)), trust_of(secure_boot), SILENT)
    assert opened.release.root.root_hash == json.loads((tmp_path / "verity" / "verity.json").read_text())["root_hash"]
    assert len(checked) == 4


def test_a_strangers_key_is_refused(parts: BuildContext, tmp_path: Path) -> None:
    folder = write_release(parts, tmp_path / "out")
    assert refused(folder, trust_of(keyring.create(tmp_path / "stranger"))).code is Code.SIGNATURE


def test_an_altered_blob_is_found(parts: BuildContext, secure_boot: Keys, tmp_path: Path) -> None:
    folder = write_release(parts, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "release.json").read_text())
    for name in MEDIA_TYPES:
        blob = folder / "blobs" / "sha256" / document["blobs"][name]["digest"].removeprefix("sha256:")
        data = blob.read_bytes()
        middle = len(data) // 2
        blob.chmod(0o644)
        blob.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        assert refused(folder, trust_of(secure_boot)).code in (Code.DIGEST, Code.FRAMES, Code.VERITY), name
        blob.write_bytes(data)
    verify(LayoutDir(Reference("", "", layout=folder)), trust_of(secure_boot), SILENT)


def test_a_root_that_is_not_the_trees_is_found(parts: BuildContext, secure_boot: Keys, tmp_path: Path) -> None:
    with (tmp_path / "root" / "root.erofs").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"altered after it was hashed")
    error = refused(write_release(parts, tmp_path / "out"), trust_of(secure_boot))
    assert (error.code, error.message) == (Code.VERITY, f"block {1_000_000 // 4096} does not match the verity tree")


def test_a_kernel_image_of_another_root_is_found(parts: BuildContext, secure_boot: Keys, tmp_path: Path) -> None:
    document = json.loads((tmp_path / "verity" / "verity.json").read_text())
    shutil.copytree(tmp_path / "verity", tmp_path / "other")
    (tmp_path / "other" / "verity.json").write_text(json.dumps(document | {"root_hash": "0" * 64}))
    shutil.rmtree(tmp_path / "uki")
    (tmp_path / "uki").mkdir()
    UKI.run(dataclasses.replace(parts, outputs={**parts.outputs, "verity": tmp_path / "other"}), tmp_path / "uki")
    error = refused(write_release(parts, tmp_path / "out"), trust_of(secure_boot))
    assert (error.code, "the kernel image has proa.root_hash=000" in error.message) == (Code.VERITY, True)


def test_the_verbs_over_a_layout_folder(parts: BuildContext, secure_boot: Keys, tmp_path: Path) -> None:
    folder = write_release(dataclasses.replace(parts, keys=None), tmp_path / "out").parent
    runner = click.testing.CliRunner()

    def run(*argv: str | Path) -> click.testing.Result:
        return runner.invoke(cli, [str(word) for word in argv], standalone_mode=False)

    there = f"oci:{tmp_path}/there:1.2.3"
    dry = run("push", folder, there, "--keys", secure_boot.folder, "--dry-run")
    assert dry.output.startswith("would push oci:")
    assert not (tmp_path / "there").exists()
    pushed = json.loads(run("push", folder, there, "--keys", secure_boot.folder, "--json", "--progress", "none").output)
    assert pushed["reference"] == f"{there}@{pushed['digest']}"
    verified = run("verify", there, "--key", secure_boot.folder / "release.pub", "--json", "--progress", "none")
    assert json.loads(verified.output)["digest"] == pushed["digest"]
    document = json.loads(run("inspect", there, "--json").output)
    assert (document["schema"], document["packages"]) == ("proa.release/v1", [{"name": "x", "version": "1"}])
    unsigned = run("verify", there, "--key", secure_boot.folder / "release.pub", "--threshold", "2")
    assert isinstance(unsigned.exception, ProaError)
