"""What a control plane is made of, without starting one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.vm.kube import control_flags, programs
from proa.vm.kube.access import ApiAccess
from proa.vm.kube.audit import AuditLog
from proa.vm.support.certificates import Authority, write_key_pair
from proa.vm.support.child import Child
from proa.vm.support.ports import free_ports
from proa.vm.support.waiting import until


def event(verb: str, stage: str = "ResponseComplete", **more: object) -> bytes:
    found = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "6a4f",
        "stage": stage,
        "requestURI": "/apis/proa.dev/v1alpha1/nodeoses/node-1/status",
        "verb": verb,
        "user": {"username": "system:serviceaccount:proa:scheduler", "groups": ["system:authenticated"]},
        "sourceIPs": ["127.0.0.1"],
        "userAgent": "proa-scheduler/0.1.0",
        "objectRef": {
            "resource": "nodeoses",
            "name": "node-1",
            "apiGroup": "proa.dev",
            "apiVersion": "v1alpha1",
            "subresource": "status",
        },
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": "2026-01-01T10:00:00.000000Z",
        "stageTimestamp": "2026-01-01T10:00:00.250000Z",
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "RBAC: allowed"},
    }
    return json.dumps(found | more).encode() + b"\n"


def test_the_audit_log_says_who_did_what(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.log")
    assert log.requests() == []
    assert log.mark() == 0
    log.path.write_bytes(event("patch"))
    (request,) = log.requests()
    assert (request.user, request.verb) == ("system:serviceaccount:proa:scheduler", "patch")
    assert (request.resource, request.name, request.subresource) == ("nodeoses", "node-1", "status")
    assert (request.group, request.namespace, request.status, request.seconds) == ("proa.dev", "", 200, 0.25)
    assert request.agent == "proa-scheduler/0.1.0"
    assert request.reason == "RBAC: allowed"
    assert request.is_write
    assert request.is_complete
    line = "10:00:00.000000 system:serviceaccount:proa:scheduler patch nodeoses/node-1/status -> 200"
    assert str(request) == line


def test_the_audit_log_is_read_from_a_mark_and_for_a_user(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.log")
    log.path.write_bytes(event("patch"))
    mark = log.mark()
    other = {"username": "proa-admin"}
    with log.path.open("ab") as file:
        file.write(event("get") + event("watch", "ResponseStarted") + event("delete", user=other) + b'{"half')
    assert [request.verb for request in log.requests(mark)] == ["get", "watch", "delete"]
    assert [request.verb for request in log.requests(user="proa/scheduler")] == ["patch", "get", "watch"]
    assert [request.verb for request in log.requests(user="proa-admin")] == ["delete"]
    assert [request.verb for request in log.requests(write=True)] == ["patch", "delete"]
    assert [request.verb for request in log.requests(write=False)] == ["get", "watch"]


@pytest.mark.parametrize("half", [b"", b'{"half', b'{"half": "' + bytes(200_000)])
def test_a_mark_lies_between_two_lines(tmp_path: Path, half: bytes) -> None:
    """What is marked while a line is being written begins with that line."""
    log = AuditLog(tmp_path / "audit.log")
    log.path.write_bytes(half)
    assert log.mark() == 0
    log.path.write_bytes(event("patch") + half)
    mark = log.mark()
    log.path.write_bytes(event("patch") + event("delete"))
    assert [request.verb for request in log.requests(mark)] == ["delete"]


def test_the_audit_log_is_never_rotated(tmp_path: Path) -> None:
    """A mark would lie in another file; 0 stands for 100 MiB."""
    parts = control_flags.make(tmp_path, tmp_path / "bin", (), {})
    (size,) = (word for word in control_flags.apiserver(parts) if word.startswith("--audit-log-maxsize="))
    assert int(size.partition("=")[2]) >= 1 << 20


def test_a_request_that_is_about_no_object(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.log")
    log.path.write_bytes(event("get", objectRef={}, requestURI="/version", responseStatus={}))
    (request,) = log.requests()
    assert (request.resource, request.name, request.status, request.path) == ("", "", 0, "/version")
    assert "get /version -> 0" in str(request)


def test_a_user_is_told_by_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.issue_user("system:node:node-1", ["system:nodes"])
    found = x509.load_pem_x509_certificate(files.cert_file.read_bytes())
    subject = found.subject
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["system:node:node-1"]
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:nodes"]
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert files.key_file.stat().st_mode & 0o777 == 0o600


def test_a_key_pair(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "accounts.key")
    load_pem_public_key((tmp_path / "accounts.pub").read_bytes())
    assert (tmp_path / "accounts.key").stat().st_mode & 0o777 == 0o600


def test_a_kubeconfig_is_read_back(tmp_path: Path) -> None:
    access = ApiAccess("https://127.0.0.1:1", tmp_path / "ca.crt", tmp_path / "x.crt", tmp_path / "x.key")
    assert ApiAccess.read(access.write(tmp_path / "conf")) == access
    assert (tmp_path / "conf").stat().st_mode & 0o777 == 0o600
    token = ApiAccess("https://127.0.0.1:1", tmp_path / "ca.crt", token="secret")
    assert ApiAccess.read(token.write(tmp_path / "conf")) == token


@pytest.mark.parametrize("text", ["apiVersion: v1", "{}", '{"clusters": []}', "[]"])
def test_a_foreign_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "conf").write_text(text)
    with pytest.raises(ProaError) as caught:
        ApiAccess.read(tmp_path / "conf")
    assert caught.value.code is Code.CONFIG_SYNTAX
    with pytest.raises(ProaError) as caught:
        ApiAccess.read(tmp_path / "none")
    assert caught.value.code is Code.FILE_MISSING


def test_given_programs_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    monkeypatch.setenv(programs.ASSETS, str(assets))
    (assets / "etcd").touch()
    with pytest.raises(ProaError) as caught:
        programs.gather(tmp_path / "bin")
    assert caught.value.code is Code.TOOL_MISSING
    assert "no kube-apiserver, kubectl in KUBEBUILDER_ASSETS" in caught.value.message
    for name in programs.NEEDED:
        (assets / name).touch()
    found = programs.gather(tmp_path / "bin")
    assert sorted(path.name for path in found.iterdir()) == ["etcd", "kube-apiserver", "kubectl"]
    assert programs.gather(tmp_path / "bin") == found


def test_everything_listens_on_the_loopback_address(tmp_path: Path) -> None:
    parts = control_flags.make(tmp_path, tmp_path / "bin", control_flags.CONTROLLERS, {"etcd": ["--snapshot-count=9"]})
    assert len(set(parts.ports)) == 4
    etcd, server = control_flags.etcd(parts), control_flags.apiserver(parts)
    assert etcd[-1] == "--snapshot-count=9"
    assert all("//127.0.0.1:" in word for word in etcd if "-urls=" in word)
    for words in (server, control_flags.controller_manager(parts)):
        assert "--bind-address=127.0.0.1" in words
    assert "--disable-admission-plugins=TaintNodesByCondition" in server
    watched = control_flags.make(tmp_path, tmp_path / "bin", [control_flags.NODE_LIFECYCLE], {})
    assert "--disable-admission-plugins=TaintNodesByCondition" not in control_flags.apiserver(watched)


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_waiting_ends_with_the_answer_or_in_time() -> None:
    clock = VirtualClock()
    answers: Iterator[str | None] = iter([None, "", None, "yes"])
    assert until(lambda: next(answers), "an answer", 1, clock=clock) == "yes"
    assert len(clock.slept) == 3
    with pytest.raises(ProaError) as caught:
        until(lambda: None, "an answer", 1, clock=clock)
    assert caught.value.code is Code.TIMEOUT
    assert "an answer: not within 1 s" in caught.value.message


def shell(tmp_path: Path, script: str) -> Child:
    return Child("shell", ["sh", "-c", script], tmp_path / "log")


def test_a_child_shows_its_last_words(tmp_path: Path) -> None:
    child = shell(tmp_path, "echo old; echo oh no; exit 3")
    assert child.pid == 0
    assert not child.alive
    assert child.said == ""
    child.start()
    until(lambda: not child.alive, "its end")
    with pytest.raises(ProaError) as caught:
        child.check()
    assert caught.value.code is Code.TOOL
    assert "shell ended:\n    old\n    oh no" in caught.value.message
    assert str(tmp_path / "log") in caught.value.hint
    child.stop()
    child.kill()


def test_a_child_is_paused_and_killed_and_started_again(tmp_path: Path) -> None:
    child = shell(tmp_path, "echo up; exec sleep 60")
    child.kill()
    child.stop()
    child.start()
    first = child.pid
    until(lambda: child.said, "its first word")
    child.start()
    assert child.pid == first
    child.pause()
    until(lambda: state(first) == "T", "standing still")
    child.resume()
    until(lambda: state(first) == "S", "going on")
    child.kill()
    assert not child.alive
    child.start()
    until(lambda: child.said, "its first word")
    assert child.pid != first
    assert child.said == "up\n"
    child.stop()
    assert not child.alive


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import time, pathlib, sys; from proa.vm.support.child import Child\n"
        "child = Child('sleep', ['sleep', '60'], pathlib.Path(sys.argv[1])); child.start()\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path / "log"], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", "its start")
        parent.kill()
    until(lambda: state(pid) in ("", "Z"), "its end")


def state(pid: int) -> str:
    """The state of a process, as proc(5) tells it; empty once it is gone, which may be at any moment."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
