"""Paths of the API server."""

from __future__ import annotations

import pytest

from proa.scheduler.kube import paths
from proa.scheduler.spec.crd import NODE_OSES


def test_an_object_has_its_place() -> None:
    assert paths.named(paths.NODES, "n1") == "/api/v1/nodes/n1"
    assert paths.named(NODE_OSES, "n1", "status") == "/apis/proa.dev/v1alpha1/nodeoses/n1/status"
    assert paths.within(paths.PODS, "shop") == "/api/v1/namespaces/shop/pods"
    assert paths.leases("proa") == "/apis/coordination.k8s.io/v1/namespaces/proa/leases"


def test_a_name_never_leaves_its_place() -> None:
    assert paths.named(paths.NODES, "../../secrets?x#") == "/api/v1/nodes/..%2F..%2Fsecrets%3Fx%23"


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/api/v1/nodes", "nodes"),
        ("/api/v1/nodes/n1", "nodes"),
        ("/api/v1/nodes/n1/status", "nodes/status"),
        ("/api/v1/namespaces/shop/pods/web/eviction", "pods/eviction"),
        ("/api/v1/namespaces/shop", "namespaces"),
        ("/apis/proa.dev/v1alpha1/nodeoses/n1/status", "nodeoses/status"),
        ("/apis/coordination.k8s.io/v1/namespaces/proa/leases/x", "leases"),
        ("/version", ""),
        ("", ""),
    ],
)
def test_a_path_says_what_it_is_about(path: str, resource: str) -> None:
    assert paths.resource(path) == resource
