import json
import os
from pathlib import Path

import pytest

from proa.core.oci.layoutdir import TAG, LayoutDir
from proa.core.oci.reference import Reference, parse
from proa.core.oci.source import Payload, Source, blob_of, digest_of
from proa.core.runtime.errors import Code, ProaError

TYPE = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def layout(tmp_path: Path) -> LayoutDir:
    return LayoutDir(Reference("", "", layout=tmp_path / "layout"))


def tagged(layout: LayoutDir, suffix: str) -> LayoutDir:
    return LayoutDir(parse(f"oci:{layout.folder}{suffix}"))


def manifest(number: int, subject: str = "") -> bytes:
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": TYPE, "artifactType": "a/b", "number": number}
    if subject:
        document["subject"] = {"mediaType": TYPE, "digest": subject, "size": 1}
    return json.dumps(document).encode()


def test_it_is_a_source(layout: LayoutDir) -> None:
    source: Source = layout
    with source:
        assert source.reference.layout == layout.folder


def test_blobs_come_back_whole_and_in_parts(layout: LayoutDir, tmp_path: Path) -> None:
    data = os.urandom(700_000)
    (tmp_path / "file").write_bytes(data)
    blob = layout.push_blob(tmp_path / "file")
    assert blob == layout.push_blob(data) == blob_of(tmp_path / "file")
    assert layout.small_blob(blob.digest, blob.size) == data
    assert b"".join(layout.blob(blob.digest, blob.size, start=5, end=600_000)) == data[5:600_000]
    assert list(layout.blob(blob.digest, blob.size, start=9, end=9)) == []


def test_a_blob_that_is_not_what_was_signed_is_refused(layout: LayoutDir) -> None:
    blob = layout.push_blob(b"content")
    path = layout.folder / "blobs" / "sha256" / blob.digest.removeprefix("sha256:")
    for content in (b"contenT", b"content and more", b"con"):
        path.write_bytes(content)
        with pytest.raises(ProaError) as caught:
            layout.small_blob(blob.digest, blob.size)
        assert caught.value.code is Code.DIGEST
    path.unlink()
    with pytest.raises(ProaError) as caught:
        layout.small_blob(blob.digest, blob.size)
    assert caught.value.code is Code.NOT_FOUND
    os.mkfifo(path)
    with pytest.raises(ProaError) as caught:
        layout.small_blob(blob.digest, blob.size)
    assert caught.value.code is Code.DIGEST


@pytest.mark.parametrize("digest", ["", "sha256:" + "g" * 64, "sha256:../../../etc/passwd", "sha512:" + "1" * 128])
def test_only_digests_become_paths(layout: LayoutDir, digest: str) -> None:
    with pytest.raises(ProaError, match="not a SHA-256 digest"):
        layout.small_blob(digest, 1)


def test_a_manifest_is_found_by_tag_digest_or_when_it_is_the_only_one(layout: LayoutDir) -> None:
    one = layout.push_manifest(manifest(1), "1.0")
    assert layout.resolve() == tagged(layout, ":1.0").resolve() == one
    assert layout.manifest(one) == manifest(1)
    two = layout.push_manifest(manifest(2), "2.0")
    assert tagged(layout, ":2.0").resolve() == tagged(layout, f":1.0@{two}").resolve() == two
    with pytest.raises(ProaError, match=r"several releases; it holds: 1.0, 2.0"):
        layout.resolve()
    with pytest.raises(ProaError, match="does not have this tag") as caught:
        tagged(layout, ":3.0").resolve()
    assert caught.value.code is Code.NOT_FOUND


def test_a_tag_moves(layout: LayoutDir) -> None:
    layout.push_manifest(manifest(1), "stable")
    two = layout.push_manifest(manifest(2))
    assert layout.push_manifest(manifest(2), "stable") == two
    assert layout.push_manifest(manifest(2), "stable") == two
    assert layout.push_manifest(manifest(2)) == two
    entries = json.loads((layout.folder / "index.json").read_text())["manifests"]
    assert [(entry["digest"], entry["annotations"][TAG]) for entry in entries] == [(two, "stable")]


