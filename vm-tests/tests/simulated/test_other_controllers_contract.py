"""Others act on the same objects: webhooks, repair and cloud controllers, and whoever seats pods on cordoned nodes.

The scheduler has its own account, rights and policies on a real API server; the others are played here.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from proa.scheduler.drain.nodedrain import RETURNS
from proa.scheduler.install.names import SCHEDULER
from proa.scheduler.install.settings import NAMESPACE
from proa.scheduler.kube import paths
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.rollouts import cordoned, events, node
from proa.vm.simulated.scenarios import Ward, opened
from proa.vm.support.certificates import Authority
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
Rule = Callable[[dict[str, Any]], dict[str, Any] | int]
"""What a webhook makes of a request: its response, or the HTTP status that it fails with."""
SOON = {"readySeconds": 0, "timeout": "5s"}


@pytest.fixture(scope="module")
def ward(control_plane: ControlPlane) -> Iterator[Ward]:
    with opened(control_plane) as found:
        yield found


def serving(rule: Rule, authority: Authority) -> ThreadingHTTPServer:
    """A server of admission reviews on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = rule(review["request"])
            if isinstance(answer, int):
                self.send_error(answer)
                return
            response = {"uid": review["request"]["uid"], "allowed": True, **answer}
            body = json.dumps({**review, "request": None, "response": response}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    own = authority.issue(("127.0.0.1",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.cert_file, own.key_file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


@contextmanager
def webhook(ward: Ward, kind: str, folder: Path, rule: Rule) -> Iterator[None]:
    """A webhook about updates of Nodes by the scheduler, as long as the block."""
    authority = Authority(folder / "webhook")
    server = serving(rule, authority)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    ca = authority.ca_file.read_bytes()
    about = {
        "name": "nodes.others.test",
        "clientConfig": {"url": f"https://127.0.0.1:{server.server_port}/", "caBundle": _base64(ca)},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes"]}],
        "matchConditions": [{"name": "ours", "expression": "request.userInfo.username.endsWith(':proa-scheduler')"}],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": 5,
    }
    group = "admissionregistration.k8s.io"
    document = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "others"}, "webhooks": [about]}
    ward.cluster.apply([document])
    try:
        yield
    finally:
        ward.cluster.api.delete(f"/apis/{group}/v1/{kind.lower()}s/others")
        server.shutdown()
        thread.join()
        server.server_close()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_c04_a_webhook_that_is_down_for_one_node_stops_no_other(ward: Ward, tmp_path: Path) -> None:
    with ward.scenarios("hooked", 3) as three:
        broken = three.names[0]
        rule: Rule = lambda request: 500 if request["name"] == broken else {}  # noqa: E731
        with webhook(ward, "ValidatingWebhookConfiguration", tmp_path, rule):
            three.start()
            until(lambda: three.boots == [0, 1, 1], "the others to be updated")
            until(lambda: broken in " ".join(one["node"] for one in three.status.get("blockers", ())), "the blocker")
            assert any("failed calling webhook" in note for note in events(ward.cluster, "WriteFailed"))
        three.wait("Complete", 400)
        assert three.boots == [1, 1, 1]


def test_c05_a_webhook_that_changes_nodes_does_not_make_the_leader_resign(ward: Ward, tmp_path: Path) -> None:
    """Our policy refuses what the webhook has added; that is no word on who leads."""
    patch = [{"op": "add", "path": "/metadata/labels/others.test~1seen", "value": "yes"}]
    with ward.scenarios("labelled", 2) as two:
        term = terms(ward)
        with webhook(
            ward,
            "MutatingWebhookConfiguration",
            tmp_path,
            lambda _: {"patchType": "JSONPatch", "patch": _base64(json.dumps(patch).encode())},
        ):
            two.start()
            until(lambda: two.status.get("blockers"), "the blocker to be told")
            assert any("others.test/seen" in note or "Cordon" in note for note in events(ward.cluster, "WriteRefused"))
            assert two.boots == [0, 0]
        two.wait("Complete", 400)
        assert terms(ward) == term


def test_c06_pods_that_come_back_are_evicted_a_few_times_only(ward: Ward) -> None:
    with ward.scenarios("returning") as one:
        load = one.load(tolerations=({"operator": "Exists"},))
        mark = ward.cluster.audit_log.mark()
        one.start(drain={"timeout": "20s"})
        until(lambda: "come back as fast as they are evicted" in one.blockers, "the blocker to be told")
        until(lambda: not cordoned(ward.cluster, one.name), "the node to be given back")
        evicted = [
            asked
            for asked in ward.cluster.audit(mark, write=True)
            if asked.subresource == "eviction" and asked.name.startswith(load.name)
        ]
        assert 1 <= len(evicted) <= 2 * RETURNS
        assert one.boots == [0]


def test_c01_a_node_that_is_removed_in_its_reboot_counts_against_the_release(ward: Ward) -> None:
    """As a repair controller does it, which brings a new node on the old release instead."""
    with ward.scenarios("repaired", 3) as three:
        three.fault(never_returns=True)
        three.start(health=SOON, failure={"max": 0, "action": "Halt"}, maxUnavailable=1)
        until(lambda: any(not is_ready(ward, name) for name in three.names), "the first node to go down")
        (gone,) = (name for name in three.names if not is_ready(ward, name))
        three.fleet.remove(gone)
        assert gone in three.wait("Halted")["halted"]
        assert sum(three.fleet.boots().get(name, 0) for name in three.names) == 0


def test_c02_nodes_that_are_registered_anew_in_their_reboot_keep_their_place(ward: Ward) -> None:
    """Cloud controllers delete the Node of a machine that is down, and its kubelet registers it again."""
    with ward.scenarios("anew", 2) as two, ward.witness() as witness:
        two.fault(never_returns=True)
        two.start(health={"readySeconds": 0, "timeout": "120s"}, maxUnavailable=1)
        for number in (1, 2):
            until(lambda: any(not is_ready(ward, name) for name in two.names), "a node to go down")
            (down,) = (name for name in two.names if not is_ready(ward, name))
            uid = node(ward.cluster, down)["metadata"]["uid"]
            ward.cluster.api.delete(f"/api/v1/nodes/{down}")
            two.fault(down, never_returns=False)
            until(lambda down=down: is_ready(ward, down), "it to be back")  # type: ignore[misc]  # bound at once
            assert node(ward.cluster, down)["metadata"]["uid"] != uid
            until(lambda number=number: sum(two.boots) == number, "its boot to be counted")  # type: ignore[misc]
        two.wait("Complete")
        assert two.boots == [1, 1]
        assert [witness.seen(name).marks >= 1 for name in two.names] == [True, True]


def terms(ward: Ward) -> int:
    """How often the lease has changed hands."""
    return int(ward.cluster.api.get(paths.named(paths.leases(NAMESPACE), SCHEDULER))["spec"]["leaseTransitions"])


def is_ready(ward: Ward, name: str) -> bool:
    """Whether a Node is there and Ready."""
    found = ward.cluster.api.find(f"/api/v1/nodes/{name}")
    conditions = found.get("status", {}).get("conditions", ()) if found else ()
    return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)
