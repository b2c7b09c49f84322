"""The order socket, every answer held against its description; and trials that wait for their commit order."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from proa.agent.api.client import Client
from proa.agent.api.jobs import EventLog, Jobs
from proa.agent.api.listen import Peer, listen
from proa.agent.api.server import ApiServer, Gate
from proa.agent.cli.text import describe_status
from proa.agent.daemon.daemon import Daemon
from proa.agent.node.order_book import Moment, take
from proa.agent.node.record import save
from proa.agent.node.reports import Status
from proa.agent.node.states import NodeState
from proa.agent.orders.node_status import node_status
from proa.agent.orders.routes import _line, description, order_routes
from proa.agent.orders.status_feed import ALIVE, StatusFeed
from proa.agent.testing.node import Node, known
from proa.agent.testing.orders import Site
from proa.agent.testing.raw_api import RawApi
from proa.agent.testing.systemctl import Systemctl
from proa.agent.verbs import verbs
from proa.agent.verbs.status import status
from proa.core.orders.client import OrderClient
from proa.core.orders.messages import Action, NodeStatus, Order, Proof
from proa.core.orders.unixhttp import UnixHttp
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.runtime.events import Note
from proa.core.schema.json_schema import closed, json_schema
from proa.partition.boot.bootstate import Slot

SPEC: dict[str, Any] = json.loads(json.dumps(description()))
GROUP = os.getgid() or 4711
"""A group that may be named; our own where that is not root's."""


