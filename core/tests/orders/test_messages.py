"""Orders and node status: what crosses the socket and the API server."""

from __future__ import annotations

import pytest

from proa.core.orders.messages import Action, NodeStatus, Observed, Order, Proof
from proa.core.runtime.errors import ProaError
from proa.core.schema.json_schema import structural
from proa.core.schema.model import document, parse

RELEASE = "registry.example.net:5000/nodes/my-node:1.2.0@sha256:" + "a1" * 32


def test_an_order_reads_back() -> None:
    order = Order(3, Action.COMMIT, 7, trial=Proof("1-2", "ab" * 32), issued="2026-01-01T00:00:00Z")
    assert parse(Order, document(order)) == order
    assert document(order)["trial"] == {"bootID": "1-2", "rootHash": "ab" * 32}


@pytest.mark.parametrize("release", [RELEASE, "localhost/a@sha256:" + "0" * 64, "[::1]:5000/a/b@sha256:" + "f" * 64])
def test_a_release_by_digest_is_taken(release: str) -> None:
    assert parse(Order, {"id": 1, "action": "Stage", "fence": 0, "release": release}).release == release


@pytest.mark.parametrize(
    "release", ["registry/a:1", "a@sha256:" + "0" * 64, RELEASE + "0", "registry/A@sha256:" + "0" * 64, "oci:/path"]
)
def test_what_is_no_release_by_digest_is_refused(release: str) -> None:
    with pytest.raises(ProaError):
        parse(Order, {"id": 1, "action": "Stage", "fence": 0, "release": release})


def test_a_newer_agents_phase_is_taken() -> None:
    status = parse(NodeStatus, {"phase": "Dreaming", "observedOrder": {"id": 1, "result": "Pondering"}})
    assert (status.phase, status.observed_order) == ("Dreaming", Observed(1, result="Pondering"))


def test_every_text_and_list_of_the_schema_is_bounded() -> None:
    """The API server's budget for rules depends on it, and so does the size of an object."""

    def check(node: dict[str, object], at: str) -> None:
        for name, below in (node.get("properties") or {}).items():  # type: ignore[attr-defined]
            place = f"{at}.{name}"
            if below.get("type") == "string" and "enum" not in below:
                assert "maxLength" in below, place
            if below.get("type") == "array":
                assert "maxItems" in below, place
                check(below["items"], place)
            if below.get("type") == "object":
                check(below, place)

    check(structural(Order), "order")
    check(structural(NodeStatus), "status")
