"""Writing to a registry."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from proa.core.artifact import release_artifact, signatures
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import parse
from proa.core.release.document import Release
from proa.core.runtime.errors import Code, ProaError
from proa.core.signing.keys import Algorithm
from proa.core.signing.trust import Trust
from proa.core.testing.registry import FakeRegistry

DATA = os.urandom(900_001)
TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": TYPE, "artifactType": "a/b"}).encode()
SECRET = "correct horse"

Open = Callable[..., Any]


def failure(action: Callable[[], object]) -> ProaError:
    with pytest.raises(ProaError) as caught:
        action()
    return caught.value


@pytest.fixture
def pushed(open_fake: Open) -> str:
    return str(open_fake().push_manifest(MANIFEST, "1.0"))


class TestPushing:
    def test_a_release_is_copied_signed_and_opened(
        self,
        fake_registry: FakeRegistry,
        open_fake: Open,
        tmp_path: Path,
        release: Release,
        payload_files: dict[str, Path],
    ) -> None:
        key = Algorithm.ECDSA_P256.generate()
        digest = release_artifact.write_release(tmp_path / "out", release, payload_files)
        folder = LayoutDir(parse(f"oci:{tmp_path}/out"))
        release_artifact.sign_release(folder, digest, [key])
        with open_fake("registry.test/team/node:stable") as target:
            assert release_artifact.copy_release(folder, target) == digest
            assert release_artifact.open_release(target, Trust((key.public,))).release == release
        names = [url.rpartition("/")[2] for url in fake_registry.urls("PUT") if "/manifests/" in url]
        assert names[0] == digest
        assert names[-1] == "stable", "the tag comes last"

    def test_what_is_there_is_not_sent_again(self, fake_registry: FakeRegistry, open_fake: Open) -> None:
        source = open_fake()
        first = source.push_blob(b"content")
        assert source.push_blob(b"content") == first
        assert len(fake_registry.urls("PUT")) == 1
        assert fake_registry.blobs[first.digest] == b"content"

    def test_a_push_is_tried_again_from_the_start(
        self, fake_registry: FakeRegistry, open_fake: Open, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_bytes(DATA)
        reset = fake_registry.broken(requests.ConnectionError("reset"))
        fake_registry.faults = [reset, None, fake_registry.status(503), None, None, fake_registry.status(502)]
        digest = open_fake().push_blob(tmp_path / "file").digest
        assert fake_registry.blobs[digest] == DATA
        fake_registry.faults = [fake_registry.status(429)]
        open_fake().push_manifest(MANIFEST, "1.0")

    @pytest.mark.parametrize("location", ["http://registry.test/upload", "https://registry.test:99999/upload"])
    def test_an_upload_goes_nowhere_that_a_redirect_may_not_lead(
        self, fake_registry: FakeRegistry, open_fake: Open, location: str
    ) -> None:
        fake_registry.faults = [None, fake_registry.status(202, Location=location)]
        assert failure(lambda: open_fake().push_blob(b"x")).code is Code.REGISTRY
        assert fake_registry.urls("PUT") == []

    def test_a_refused_push_says_so(self, fake_registry: FakeRegistry, open_fake: Open) -> None:
        for faults in ([None, fake_registry.status(200)], [None, None, fake_registry.status(200)]):
            fake_registry.faults = faults
            fake_registry.blobs.clear()
            assert failure(lambda: open_fake().push_blob(b"x")).code is Code.REGISTRY
        fake_registry.faults = [fake_registry.status(413, b"too large")]
        assert "answered 413" in failure(lambda: open_fake().push_manifest(MANIFEST)).message
        fake_registry.faults = [None, fake_registry.status(202, Location="")]
        assert "no place" in failure(lambda: open_fake().push_blob(b"y")).message

    def test_an_upload_to_another_host_goes_without_credentials(
        self, fake_registry: FakeRegistry, open_fake: Open, tmp_path: Path
    ) -> None:
        path = tmp_path / "auth.json"
        path.write_text(json.dumps({"auths": {"registry.test": {"username": "me", "password": SECRET}}}))
        fake_registry.faults = [
            fake_registry.status(401, WWW_Authenticate='Basic realm="x"'),
            None,
            fake_registry.status(202, Location="https://storage.test/put?sig=1"),
            fake_registry.status(201),
        ]
        open_fake(auth_file=path).push_blob(b"x")
        assert [bool(sent) for sent in fake_registry.sent("Authorization")] == [False, True, True, False]

    def test_somebody_else_writes_the_list_of_signatures_too(
        self, fake_registry: FakeRegistry, open_fake: Open, pushed: str
    ) -> None:
        source = open_fake()
        first = signatures.attach(source, pushed, b'{"by": 1}')
        tag = f"sha256-{pushed[7:]}"
        only_first = fake_registry.manifests[tag]

        def lost(request: requests.PreparedRequest, answer: Any) -> Any:
            if str(request.url).endswith(tag) and request.method == "PUT":
                fake_registry.manifests[tag] = only_first
                fake_registry.always = None
            return answer

        fake_registry.always = lost
        second = signatures.attach(source, pushed, b'{"by": 2}')
        assert {entry.digest for entry in source.referrers(pushed)} == {first, second}

    def test_names_that_look_like_hosts_stay_names(self, fake_registry: FakeRegistry, open_fake: Open) -> None:
        fake_registry.faults = [None, fake_registry.status(202, Location="/up"), fake_registry.status(201)]
        open_fake("localhost.test:5000/a.b/c").push_blob(b"z")
        assert fake_registry.urls("HEAD") == [
            f"https://localhost.test:5000/v2/a.b/c/blobs/sha256:{hashlib.sha256(b'z').hexdigest()}"
        ]
