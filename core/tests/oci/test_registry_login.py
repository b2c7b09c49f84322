"""What a registry, or somebody in its place, gets to know of us."""

import base64
import json
import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from proa.core.oci.tokens import Authenticator
from proa.core.runtime.errors import Code, ProaError
from proa.core.testing.registry import FakeRegistry

DATA = os.urandom(900_001)
SIZE = len(DATA)
SECRET = "correct horse"

Open = Callable[..., Any]


def failure(action: Callable[[], object]) -> ProaError:
    with pytest.raises(ProaError) as caught:
        action()
    return caught.value


def fetch(source: Any, digest: str, start: int = 0, end: int | None = None, size: int = SIZE) -> bytes:
    with source:
        return b"".join(source.blob(digest, size, start=start, end=end))


@pytest.fixture
def blob(fake_registry: FakeRegistry) -> str:
    return str(fake_registry.put_blob(DATA))


class TestLogin:
    """F24."""

    @pytest.fixture
    def auth_file(self, tmp_path: Path) -> Path:
        path = tmp_path / "auth.json"
        auth = base64.b64encode(f"node:{SECRET}".encode()).decode()
        path.write_text(json.dumps({"auths": {"registry.test": {"auth": auth}}}))
        return path

    def guard(self, fake: FakeRegistry, challenge: str, accepted: Callable[[str], bool]) -> None:
        """Let the registry ask for a login."""
        plain = fake.status(401, b"", WWW_Authenticate=challenge)

        def always(request: requests.PreparedRequest, answer: Any) -> Any:
            if str(request.url).startswith("https://registry.test/v2/"):
                return answer if accepted(str(request.headers.get("Authorization", ""))) else plain(request, answer)
            return answer

        fake.always = always

    def tokens(self, fake: FakeRegistry, realm: str = "https://auth.test/token") -> list[str]:
        """A token service; what it gave out is in the list. A token counts as long as it is the newest."""
        given: list[str] = []
        serve = fake.serve

        def with_tokens(method: str, url: str, headers: dict[str, str], body: bytes) -> Any:
            answer = serve(method, url, headers, body)
            if not url.startswith(realm):
                return answer
            given.append(f"token-{len(given)}")
            return type(answer)(200, {}, json.dumps({"token": given[-1]}).encode())

        fake.serve = with_tokens
        challenge = f'Bearer realm="{realm}",service="registry.test",scope="repository:team/node:pull"'
        self.guard(fake, challenge, lambda sent: bool(given) and sent == f"Bearer {given[-1]}")
        return given

    def test_basic(self, fake_registry: FakeRegistry, open_fake: Open, blob: str, auth_file: Path) -> None:
        expected = "Basic " + base64.b64encode(f"node:{SECRET}".encode()).decode()
        self.guard(fake_registry, 'Basic realm="proa"', lambda sent: sent == expected)
        source = open_fake(auth_file=auth_file)
        assert fetch(source, blob) == fetch(source, blob) == DATA
        assert fake_registry.sent("Authorization") == [None, expected, expected]

    def test_a_token_of_a_service_on_another_host(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, auth_file: Path
    ) -> None:
        given = self.tokens(fake_registry)
        source = open_fake(auth_file=auth_file)
        assert fetch(source, blob) == fetch(source, blob) == DATA
        asked = [url for url in fake_registry.urls() if "auth.test" in url]
        assert asked == ["https://auth.test/token?service=registry.test&scope=repository%3Ateam%2Fnode%3Apull"]
        assert [sent and sent.split()[0] for sent in fake_registry.sent("Authorization")] == [
            *(None, "Basic", "Bearer", "Bearer"),
        ]
        assert given == ["token-0"]

    def test_an_anonymous_token(self, fake_registry: FakeRegistry, open_fake: Open, blob: str) -> None:
        self.tokens(fake_registry)
        assert fetch(open_fake(), blob) == DATA
        assert "Basic" not in str(fake_registry.sent("Authorization"))

    def test_a_token_that_expires_in_the_middle_is_got_anew(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, auth_file: Path
    ) -> None:
        given = self.tokens(fake_registry)
        source = open_fake(auth_file=auth_file)
        fake_registry.faults = [None, None, fake_registry.cut(400_000)]
        fake_registry.faults[0] = fake_registry.always
        got = bytearray()
        for chunk in source.blob(blob, SIZE):
            got += chunk
            if "expired" not in given and len(got) >= 300_000:
                given.append("expired")  # the newest one is not the one the source has
        assert bytes(got) == DATA
        assert given == ["token-0", "expired", "token-2"]

    def test_tokens_that_are_never_taken_end_in_an_error(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, auth_file: Path
    ) -> None:
        self.tokens(fake_registry)
        self.guard(fake_registry, 'Bearer realm="https://auth.test/token"', lambda _: False)
        error = failure(lambda: fetch(open_fake(auth_file=auth_file), blob))
        assert error.code is Code.AUTH
        assert len(fake_registry.requests) == 3
        assert SECRET not in error.text("x")

    @pytest.mark.parametrize("status", [400, 401, 403])
    def test_a_refusal_of_the_token_service(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, auth_file: Path, status: int
    ) -> None:
        self.tokens(fake_registry)
        challenge = fake_registry.status(401, WWW_Authenticate='Bearer realm="https://auth.test/token"')
        fake_registry.faults = [challenge, fake_registry.status(status, b'{"details": "wrong"}')]
        error = failure(lambda: fetch(open_fake(auth_file=auth_file), blob))
        assert (error.code, error.message) == (Code.AUTH, "registry.test rejects the credentials")
        fake_registry.faults = [challenge, *[fake_registry.status(status)] * 2]
        assert "no credentials" in failure(lambda: fetch(open_fake(), blob)).message

    @pytest.mark.parametrize(
        "answer", [b"<html>", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\r\\nb"}', b"x" * 300_000]
    )
    def test_nonsense_of_the_token_service(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, auth_file: Path, answer: bytes
    ) -> None:
        challenge = fake_registry.status(401, WWW_Authenticate='Bearer realm="https://auth.test/token"')
        fake_registry.faults = [challenge, fake_registry.status(200, answer)]
        fake_registry.always = challenge
        assert failure(lambda: fetch(open_fake(auth_file=auth_file), blob)).code in (Code.AUTH, Code.REGISTRY)

    @pytest.mark.parametrize(
        "challenge",
        ["", "Negotiate", "Bearer", 'Bearer realm=""', 'Bearer realm="auth"', 'Bearer realm="file:///etc/passwd"'],
    )
    def test_challenges_that_cannot_be_answered(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, auth_file: Path, challenge: str
    ) -> None:
        fake_registry.always = fake_registry.status(401, WWW_Authenticate=challenge)
        assert failure(lambda: fetch(open_fake(auth_file=auth_file), blob)).code is Code.AUTH

    def test_a_token_service_without_tls_gets_no_password(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, auth_file: Path
    ) -> None:
        self.tokens(fake_registry, "http://auth.test/token")
        error = failure(lambda: fetch(open_fake(auth_file=auth_file), blob))
        assert "without TLS" in error.message
        assert "Basic" not in str(fake_registry.sent("Authorization"))

    def test_a_redirect_of_the_token_service_loses_the_password(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, auth_file: Path
    ) -> None:
        challenge = fake_registry.status(401, WWW_Authenticate='Bearer realm="https://auth.test/token"')
        away = fake_registry.status(302, Location="https://evil.test/token")
        fake_registry.faults = [challenge, away]
        failure(lambda: fetch(open_fake(auth_file=auth_file), blob))
        assert fake_registry.urls()[2] == "https://evil.test/token"
        assert str(fake_registry.sent("Authorization")[1]).startswith("Basic")
        assert fake_registry.sent("Authorization")[2] is None

    def test_a_login_that_is_asked_for_and_not_there_says_what_to_do(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str
    ) -> None:
        self.guard(fake_registry, 'Basic realm="proa"', lambda _: False)
        error = failure(lambda: fetch(open_fake(), blob))
        assert error.code is Code.AUTH
        assert "docker login" in error.hint

    def test_nothing_is_sent_to_a_registry_that_does_not_ask(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, auth_file: Path
    ) -> None:
        fetch(open_fake(auth_file=auth_file), blob)
        assert fake_registry.sent("Authorization") == [None]

    def test_plain_403_is_not_tried_again(self, fake_registry: FakeRegistry, open_fake: Open, blob: str) -> None:
        fake_registry.always = fake_registry.status(
            403, b'{"errors":[{"code":"DENIED","message":"go\\u001b[2J away"}]}'
        )
        error = failure(lambda: fetch(open_fake(), blob))
        assert (error.code, error.message) == (Code.AUTH, "answered 403: DENIED go [2J away")
        assert len(fake_registry.requests) == 1


def test_f24_requests_that_one_token_failed_bring_one_new_one(no_credentials: None) -> None:
    """Else one takes the token away with which the other one is under way."""
    given: list[str] = []

    def call(_url: str, _headers: Mapping[str, str]) -> tuple[int, bytes]:
        given.append(f"t{len(given)}")
        return 200, json.dumps({"token": given[-1]}).encode()

    login = Authenticator("registry.test", "team/node", None)
    for _ in range(2):
        login.answer('Bearer realm="https://auth.test/token"', "", call, {})
    assert (given, login.header()) == (["t0"], {"Authorization": "Bearer t0"})
    login.answer('Bearer realm="https://auth.test/token"', "", call, login.header())
    assert login.header() == {"Authorization": "Bearer t1"}


class TestRedirects:
    """F29."""

    @pytest.fixture
    def auth_file(self, tmp_path: Path) -> Path:
        path = tmp_path / "auth.json"
        path.write_text(json.dumps({"auths": {"registry.test": {"username": "me", "password": SECRET}}}))
        return path

    def storage(self, fake: FakeRegistry, host: str = "https://cdn.test", query: str = "?X-Signature=hush") -> None:
        """Let blobs come from another host, and the registry ask for a login."""
        serve = fake.serve

        def elsewhere(method: str, url: str, headers: dict[str, str], body: bytes) -> Any:
            answer = serve(method, url.replace(host, "https://registry.test"), headers, body)
            if url.startswith(host):
                return answer
            if "Authorization" not in headers:
                return type(answer)(401, {"WWW-Authenticate": 'Basic realm="x"'})
            return type(answer)(307, {"Location": f"{host}{url.removeprefix('https://registry.test')}{query}"})

        fake.serve = elsewhere

    def test_credentials_never_follow_to_another_host(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, auth_file: Path
    ) -> None:
        for host in ("https://cdn.test", "https://registry.test:8443", "https://sub.registry.test"):
            fake_registry.requests.clear()
            serve = fake_registry.serve
            self.storage(fake_registry, host)
            assert fetch(open_fake(auth_file=auth_file), blob, 5, 100) == DATA[5:100]
            fake_registry.serve = serve
            assert [bool(sent) for sent in fake_registry.sent("Authorization")] == [False, True, False]
            assert set(fake_registry.sent("Range")) == {"bytes=5-99"}

    def test_a_link_that_expired_is_got_anew(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, auth_file: Path
    ) -> None:
        self.storage(fake_registry)
        for status in (400, 401, 403, 404, 410):
            fake_registry.faults = [None, None, fake_registry.status(status)]
            assert fetch(open_fake(auth_file=auth_file), blob) == DATA
        fake_registry.faults = []
        fake_registry.always = lambda r, a: type(a)(403) if "cdn.test" in str(r.url) else a
        error = failure(lambda: fetch(open_fake(auth_file=auth_file), blob))
        assert error.code is Code.REGISTRY
        assert "hush" not in error.text("x")

    def test_loops_end(self, fake_registry: FakeRegistry, open_fake: Open, blob: str) -> None:
        fake_registry.always = lambda r, a: type(a)(302, {"Location": str(r.url) + "x"})
        assert "more than 5 redirects" in failure(lambda: fetch(open_fake(), blob)).message
        assert len(fake_registry.requests) == 6

    @pytest.mark.parametrize(
        ("location", "said"),
        [
            ("http://cdn.test/x", "from TLS to plain HTTP"),
            ("", "a malformed link"),
            ("ftp://cdn.test/x", "a malformed link"),
            ("file:///etc/shadow", "a malformed link"),
            ("https://[", "a malformed link"),
            ("https://cdn.test:99999/x", "a malformed link"),
            ("https://cdn.test:1x/x", "a malformed link"),
            ("https://", "a malformed link"),
        ],
    )
    def test_redirects_that_are_not_followed(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, location: str, said: str
    ) -> None:
        fake_registry.always = fake_registry.status(302, Location=location)
        assert said in failure(lambda: fetch(open_fake(), blob)).message
        assert len(fake_registry.requests) == 1

    def test_plain_http_is_chosen_not_fallen_into(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str
    ) -> None:
        fetch(open_fake(), blob)
        fetch(open_fake(plain_http=True), blob)
        assert [url.partition(":")[0] for url in fake_registry.urls()] == ["https", "http"]


class TestClocks:
    """n11: a clock that is wrong, here or there."""

    def test_n11_a_pause_is_counted_by_the_servers_own_clock(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, clock: Any
    ) -> None:
        away = fake_registry.status(
            503, Date="Sat, 01 Sep 2040 12:00:00 GMT", Retry_After="Sat, 01 Sep 2040 12:00:20 GMT"
        )
        fake_registry.faults = [away]
        assert fetch(open_fake(), blob) == DATA
        assert 20 <= clock.at < 22

    @pytest.mark.parametrize("code", [9, 10])
    def test_n11_a_certificate_that_is_out_of_time_names_the_clock(
        self, fake_registry: FakeRegistry, open_fake: Open, blob: str, code: int
    ) -> None:
        wrong = ssl.SSLCertVerificationError(1, "bad")
        wrong.verify_code, wrong.verify_message = code, "certificate is not yet valid"
        fake_registry.always = fake_registry.broken(requests.exceptions.SSLError(wrong))
        error = failure(lambda: fetch(open_fake(), blob))
        assert "This machine's clock says 2026-01-01" in error.hint
        wrong.verify_code = 18
        assert "--ca-file" in failure(lambda: fetch(open_fake(), blob)).hint
