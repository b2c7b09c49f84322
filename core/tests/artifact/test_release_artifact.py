import base64
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proa.core.artifact import signatures
from proa.core.artifact.release_artifact import (
    MAX_SMALL,
    OpenedRelease,
    copy_release,
    encode_manifest,
    inspect_release,
    open_release,
    sign_release,
    write_release,
)
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import Reference, parse
from proa.core.oci.source import Descriptor, Wanted, describe_manifest, digest_of, everything
from proa.core.release.document import MEDIA_TYPES, Blob, Release
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Recorder
from proa.core.signing import bundle
from proa.core.signing.keys import Algorithm
from proa.core.signing.trust import Trust

KEY = Algorithm.ECDSA_P256.generate()
SECOND = Algorithm.ED25519.generate()
TRUST = Trust((KEY.public, SECOND.public))


@pytest.fixture
def written(tmp_path: Path, release: Release, payload_files: dict[str, Path]) -> LayoutDir:
    """A folder with a release that is not signed yet."""
    write_release(tmp_path / "out", release, payload_files)
    return LayoutDir(Reference("", "", layout=tmp_path / "out"))


def opened(source: LayoutDir, trust: Trust = TRUST) -> OpenedRelease:
    sign_release(source, source.resolve(), [KEY])
    return open_release(source, trust)


def refused(source: LayoutDir, trust: Trust = TRUST) -> Code:
    with pytest.raises(ProaError) as caught:
        open_release(source, trust)
    return caught.value.code


def altered(source: LayoutDir, change: Callable[[dict[str, Any]], None]) -> LayoutDir:
    """The same folder with another, rightly signed, manifest under the tag."""
    document = json.loads(source.manifest(source.resolve()))
    change(document)
    digest = source.push_manifest(json.dumps(document).encode(), "1.0_deb12")
    sign_release(source, digest, [KEY])
    return source


def test_what_was_written_and_signed_opens(written: LayoutDir, release: Release) -> None:
    found = opened(written)
    assert found.release == release
    assert found.signers == (KEY.public.id,)
    assert found.manifest_digest == written.resolve()
    assert found.small("map") == b"the map blob " * 500


@pytest.mark.parametrize("name", ["map", "sbom"])
def test_what_is_too_large_for_memory_is_not_read(written: LayoutDir, release: Release, name: str) -> None:
    """Its size is all that is looked at: the blob itself is not that long."""
    large = dataclasses.replace(release.blobs[name], size=MAX_SMALL + 1)
    lying = dataclasses.replace(release, blobs={**release.blobs, name: large})
    with pytest.raises(ProaError) as caught:
        dataclasses.replace(opened(written), release=lying).small(name)
    assert (caught.value.code, caught.value.at) == (Code.RELEASE, f"blobs.{name}")


def test_the_version_becomes_the_tag(written: LayoutDir) -> None:
    assert LayoutDir(parse(f"oci:{written.folder}:1.0_deb12")).resolve() == written.resolve()


def test_equal_releases_are_equal_bytes(
    written: LayoutDir, tmp_path: Path, release: Release, payload_files: dict[str, Path]
) -> None:
    again = write_release(tmp_path / "again", release, payload_files)
    assert again == written.resolve()
    assert {path.name for path in (tmp_path / "again/blobs/sha256").iterdir()} == {
        path.name for path in (written.folder / "blobs/sha256").iterdir()
    }


def test_a_file_that_is_not_what_the_document_says_is_not_written(
    tmp_path: Path, release: Release, payload_files: dict[str, Path]
) -> None:
    payload_files["tree"].write_bytes(b"other")
    with pytest.raises(ProaError, match="'tree'") as caught:
        write_release(tmp_path / "out", release, payload_files)
    assert caught.value.code is Code.DIGEST
    assert (
        not (tmp_path / "out" / "index.json").exists() or b'"digest"' not in (tmp_path / "out/index.json").read_bytes()
    )


def test_unsigned_and_wrongly_signed_releases_are_refused(written: LayoutDir) -> None:
    assert refused(written) is Code.UNSIGNED
    sign_release(written, written.resolve(), [Algorithm.ED25519.generate()])
    assert refused(written) is Code.SIGNATURE
    assert refused(written, Trust(())) is Code.NO_TRUST
    sign_release(written, written.resolve(), [KEY, KEY])
    assert refused(written, dataclasses.replace(TRUST, threshold=2)) is Code.SIGNATURE
    sign_release(written, written.resolve(), [SECOND])
    assert len(open_release(written, dataclasses.replace(TRUST, threshold=2)).signers) == 2


