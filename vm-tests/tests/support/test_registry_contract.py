"""Our signatures and releases in real registries, judged by cosign and oras."""

import base64
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proa.core.artifact import attestations, release_artifact, signatures
from proa.core.oci.access import Access
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import Reference, parse
from proa.core.oci.registry import open_source
from proa.core.oci.source import blob_of
from proa.core.release.document import MEDIA_TYPES, Boot, Release, Requires, Root
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.signing import bundle
from proa.core.signing.keys import Algorithm, PrivateKey
from proa.core.signing.trust import Trust
from proa.vm.support.certificates import Authority
from proa.vm.support.registry import LocalRegistry
from proa.vm.support.tools import go_tool

pytestmark = pytest.mark.contract

NAME = "team/my.node"
LOGIN = ("node", "pass word:1")
KEYS = (Algorithm.ECDSA_P256.generate(), Algorithm.ED25519.generate())
STRANGER = Algorithm.ECDSA_P256.generate()
TRUST = Trust(tuple(key.public for key in KEYS), threshold=2)
SAID = {
    attestations.SPDX: {"spdxVersion": "SPDX-2.3", "name": "node"},
    attestations.CYCLONEDX: {"bomFormat": "CycloneDX", "specVersion": "1.6"},
    attestations.PROVENANCE: {"buildDefinition": {"buildType": "https://proa.dev/build/v1"}, "runDetails": {}},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> LayoutDir:
    """A release in a folder, signed with two keys."""
    folder = tmp_path_factory.mktemp("built")
    files = {name: folder / name for name in MEDIA_TYPES}
    for number, path in enumerate(files.values()):
        path.write_bytes(bytes([number]) * (3 << 20))
    release = Release(
        name="node",
        version="1.0",
        architecture="amd64",
        compatible="worker",
        created="2026-01-01T00:00:00+00:00",
        serial=1,
        floor=1,
        root=Root("erofs", 40 * 4096, 4096, "a" * 64, "bb" * 32, 4096, 128 * 1024),
        boot=Boot(4096, f"sha256:{'c' * 64}", f"sha256:{'d' * 64}"),
        requires=Requires(1, "0.1.0", 1),
        blobs={name: blob_of(path) for name, path in files.items()},
    )
    digest = release_artifact.write_release(folder / "layout", release, files)
    layout = LayoutDir(parse(f"oci:{folder}/layout"))
    release_artifact.sign_release(layout, digest, KEYS)
    attestations.attest(layout, digest, SAID, KEYS[:1])
    return layout


def plain(folder: Path) -> LocalRegistry:
    return LocalRegistry(folder, tls=False)


def with_login(folder: Path) -> LocalRegistry:
    return LocalRegistry(folder, tls=False, auth=LOGIN)


def with_tls(folder: Path) -> LocalRegistry:
    return LocalRegistry(folder)


def with_tls_and_login(folder: Path) -> LocalRegistry:
    return LocalRegistry(folder, auth=LOGIN)


def with_client_certificates(folder: Path) -> LocalRegistry:
    return LocalRegistry(folder, client_certificates=True)


def with_referrers_api(folder: Path) -> LocalRegistry:
    return LocalRegistry(folder, program=(go_tool("referrers"), "{address}", "{cert}", "{key}"))


EVERY_KIND = [plain, with_login, with_tls, with_tls_and_login, with_client_certificates, with_referrers_api]
TOOLS_KINDS = [with_login, with_tls_and_login, with_referrers_api]


@pytest.fixture
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalRegistry]:
    make: Callable[[Path], LocalRegistry] = getattr(request, "param", with_tls_and_login)
    with make(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def pushed(registry: LocalRegistry, built: LayoutDir) -> str:
    """The digest of the release in ``registry``, at the tag ``stable``."""
    with registry.open(NAME, "stable") as target:
        return release_artifact.copy_release(built, target)


class Judge:
    """cosign and oras, talking to one registry."""

    def __init__(self, registry: LocalRegistry, folder: Path) -> None:
        self.registry = registry
        self.folder = folder
        docker = folder / ".docker"
        docker.mkdir(parents=True, exist_ok=True)
        (docker / "config.json").write_bytes(registry.auth_file.read_bytes() if registry.auth_file else b"{}")
        self.env = {"HOME": str(folder), "DOCKER_CONFIG": str(docker), "COSIGN_PASSWORD": ""}
        if registry.ca_file:
            self.env["SSL_CERT_FILE"] = str(registry.ca_file)

    def cosign(self, *words: str | Path, check: bool = True) -> process.ProcessResult:
        plain_http = () if self.registry.tls else ("--allow-http-registry",)
        return process.run([go_tool("cosign"), *words[:1], *plain_http, *words[1:]], env=self.env, check=check)

    def oras(self, *words: str | Path) -> process.ProcessResult:
        plain_http = () if self.registry.tls else ("--plain-http",)
        return process.run([go_tool("oras"), *words[:1], *plain_http, *words[1:]], env=self.env, cwd=self.folder)

    def reference(self, suffix: str) -> str:
        return f"{self.registry.reference(NAME)}{suffix}"

    def verifies(self, key: PrivateKey, digest: str) -> bool:
        path = self.folder / "key.pub"
        path.write_bytes(key.public.pem)
        words = ("verify", "--key", path, "--private-infrastructure", self.reference(f"@{digest}"))
        return self.cosign(*words, check=False).status == 0

    def attested(self, key: PrivateKey, digest: str, kind: str) -> dict[str, Any]:
        """The statement of a kind, if cosign finds one that was signed with this key."""
        path = self.folder / "key.pub"
        path.write_bytes(key.public.pem)
        words = ("verify-attestation", "--key", path, "--type", kind, "--private-infrastructure")
        done = self.cosign(*words, self.reference(f"@{digest}"), check=False)
        if done.status != 0:
            return {}
        envelope = json.loads(done.stdout)
        return dict(json.loads(base64.b64decode(envelope["payload"])))


@pytest.fixture
def judge(registry: LocalRegistry, tmp_path: Path) -> Judge:
    return Judge(registry, tmp_path / "judge")


def refusal(reference: Reference, **access: Path | None) -> Code:
    with pytest.raises(ProaError) as caught, open_source(reference, Access(**access)) as source:  # type: ignore[arg-type]
        release_artifact.open_release(source, TRUST)
    assert LOGIN[1] not in caught.value.text("x")
    return caught.value.code


@pytest.mark.parametrize("registry", EVERY_KIND, indirect=True)
def test_a_release_goes_there_and_comes_back(
    registry: LocalRegistry, pushed: str, built: LayoutDir, tmp_path: Path
) -> None:
    with registry.open(NAME, "stable") as source:
        opened = release_artifact.open_release(source, TRUST)
        assert opened.manifest_digest == pushed == built.resolve()
        assert len(opened.signers) == 2
        root = opened.blob("root")
        assert b"".join(source.blob(root.digest, root.size, start=5, end=2 << 20)) == bytes((2 << 20) - 5)
        back = LayoutDir(parse(f"oci:{tmp_path}/back:x"))
        assert release_artifact.copy_release(source, back) == pushed
    names = {path.name for path in (built.folder / "blobs/sha256").iterdir()}
    assert {path.name for path in (tmp_path / "back/blobs/sha256").iterdir()} == names


@pytest.mark.parametrize("registry", EVERY_KIND, indirect=True)
def test_a_second_push_changes_nothing(registry: LocalRegistry, pushed: str, built: LayoutDir) -> None:
    with registry.open(NAME, "stable") as target:
        assert release_artifact.copy_release(built, target) == pushed
        assert len(list(signatures.bundles(target, pushed))) == 2


@pytest.mark.parametrize("registry", TOOLS_KINDS, indirect=True)
def test_cosign_verifies_what_we_signed(judge: Judge, pushed: str) -> None:
    assert [judge.verifies(key, pushed) for key in (*KEYS, STRANGER)] == [True, True, False]


@pytest.mark.parametrize("registry", TOOLS_KINDS, indirect=True)
def test_b12_cosign_verifies_what_we_attest(judge: Judge, pushed: str) -> None:
    for kind, name in (("spdxjson", attestations.SPDX), ("slsaprovenance1", attestations.PROVENANCE)):
        statement = judge.attested(KEYS[0], pushed, kind)
        assert (statement["predicateType"], statement["predicate"]) == (name, SAID[name])
    assert judge.attested(KEYS[0], pushed, "cyclonedx")["predicate"] == SAID[attestations.CYCLONEDX]
    assert judge.attested(KEYS[1], pushed, "cyclonedx") == {}


@pytest.mark.parametrize("registry", TOOLS_KINDS, indirect=True)
def test_we_verify_what_cosign_signed(judge: Judge, registry: LocalRegistry, pushed: str) -> None:
    (judge.folder / "own.key").write_bytes(STRANGER.pem)
    words = ("import-key-pair", "--key", "own.key", "--output-key-prefix", "cosign")
    process.run([go_tool("cosign"), *words], env=judge.env, cwd=judge.folder)
    unlogged = ("--tlog-upload=false", "--use-signing-config=false", "--yes")
    judge.cosign("sign", "--key", judge.folder / "cosign.key", *unlogged, judge.reference(f"@{pushed}"))
    with registry.open(NAME, "stable") as source:
        found = list(signatures.bundles(source, pushed))
        assert bundle.check_threshold(found, pushed, [STRANGER.public]) == (STRANGER.public.id,)
        assert len(release_artifact.open_release(source, TRUST).signers) == 2


@pytest.mark.parametrize("registry", TOOLS_KINDS, indirect=True)
def test_oras_lists_the_signatures_and_pulls_the_files(judge: Judge, pushed: str, built: LayoutDir) -> None:
    listed = json.loads(judge.oras("discover", "--format", "json", judge.reference(":stable")).text)
    ours = {entry.digest for entry in built.referrers(pushed)}
    assert {entry["digest"] for entry in listed["referrers"]} == ours
    judge.oras("pull", judge.reference(":stable"))
    pulled = {path.name: path.stat().st_size for path in judge.folder.iterdir() if path.is_file()}
    assert pulled == dict.fromkeys(release_artifact.FILE_NAMES.values(), 3 << 20)


def test_oras_copies_it_to_a_folder_that_we_open(judge: Judge, pushed: str) -> None:
    judge.oras("copy", "--recursive", "--to-oci-layout", judge.reference(":stable"), "mirror:stable")
    with open_source(parse(f"oci:{judge.folder}/mirror:stable")) as source:
        assert release_artifact.open_release(source, TRUST).manifest_digest == pushed


def test_oras_lists_signatures_and_attestations_in_our_folder(judge: Judge, built: LayoutDir) -> None:
    words = ("discover", "--oci-layout", "--format", "json", f"{built.folder}:1.0")
    listed = json.loads(process.run([go_tool("oras"), *words]).text)
    assert len(listed["referrers"]) == len(KEYS) + len(SAID)


def test_unsigned_and_strangers_releases_are_refused(registry: LocalRegistry, built: LayoutDir) -> None:
    manifest = built.manifest(built.resolve())
    bare = LayoutDir(dataclasses.replace(built.reference, digest=built.resolve()))
    with registry.open("bare") as target:
        for blob in release_artifact.inspect_release(bare).release.blobs.values():
            target.push_blob(built.small_blob(blob.digest, blob.size))
        target.push_blob(release_artifact.inspect_release(bare).release.encode())
        digest = target.push_manifest(manifest, "stable")
    access = {"ca_file": registry.ca_file, "auth_file": registry.auth_file}
    assert refusal(registry.reference("bare", "stable"), **access) is Code.UNSIGNED
    with registry.open("bare") as target:
        release_artifact.sign_release(target, digest, [STRANGER, KEYS[0], KEYS[0]])
    assert refusal(registry.reference("bare", "stable"), **access) is Code.SIGNATURE


def test_who_may_not_come_in(registry: LocalRegistry, pushed: str, tmp_path: Path) -> None:
    stable, ca_file = registry.reference(NAME, "stable"), registry.ca_file
    nobody = tmp_path / "nobody.json"
    nobody.write_text("{}")
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"auths": {registry.address: {"username": "node", "password": "wrong"}}}))
    assert refusal(stable, ca_file=ca_file, auth_file=nobody) is Code.AUTH
    assert refusal(stable, ca_file=ca_file, auth_file=other) is Code.AUTH
    assert refusal(registry.reference(NAME, "gone"), ca_file=ca_file, auth_file=registry.auth_file) is Code.NOT_FOUND
    assert refusal(stable, auth_file=registry.auth_file) is Code.NETWORK
    stranger = Authority(tmp_path / "stranger").ca_file
    assert refusal(stable, ca_file=stranger, auth_file=registry.auth_file) is Code.NETWORK


