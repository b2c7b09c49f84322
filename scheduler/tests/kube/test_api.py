"""The client: what it sends, what it makes of answers of every kind, and what it costs to import."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from proa.core import VERSION
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube.api import MANAGER, Api, ApiLimits
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.paths import NODES
from proa.scheduler.kube.tally import Asked as Counted
from proa.scheduler.testing.served import HttpServer, Reply, Request

NODE = f"{NODES}/n1"


@pytest.fixture
def api(server: HttpServer) -> Api:
    return Api(server.access, limits=ApiLimits(connect=300, read=300, silence=300))


def test_it_says_who_asks(server: HttpServer, api: Api) -> None:
    server.answer = lambda asked, reply: reply.json({"kind": "Node"})
    assert api.get(NODE, {"pretty": "false"}) == {"kind": "Node"}
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.query) == ("GET", NODE, {"pretty": "false"})
    assert asked.headers["User-Agent"] == f"proa-scheduler/{VERSION}"
    assert asked.headers["Authorization"] == "Bearer s3cr3t"
    assert asked.headers["Accept"] == "application/json"


WRITES: list[tuple[str, str, str, Callable[[Api], object]]] = [
    ("POST", NODES, "application/json", lambda api: api.create(NODES, {"a": 1})),
    ("PATCH", NODE, "application/merge-patch+json", lambda api: api.merge(NODE, {"a": 1})),
    ("PATCH", NODE, "application/apply-patch+yaml", lambda api: api.apply(NODE, {"a": 1}, force=True)),
]


@pytest.mark.parametrize(("method", "path", "kind", "write"), WRITES, ids=["create", "merge", "apply"])
def test_a_write_is_strict_and_has_an_owner(
    server: HttpServer, api: Api, method: str, path: str, kind: str, write: Callable[[Api], object]
) -> None:
    write(api)
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.body) == (method, path, {"a": 1})
    assert asked.headers["Content-Type"] == kind
    assert asked.query.pop("force", "true") == "true"
    assert asked.query == {"fieldManager": MANAGER, "fieldValidation": "Strict"}


def test_force_is_said_either_way(server: HttpServer, api: Api) -> None:
    api.apply(NODE, {}, force=False)
    assert server.asked[0].query["force"] == "false"


def test_a_delete_names_the_object_that_is_meant(server: HttpServer, api: Api) -> None:
    api.delete(NODE, uid="u1", propagationPolicy="Background")
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("DELETE", NODE)
    assert asked.body == {"propagationPolicy": "Background", "preconditions": {"uid": "u1"}}


def test_an_eviction_names_the_pod_that_is_meant(server: HttpServer, api: Api) -> None:
    api.evict("shop", "web-1", uid="u1", gracePeriodSeconds=5)
    (asked,) = server.asked
    assert asked.path == "/api/v1/namespaces/shop/pods/web-1/eviction"
    assert (asked.body["apiVersion"], asked.body["kind"]) == ("policy/v1", "Eviction")
    assert asked.body["deleteOptions"] == {"gracePeriodSeconds": 5, "preconditions": {"uid": "u1"}}
    assert api.tally.counts() == {Counted("create", "pods/eviction", 200): 1}


def test_pages_follow_one_another(server: HttpServer, api: Api) -> None:
    def answer(asked: Request, reply: Reply) -> None:
        rest = {"": "two", "two": "three"}.get(asked.query.get("continue", ""), "")
        reply.json({"metadata": {"continue": rest}, "items": [asked.query.get("continue", "one")]})

    server.answer = answer
    assert [page["items"][0] for page in api.pages(NODES, {"fieldSelector": "x"}, size=2)] == ["one", "two", "three"]
    assert all(asked.query["limit"] == "2" and asked.query["fieldSelector"] == "x" for asked in server.asked)


def test_every_request_is_counted(server: HttpServer, api: Api) -> None:
    server.answer = lambda asked, reply: reply.status(404 if asked.method == "GET" else 200, "NotFound")
    with pytest.raises(ApiError):
        api.get(NODE)
    api.merge(f"{NODE}/status", {})
    api.apply(NODE, {}, force=True)
    api.create("/apis/coordination.k8s.io/v1/namespaces/proa/leases", {})
    assert api.tally.counts() == {
        Counted("get", "nodes", 404): 1,
        Counted("patch", "nodes/status", 200): 1,
        Counted("apply", "nodes", 200): 1,
        Counted("create", "leases", 200): 1,
    }


def always(status: int, body: str, kind: str = "application/json") -> Callable[[Request, Reply], None]:
    """An answer to whatever is asked."""
    return lambda asked, reply: reply.send(status, body, kind)


def failure(api: Api) -> ApiError:
    with pytest.raises(ApiError) as caught:
        api.get(NODE)
    return caught.value


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (400, "BadRequest", Code.CLUSTER_INVALID),
        (401, "Unauthorized", Code.CLUSTER_AUTH),
        (403, "Forbidden", Code.CLUSTER_FORBIDDEN),
        (404, "NotFound", Code.CLUSTER_MISSING),
        (409, "Conflict", Code.CLUSTER_CONFLICT),
        (410, "Expired", Code.CLUSTER_EXPIRED),
        (422, "Invalid", Code.CLUSTER_INVALID),
        (429, "TooManyRequests", Code.CLUSTER_BUSY),
        (500, "InternalError", Code.CLUSTER_ERROR),
        (504, "Timeout", Code.CLUSTER_ERROR),
    ],
)
def test_a_refusal_is_typed(server: HttpServer, api: Api, status: int, reason: str, code: Code) -> None:
    server.answer = lambda asked, reply: reply.status(status, reason, 'nodes "n1": no')
    error = failure(api)
    assert (error.status, error.reason, error.code, error.message) == (status, reason, code, 'nodes "n1": no')
    assert error.is_away is (status == 429 or status >= 500)
    assert error.at == f"GET {NODE}"


def test_a_disruption_budget_says_no(server: HttpServer, api: Api) -> None:
    cause = {"reason": "DisruptionBudget", "message": "The disruption budget web needs 2 healthy pods", "field": "x"}
    document = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "Cannot evict pod"}
    server.answer = lambda asked, reply: reply.json(
        document | {"details": {"causes": [cause], "retryAfterSeconds": 10}}, 429, Retry_After="10"
    )
    error = failure(api)
    assert (error.causes[0].reason, error.causes[0].message) == (cause["reason"], cause["message"])
    assert error.retry_after == 10


def test_a_busy_server_speaks_plain_text(server: HttpServer, api: Api) -> None:
    body = '{"kind": "Status", "code": 200}'
    server.answer = lambda asked, reply: reply.send(429, body, "text/plain; charset=utf-8", Retry_After="7")
    error = failure(api)
    assert (error.status, error.reason, error.causes, error.retry_after) == (429, "", (), 7)
    assert error.message == f"answered 429: {body}"


def test_what_stands_before_the_server_speaks_html(server: HttpServer, api: Api) -> None:
    server.answer = lambda asked, reply: reply.send(500, "<html>" + "x" * 10_000, "text/html")
    error = failure(api)
    assert (error.status, error.code, error.message) == (
        500, Code.CLUSTER_ERROR, "answered 500, but not as an API server does",
    )  # fmt: skip


def test_a_body_that_lies_about_its_type_is_no_status(server: HttpServer, api: Api) -> None:
    for body in ("<html>", "[1]", '{"kind": "Node"}', "[" * 100_000):
        server.answer = always(403, body)
        assert failure(api).message == "answered 403, but not as an API server does"


def test_a_long_message_is_cut(server: HttpServer, api: Api) -> None:
    server.answer = lambda asked, reply: reply.status(422, "Invalid", "x" * 100_000)
    assert len(failure(api).message) == 600


def test_a_redirect_is_not_followed(server: HttpServer, api: Api) -> None:
    server.answer = lambda asked, reply: reply.send(302, "", Location=f"{server.url}/elsewhere")
    assert failure(api).status == 302
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"\xff\xfe", b""])
def test_an_answer_that_is_no_object_is_none(server: HttpServer, api: Api, body: bytes) -> None:
    server.answer = lambda asked, reply: reply.send(200, body)
    error = failure(api)
    assert (error.status, error.code, error.is_away) == (0, Code.CLUSTER, True)


def test_an_answer_that_is_cut_is_none(server: HttpServer, api: Api) -> None:
    def answer(asked: Request, reply: Reply) -> None:
        reply.begin()
        reply.chunk('{"kind":')
        reply.cut()

    server.answer = answer
    assert failure(api).status == 0


def test_nobody_listens(server: HttpServer) -> None:
    access = server.access()
    server.close()
    api = Api(lambda: access)
    error = failure(api)
    assert (error.status, error.code, error.message) == (0, Code.CLUSTER, "the connection was refused")
    assert api.tally.counts() == {Counted("get", "nodes", 0): 1}


def test_a_server_that_says_nothing_is_not_waited_for(server: HttpServer) -> None:
    server.answer = lambda asked, reply: server.ending.wait()
    assert failure(Api(server.access, limits=ApiLimits(read=0.05))).message == "no answer in time"


def test_a_connection_is_used_again_also_after_a_refusal(server: HttpServer, api: Api) -> None:
    ports = set()

    def answer(asked: Request, reply: Reply) -> None:
        ports.add(reply._handler.client_address[1])
        reply.status(409, "Conflict")

    server.answer = answer
    for _ in range(3):
        failure(api)
    assert len(ports) == 1


def test_credentials_that_are_not_known_are_read_anew(server: HttpServer) -> None:
    tokens = iter(["old", "new"])
    api = Api(lambda: server.access(next(tokens)))
    server.answer = lambda asked, reply: (
        reply.json({}) if asked.headers["Authorization"] == "Bearer new" else reply.status(401, "Unauthorized")
    )
    assert failure(api).code is Code.CLUSTER_AUTH
    assert api.get(NODE) == {}


def test_no_error_tells_the_token(server: HttpServer, api: Api) -> None:
    for status in (401, 403, 500):
        server.answer = always(status, "s3cr3t", "text/html")
        error = failure(api)
        assert "s3cr3t" not in error.text("proa-scheduler") + repr(error)


def test_a_token_that_cannot_be_read_again_is_told(server: HttpServer) -> None:
    def gone(_: object) -> None:
        raise FileNotFoundError

    access = server.access()
    access.configuration.refresh_api_key_hook = gone  # type: ignore[assignment]  # the library's own annotation says None
    with pytest.raises(ProaError) as caught:
        Api(lambda: access).get(NODE)
    assert caught.value.code is Code.KUBECONFIG


def test_importing_it_loads_no_model() -> None:
    """They are hundreds of modules, and as many megabytes as all the rest."""
    text = """
import sys, proa.scheduler.kube.api
models = [name for name in sys.modules if name.startswith("kubernetes.client.models.")]
apis = [name for name in sys.modules if name.startswith("kubernetes.client.api.")]
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(len(models), len(apis), int(peak.split()[1]) < 64 * 1024)
"""
    assert process.run([sys.executable, "-c", text]).text.strip() == "0 0 True"
