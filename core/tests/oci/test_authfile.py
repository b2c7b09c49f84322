import base64
import json
from pathlib import Path
from typing import Any

import pytest

from proa.core.oci.authfile import Credentials, find
from proa.core.runtime.errors import Code, ProaError

pytestmark = pytest.mark.usefixtures("no_credentials")


def entry(user: str, word: str = "word") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{word}".encode()).decode()}


def write(path: Path, auths: Any = None, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": auths or {}} | more))
    return path


def user(host: str, name: str = "", auth_file: Path | None = None) -> str | None:
    found = find(host, name, auth_file)
    return found.username if found else None


def test_without_files_one_is_nobody() -> None:
    assert find("registry.test") is None


def test_the_usual_places_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / ".docker/config.json", {"registry.test": entry("docker"), "only.docker": entry("docker")})
    assert user("registry.test") == "docker"
    write(tmp_path / ".config/containers/auth.json", {"registry.test": entry("config")})
    assert user("registry.test") == "config"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    write(tmp_path / "run/containers/auth.json", {"registry.test": entry("runtime")})
    assert user("registry.test") == "runtime"
    assert user("only.docker") == "docker"
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(write(tmp_path / "one.json", {"registry.test": entry("named")})))
    assert user("registry.test") == "named"
    assert user("only.docker") is None
    assert user("registry.test", auth_file=write(tmp_path / "own.json", {"registry.test": entry("own")})) == "own"


def test_a_file_that_was_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for auth_file in (tmp_path / "none.json", None):
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "none.json"))
        with pytest.raises(ProaError) as caught:
            find("registry.test", auth_file=auth_file)
        assert caught.value.code is Code.FILE_MISSING


@pytest.mark.parametrize(
    ("key", "host", "name", "fits"),
    [
        ("registry.test", "registry.test", "a/b", True),
        ("registry.test:5000", "registry.test", "a/b", False),
        ("registry.test", "registry.test:5000", "a/b", False),
        ("https://registry.test/v2/", "registry.test", "a/b", True),
        ("https://registry.test", "registry.test", "", True),
        ("registry.test/a", "registry.test", "a/b", True),
        ("registry.test/a/b", "registry.test", "a/b", True),
        ("registry.test/a/b", "registry.test", "a/bc", False),
        ("https://index.docker.io/v1/", "docker.io", "library/x", True),
        ("registry.test.evil", "registry.test", "a", False),
    ],
)
def test_which_entry_is_for_which_repository(tmp_path: Path, key: str, host: str, name: str, fits: bool) -> None:
    path = write(tmp_path / "auth.json", {key: entry("me")})
    assert (user(host, name, path) == "me") is fits


def test_the_most_specific_entry_wins(tmp_path: Path) -> None:
    auths = {"r.test": entry("host"), "r.test/a": entry("part"), "r.test/a/b": entry("all")}
    path = write(tmp_path / "auth.json", auths)
    assert [user("r.test", name, path) for name in ("a/b", "a/c", "d")] == ["all", "part", "host"]


def test_a_password_may_hold_anything_and_is_never_shown(tmp_path: Path) -> None:
    path = write(tmp_path / "auth.json", {"r.test": entry("me", "a:b c")})
    found = find("r.test", auth_file=path)
    assert found == Credentials("me", "a:b c")
    assert "a:b c" not in repr(found)
    path = write(tmp_path / "auth.json", {"r.test": {"username": "me", "password": "x"}})
    assert find("r.test", auth_file=path) == Credentials("me", "x")
    assert find("r.test", auth_file=write(tmp_path / "auth.json", {"r.test": {}})) is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"auths": []}', '{"auths": {"r.test": {"auth": "c2VjcmV0"}}}', '{"auths": {"r.test": {"auth": 5}}}'],
)
def test_a_file_that_cannot_be_understood_says_so_without_its_content(tmp_path: Path, text: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(text)
    with pytest.raises(ProaError) as caught:
        find("r.test", auth_file=path)
    assert caught.value.code is Code.AUTH_FILE
    assert "c2VjcmV0" not in caught.value.text("x")
    assert "secret" not in caught.value.text("x")


def test_an_identity_token_says_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path / "auth.json", {"r.test": {"auth": "", "identitytoken": "hush"}})
    with pytest.raises(ProaError, match="identity tokens") as caught:
        find("r.test", auth_file=path)
    assert "hush" not in caught.value.text("x")


def test_a_credential_helper_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "bin/docker-credential-mine"
    helper.parent.mkdir()
    helper.write_text(
        '#!/bin/sh\nread host\n[ "$1 $host" = "get r.test" ] || { echo "secret of another"; exit 1; }\n'
        'echo \'{"Username": "helped", "Secret": "hush"}\'\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:/usr/bin:/bin")
    path = write(tmp_path / "auth.json", {"other.test": entry("other")}, credsStore="mine")
    assert find("r.test", auth_file=path) == Credentials("helped", "hush")
    assert user("other.test", auth_file=path) == "other"
    path = write(tmp_path / "auth.json", credHelpers={"r.test": "mine"})
    assert user("r.test", auth_file=path) == "helped"
    assert user("other.test", auth_file=path) is None
    for name in ("../evil", 7):
        with pytest.raises(ProaError, match="malformed"):
            find("r.test", auth_file=write(tmp_path / "auth.json", credsStore=name))
    write(path, credHelpers={"r.test": "mine"})
    helper.write_text("#!/bin/sh\necho nonsense\n")
    with pytest.raises(ProaError, match="did not answer") as caught:
        find("r.test", auth_file=path)
    assert caught.value.code is Code.AUTH_FILE
