"""The real control plane: that it is one, and that it bears what tests do to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from proa.vm.controlplane import ControlPlane
from proa.vm.kubeapi import KubeApi

pytestmark = pytest.mark.contract


def test_it_is_ready_and_says_its_version(cluster: ControlPlane) -> None:
    assert cluster.api.get("/version")["gitVersion"].startswith("v1.")
    assert cluster.kubectl("get", "--raw", "/readyz").text == "ok"


def test_its_programs_listen_on_the_loopback_address_alone(cluster: ControlPlane) -> None:
    pids = {child.pid for child in (cluster.etcd, cluster.apiserver, cluster.controllers)}
    assert len(pids) == 3
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if line.split()[3] == "0A" and int(port, 16) in cluster.parts.ports:
                assert address == "0100007F"


def test_a_fresh_service_account_may_do_nothing(cluster: ControlPlane) -> None:
    namespace = cluster.namespace("rights")
    kubeconfig = cluster.kubeconfig_for("default", namespace)
    who = cluster.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", kubeconfig=kubeconfig)
    assert who.text == "system:serviceaccount:rights:default"
    with KubeApi(cluster.access_for("default", namespace)) as api:
        for path in ("/api/v1/nodes", "/api/v1/secrets", "/apis/proa.dev/v1alpha1/nodeoses", "/api/v1/namespaces"):
            assert api.call("GET", path).status == 403


def test_nobody_is_somebody_else(cluster: ControlPlane) -> None:
    with KubeApi(cluster.access_for("default", "default")) as api:
        assert api.call("GET", "/api/v1/nodes").status == 403
    forged = cluster.access_for("default", "default").token[:-8] + "AAAAAAAA"
    with KubeApi(
        cluster.parts.access.__class__(cluster.parts.url, cluster.parts.authority.ca_file, token=forged)
    ) as api:
        assert api.call("GET", "/api/v1/nodes").status == 401