def test_referrers_are_manifests_with_that_subject(layout: LayoutDir) -> None:
    digest = layout.push_manifest(manifest(1), "1.0")
    referrer = layout.push_manifest(manifest(2, digest))
    layout.push_manifest(manifest(2, digest))
    layout.push_manifest(manifest(3, digest_of(b"other")))
    assert [entry.digest for entry in layout.referrers(digest)] == [referrer]
    assert [entry.digest for entry in layout.referrers(digest, lambda one: one.artifact_type == "a/b")] == [referrer]
    assert layout.referrers(digest, lambda entry: entry.artifact_type == "a/c") == []
    assert layout.resolve() == digest


@pytest.mark.parametrize("content", [None, b"altered", b" " * (1 << 21)], ids=["gone", "altered", "too long"])
def test_a_neighbour_that_cannot_be_read_hides_no_referrer(layout: LayoutDir, content: bytes | None) -> None:
    digest = layout.push_manifest(manifest(1), "1.0")
    bad = layout.push_manifest(manifest(2, digest))
    good = layout.push_manifest(manifest(3, digest))
    path = layout.folder / "blobs" / "sha256" / bad.removeprefix("sha256:")
    path.unlink() if content is None else path.write_bytes(content)
    assert [entry.digest for entry in layout.referrers(digest)] == [good]


def test_a_neighbour_that_is_no_manifest_hides_no_referrer(layout: LayoutDir) -> None:
    digest = layout.push_manifest(manifest(1), "1.0")
    good = layout.push_manifest(manifest(3, digest))
    index = layout.folder / "index.json"
    document = json.loads(index.read_text())
    blob = layout.push_blob(b"[]")
    document["manifests"].insert(0, {"mediaType": TYPE, "digest": blob.digest, "size": 2})
    index.write_text(json.dumps(document))
    assert [entry.digest for entry in layout.referrers(digest)] == [good]


def test_an_altered_or_overlong_manifest_is_refused(layout: LayoutDir) -> None:
    digest = layout.push_manifest(manifest(1), "1.0")
    path = layout.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")
    path.write_bytes(manifest(2))
    with pytest.raises(ProaError) as caught:
        layout.manifest(digest)
    assert caught.value.code is Code.DIGEST
    path.write_bytes(b" " * (1 << 21))
    with pytest.raises(ProaError) as caught:
        layout.manifest(digest)
    assert caught.value.code is Code.RELEASE


@pytest.mark.parametrize(
    "index",
    [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b" " * (1 << 21)],
    ids=["empty", "list", "no index", "no text", "deep list", "deep object", "too long"],
)
def test_an_index_that_is_none_is_named(layout: LayoutDir, index: bytes) -> None:
    layout.push_manifest(manifest(1), "1.0")
    (layout.folder / "index.json").write_bytes(index)
    with pytest.raises(ProaError) as caught:
        layout.resolve()
    assert (caught.value.code, caught.value.at) == (Code.RELEASE, str(layout.folder / "index.json"))


def test_a_folder_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as caught:
        LayoutDir(parse(f"oci:{tmp_path}/none")).resolve()
    assert caught.value.code is Code.FILE_MISSING
    with pytest.raises(ProaError, match=r"no index\.json"):
        LayoutDir(parse(f"oci:{tmp_path}")).resolve()
    (tmp_path / "index.json").write_text('{"manifests": [{"digest": "x"}, 7]}')
    with pytest.raises(ProaError, match="it holds: nothing"):
        LayoutDir(parse(f"oci:{tmp_path}")).resolve()
    (tmp_path / "index.json").write_text('{"manifests": 5}')
    with pytest.raises(ProaError, match="not an OCI image index"):
        LayoutDir(parse(f"oci:{tmp_path}")).resolve()


def test_content_that_changes_while_it_is_copied_leaves_nothing(layout: LayoutDir) -> None:
    with pytest.raises(ProaError, match="changed while it was being copied"):
        layout.push_blob(Payload(digest_of(b"old"), 3, lambda: (b"new",)))
    assert list((layout.folder / "blobs" / "sha256").iterdir()) == []


def test_it_looks_as_the_specification_says(layout: LayoutDir) -> None:
    layout.push_manifest(manifest(1), "1.0")
    assert json.loads((layout.folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((layout.folder / "index.json").read_text())
    assert (index["schemaVersion"], index["mediaType"]) == (2, "application/vnd.oci.image.index.v1+json")
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in (layout.folder / "blobs/sha256").iterdir())
