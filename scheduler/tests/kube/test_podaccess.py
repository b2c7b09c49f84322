"""A pod's own access: its files, its variables, and a token that changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube.api import Api
from proa.scheduler.kube.podaccess import PodConnection, is_pod

HERE = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "ca.crt").write_text("an authority")
    (tmp_path / "token").write_text("one\n")
    return tmp_path


def test_where_and_as_whom(account: Path) -> None:
    found = PodConnection(account, HERE)
    assert found.host == "https://10.96.0.1:443"
    assert found.authorization() == {"Authorization": "Bearer one"}
    assert found.pool.connection_pool_kw["ca_certs"] == str(account / "ca.crt")


def test_an_address_of_ipv6(account: Path) -> None:
    found = PodConnection(account, HERE | {"KUBERNETES_SERVICE_HOST": "fd00::1"})
    assert found.host == "https://[fd00::1]:443"


def test_the_token_is_read_again(account: Path) -> None:
    clock = VirtualClock()
    found = PodConnection(account, HERE, clock)
    (account / "token").write_text("two")
    clock.sleep(59)
    assert found.authorization() == {"Authorization": "Bearer one"}
    clock.sleep(1)
    assert found.authorization() == {"Authorization": "Bearer two"}


def test_what_is_missing_is_named(account: Path) -> None:
    for environ in ({}, {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}):
        assert not is_pod(environ)
        with pytest.raises(ProaError, match="not a pod") as caught:
            PodConnection(account, environ)
        assert caught.value.code is Code.KUBECONFIG
    (account / "token").unlink()
    with pytest.raises(ProaError) as caught:
        PodConnection(account, HERE)
    assert (caught.value.code, caught.value.at) == (Code.KUBECONFIG, str(account / "token"))
    (account / "ca.crt").unlink()
    with pytest.raises(ProaError) as caught:
        PodConnection(account, HERE)
    assert caught.value.at == str(account / "ca.crt")


def test_it_serves_the_api(account: Path) -> None:
    found = PodConnection(account, HERE)
    assert Api(lambda: found)._current() is found
