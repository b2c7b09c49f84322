"""n13: which proxy leads to a host, and which hosts are met without one."""

from pathlib import Path

import pytest

from proa.core.oci.access import Access
from proa.core.oci.proxy import bypassed, proxies
from proa.core.runtime.errors import Code, ProaError


@pytest.mark.parametrize(
    ("host", "port", "no_proxy", "without"),
    [
        ("registry.test", 443, "registry.test", True),
        ("registry.test", 443, " Other.test , REGISTRY.test ", True),
        ("a.registry.test", 443, "registry.test", True),
        ("a.registry.test", 443, ".registry.test", True),
        ("a.registry.test", 443, "*.registry.test", True),
        ("aregistry.test", 443, "registry.test", False),
        ("registry.test", 5000, "registry.test:5000", True),
        ("registry.test", 5001, "registry.test:5000", False),
        ("registry.test", 443, "*", True),
        ("10.1.2.3", 443, "10.0.0.0/8", True),
        ("11.1.2.3", 443, "10.0.0.0/8", False),
        ("10.1.2.3", 443, "10.1.2.3", True),
        ("fd00::5", 443, "fd00::/8", True),
        ("fd00::5", 443, "[fd00::5]", True),
        ("registry.test", 443, "registry.test.", True),
        ("registry.test.", 443, "registry.test", True),
        ("registry.test", 443, "", False),
        ("registry.test", 443, ",,.,", False),
    ],
)
def test_n13_hosts_that_are_met_without_the_proxy(host: str, port: int, no_proxy: str, without: bool) -> None:
    assert bypassed(host, port, no_proxy) is without


@pytest.mark.parametrize("url", ["http://localhost:5000/v2", "https://127.0.0.9/v2", "https://[::1]/v2"])
def test_n13_this_machine_is_met_without_a_proxy(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    assert proxies(url, Access(proxy="http://proxy.test:3128")) == {}


def test_n13_no_proxy_of_the_settings_holds_for_the_environments_proxy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    assert proxies("https://registry.test/v2", Access())["https"] == "http://proxy.test:3128"
    assert proxies("https://registry.test/v2", Access(no_proxy="registry.test")) == {}


@pytest.mark.parametrize(
    ("url", "no_proxy", "without"),
    [
        ("https://registry.test/v2", "registry.test:443", True),
        ("http://registry.test/v2", "registry.test:80", True),
        ("https://registry.test/v2", "registry.test:80", False),
        ("https://[fd00::5]/v2", "[fd00::5]:443", True),
    ],
)
def test_n13_a_port_that_the_url_does_not_say_is_the_schemes(url: str, no_proxy: str, without: bool) -> None:
    assert (proxies(url, Access(proxy="http://proxy.test:3128", no_proxy=no_proxy)) == {}) is without


@pytest.mark.parametrize("name", ["ca_file", "cert_file", "key_file", "auth_file"])
def test_a_path_that_can_be_none_is_named(name: str) -> None:
    with pytest.raises(ProaError, match="null character") as caught:
        Access(**{"cert_file": Path("c"), name: Path("a\0b")}).check()  # type: ignore[arg-type] # by name
    assert (caught.value.code, caught.value.at) == (Code.USAGE, name)


@pytest.mark.parametrize(
    "proxy",
    ["proxy.test", "proxy.test:3128", "socks5://proxy.test", "http://", "http://me:hush@proxy:99999", "http://a\nb"],
)
def test_n13_a_proxy_that_cannot_be_one_is_refused_without_its_password(proxy: str) -> None:
    with pytest.raises(ProaError) as caught:
        Access(proxy=proxy).check()
    assert caught.value.code is Code.USAGE
    assert "hush" not in caught.value.text("x")
    assert "hush" not in repr(Access(proxy=proxy))
