"""A registry as it should be, and in every way that is known to go wrong (numbers: the project's list of faults)."""

import json
import os
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import requests
import urllib3

from proa.core.artifact import signatures
from proa.core.oci.limits import TransferLimits
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.core.testing.registry import FakeRegistry

DATA = os.urandom(900_001)
SIZE = len(DATA)
TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": TYPE, "artifactType": "a/b"}).encode()
SECRET = "correct horse"

Open = Callable[..., Any]


def fetch(source: Any, digest: str, start: int = 0, end: int | None = None, size: int = SIZE) -> bytes:
    with source:
        return b"".join(source.blob(digest, size, start=start, end=end))


def failure(action: Callable[[], object]) -> ProaError:
    with pytest.raises(ProaError) as caught:
        action()
    return caught.value


@pytest.fixture
def blob(fake_registry: FakeRegistry) -> str:
    return str(fake_registry.put_blob(DATA))


@pytest.fixture
def pushed(fake_registry: FakeRegistry, open_fake: Open) -> str:
    return str(open_fake().push_manifest(MANIFEST, "1.0"))


class TestReading:
    def test_a_tag_is_resolved_and_its_manifest_read(self, open_fake: Open, pushed: str) -> None:
        with open_fake() as source:
            assert source.resolve() == pushed
            assert source.manifest(pushed) == MANIFEST

    def test_a_digest_counts_and_a_tag_beside_it_is_a_remark(
        self, fake_registry: FakeRegistry, open_fake: Open
    ) -> None:
        digest = "sha256:" + "5" * 64
        assert open_fake(f"registry.test/team/node:1.0@{digest}").resolve() == digest
        assert fake_registry.requests == []

    def test_without_the_digest_header_the_manifest_is_hashed(
        self, fake_registry: FakeRegistry, open_fake: Open, pushed: str
    ) -> None:
        for header in ("", "sha256:nonsense"):
            fake_registry.faults = [fake_registry.headers(Docker_Content_Digest=header)]
            assert open_fake().resolve() == pushed
        fake_registry.faults = [fake_registry.status(405)]
        assert open_fake().resolve() == pushed

    def test_a_blob_comes_whole_and_in_parts(self, open_fake: Open, blob: str) -> None:
        assert fetch(open_fake(), blob) == DATA
        assert fetch(open_fake(), blob, 5, 77_777) == DATA[5:77_777]
        assert fetch(open_fake(), blob, SIZE - 1) == DATA[-1:]
        assert fetch(open_fake(), blob, 9, 9) == b""

    def test_a_part_is_asked_for_with_one_range(self, fake_registry: FakeRegistry, open_fake: Open, blob: str) -> None:
        fetch(open_fake(), blob, 5, 100)
        assert fake_registry.sent("Range") == ["bytes=5-99"]
        assert fake_registry.sent("Accept-Encoding") == ["identity"]

    def test_what_is_not_there_is_not_tried_again(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str
    ) -> None:
        source = open_fake()
        for action in (source.resolve, lambda: source.manifest(blob), lambda: fetch(source, "sha256:" + "0" * 64)):
            assert failure(action).code is Code.NOT_FOUND
        assert len(fake_registry.requests) == 4

    @pytest.mark.parametrize("api", [True, False])
    def test_referrers_come_from_the_api_or_the_tag(
        self, fake_registry: FakeRegistry, open_fake: Open, api: bool
    ) -> None:
        fake_registry.referrers_api = api
        source = open_fake()
        subject = source.push_manifest(MANIFEST, "1.0")
        own = signatures.attach(source, subject, b"{}")
        assert signatures.attach(source, subject, b"{}") == own
        assert [entry.digest for entry in source.referrers(subject)] == [own]
        assert source.referrers(subject, lambda entry: entry.artifact_type == "other/type") == []
        assert (f"sha256-{subject[7:]}" in fake_registry.manifests) is not api

    def test_the_api_lists_page_by_page(self, fake_registry: FakeRegistry, open_fake: Open, pushed: str) -> None:
        fake_registry.referrers_api = True
        own = signatures.attach(open_fake(), pushed, b"{}")
        index = "application/vnd.oci.image.index.v1+json"
        first = fake_registry.status(200, b'{"manifests": []}', Content_Type=index, Link='<?page=2>; rel="next"')
        fake_registry.faults = [first]
        assert [entry.digest for entry in open_fake().referrers(pushed)] == [own]
        assert fake_registry.urls()[-1].endswith("?page=2")
        fake_registry.always = first
        assert open_fake().referrers(pushed) == []

    def page(self, fake_registry: FakeRegistry, link: str) -> Any:
        """A page of a list that names the next one."""
        index = "application/vnd.oci.image.index.v1+json"
        return fake_registry.status(200, b'{"manifests": []}', Content_Type=index, Link=f'<{link}>; rel="next"')

    @pytest.mark.parametrize(
        ("link", "said"),
        [
            ("http://registry.test/v2/next", "from TLS to plain HTTP"),
            ("http://[bad", "a malformed link"),
            ("https://host:99999/v2", "a malformed link"),
            ("https://host:1x/v2", "a malformed link"),
            ("file:///etc/shadow", "a malformed link"),
        ],
    )
    def test_a_next_page_follows_the_rules_of_redirects(
        self, fake_registry: FakeRegistry, open_fake: Open, pushed: str, link: str, said: str
    ) -> None:
        fake_registry.faults = [self.page(fake_registry, link)]
        count = len(fake_registry.requests)
        error = failure(lambda: open_fake().referrers(pushed))
        assert (error.code, said in error.message) == (Code.REGISTRY, True)
        assert len(fake_registry.requests) == count + 2  # nobody but the fallback tag is asked

    def test_a_next_page_on_another_host_gets_no_credentials(
        self, fake_registry: FakeRegistry, open_fake: Open, pushed: str, tmp_path: Any
    ) -> None:
        auth_file = tmp_path / "auth.json"
        auth_file.write_text(json.dumps({"auths": {"registry.test": {"username": "me", "password": "hush"}}}))
        login = fake_registry.status(401, WWW_Authenticate='Basic realm="x"')
        last = fake_registry.status(200, b'{"manifests": []}', Content_Type="application/vnd.oci.image.index.v1+json")
        fake_registry.faults = [login, self.page(fake_registry, "https://elsewhere.test/v2/next"), last]
        fake_registry.requests.clear()
        open_fake(auth_file=auth_file).referrers(pushed)
        hosts = [url.split("/")[2] for url in fake_registry.urls()]
        sent = [bool(header) for header in fake_registry.sent("Authorization")]
        assert list(zip(hosts, sent, strict=True))[:3] == [
            ("registry.test", False),
            ("registry.test", True),
            ("elsewhere.test", False),
        ]

    def test_signatures_from_before_the_api_are_found(
        self, fake_registry: FakeRegistry, open_fake: Open, pushed: str
    ) -> None:
        signatures.attach(open_fake(), pushed, b"{}")
        fake_registry.referrers_api = True
        fake_registry.manifests = {
            name: data for name, data in fake_registry.manifests.items() if b"subject" not in data or name == pushed
        }
        assert len(open_fake().referrers(pushed)) == 1

    def test_a_page_in_place_of_the_referrers_api_is_no_list(
        self, fake_registry: FakeRegistry, open_fake: Open, pushed: str
    ) -> None:
        signatures.attach(open_fake(), pushed, b"{}")
        fake_registry.faults = [fake_registry.status(200, b"<html>", Content_Type="text/html")]
        assert len(open_fake().referrers(pushed)) == 1
        for status in (400, 405, 406, 501):
            fake_registry.faults = [fake_registry.status(status)]
            assert len(open_fake().referrers(pushed)) == 1

    def test_an_outage_of_the_referrers_api_is_not_taken_for_no_signatures(
        self, fake_registry: FakeRegistry, open_fake: Open, pushed: str
    ) -> None:
        signatures.attach(open_fake(), pushed, b"{}")
        fake_registry.always = fake_registry.status(503)
        assert failure(lambda: open_fake().referrers(pushed)).code is Code.REGISTRY