@pytest.mark.parametrize("registry", [with_client_certificates], indirect=True)
def test_a_client_without_its_certificate_does_not_come_in(registry: LocalRegistry, pushed: str) -> None:
    assert refusal(registry.reference(NAME, "stable"), ca_file=registry.ca_file) is Code.NETWORK


@pytest.mark.parametrize("registry", [plain], indirect=True)
def test_where_tls_is_meant_plain_http_is_not_spoken(registry: LocalRegistry, pushed: str, tmp_path: Path) -> None:
    ca_file = Authority(tmp_path / "authority").ca_file
    assert refusal(registry.reference(NAME, "stable"), ca_file=ca_file) is Code.PLAIN_HTTP


def test_a_registry_that_restarts_under_a_download(registry: LocalRegistry, built: LayoutDir) -> None:
    big = bytes(range(256)) * (64 << 12)  # 64 MiB, more than the sockets' buffers hold
    with registry.open(NAME) as source:
        blob = source.push_blob(big)
        chunks = source.blob(blob.digest, blob.size)
        got = bytearray(next(chunks))
        registry.stop()
        registry.start()
        for chunk in chunks:
            got += chunk
    assert got == big


def test_memory_does_not_grow_with_the_blob(registry: LocalRegistry, tmp_path: Path) -> None:
    """The whole process, imports included, against the agent's 80 MiB."""
    (tmp_path / "big").touch()
    with (tmp_path / "big").open("r+b") as file:
        file.truncate(256 << 20)
    with registry.open(NAME) as target:
        blob = target.push_blob(tmp_path / "big")
    code = f"""
from pathlib import Path
from proa.core.oci.reference import parse
from proa.core.oci.registry import open_source
import proa.core.artifact.release_artifact
from proa.core.oci.access import Access
access = Access(ca_file=Path("{registry.ca_file}"), auth_file=Path("{registry.auth_file}"))
with open_source(parse("{registry.reference(NAME, "x")}"), access) as source:
    assert sum(map(len, source.blob("{blob.digest}", {blob.size}))) == {blob.size}
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""
    # Not getrusage: its maximum is inherited from the process that started this one.
    peak = int(process.run([sys.executable, "-c", code]).text) / 1024
    assert peak < 56, f"{peak:.1f} MiB"
