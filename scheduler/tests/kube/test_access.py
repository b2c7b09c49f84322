"""Which cluster is meant, and what becomes of files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube import access


def kubeconfig(path: Path, server: str = "https://127.0.0.1:1") -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "s3cr3t"}}],
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "one",
    }
    path.write_text(json.dumps(document))
    return path


def test_a_kubeconfig_says_where_and_who(tmp_path: Path) -> None:
    found = access.find(str(kubeconfig(tmp_path / "config")))()
    assert found.host == "https://127.0.0.1:1"
    assert found.authorization() == {"Authorization": "Bearer s3cr3t"}
    assert found.configuration.keep_alive


def test_the_environment_names_one(tmp_path: Path) -> None:
    given = {"KUBECONFIG": str(kubeconfig(tmp_path / "config")), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert access.find(environ=given)().host == "https://127.0.0.1:1"


def test_what_is_named_goes_before_the_environment(tmp_path: Path) -> None:
    mine = kubeconfig(tmp_path / "mine", "https://127.0.0.1:2")
    assert access.find(str(mine), environ={"KUBECONFIG": "/nowhere"})().host == "https://127.0.0.1:2"


def test_a_pod_has_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert (
        access.find(environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"})
        is access.in_cluster
    )
    with pytest.raises(ProaError) as caught:
        access.in_cluster()
    assert caught.value.code is Code.KUBECONFIG


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "clusters: 1\ncurrent-context: one", "\x00", "current-context: one\ncontexts: [1]"]
)
def test_a_file_that_is_no_kubeconfig_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(ProaError) as caught:
        access.from_kubeconfig(str(path))
    assert (caught.value.code, caught.value.at) == (Code.KUBECONFIG, str(path))


def test_a_file_or_a_context_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config")
    for named, context in ((tmp_path / "none", ""), (path, "two")):
        with pytest.raises(ProaError) as caught:
            access.from_kubeconfig(str(named), context)
        assert caught.value.code is Code.KUBECONFIG


def test_a_pod_knows_its_namespace(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("proa\n")
    assert access.own_namespace(tmp_path / "namespace") == "proa"
    assert access.own_namespace(tmp_path / "none") == ""