class TestRetries:
    """F23, F26, F27."""

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_every_second_request_fails(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, pushed: str, status: int
    ) -> None:
        bad = fake_registry.status(status)
        fake_registry.faults = [bad, None, bad, None, bad, None]
        source = open_fake()
        assert source.resolve() == pushed
        assert source.manifest(pushed) == MANIFEST
        assert fetch(source, blob) == DATA

    @pytest.mark.parametrize("after", ["20", "Thu, 01 Jan 2026 00:00:20 GMT"])
    def test_retry_after_is_respected(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, clock: VirtualClock, after: str
    ) -> None:
        fake_registry.faults = [fake_registry.status(429, Retry_After=after)]
        assert fetch(open_fake(), blob) == DATA
        assert 20 <= clock.slept[0] <= 20.5

    def test_a_registry_that_stays_away_ends_in_its_error(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, clock: VirtualClock
    ) -> None:
        fake_registry.always = fake_registry.status(503, b'{"errors":[{"code":"UNAVAILABLE","message":"later"}]}')
        error = failure(lambda: fetch(open_fake(), blob))
        assert error.code is Code.REGISTRY
        assert error.message.startswith("answered 503: UNAVAILABLE later (6 attempts in ")
        assert clock.at < 60

    def test_a_retry_after_beyond_the_deadline_is_told(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, clock: VirtualClock
    ) -> None:
        fake_registry.always = fake_registry.status(429, Retry_After="86400")
        assert "asks for a pause of 86400 s" in failure(lambda: fetch(open_fake(), blob)).message
        assert clock.slept == []

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (requests.ConnectTimeout("https://user:pw@host/?sig=1"), "no answer in time"),
            (requests.ConnectionError(ConnectionRefusedError(111, "refused")), "the connection was refused"),
            (requests.ConnectionError("https://user:pw@host/?sig=1"), "the connection was interrupted"),
            (requests.exceptions.ProxyError("http://user:pw@proxy"), "the connection was interrupted"),
        ],
    )
    def test_f23_connections_that_fail_are_tried_again(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, error: Exception, said: str
    ) -> None:
        fake_registry.faults = [fake_registry.broken(error)]
        assert fetch(open_fake(), blob) == DATA
        fake_registry.always = fake_registry.broken(error)
        caught = failure(lambda: fetch(open_fake(), blob))
        assert caught.code is Code.NETWORK
        assert caught.message.startswith(said)
        assert "pw" not in caught.text("x")
        assert "sig" not in caught.text("x")

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (ssl.SSLCertVerificationError(1, "bad"), "the certificate is not trusted"),
            (ssl.SSLError(1, "[SSL] alert"), ""),
        ],
    )
    def test_a_bad_certificate_is_not_tried_again(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, error: ssl.SSLError, said: str
    ) -> None:
        error.reason = "TLSV1_ALERT_UNKNOWN_CA"
        error.verify_message = "certificate has expired"  # type: ignore[attr-defined] # OpenSSL sets it
        fake_registry.always = fake_registry.broken(requests.exceptions.SSLError(error))
        caught = failure(lambda: fetch(open_fake(), blob))
        assert caught.code is Code.NETWORK
        assert said in caught.message
        assert len(fake_registry.requests) == 1

    @pytest.mark.parametrize(
        "error",
        [
            urllib3.exceptions.LocationParseError("'a', label empty or too long"),
            requests.exceptions.InvalidURL("no host"),
            UnicodeError("encoding with 'idna' codec failed"),
        ],
    )
    def test_a_host_that_cannot_be_is_told(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, error: Exception
    ) -> None:
        fake_registry.always = fake_registry.broken(error)
        caught = failure(lambda: fetch(open_fake(), blob))
        assert (caught.code, "malformed" in caught.message) == (Code.NETWORK, True)
        assert len(fake_registry.requests) == 1

    @pytest.mark.parametrize("at", [0, 1, 65_536, 262_144, 500_000, SIZE - 1, SIZE])
    def test_a_cut_connection_is_taken_up_where_it_broke(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, at: int
    ) -> None:
        fake_registry.faults = [fake_registry.cut(at)]
        assert fetch(open_fake(), blob) == DATA
        assert fake_registry.sent("Range")[1:] in ([f"bytes={at}-{SIZE - 1}"], [None] if at == 0 else [])

    def test_many_cuts_with_progress_between_them(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str
    ) -> None:
        fake_registry.faults = [fake_registry.cut(90_000)] * 9
        assert fetch(open_fake(), blob) == DATA

    def test_a_body_that_ends_early_is_taken_up(self, fake_registry: FakeRegistry, open_fake: Open, blob: str) -> None:
        short = fake_registry.altered(lambda data: data[:1000])
        fake_registry.faults = [lambda r, a: fake_registry.headers(Content_Length="")(r, short(r, a))]
        assert fetch(open_fake(), blob) == DATA
        assert fake_registry.sent("Range") == [None, f"bytes=1000-{SIZE - 1}"]

    def test_a_trickle_is_given_up_and_ends(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, clock: VirtualClock
    ) -> None:
        limits = TransferLimits(patience=600)
        fake_registry.faults = [fake_registry.slow(1, 1.0)]
        assert fetch(open_fake(limits=limits), blob) == DATA
        fake_registry.always = fake_registry.slow(1, 1.0)
        error = failure(lambda: fetch(open_fake(limits=limits), blob))
        assert error.code is Code.NETWORK
        assert clock.at < 2 * (600 + SIZE / limits.minimum_rate) + 60

    @pytest.mark.parametrize("rate", [SIZE // 10, SIZE // 100])
    def test_no_more_bytes_come_than_a_limit_allows(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, clock: VirtualClock, rate: int
    ) -> None:
        """Over all requests, and without being taken for a line that is too slow."""
        fake_registry.faults = [fake_registry.cut(90_000)]
        source = open_fake(limits=TransferLimits(maximum_rate=rate, minimum_rate=rate * 10, patience=1))
        assert b"".join(source.blob(blob, SIZE)) == DATA
        assert b"".join(source.blob(blob, SIZE, start=SIZE // 2)) == DATA[SIZE // 2 :]
        seconds = 1.5 * SIZE / rate
        assert seconds - 1.5 <= clock.at <= seconds + 5

    def test_a_reader_that_takes_its_time_is_not_punished(
        self, open_fake: Open, blob: str, clock: VirtualClock
    ) -> None:
        got = b""
        for chunk in open_fake().blob(blob, SIZE):
            clock.at += 1000
            got += chunk
        assert got == DATA


class TestWrongAnswers:
    """F25, F28, F30, F31."""

    def test_200_for_a_range_is_read_up_to_its_end(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str
    ) -> None:
        fake_registry.ranges = False
        source = open_fake()
        assert source.ranges
        assert fetch(source, blob, 300_000, 600_000) == DATA[300_000:600_000]
        assert not source.ranges
        fake_registry.faults = [fake_registry.cut(500_000)]
        assert fetch(source, blob) == DATA

    @pytest.mark.parametrize(
        "content_range",
        ["bytes 6-99/{size}", "bytes 5-100/{size}", "bytes 5-98/{size}", "bytes 5-99/7", "items 5-99/{size}", ""],
    )
    def test_206_with_another_part(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, content_range: str
    ) -> None:
        wrong = fake_registry.headers(Content_Range=content_range.format(size=SIZE))
        fake_registry.faults = [wrong]
        assert fetch(open_fake(), blob, 5, 100) == DATA[5:100]
        fake_registry.always = wrong
        assert failure(lambda: fetch(open_fake(), blob, 5, 100)).code in (Code.REGISTRY, Code.DIGEST)

    def test_206_with_less_than_was_asked_for_goes_on(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str
    ) -> None:
        def less(_: Any, answer: Any) -> Any:
            return type(answer)(206, {"Content-Range": f"bytes 5-49/{SIZE}"}, answer.data[:45])

        fake_registry.faults = [less]
        assert fetch(open_fake(), blob, 5, 100) == DATA[5:100]
        assert fake_registry.sent("Range") == ["bytes=5-99", "bytes=50-99"]

    def test_multipart_unasked_and_416(self, fake_registry: FakeRegistry, open_fake: Open, blob: str) -> None:
        multipart = fake_registry.headers(Content_Type="multipart/byteranges; boundary=x", Content_Range="")
        fake_registry.faults = [multipart, fake_registry.status(416)]
        assert fetch(open_fake(), blob, 5, 100) == DATA[5:100]
        fake_registry.always = fake_registry.status(416)
        assert failure(lambda: fetch(open_fake(), blob, 5, 100)).code is Code.DIGEST

    @pytest.mark.parametrize("headers", [{"Content_Encoding": "gzip"}, {"Transfer_Encoding": "gzip"}])
    def test_compression_by_a_middleman(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, headers: dict[str, str]
    ) -> None:
        fake_registry.faults = [fake_registry.headers(**headers)]
        assert fetch(open_fake(), blob) == DATA
        fake_registry.always = fake_registry.headers(**headers)
        assert failure(lambda: fetch(open_fake(), blob)).code is Code.REGISTRY

    def test_wrong_bytes_of_the_right_length(self, fake_registry: FakeRegistry, open_fake: Open, blob: str) -> None:
        wrong = fake_registry.altered(lambda data: data[:-1] + bytes([data[-1] ^ 1]))
        fake_registry.faults = [wrong]
        assert failure(lambda: fetch(open_fake(), blob)).code is Code.DIGEST
        fake_registry.faults = [wrong]
        assert open_fake().small_blob(blob, SIZE) == DATA
        fake_registry.always = wrong
        assert failure(lambda: open_fake().small_blob(blob, SIZE)).code is Code.DIGEST

    def test_a_wrong_manifest(self, fake_registry: FakeRegistry, open_fake: Open, pushed: str) -> None:
        fake_registry.faults = [fake_registry.altered(lambda data: data + b" ")]
        assert open_fake().manifest(pushed) == MANIFEST
        fake_registry.always = fake_registry.altered(lambda data: data + b" ")
        assert failure(lambda: open_fake().manifest(pushed)).code is Code.DIGEST
        fake_registry.always = fake_registry.status(200, b" " * (1 << 21))
        assert "more than" in failure(lambda: open_fake().manifest(pushed)).message

    def test_a_wrong_digest_header_leads_nowhere(
        self, fake_registry: FakeRegistry, open_fake: Open, pushed: str
    ) -> None:
        other = "sha256:" + "0" * 64
        fake_registry.faults = [fake_registry.headers(Docker_Content_Digest=other)]
        source = open_fake()
        assert source.resolve() == other
        assert failure(lambda: source.manifest(other)).code is Code.NOT_FOUND

    @pytest.mark.parametrize("announced", [True, False])
    def test_a_body_larger_than_signed_stops_at_the_cap(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, announced: bool
    ) -> None:
        endless = DATA + os.urandom(5_000_000)
        fake_registry.blobs[blob] = endless
        if not announced:
            fake_registry.always = fake_registry.headers(Content_Length="")
        got = bytearray()

        def read() -> None:
            for chunk in open_fake().blob(blob, 1000):
                got.extend(chunk)

        assert failure(read).code is Code.DIGEST
        assert len(got) <= 1000

    def test_f31_a_web_page_in_between(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, pushed: str
    ) -> None:
        page = fake_registry.status(200, b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8")
        fake_registry.faults = [page]
        assert fetch(open_fake(), blob) == DATA
        fake_registry.always = page
        source = open_fake()
        for action in (lambda: fetch(source, blob), lambda: source.manifest(pushed)):
            error = failure(action)
            assert error.code is Code.REGISTRY
            assert "captive portal" in error.hint

    def test_f25_a_tag_that_moves_or_goes_does_not_disturb_what_is_being_read(
        self, fake_registry: FakeRegistry, open_fake: Open, pushed: str
    ) -> None:
        source = open_fake()
        digest = source.resolve()
        source.push_manifest(MANIFEST + b" ", "1.0")
        assert source.manifest(digest) == MANIFEST
        del fake_registry.manifests["1.0"]
        assert source.manifest(digest) == MANIFEST


def test_s08_pages_are_read_until_what_is_wanted_was_found(
    fake_registry: FakeRegistry, open_fake: Open, pushed: str
) -> None:
    kind = "application/vnd.oci.image.index.v1+json"
    entry = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 7, "artifactType": "noise/sbom"}

    def page(number: int) -> Any:
        wanted = {"artifactType": "a/signature"} if number == 20 else {}
        listed = [{**entry, "digest": f"sha256:{number:032x}{index:032x}", **wanted} for index in range(100)]
        link = f'</v2/team/node/referrers/{pushed}?page={number + 1}>; rel="next"' if number < 20 else ""
        return fake_registry.status(200, json.dumps({"manifests": listed}).encode(), Content_Type=kind, Link=link)

    fake_registry.faults = [page(number) for number in range(21)]
    assert len(open_fake().referrers(pushed, lambda one: one.artifact_type == "a/signature")) == 100


def test_s08_endless_pages_end(fake_registry: FakeRegistry, open_fake: Open, pushed: str) -> None:
    kind = "application/vnd.oci.image.index.v1+json"
    link = f'</v2/team/node/referrers/{pushed}?again>; rel="next"'
    fake_registry.always = fake_registry.status(200, b'{"manifests": []}', Content_Type=kind, Link=link)
    assert open_fake().referrers(pushed) == []
    assert len(fake_registry.requests) < 100
