"""What a machine is handed so that its kubelet joins a cluster."""

from __future__ import annotations

import base64
import json
import tomllib
from pathlib import Path

from proa.core.oci import authfile
from proa.vm.cluster import joining


def test_a_token_is_as_kubernetes_wants_it_and_never_the_same() -> None:
    tokens = {joining.token() for _ in range(50)}
    assert len(tokens) == 50
    for token in tokens:
        name, secret = token.split(".")
        assert (len(name), len(secret)) == (6, 16)
        assert set(name + secret) <= set("0123456789abcdefghijklmnopqrstuvwxyz")


def test_the_kubeconfig_holds_all_it_needs() -> None:
    found = json.loads(joining.kubeconfig("https://10.0.2.2:6443", b"PEM", "abcdef.0123456789abcdef"))
    (cluster,), (user,), (context,) = found["clusters"], found["users"], found["contexts"]
    assert cluster["cluster"]["server"] == "https://10.0.2.2:6443"
    assert base64.b64decode(cluster["cluster"]["certificate-authority-data"]) == b"PEM"
    assert user["user"] == {"token": "abcdef.0123456789abcdef"}
    assert context["context"] == {"cluster": cluster["name"], "user": user["name"]}
    assert found["current-context"] == context["name"]


def test_files_are_lines_of_tmpfiles_that_hold_any_content() -> None:
    contents: dict[str, str | bytes] = {"/etc/a": "one\ntwo %i\n", "/etc/b/c": bytes(range(256))}
    for line, (path, content) in zip(joining.files(contents).splitlines(), contents.items(), strict=True):
        kind, where, mode, user, group, age, data = line.split(" ")
        assert (kind, where, mode, user, group, age) == ("f+~", path, "0600", "root", "root", "-")
        assert base64.b64decode(data) == (content.encode() if isinstance(content, str) else content)


def test_an_auth_file_is_what_the_agent_reads(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text(joining.auth_file("10.0.2.130:5000", "me", "se:cret"))
    found = authfile.find("10.0.2.130:5000", "node", path)
    assert found == authfile.Credentials("me", "se:cret")


def test_a_mirror_is_asked_with_its_login_and_by_its_authority() -> None:
    found = tomllib.loads(joining.mirror("10.0.2.2:5000", "/etc/ca.crt", "me", "secret"))
    host = found["host"]["https://10.0.2.2:5000"]
    assert host["ca"] == "/etc/ca.crt"
    assert host["capabilities"] == ["pull", "resolve"]
    assert base64.b64decode(host["header"]["authorization"].removeprefix("Basic ")) == b"me:secret"
