"""Mirrors: asked in order, left when they fail, believed in nothing (numbers: the project's list of faults)."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from proa.core.oci.access import Access
from proa.core.oci.limits import TransferLimits
from proa.core.oci.mirrored import LEFT
from proa.core.oci.mirrors import Mirror, read_mirrors
from proa.core.oci.reference import parse
from proa.core.oci.registry import mirror_access, open_source
from proa.core.oci.source import Source
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.core.testing.registry import Answer, FakeRegistry, Fault

DATA = os.urandom(900_001)
SIZE = len(DATA)
TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": TYPE, "artifactType": "a/b"}).encode()
REGISTRY, FIRST, SECOND = "registry.test", "first.test", "second.test"


class Site:
    """A registry and two mirrors, which have the same content; what is wrong with each goes by its host."""

    def __init__(self, fake: FakeRegistry, clock: VirtualClock) -> None:
        self.fake, self.clock = fake, clock
        self.wrong: dict[str, Fault] = {}
        self.told: list[str] = []
        fake.always = self.fault
        self.blob = fake.put_blob(DATA)

    def fault(self, request: requests.PreparedRequest, answer: Answer) -> Answer:
        wrong = self.wrong.get(self.host(request))
        return wrong(request, answer) if wrong else answer

    @staticmethod
    def host(request: requests.PreparedRequest) -> str:
        return urlsplit(str(request.url)).netloc

    @property
    def hosts(self) -> list[str]:
        """Whom every request went to."""
        return [self.host(request) for request in self.fake.requests]

    def open(self, text: str = "registry.test/team/node:1.0", access: Access | None = None, **limits: Any) -> Source:
        return open_source(
            parse(text),
            access or Access(),
            limits=TransferLimits(**limits),
            clock=self.clock,
            transport=self.fake,
            mirrors={REGISTRY: (Mirror(FIRST), Mirror(SECOND))},
            tell=self.told.append,
        )

    def read(self, source: Source, start: int = 0, end: int | None = None) -> bytes:
        return b"".join(source.blob(self.blob, SIZE, start=start, end=end))


@pytest.fixture
def site(fake_registry: FakeRegistry, clock: VirtualClock, no_credentials: None) -> Site:
    return Site(fake_registry, clock)


def other_bytes(_: requests.PreparedRequest, answer: Answer) -> Answer:
    return Answer(answer.status, answer.headers, bytes(byte ^ 1 for byte in answer.data))


def test_the_first_mirror_gives_all_and_the_registry_nothing(site: Site) -> None:
    with site.open() as source:
        assert site.read(source) == DATA
        assert site.read(source, 5, 10) == DATA[5:10]
    assert set(site.hosts) == {FIRST}
    assert site.told == []


@pytest.mark.parametrize(
    "wrong",
    [
        FakeRegistry.status(500),
        FakeRegistry.status(401),
        FakeRegistry.status(403),
        FakeRegistry.status(404),
        FakeRegistry.broken(requests.ConnectionError("Connection refused")),
        FakeRegistry.headers(Content_Type="text/html"),
    ],
)
def test_f33_a_mirror_that_fails_is_left_and_told_of_once(site: Site, wrong: Fault) -> None:
    site.wrong[FIRST] = wrong
    with site.open() as source:
        assert [site.read(source, at, at + 9) for at in (0, 9, 18)] == [DATA[at : at + 9] for at in (0, 9, 18)]
    assert set(site.hosts) == {FIRST, SECOND}
    assert site.hosts[-2:] == [SECOND, SECOND]
    (told,) = site.told
    assert told.startswith(f"mirror {FIRST} is left for {LEFT:.0f} s: ")


def test_f33_a_mirror_that_was_left_is_asked_again_later(site: Site) -> None:
    site.wrong[FIRST] = FakeRegistry.status(500)
    with site.open() as source:
        site.read(source)
        del site.wrong[FIRST]
        site.clock.at += LEFT
        assert site.read(source, 0, 9) == DATA[:9]
    assert site.hosts[-1] == FIRST


def test_f33_all_mirrors_down_the_registry_gives_it(site: Site) -> None:
    site.wrong |= dict.fromkeys((FIRST, SECOND), FakeRegistry.status(502))
    with site.open() as source:
        assert site.read(source) == DATA
    assert site.hosts[-1] == REGISTRY
    assert len(site.told) == 2


def test_f33_all_places_down_it_is_the_registrys_error(site: Site) -> None:
    site.wrong |= dict.fromkeys((FIRST, SECOND, REGISTRY), FakeRegistry.status(502))
    with site.open() as source, pytest.raises(ProaError) as caught:
        site.read(source)
    assert (caught.value.code, REGISTRY in str(caught.value.at)) == (Code.REGISTRY, True)


@pytest.mark.parametrize("after", ["3", "3600", "Thu, 01 Jan 2026 01:00:00 GMT"])
@pytest.mark.parametrize("status", [429, 503])
def test_f26_a_mirror_that_wants_to_be_left_alone_is(site: Site, status: int, after: str) -> None:
    """Nobody waits for it where somebody else can be asked."""
    site.wrong[FIRST] = FakeRegistry.status(status, Retry_After=after)
    with site.open() as source:
        assert site.read(source) == DATA
    assert site.clock.at == 0
    assert site.hosts == [FIRST, SECOND]


def test_f26_the_registry_is_waited_for_as_it_asks(site: Site) -> None:
    site.wrong |= dict.fromkeys((FIRST, SECOND), FakeRegistry.status(503))
    patient = [FakeRegistry.status(429, Retry_After="20")]
    site.wrong[REGISTRY] = lambda request, answer: patient.pop()(request, answer) if patient else answer
    with site.open() as source:
        assert site.read(source) == DATA
    assert site.clock.at >= 20


def test_f27_what_a_mirror_gave_before_it_was_cut_is_not_fetched_again(site: Site) -> None:
    site.wrong[FIRST] = FakeRegistry.cut(0)
    first = [FakeRegistry.cut(90_000)]
    site.wrong[FIRST] = lambda request, answer: (first.pop() if first else FakeRegistry.cut(0))(request, answer)
    with site.open() as source:
        assert site.read(source) == DATA
    assert site.hosts[-1] == SECOND
    assert site.fake.sent("Range")[-1] == f"bytes=90000-{SIZE - 1}"


def test_f28_a_mirror_without_ranges_is_left_and_nothing_is_read_of_what_lies_before(site: Site) -> None:
    site.wrong[FIRST] = lambda _request, _answer: Answer(200, {}, DATA)
    with site.open() as source:
        assert site.read(source, 800_000, 800_009) == DATA[800_000:800_009]
        assert source.ranges
    assert site.hosts == [FIRST, SECOND]
    assert "parts of a blob" in site.told[0]


def test_f28_the_registry_itself_need_not_answer_ranges(site: Site) -> None:
    site.wrong |= dict.fromkeys((FIRST, SECOND, REGISTRY), lambda _request, _answer: Answer(200, {}, DATA))
    with site.open() as source:
        assert site.read(source, 800_000, 800_009) == DATA[800_000:800_009]
        assert not source.ranges


@pytest.mark.parametrize("status", [403, 410])
def test_f29_a_link_that_expires_in_the_middle_is_asked_for_again(site: Site, status: int) -> None:
    """The mirror is asked, and leads to its storage anew."""
    storage = [FakeRegistry.cut(90_000), FakeRegistry.status(status)]
    site.wrong[FIRST] = lambda request, _: Answer(
        307, {"Location": str(request.url).replace(FIRST, "storage.test") + "?signature=1"}
    )
    site.wrong["storage.test"] = lambda request, answer: storage.pop(0)(request, answer) if storage else answer
    with site.open() as source:
        assert site.read(source) == DATA
    assert site.hosts == [FIRST, "storage.test"] * 3
    assert site.told == []


def test_f30_a_mirror_with_other_bytes_of_a_manifest_is_left_for_good(site: Site) -> None:
    digest = site.fake.put_blob(MANIFEST)
    site.fake.manifests[digest], site.fake.types[digest] = MANIFEST, TYPE
    site.wrong[FIRST] = other_bytes
    with site.open() as source:
        assert source.manifest(digest) == MANIFEST
        site.clock.at += 100 * LEFT
        assert site.read(source, 0, 9) == DATA[:9]
    assert site.hosts[-1] == SECOND
    assert site.told[0].startswith(f"mirror {FIRST} is left: ")


def test_f30_who_reads_and_checks_charges_who_gave_it(site: Site) -> None:
    site.wrong[FIRST] = other_bytes
    got = b""
    with site.open() as source:
        while got != DATA[:9]:
            with source.turn() as place:
                got = b"".join(place.blob(site.blob, SIZE, start=0, end=9))
                if got != DATA[:9]:
                    raise ProaError(Code.DIGEST)
    assert site.hosts == [FIRST, SECOND]
    assert len(site.told) == 1


def test_f30_other_bytes_of_a_whole_blob_are_an_error(site: Site) -> None:
    site.wrong[FIRST] = other_bytes
    with site.open() as source:
        with pytest.raises(ProaError) as caught:
            site.read(source)
        assert source.small_blob(site.blob, SIZE) == DATA
    assert caught.value.code is Code.DIGEST


def test_what_is_no_fault_of_a_mirrors_is_raised(site: Site) -> None:
    with site.open() as source, pytest.raises(ProaError) as caught, source.turn():
        raise ProaError(Code.DEVICE)
    assert caught.value.code is Code.DEVICE
    assert site.told == []


def test_f18_f33_a_stale_mirror_resolves_no_tag(site: Site) -> None:
    site.fake.manifests["1.0"] = MANIFEST
    site.fake.types[site.fake.put_blob(MANIFEST)] = TYPE
    site.wrong[FIRST] = FakeRegistry.headers(Docker_Content_Digest="sha256:" + "1" * 64)
    with site.open() as source:
        assert source.resolve() == site.fake.put_blob(MANIFEST)
    assert set(site.hosts) == {REGISTRY}


def test_where_the_registry_cannot_be_reached_a_mirror_resolves_the_tag(site: Site) -> None:
    site.fake.manifests["1.0"] = MANIFEST
    site.fake.types[site.fake.put_blob(MANIFEST)] = TYPE
    site.wrong[REGISTRY] = FakeRegistry.broken(requests.ConnectionError("Connection refused"))
    site.wrong[FIRST] = FakeRegistry.status(500)
    with site.open() as source:
        assert source.resolve() == site.fake.put_blob(MANIFEST)
    assert site.hosts[-1] == SECOND


def test_a_digest_is_resolved_by_nobody(site: Site) -> None:
    digest = "sha256:" + "5" * 64
    assert site.open(f"registry.test/team/node@{digest}").resolve() == digest
    assert site.hosts == []


class TestSignatures:
    """f32: no mirror keeps them back, or buries them under others."""

    def push(self, site: Site) -> tuple[str, str]:
        subject = site.fake.put_blob(MANIFEST)
        referrer = {"schemaVersion": 2, "mediaType": TYPE, "artifactType": "a/b", "subject": {"digest": subject}}
        data = json.dumps(referrer).encode()
        digest = site.fake.put_blob(data)
        site.fake.manifests[digest], site.fake.types[digest] = data, TYPE
        site.fake.referrers_api = True
        return subject, digest

    @staticmethod
    def listing(*digests: str) -> Fault:
        index = "application/vnd.oci.image.index.v1+json"
        entries = [{"mediaType": TYPE, "digest": digest, "size": 9, "artifactType": "a/b"} for digest in digests]
        body = json.dumps({"mediaType": index, "manifests": entries}).encode()
        return lambda _request, _answer: Answer(200, {"Content-Type": index}, body)

    @pytest.mark.parametrize("wrong", [FakeRegistry.status(404), FakeRegistry.status(500)])
    def test_f32_a_mirror_without_signatures(self, site: Site, wrong: Fault) -> None:
        subject, signature = self.push(site)
        site.wrong |= dict.fromkeys((FIRST, SECOND), wrong)
        with site.open() as source:
            assert [entry.digest for entry in source.referrers(subject)] == [signature]

    def test_f32_a_mirror_that_has_the_rest_is_asked_on(self, site: Site) -> None:
        subject, signature = self.push(site)
        site.wrong[FIRST] = lambda request, answer: answer if "/blobs/" in str(request.url) else Answer(404)
        with site.open() as source:
            source.referrers(subject)
            source.manifest(signature)
            site.read(source)
        assert site.hosts[-1] == FIRST
        assert site.told == []

    def test_f16_f32_a_mirror_with_many_others(self, site: Site) -> None:
        subject, signature = self.push(site)
        site.wrong |= dict.fromkeys((FIRST, SECOND), self.listing(*(f"sha256:{n:064}" for n in range(1024))))
        with site.open() as source:
            found = [entry.digest for entry in source.referrers(subject)]
        assert signature in found[:3]

    def test_f32_the_registry_is_not_needed_for_what_a_mirror_lists(self, site: Site) -> None:
        subject, signature = self.push(site)
        site.wrong[REGISTRY] = FakeRegistry.broken(requests.ConnectionError("Connection refused"))
        with site.open() as source:
            assert [entry.digest for entry in source.referrers(subject)] == [signature]
        assert site.clock.at < 5

    def test_f32_nobody_lists_any_and_the_registry_cannot_be_reached(self, site: Site) -> None:
        site.wrong[REGISTRY] = FakeRegistry.broken(requests.ConnectionError("Connection refused"))
        with site.open() as source, pytest.raises(ProaError) as caught:
            source.referrers("sha256:" + "1" * 64)
        assert caught.value.code is Code.NETWORK


def test_f29_a_mirror_gets_no_login_of_another_host(site: Site, tmp_path: Path) -> None:
    def login(name: str) -> dict[str, str]:
        return {"auth": base64.b64encode(f"{name}:{name}-password".encode()).decode()}

    auth = tmp_path / "auth.json"
    auth.write_text(json.dumps({"auths": {host: login(host) for host in (REGISTRY, SECOND)}}))

    def challenge(request: requests.PreparedRequest, answer: Answer) -> Answer:
        if "Authorization" in request.headers:
            return answer
        return Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})

    site.wrong |= dict.fromkeys((FIRST, SECOND, REGISTRY), challenge)
    with site.open(access=Access(auth_file=auth)) as source:
        assert site.read(source) == DATA
    sent = {(site.host(request), request.headers.get("Authorization")) for request in site.fake.requests}
    assert sent == {(FIRST, None), (SECOND, None), (SECOND, f"Basic {login(SECOND)['auth']}")}


def test_a_mirror_gets_neither_the_registrys_certificate_nor_its_plain_http() -> None:
    registry = Access(True, Path("ca"), Path("cert"), Path("key"), Path("auth"), "http://proxy.test", "a.test")
    assert mirror_access(registry, Mirror("m.test")) == Access(
        False, Path("ca"), None, None, Path("auth"), "http://proxy.test", "a.test"
    )
    assert mirror_access(Access(), Mirror("m.test", plain_http=True)).plain_http


def test_a_rate_is_that_of_all_places_together(site: Site) -> None:
    with site.open(maximum_rate=SIZE / 10, minimum_rate=SIZE) as source:
        site.read(source)
        site.wrong |= dict.fromkeys((FIRST, SECOND), FakeRegistry.status(404))
        site.read(source)
    assert 18 <= site.clock.at <= 25


@pytest.mark.parametrize(("own", "other", "both"), [(0, 0, 0), (7, 0, 7), (0, 7, 7), (7, 9, 7), (9, 7, 7)])
def test_the_smaller_of_two_rates_holds(own: float, other: float, both: float) -> None:
    assert TransferLimits(maximum_rate=own).within(other).maximum_rate == both


@pytest.mark.parametrize(
    ("text", "mirror", "name"),
    [
        ("m.test", Mirror("m.test"), "team/node"),
        ("https://m.test:5000", Mirror("m.test:5000"), "team/node"),
        ("m.test:5000/cache/eu/", Mirror("m.test:5000", "cache/eu"), "cache/eu/team/node"),
        ("http://10.0.0.1", Mirror("10.0.0.1", plain_http=True), "team/node"),
    ],
)
def test_what_a_setting_means(text: str, mirror: Mirror, name: str) -> None:
    (found,) = read_mirrors({"registry.test": [text]}, "registry.toml")["registry.test"]
    assert found == mirror
    assert str(mirror.reference(parse("registry.test/team/node:1.0"))) == f"{mirror.host}/{name}:1.0"


@pytest.mark.parametrize(
    "table",
    [
        {"registry.test": "m.test"},
        {"registry.test": [1]},
        {"registry.test": ["m.test"] * 17},
        {"registry.test": ["ftp://m.test"]},
        {"registry.test": ["user:secret@m.test"]},
        {"registry.test": ["m.test:0"]},
        {"registry.test": ["m.test/UPPER"]},
        {"registry.test": ["oci:/folder"]},
        {"registry.test/team": ["m.test"]},
        {"https://registry.test": ["m.test"]},
    ],
)
def test_a_setting_that_is_none_is_refused(table: Any) -> None:
    with pytest.raises(ProaError) as caught:
        read_mirrors(table, "registry.toml")
    assert caught.value.code is Code.CONFIG_VALUE
    assert str(caught.value.at).startswith("registry.toml")