def test_a_digest_that_is_not_there_is_not_called_unsigned(written: LayoutDir) -> None:
    gone = LayoutDir(parse(f"oci:{written.folder}@{digest_of(b'gone')}"))
    assert refused(gone) is Code.NOT_FOUND
    unsigned = LayoutDir(parse(f"oci:{written.folder}@{written.resolve()}"))
    assert refused(unsigned) is Code.UNSIGNED


def test_a_key_signs_once_however_often_it_is_asked(written: LayoutDir) -> None:
    digest = written.resolve()
    assert len(sign_release(written, digest, [KEY, KEY])) == 1
    assert sign_release(written, digest, [KEY]) == []
    assert len(sign_release(written, digest, [KEY, SECOND])) == 1
    assert len(list(signatures.bundles(written, digest))) == 2


def test_no_signature_is_added_that_nobody_would_look_at(written: LayoutDir) -> None:
    digest = written.resolve()
    sign_release(written, digest, [Algorithm.ED25519.generate() for _ in range(bundle.MAX_SIGNATURES)])
    with pytest.raises(ProaError) as caught:
        sign_release(written, digest, [KEY])
    assert caught.value.code is Code.SIGNATURE


def test_nothing_but_signatures_is_read_before_they_are_verified(written: LayoutDir) -> None:
    """Not even the manifest: one that is gone makes no difference to the refusal."""
    digest = written.resolve()
    sign_release(written, digest, [Algorithm.ED25519.generate()])
    read: list[str] = []

    class Watched(LayoutDir):
        def manifest(self, digest: str) -> bytes:
            read.append(digest)
            return super().manifest(digest)

        def referrers(self, digest: str, wanted: Wanted = everything) -> Any:
            return LayoutDir(self.reference).referrers(digest, wanted)

    assert refused(Watched(written.reference)) is Code.SIGNATURE
    assert digest not in read


def test_a_signature_of_another_release_does_not_count(written: LayoutDir) -> None:
    signatures.attach(written, written.resolve(), bundle.sign("sha256:" + "9" * 64, KEY))
    assert refused(written) is Code.SIGNATURE


def test_a_flood_of_bad_signatures_is_not_read_to_its_end(written: LayoutDir) -> None:
    for number in range(bundle.MAX_SIGNATURES + 4):
        signatures.attach(written, written.resolve(), b"%d" % number)
    assert len(list(signatures.bundles(written, written.resolve()))) == bundle.MAX_SIGNATURES
    assert refused(written) is Code.SIGNATURE


def test_a_signature_whose_bytes_are_gone_is_left_out(written: LayoutDir) -> None:
    digest = written.resolve()
    stranger = bundle.sign(digest, SECOND)
    signatures.attach(written, digest, stranger)
    (written.folder / "blobs/sha256" / digest_of(stranger).removeprefix("sha256:")).unlink()
    assert opened(written).signers == (KEY.public.id,)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(artifactType="application/vnd.other"),
        lambda m: m.update(mediaType="application/vnd.oci.image.index.v1+json"),
        lambda m: m.update(schemaVersion=1),
        lambda m: m.update(layers=None),
        lambda m: m["layers"].pop(),
        lambda m: m["layers"].append(m["layers"][0]),
        lambda m: m["layers"][0].update(size=m["layers"][0]["size"] + 1),
        lambda m: m["layers"][0].update(size=-1),
        lambda m: m["layers"][0].update(digest="sha256:" + "0" * 64),
        lambda m: m["layers"][0].update(digest="md5:0"),
        lambda m: m["layers"][0].update(mediaType="text"),
        lambda m: m["layers"].append(7),
        lambda m: m["config"].update(mediaType="application/json"),
        lambda m: m["config"].update(size=1 << 30),
        lambda m: m.pop("config"),
    ],
)
def test_a_signed_manifest_that_is_not_a_release_is_refused(
    written: LayoutDir, change: Callable[[dict[str, Any]], None]
) -> None:
    assert refused(altered(written, change)) is Code.RELEASE


def test_a_layer_of_a_later_version_is_left_aside(written: LayoutDir, release: Release) -> None:
    extra = {"mediaType": "application/vnd.proa.delta.v9", "digest": "sha256:" + "0" * 64, "size": 5}
    source = altered(written, lambda manifest: manifest["layers"].append(extra))
    assert open_release(source, TRUST).release == release


def test_the_order_of_the_layers_does_not_matter(written: LayoutDir, release: Release) -> None:
    assert open_release(altered(written, lambda m: m["layers"].reverse()), TRUST).release == release


def test_the_document_is_checked_against_its_digest(written: LayoutDir, release: Release) -> None:
    digest = json.loads(encode_manifest(release))["config"]["digest"]
    path = written.folder / "blobs/sha256" / digest.removeprefix("sha256:")
    path.write_bytes(path.read_bytes().replace(b'"serial": 7', b'"serial": 8'))
    sign_release(written, written.resolve(), [KEY])
    assert refused(written) is Code.DIGEST


