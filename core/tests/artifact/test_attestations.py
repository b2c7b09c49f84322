"""Statements about a release: stored beside it, copied with it, and never taken for its signatures."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from proa.core.artifact import attestations, signatures
from proa.core.artifact.attestations import CYCLONEDX, PROVENANCE, SPDX, attest, listed
from proa.core.artifact.release_artifact import copy_release, open_release, sign_release, write_release
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import Reference
from proa.core.release.document import Release
from proa.core.runtime.errors import Code, ProaError
from proa.core.signing import bundle
from proa.core.signing.keys import Algorithm
from proa.core.signing.trust import Trust

KEY = Algorithm.ECDSA_P256.generate()
SECOND = Algorithm.ED25519.generate()
SAID: dict[str, Any] = {SPDX: {"spdxVersion": "SPDX-2.3"}, CYCLONEDX: {"bomFormat": "CycloneDX"}, PROVENANCE: {}}


@pytest.fixture
def written(tmp_path: Path, release: Release, payload_files: dict[str, Path]) -> LayoutDir:
    """A folder with a release that is not signed."""
    write_release(tmp_path / "out", release, payload_files)
    return LayoutDir(Reference("", "", layout=tmp_path / "out"))


def statements(source: LayoutDir, digest: str) -> list[dict[str, Any]]:
    """What the attestations beside a manifest say."""
    found = []
    for entry in listed(source, digest):
        layer = json.loads(source.manifest(entry.digest))["layers"][0]
        envelope = json.loads(source.small_blob(layer["digest"], layer["size"]))["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"])
        key = KEY.public
        assert key.verify(
            base64.b64decode(envelope["signatures"][0]["sig"]), bundle.pre_authentication(bundle.PAYLOAD_TYPE, payload)
        )
        found.append(json.loads(payload))
    return found


def test_each_says_what_it_is_about(written: LayoutDir) -> None:
    digest = written.resolve()
    attest(written, digest, SAID, [KEY])
    found = {one["predicateType"]: one for one in statements(written, digest)}
    assert {kind: one["predicate"] for kind, one in found.items()} == SAID
    assert {one["subject"][0]["digest"]["sha256"] for one in found.values()} == {digest.removeprefix("sha256:")}


def test_they_are_no_signatures(written: LayoutDir) -> None:
    digest = written.resolve()
    attest(written, digest, SAID, [KEY, SECOND])
    assert list(signatures.bundles(written, digest)) == []
    with pytest.raises(ProaError) as caught:
        open_release(written, Trust((KEY.public,)))
    assert caught.value.code is Code.UNSIGNED


def test_very_many_hide_no_signature(written: LayoutDir) -> None:
    digest = written.resolve()
    attest(written, digest, {f"https://example.net/{number}": {} for number in range(100)}, [KEY])
    sign_release(written, digest, [KEY])
    assert open_release(written, Trust((KEY.public,))).signers == (KEY.public.id,)


def test_they_go_with_the_release_byte_for_byte(written: LayoutDir, tmp_path: Path) -> None:
    digest = written.resolve()
    sign_release(written, digest, [KEY])
    attest(written, digest, SAID, [KEY])
    copied = LayoutDir(Reference("", "", layout=tmp_path / "copy"))
    copy_release(written, copied)
    assert {one.digest for one in listed(copied, digest)} == {one.digest for one in listed(written, digest)}
    assert len(statements(copied, digest)) == 3
    assert len(list(signatures.bundles(copied, digest))) == 1


def test_one_that_is_damaged_or_too_large_stays_behind(written: LayoutDir, tmp_path: Path) -> None:
    digest = written.resolve()
    attest(written, digest, {SPDX: {"long": "x" * 4000}, PROVENANCE: {}}, [KEY])
    (gone,) = attest(written, digest, {CYCLONEDX: {}}, [KEY])
    (written.folder / "blobs/sha256" / gone.removeprefix("sha256:")).write_bytes(b"other")
    copied = LayoutDir(Reference("", "", layout=tmp_path / "copy"))
    copied.push_manifest(written.manifest(digest), "1")
    assert attestations.copy(written, copied, digest, largest=2000) == 1
    assert [one["predicateType"] for one in statements(copied, digest)] == [PROVENANCE]