def check(name: str, document: Any) -> None:
    """A document is of a schema of the specification."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": closed(SPEC["components"])}
    jsonschema.Draft202012Validator(schema).validate(document)


@contextmanager
def serving(daemon: Daemon) -> Iterator[OrderClient]:
    """A daemon that serves, and a client of its order socket."""
    thread = threading.Thread(target=daemon.run)
    thread.start()
    client = Client(daemon.context.paths.orders)
    try:
        while not client.is_running:
            assert thread.is_alive()
        yield OrderClient(daemon.context.paths.orders)
    finally:
        daemon.context.cancel.ask()
        thread.join(300)
        assert not thread.is_alive()


def daemon_of(node: Node, **cluster: Any) -> Daemon:
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in ({"group": GROUP} | cluster).items())
    node.write("usr/lib/proa/agent.toml", f"[health]\nseconds = 0\n[cluster]\n{lines}")
    return Daemon(node.context, allowed=frozenset({os.getuid()}))


def until(client: OrderClient, result: str) -> NodeStatus:
    """Follow the node until its order has come so far."""
    for found in client.follow():
        if found.observed_order and found.observed_order.result == result:
            return found
    raise AssertionError


class TestSpecification:
    def test_it_is_one(self) -> None:
        validate(SPEC)
        with pytest.raises(OpenAPIValidationError, match="title"):
            validate(SPEC | {"info": {}})

    def test_it_says_what_the_wire_types_say(self) -> None:
        schemas = SPEC["components"]["schemas"]
        for kind in (Order, NodeStatus):
            made = json_schema(kind)
            assert list(schemas[kind.__name__]["properties"]) == list(made["properties"])
            assert schemas[kind.__name__].get("required") == made.get("required")
        assert schemas["Order"]["additionalProperties"] is False

    def test_every_route_is_in_it(self, site: Site) -> None:
        served = {(method.lower(), path) for method, path in order_routes(site.agent().worker)}
        assert served == {(method, path) for path, methods in SPEC["paths"].items() for method in methods}


class TestSocket:
    def test_orders_are_taken_and_nothing_else(self, site: Site, systemctl: Systemctl) -> None:
        node = site.node
        with serving(daemon_of(node)) as client:
            path = node.paths.orders
            assert (path.stat().st_mode & 0o777, path.stat().st_gid) == (0o660, GROUP)
            http = UnixHttp(path)
            answer = http.ask("GET", "/v1/node")
            check("Node", answer)
            assert list(answer) == ["schema", "proa", "status"]
            given = site.order(7, "None", fence=2)
            check("Order", given)
            check("Node", http.ask("PUT", "/v1/order", given))
            assert until(client, "Done").observed_order == client.status().observed_order
            with pytest.raises(ProaError) as caught:
                client.put(Order(6, Action.NONE, 2))
            assert (caught.value.code, caught.value.exit) == (Code.STALE_ORDER, Exit.REFUSED)
            with pytest.raises(ProaError) as caught:
                http.ask("PUT", "/v1/order", given | {"more": 1})
            assert caught.value.code is Code.CONFIG_VALUE
            for method, other in (("POST", "/v1/install"), ("POST", "/v1/commit"), ("GET", "/v1/status")):
                with pytest.raises(ProaError) as caught:
                    http.ask(method, other, {} if method == "POST" else None)
                assert caught.value.code is Code.NOT_FOUND
            assert http.ask("GET", "/v1/openapi.json") == SPEC
        assert not node.paths.orders.exists()

    def test_without_a_group_there_is_none(self, site: Site, systemctl: Systemctl) -> None:
        daemon = Daemon(site.node.context, allowed=frozenset({os.getuid()}))
        thread = threading.Thread(target=daemon.run)
        thread.start()
        client = Client(site.node.paths.socket)
        try:
            while not client.is_running:
                assert thread.is_alive()
            assert client.get(Status, "/v1/status").order is None
            assert not site.node.paths.orders.exists()
        finally:
            daemon.context.cancel.ask()
            thread.join(300)

    def test_settings_that_cannot_be_read_leave_the_api_as_it_is(self, site: Site, systemctl: Systemctl) -> None:
        daemon = daemon_of(site.node, commit="dance")
        thread = threading.Thread(target=daemon.run)
        thread.start()
        client = Client(site.node.paths.socket)
        try:
            while not client.is_running:
                assert thread.is_alive()
            assert client.get(Status, "/v1/status").state is NodeState.GOOD
        finally:
            daemon.context.cancel.ask()
            thread.join(300)
        assert "CONFIG_VALUE" in str(site.node.events.events)

    def test_a_trial_is_committed_by_order(self, trial: Node, release2: str) -> None:
        """Through all of it: the checks pass, the trial waits, the order comes; an agent that starts anew knows it."""
        ticks = threading.Event()
        trial.clock.instead = lambda _: ticks.wait(0.01)
        with serving(daemon_of(trial, commit="order")) as client:
            waiting = next(one for one in client.follow() if healthy(one) == "True")
            assert waiting.phase == "Trial"
            assert trial.state.on_trial
            assert waiting.booted
            proof = Proof(waiting.booted.boot_id, waiting.booted.root_hash)
            client.put(Order(3, Action.COMMIT, 1, trial=proof))
            assert until(client, "Done").phase == "Good"
        assert trial.state.good is Slot.B
        trial.__dict__.pop("context")
        with serving(daemon_of(trial, commit="order")) as client:
            assert client.put(Order(3, Action.COMMIT, 1, trial=proof)).phase == "Good"
            assert healthy(client.status()) == ""

    def test_a_person_at_the_node_is_seen(self, site: Site, systemctl: Systemctl) -> None:
        site.agent().order(1, "Stage", site.new)
        with serving(daemon_of(site.node)) as client:
            following = client.follow()
            assert next(following).phase == "Staged"
            RawApi(site.node.paths.socket).post("/v1/activate")
            armed = next(following)
            assert armed.standby
            assert armed.standby.state == "armed"


def healthy(found: NodeStatus) -> str:
    """Whether the trial is; empty where none runs."""
    return next((one.status for one in found.conditions if one.type == "Healthy"), "")


class TestGate:
    @pytest.mark.parametrize(
        ("peer", "group", "may"),
        [
            (Peer(0, 0), 4711, True),
            (Peer(1000, 4711), 4711, True),
            (Peer(1000, 4712), 4711, False),
            (Peer(4711, 100), 4711, False),
            (Peer(1000, 0), 4711, False),
            (Peer(0, 0), None, True),
            (Peer(1000, 4711), None, False),
        ],
    )
    def test_who_may(self, peer: Peer, group: int | None, may: bool) -> None:
        gate = Gate(group=group)
        if may:
            gate.check(peer)
            return
        with pytest.raises(ProaError) as caught:
            gate.check(peer)
        assert (caught.value.code, caught.value.exit) == (Code.NOT_ALLOWED, Exit.REFUSED)

    @pytest.mark.parametrize("ours", [True, False])
    def test_by_the_kernels_word(self, site: Site, tmp_path: Path, ours: bool) -> None:
        path = tmp_path / "socket"
        gate = Gate(frozenset({os.getuid() + 1}), os.getgid() if ours else os.getgid() + 1)
        server = ApiServer(listen(path), order_routes(site.agent().worker), gate)
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            if ours:
                assert OrderClient(path).status().phase == "Good"
            else:
                with pytest.raises(ProaError) as caught:
                    OrderClient(path).status()
                assert caught.value.code is Code.NOT_ALLOWED
                assert str(os.getgid() + 1) in caught.value.message
        finally:
            server.stop()
            thread.join(300)


class TestFollow:
    def feed(self, node: Node, times: list[float]) -> StatusFeed:
        """With a clock that shows these times, one after the other; the signal is closed with the last one."""
        changed = ChangeSignal()

        def clock() -> float:
            if len(times) == 1:
                changed.close()
                return times[0]
            changed.notify()
            return times.pop(0)

        return StatusFeed(node.context, Jobs(EventLog()), changed, clock)

    def test_only_what_has_changed_is_told(self, node: Node) -> None:
        found = list(self.feed(node, [0, 1, 1, 2, 3, 4]).follow())
        assert [type(one) for one in found] == [NodeStatus]

    def test_a_sign_of_life_when_nothing_does(self, node: Node) -> None:
        found = list(self.feed(node, [0, 0, 0, ALIVE - 1, ALIVE, ALIVE, ALIVE + 1]).follow())
        assert [type(one) for one in found] == [NodeStatus, type(None)]

    def test_a_condition_keeps_its_time(self, site: Site) -> None:
        agent = site.agent()
        before = {one.type: one for one in agent.status.conditions}
        site.node.clock.at += 100
        assert {one.type: one for one in agent.status.conditions} == before
        site.node.paths.boot.unlink()
        after = {one.type: one for one in agent.status.conditions}
        changed = after.pop("Consistent")
        assert (changed.status, changed.reason) == ("False", "HANDSHAKE")
        assert changed.last_transition_time > before.pop("Consistent").last_transition_time
        assert agent.status.phase == "Failed"

    def test_its_lines_are_of_the_specification(self, node: Node) -> None:
        feed = self.feed(node, [0.0])
        check("Node", _line(feed.status()))
        check("Alive", _line(None))


class TestCommitByOrder:
    """``[cluster] commit = "order"``: a healthy trial waits for its order."""

    def watch(self, node: Node) -> Daemon:
        node.write("etc/proa/agent.toml", "[health]\ninterval = 100\n")
        daemon = daemon_of(node, commit="order")
        daemon.watch_trial()
        return daemon

    def test_it_comes_back_when_none_comes(self, trial: Node, systemctl: Systemctl) -> None:
        daemon = self.watch(trial)
        assert trial.clock.at == pytest.approx(540, abs=1)
        assert systemctl.calls[-1] == "reboot"
        assert daemon.health is not None
        assert daemon.health.healthy
        assert trial.reboot() is Slot.A
        returned = trial.returned
        assert (returned.code, trial.last.code) == ("NO_COMMIT_ORDER", "NO_COMMIT_ORDER")
        assert returned.cause == "no-order"
        assert "healthy, but no order to commit came within 540 s" in returned.reason
        assert "NO_COMMIT_ORDER" in describe_status(status(trial.context))
        told = node_status(trial.view)
        assert told.last_error
        assert (told.phase, told.last_error.code) == ("RolledBack", "NO_COMMIT_ORDER")
        waits = [event.text for event in trial.events.events if isinstance(event, Note) and "waiting for" in event.text]
        assert len(waits) == 1, "it is not told again and again"

    def test_an_unhealthy_one_is_told_apart(self, trial: Node, systemctl: Systemctl) -> None:
        systemctl.answer("is-system-running", "starting\n", 1)
        self.watch(trial)
        trial.reboot()
        assert (trial.returned.code, trial.last.code) == ("TRIAL_RETURNED", "TRIAL_RETURNED")

    def test_an_order_that_waits_is_served_at_the_last_look(self, trial: Node, systemctl: Systemctl) -> None:
        view = trial.view
        proof = Proof(view.boot_id, known(view.booted_release).root_hash)
        accepted = take(None, Order(1, Action.COMMIT, 0, trial=proof), Moment(trial.context.time(), view.boot_id, 0))
        save(trial.paths.record, dataclasses.replace(trial.record, order=accepted))
        self.watch(trial)
        assert trial.state.good is Slot.B

    def test_a_person_may_still_commit(self, trial: Node, systemctl: Systemctl) -> None:
        trial.clock.instead = lambda _: verbs.commit(trial.context)
        self.watch(trial)
        assert trial.state.good is Slot.B
        assert "reboot" not in systemctl.calls

    def test_the_daemon_commits_by_itself_otherwise(self, trial: Node, systemctl: Systemctl) -> None:
        daemon_of(trial, commit="checks").watch_trial()
        assert trial.state.good is Slot.B
