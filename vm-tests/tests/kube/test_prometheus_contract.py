"""The question to Prometheus, asked of a real one: what is empty, what fires, and whom it believes."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from proa.scheduler.kube.prometheus import PrometheusAccess, UnansweredError, ask
from proa.vm.support.certificates import Authority
from proa.vm.support.ports import free_ports
from proa.vm.support.promtool import Prometheus

pytestmark = pytest.mark.contract
ALERTS = {"Always": "vector(1) > 0", "Never": "vector(0) > 0"}


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusAccess]:
    """One that speaks TLS, by the certificate of an authority that only the folder names."""
    folder = tmp_path_factory.mktemp("prometheus")
    authority, (port,) = Authority(folder / "secret"), free_ports(1)
    server = Prometheus(folder / "server", port, ALERTS, authority.issue(("127.0.0.1",)))
    found = PrometheusAccess(server.url, authority.folder)
    server.start()
    try:
        server.wait_for("Always", functools.partial(ask, found, seconds=5.0))
        yield found
    finally:
        server.stop()


def test_a_query_without_a_result_is_empty(access: PrometheusAccess) -> None:
    assert ask(access, 'ALERTS{alertname="Never"}', 5.0) == ()


def test_an_alert_that_fires_is_named(access: PrometheusAccess) -> None:
    assert ask(access, 'ALERTS{alertstate="firing", severity="critical"}', 5.0) == ("Always",)


@pytest.mark.parametrize(
    ("query", "what"),
    [("ALERTS{", "answered 400: .*parse error"), ("1", "no instant vector"), ("up[5m]", "no instant vector")],
)
def test_a_query_that_is_never_empty_is_no_answer(access: PrometheusAccess, query: str, what: str) -> None:
    with pytest.raises(UnansweredError, match=what):
        ask(access, query, 5.0)


def test_one_that_cannot_prove_who_it_is_is_not_asked(access: PrometheusAccess, tmp_path: Path) -> None:
    Authority(tmp_path)
    for secret in (None, tmp_path):
        with pytest.raises(UnansweredError, match="certificate"):
            ask(PrometheusAccess(access.url, secret), "up", 5.0)


def test_plain_http_to_one_that_speaks_tls_is_no_answer(access: PrometheusAccess) -> None:
    with pytest.raises(UnansweredError, match="not as Prometheus does"):
        ask(PrometheusAccess(access.url.replace("https", "http")), "up", 5.0)
