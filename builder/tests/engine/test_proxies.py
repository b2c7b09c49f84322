"""The proxy is read in one place, for apt, pip and whatever else fetches."""

from __future__ import annotations

from pathlib import Path

import pytest

from proa.builder.engine import proxies
from proa.builder.engine.aptroot import AptRoot
from proa.builder.engine.proxies import Proxies

APT = """\
Acquire "";
Acquire::http "";
Acquire::http::Proxy "http://apt.test:3142";
Acquire::http::Proxy::direct.test "DIRECT";
Acquire::Retries "3";
"""


@pytest.mark.parametrize(
    ("environment", "apt", "found"),
    [
        ({}, "", Proxies()),
        ({"HTTP_PROXY": "http://a:1"}, "", Proxies("http://a:1", "", "", "environment")),
        ({"https_proxy": "http://a:1"}, "", Proxies("", "http://a:1", "", "environment")),
        (
            {"all_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2", "no_proxy": "x,y"},
            APT,
            Proxies("http://a:1", "http://b:2", "x,y", "environment"),
        ),
        ({}, APT, Proxies("http://apt.test:3142", "http://apt.test:3142", "direct.test", "apt")),
        ({"NO_PROXY": "x"}, APT, Proxies("http://apt.test:3142", "http://apt.test:3142", "x,direct.test", "apt")),
        ({}, APT + 'Acquire::https::Proxy "DIRECT";\n', Proxies("http://apt.test:3142", "", "direct.test", "apt")),
        ({}, 'Acquire::http::Proxy "DIRECT";\n', Proxies()),
    ],
)
def test_b11_the_environment_counts_and_then_apt(environment: dict[str, str], apt: str, found: Proxies) -> None:
    assert proxies.read(environment, apt) == found


def test_b11_programs_are_told_in_the_spelling_that_all_of_them_read() -> None:
    found = proxies.read({"HTTP_PROXY": "http://a:1", "NO_PROXY": "x"}, "")
    assert found.environment == {"http_proxy": "http://a:1", "no_proxy": "x"}


def test_b11_apt_is_told_what_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:8080")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:8443")
    monkeypatch.setenv("NO_PROXY", "inner.test")
    AptRoot(tmp_path, "amd64").prepare([])
    lines = (tmp_path / "apt.conf").read_text().splitlines()
    assert 'Acquire::http::Proxy "http://proxy.test:8080";' in lines
    assert 'Acquire::https::Proxy "http://proxy.test:8443";' in lines
    assert 'Acquire::http::Proxy::inner.test "DIRECT";' in lines


def test_b11_a_password_is_not_shown() -> None:
    found = Proxies("http://me:secret@proxy.test:1", "", "", "environment")
    assert "secret" not in found.shown
    assert "proxy.test" in found.shown
    assert Proxies().shown == ""