def test_a_copy_has_every_byte_and_every_signature(written: LayoutDir, tmp_path: Path) -> None:
    sign_release(written, written.resolve(), [KEY, SECOND])
    target, events = LayoutDir(parse(f"oci:{tmp_path}/copy:stable")), Recorder()
    digest = copy_release(written, target, monitor=events)
    found = open_release(target, dataclasses.replace(TRUST, threshold=2))
    assert found.manifest_digest == digest == written.resolve()
    names = {path.name for path in (written.folder / "blobs/sha256").iterdir()}
    assert {path.name for path in (tmp_path / "copy/blobs/sha256").iterdir()} == names
    last: Any = events.events[-1]
    assert last.done == last.total > 0


def test_a_copy_follows_the_tag_only_when_all_is_there(written: LayoutDir, tmp_path: Path) -> None:
    target = LayoutDir(parse(f"oci:{tmp_path}/copy"))
    (written.folder / "blobs/sha256" / inspect_release(written).blob("root").digest[7:]).write_bytes(b"x")
    with pytest.raises(ProaError) as caught:
        copy_release(written, target, "stable")
    assert caught.value.code is Code.DIGEST
    with pytest.raises(ProaError):
        LayoutDir(parse(f"oci:{tmp_path}/copy:stable")).resolve()


def test_every_blob_is_a_layer_of_its_media_type(release: Release) -> None:
    layers = json.loads(encode_manifest(release))["layers"]
    assert [layer["mediaType"] for layer in layers] == list(MEDIA_TYPES.values())
    assert [Blob(layer["digest"], layer["size"]) for layer in layers] == [release.blobs[name] for name in MEDIA_TYPES]


def test_reading_from_a_folder_loads_no_http_client() -> None:
    """The agent's memory is limited, and a node that installs from a folder needs none of it."""
    code = """
import sys
from proa.core.artifact.release_artifact import open_release
from proa.core.oci.registry import open_source
from proa.core.oci.reference import parse
open_source(parse("oci:/nowhere")).close()
print(*({"requests", "oras", "urllib3", "jsonschema"} & set(sys.modules)))
"""
    assert process.run([sys.executable, "-c", code]).text.strip() == ""


def attest(source: LayoutDir, digest: str, number: int, *, told: bool) -> None:
    """An attestation as cosign attest stores it; registries may leave its annotation out of their lists."""
    statement = {"_type": "https://in-toto.io/Statement/v1", "predicateType": f"https://spdx.dev/{number}"}
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    made = json.loads(bundle.sign(digest, KEY))
    made["dsseEnvelope"]["payload"] = payload
    data = json.dumps(made).encode()
    subject, _ = describe_manifest(source.manifest(digest))
    for content in (b"{}", data):
        source.push_blob(content)
    stored = {
        "schemaVersion": 2,
        "mediaType": subject.media_type,
        "artifactType": bundle.BUNDLE_TYPE,
        "config": Descriptor("application/vnd.oci.empty.v1+json", digest_of(b"{}"), 2).document(),
        "layers": [Descriptor(bundle.BUNDLE_TYPE, digest_of(data), len(data)).document()],
        "subject": Descriptor(subject.media_type, subject.digest, subject.size).document(),
        "annotations": {"dev.sigstore.bundle.predicateType": statement["predicateType"]} if told else {},
    }
    source.push_manifest(json.dumps(stored).encode())


@pytest.mark.parametrize("told", [True, False])
def test_s08_attestations_take_no_place_of_signatures(written: LayoutDir, told: bool) -> None:
    digest = written.resolve()
    for number in range(bundle.MAX_SIGNATURES + 4):
        attest(written, digest, number, told=told)
    assert refused(written) is Code.UNSIGNED
    assert len(sign_release(written, digest, [KEY])) == 1
    assert open_release(written, Trust((KEY.public,))).signers == (KEY.public.id,)
    assert len(list(signatures.bundles(written, digest))) == 1


def test_s08_signatures_are_sought_before_what_says_nothing_of_itself(written: LayoutDir) -> None:
    digest = written.resolve()
    reads: list[str] = []
    for number in range(40):
        attest(written, digest, number, told=False)
    sign_release(written, digest, [KEY])

    class Watched(LayoutDir):
        def manifest(self, digest: str) -> bytes:
            reads.append(digest)
            return super().manifest(digest)

        def referrers(self, digest: str, wanted: Wanted = everything) -> Any:
            return LayoutDir(self.reference).referrers(digest, wanted)

    next(signatures.bundles(Watched(written.reference), digest))
    assert len(reads) == 1
