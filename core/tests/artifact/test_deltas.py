"""Deltas beside a release: found by the older root, copied with the release, and refused when they are of another."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from proa.core.artifact import deltas
from proa.core.artifact.deltas import MAX_TRIED, OpenedDelta, attach, open_deltas
from proa.core.artifact.release_artifact import copy_release, open_release, sign_release, write_release
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import Reference
from proa.core.oci.source import blob_of, describe_manifest
from proa.core.release.delta import Delta
from proa.core.release.document import Release
from proa.core.runtime.errors import Code, ProaError
from proa.core.signing.keys import Algorithm
from proa.core.signing.trust import Trust

KEY, STRANGER = Algorithm.ECDSA_P256.generate(), Algorithm.ED25519.generate()
OLD = "0" * 64, 1 << 20


@pytest.fixture
def written(tmp_path: Path, release: Release, payload_files: dict[str, Path]) -> LayoutDir:
    """A folder with a signed release."""
    digest = write_release(tmp_path / "out", release, payload_files)
    folder = LayoutDir(Reference("", "", layout=tmp_path / "out"))
    sign_release(folder, digest, [KEY])
    return folder


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / name for name in ("index", "units")}
    for name, path in found.items():
        path.write_text(name)
    return found


def document(release: Release, files: dict[str, Path], **changes: Any) -> Delta:
    root, blobs = release.root, {name: blob_of(path) for name, path in files.items()}
    made = Delta(OLD[0], OLD[1], root.root_hash, root.size, root.frame_size, blobs)
    return dataclasses.replace(made, **changes)


def found(source: LayoutDir, release: Release, old: tuple[str, int] = OLD) -> list[OpenedDelta | ProaError]:
    return list(open_deltas(source, source.resolve(), release, old, Trust((KEY.public,))))


def test_it_is_found_by_the_root_that_a_node_runs(written: LayoutDir, release: Release, files: dict[str, Path]) -> None:
    delta = document(release, files)
    digest = attach(written, written.resolve(), delta, files, [KEY])
    assert found(written, release) == [OpenedDelta(digest, delta)]
    assert found(written, release, ("1" * 64, OLD[1])) == []
    assert attach(written, written.resolve(), delta, files, [KEY]) == digest
    assert open_release(written, Trust((KEY.public,))).release == release


def test_it_goes_with_the_release(written: LayoutDir, release: Release, files: dict[str, Path], tmp_path: Path) -> None:
    attach(written, written.resolve(), document(release, files), files, [KEY, STRANGER])
    copied = LayoutDir(Reference("", "", layout=tmp_path / "copy"))
    copy_release(written, copied)
    assert found(copied, release) == found(written, release)
    names = {path.name for path in (tmp_path / "out/blobs/sha256").iterdir()}
    assert {path.name for path in (tmp_path / "copy/blobs/sha256").iterdir()} == names


def test_one_that_is_half_deleted_does_not_keep_the_release_from_being_copied(
    written: LayoutDir, release: Release, files: dict[str, Path], tmp_path: Path
) -> None:
    delta = document(release, files)
    attach(written, written.resolve(), delta, files, [KEY])
    (tmp_path / "out/blobs/sha256" / delta.blobs["units"].digest.removeprefix("sha256:")).unlink()
    copied = LayoutDir(Reference("", "", layout=tmp_path / "copy"))
    copy_release(written, copied)
    assert found(copied, release) == []


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"new": "7" * 64}, "new"),
        ({"new_size": 1 << 30}, "new"),
        ({"frame_size": 1 << 12}, "new"),
        ({"old_size": 1 << 30}, "old"),
    ],
)
def test_f46_one_of_another_release_is_refused(
    written: LayoutDir, release: Release, files: dict[str, Path], changes: dict[str, Any], at: str
) -> None:
    attach(written, written.resolve(), document(release, files, **changes), files, [KEY])
    [error] = found(written, release)
    assert isinstance(error, ProaError)
    assert (error.code, error.at) == (Code.DELTA, at)


@pytest.mark.parametrize(("signers", "code"), [([], Code.UNSIGNED), ([STRANGER], Code.SIGNATURE)])
def test_f46_one_without_a_trusted_signature_is_refused(
    written: LayoutDir, release: Release, files: dict[str, Path], signers: Any, code: Code
) -> None:
    attach(written, written.resolve(), document(release, files), files, signers)
    [error] = found(written, release)
    assert isinstance(error, ProaError)
    assert error.code is code


def test_f46_so_many_are_looked_at_and_no_more(written: LayoutDir, release: Release, files: dict[str, Path]) -> None:
    for size in range(1, 3 * MAX_TRIED):
        attach(written, written.resolve(), document(release, files, old_size=size << 20), files, [])
    assert len(found(written, release)) == MAX_TRIED


class Lying(LayoutDir):
    """A registry that lists a delta of another release."""

    other = ""

    def referrers(self, digest: str, wanted: Any = lambda _: True) -> Any:
        listed = super().referrers(digest, wanted)
        own, _ = describe_manifest(self.manifest(self.other))
        return listed or [own]


def test_f46_one_that_is_attached_to_another_release_is_refused(
    written: LayoutDir, release: Release, files: dict[str, Path], tmp_path: Path
) -> None:
    """Roots may be the same where kernels differ: whose delta it is is told by its subject."""
    manifest = json.loads(written.manifest(written.resolve()))
    other = written.push_manifest(json.dumps({**manifest, "annotations": {}}).encode())
    lying = Lying(written.reference)
    lying.other = attach(written, other, document(release, files), files, [KEY])
    [error] = list(open_deltas(lying, written.resolve(), release, OLD, Trust((KEY.public,))))
    assert isinstance(error, ProaError)
    assert (error.code, error.at) == (Code.DELTA, "subject")


def test_f46_a_manifest_that_says_something_else_is_refused(
    written: LayoutDir, release: Release, files: dict[str, Path]
) -> None:
    """The signed manifest names one blob, its signed document another."""
    delta, subject = document(release, files), written.resolve()
    attach(written, subject, delta, files, [KEY])
    [good] = found(written, release)
    assert isinstance(good, OpenedDelta)
    made = json.loads(written.manifest(good.digest))
    made["layers"].reverse()
    digest = written.push_manifest(json.dumps(made).encode())
    sign_release(written, digest, [KEY])
    errors = [one for one in found(written, release) if isinstance(one, ProaError)]
    assert [(one.code, one.at) for one in errors] == [(Code.DELTA, "blobs")]
    assert deltas.copy(written, written, subject) == 2
