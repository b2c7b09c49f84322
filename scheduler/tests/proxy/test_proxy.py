"""The proxy: what it gives to the agent and writes to the API server, when, and how it bears both being away."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proa.core.orders.messages import Action, Booted, NodeStatus, Observed, Order, Phase, Progress
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document, parse
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.proxy.proxy import BURST, BURST_SECONDS, HURRY_SECONDS, PROGRESS_SECONDS, SILENT_SECONDS, NodeProxy
from proa.scheduler.proxy.views import Seen, Told, seen
from proa.scheduler.testing.apiserver import ApiServer, Asked
from proa.scheduler.testing.fields import merged

RELEASE = "registry.example/node:1@sha256:" + "a" * 64
PATH = "/apis/proa.dev/v1alpha1/nodeoses/n1"
STATUS = f"{PATH}/status"
GOOD = NodeStatus(phase=Phase.GOOD, booted=Booted("a", "1", committed=True, boot_id="boot-1"), agent="1")


@dataclass
class World:
    """An API server with one NodeOS, an agent, and a proxy between them; time passes only in :meth:`run`."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    server: ApiServer = field(default_factory=ApiServer)
    told: Told = Told()  # noqa: RUF009 -- frozen
    away: ApiError | None = None
    """What the API server says instead of an answer."""
    says: ProaError | None = None
    """What the agent says to every order."""
    lag: bool = False
    """Whether what is written does not show in the watch yet."""
    bodies: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    tries: list[float] = field(default_factory=list)
    puts: list[tuple[float, int]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._shown: Seen | None = None
        self.server.before, self.server.after = self._before, self._after
        self.create("uid-1")
        self.restart()

    def restart(self) -> None:
        """The proxy's process ends, and another one begins: it knows nothing."""
        self.proxy = NodeProxy(
            "n1",
            self._seen,
            lambda: self.told,
            self.put,
            self.server,
            lambda message, **_: self.said.append(message),
            self.clock,
            lambda: 1.0,
        )

    def _seen(self) -> Seen | None:
        if not self.lag:
            self._shown = seen(copy.deepcopy(self.item)) if self.item else None
        return self._shown

    # the API server

    @property
    def item(self) -> dict[str, Any] | None:
        """The object; none if it has none."""
        return self.server.items.get(PATH)

    def create(self, uid: str) -> None:
        """Make the object, anew if there is one."""
        self.server.add(PATH, {"metadata": {"uid": uid}, "spec": {}})

    def order(self, number: int, action: str = "Stage", **more: Any) -> None:
        given = {"id": number, "action": action, "fence": 1, "release": RELEASE, **more}
        spec = {**dict.fromkeys(self.given), **given}
        self.server.change(PATH, spec={"order": spec})

    def _before(self, asked: Asked) -> None:
        assert asked.path == (STATUS if asked.is_write else PATH)
        if asked.is_write:
            self.tries.append(self.clock.at)
        if self.away is not None:
            raise self.away
        if asked.is_write and self.item is not None and asked.body["metadata"]["uid"] == self.item["metadata"]["uid"]:
            self._rules(merged(self.status, asked.body["status"]))

    def _after(self, asked: Asked) -> None:
        if asked.is_write:
            self.bodies.append((self.clock.at, asked.body["status"]))

    def _rules(self, status: dict[str, Any]) -> None:
        """What the definition of NodeOS demands."""
        parse(NodeStatus, status, "status", strict=True)
        old, new = (one.get("observedOrder", {}).get("id", -1) for one in (self.status, status))
        given = self.given.get("id", 0)
        if new < old or new > given:
            self.refused.append(f"observedOrder {old} -> {new}, order {given}")
            raise ApiError(422, "observedOrder", reason="Invalid")

    @property
    def given(self) -> dict[str, Any]:
        """The order that is out."""
        found: dict[str, Any] = (self.item or {}).get("spec", {}).get("order", {})
        return found

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = (self.item or {}).get("status", {})
        return found

    def condition(self, name: str) -> dict[str, Any] | None:
        return next((one for one in self.status.get("conditions", ()) if one["type"] == name), None)

    # the agent

    def tell(self, status: NodeStatus) -> None:
        """The agent says how the node is."""
        if self.told.answering:
            self.told = replace(self.told, status=status)
        else:
            self.told = Told(status, True, self.clock.at, self.told.connection + 1)

    def silence(self, why: str = "connection refused") -> None:
        self.told = replace(self.told, answering=False, since=self.clock.at, problem=why)

    def replace_disk(self) -> None:
        """The node comes back, and knows nothing."""
        self.silence()
        self.tell(GOOD)

    def put(self, order: Order) -> NodeStatus:
        self.puts.append((self.clock.at, order.id))
        if self.says is not None:
            raise self.says
        status = self.told.status or GOOD
        known = status.observed_order
        if known is not None and known.id > order.id:
            raise ProaError(Code.STALE_ORDER, f"order {known.id} was seen")
        self.tell(replace(status, observed_order=Observed(order.id, order.action.value, "Running")))
        return status

    # time

    def run(self, seconds: float = 0.0) -> None:
        """Let the proxy do what it does when it is woken now, and in so many seconds."""
        end = self.clock.at + seconds
        for _ in range(20_000):
            wait = self.proxy.step()
            if wait is None or self.clock.at + wait > end:
                self.clock.at = end
                self.proxy.step()
                return
            assert wait > 0
            self.clock.sleep(wait)
        raise AssertionError("it never rests")


@pytest.fixture
def world() -> World:
    found = World()
    found.tell(GOOD)
    return found


# orders


def test_an_order_is_given_once(world: World) -> None:
    world.order(1)
    world.run(600)
    assert [number for _, number in world.puts] == [1]
    assert world.status["observedOrder"] == {"id": 1, "action": "Stage", "result": "Running"}


def test_an_order_that_the_agent_has_is_not_given_again(world: World) -> None:
    world.order(1)
    world.run()
    world.restart()
    world.run(60)
    assert len(world.puts) == 1


def test_an_order_waits_for_the_agent() -> None:
    world = World()
    world.order(1)
    world.run(60)
    assert world.puts == []
    world.tell(GOOD)
    world.run()
    assert world.puts == [(60.0, 1)]


def test_a_refused_order_is_told_and_left_alone(world: World) -> None:
    world.tell(replace(GOOD, observed_order=Observed(7, "Stage", "Done")))
    world.order(3)
    world.run(3600)
    assert len(world.puts) == 1
    found = world.condition("Delivered")
    assert found is not None
    assert (found["status"], found["reason"]) == ("False", "STALE_ORDER")
    assert found["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert world.said.count("an order is refused") == 1
    assert len(world.bodies) == 1


def test_another_agent_is_asked_again(world: World) -> None:
    """Perhaps it is a newer one."""
    world.says = ProaError(Code.CONFIG_VALUE, "order.action is not known here")
    world.order(1)
    world.run(60)
    world.silence()
    world.run(1)
    world.tell(GOOD)
    world.run(60)
    assert len(world.puts) == 2
    assert world.said.count("an order is refused") == 1
    world.silence()
    world.run(1)
    world.says = None
    world.tell(GOOD)
    world.run()
    assert world.condition("Delivered") is None


def test_the_next_order_takes_the_refusal_away(world: World) -> None:
    world.tell(replace(GOOD, observed_order=Observed(7, "Stage", "Done")))
    world.order(3)
    world.run()
    world.order(8, "None")
    world.run()
    assert "conditions" not in world.status
    assert [number for _, number in world.puts] == [3, 8]


def test_an_order_that_cannot_be_read_is_told(world: World) -> None:
    world.order(1, "Fly")
    world.run(60)
    found = world.condition("Delivered")
    assert found is not None
    assert found["reason"] == "CONFIG_VALUE"
    assert "Fly" in found["message"] or "spec.order.action" in found["message"]
    assert world.puts == []


@pytest.mark.parametrize(("code", "shown"), [(Code.DEVICE, False), (Code.INTERNAL, True), (Code.NOT_ALLOWED, True)])
def test_what_may_pass_is_tried_ever_more_seldom(world: World, code: Code, shown: bool) -> None:
    world.says = ProaError(code, "not now")
    world.order(1)
    world.run(3600)
    assert 60 <= len(world.puts) <= 72
    assert world.puts[1][0] - world.puts[0][0] < 1
    assert (world.condition("Delivered") is not None) is shown
    world.says = None
    world.run(60)
    assert world.condition("Delivered") is None
    world.order(2)
    world.run()
    assert world.puts[-1] == (world.clock.at, 2)


# status


def test_only_what_has_changed_is_written(world: World) -> None:
    world.run()
    world.tell(replace(GOOD, phase=Phase.STAGING, progress=Progress("write", 5)))
    world.run()
    world.tell(replace(GOOD, phase=Phase.STAGED))
    world.run(3600)
    assert [body for _, body in world.bodies] == [
        document(GOOD),
        {"phase": "Staging", "progress": {"step": "write", "percent": 5}},
        {"phase": "Staged", "progress": None},
    ]


def test_nothing_is_written_twice_while_the_watch_lags(world: World) -> None:
    world.run()
    world.lag = True
    world.tell(replace(GOOD, phase=Phase.STAGING))
    world.run(60)
    assert len(world.bodies) == 2
    world.lag = False
    world.run(60)
    assert len(world.bodies) == 2


def test_what_somebody_else_has_changed_is_put_right(world: World) -> None:
    world.run()
    world.server.change(PATH, status={"phase": "Wrong"})
    world.run()
    assert world.status == document(GOOD)


def test_progress_is_written_at_a_coarse_rate(world: World) -> None:
    world.tell(replace(GOOD, phase=Phase.STAGING, progress=Progress("write", 0)))
    for percent in range(100):
        world.tell(replace(GOOD, phase=Phase.STAGING, progress=Progress("write", percent)))
        world.run(1)
    world.tell(replace(GOOD, phase=Phase.STAGED))
    world.run()
    assert len(world.bodies) <= 100 / PROGRESS_SECONDS + 2
    assert world.status["phase"] == Phase.STAGED
    assert world.bodies[-1][0] == world.clock.at


def test_what_waits_is_written_at_the_end(world: World) -> None:
    staging = replace(GOOD, phase=Phase.STAGING)
    world.tell(staging)
    world.run()
    world.tell(replace(staging, progress=Progress("write", 50)))
    world.run()
    assert "progress" not in world.status
    world.proxy.step(ending=True)
    assert world.status["progress"]["percent"] == 50


def test_a_node_that_cannot_make_up_its_mind(world: World) -> None:
    for number in range(1000):
        world.tell(replace(GOOD, phase=(Phase.GOOD, Phase.STAGED)[number % 2]))
        world.run(0.1)
    assert len(world.bodies) <= (100 / BURST_SECONDS + 1) * BURST
    world.run(60)
    assert world.status["phase"] == Phase.STAGED


# an API server that is away


@pytest.mark.parametrize(
    "error", [ApiError(0, "the connection was refused"), ApiError(503, "starting"), ApiError(401, "who is that")]
)
def test_an_api_server_that_is_away_for_an_hour(world: World, error: ApiError) -> None:
    world.run()
    world.away = error
    world.tell(replace(GOOD, phase=Phase.STAGING))
    world.run(1800)
    world.tell(replace(GOOD, phase=Phase.STAGED))
    world.run(1800)
    assert 100 <= len(world.tries) <= 260
    assert world.said.count("the status could not be written") == 1
    world.away = None
    world.run(30)
    assert world.status["phase"] == Phase.STAGED
    assert len(world.bodies) == 2


def test_it_hurries_when_the_api_server_is_there_again(world: World) -> None:
    world.away = ApiError(0, "the connection was refused")
    world.run(300)
    world.away = None
    world.proxy.hurry()
    world.run(HURRY_SECONDS)
    assert world.status == document(GOOD)


def test_it_does_not_hurry_when_it_was_asked_to_wait(world: World) -> None:
    world.away = ApiError(429, "too many", retry_after=120)
    world.run()
    world.proxy.hurry()
    world.run(100)
    assert len(world.tries) == 1


def test_it_is_left_alone_for_as_long_as_it_asks(world: World) -> None:
    world.away = ApiError(429, "too many", retry_after=120)
    world.run(119)
    assert len(world.tries) == 1
    world.away = None
    world.run(10)
    assert world.tries[1] >= 120
    assert world.status == document(GOOD)


def test_orders_that_are_known_are_given_meanwhile(world: World) -> None:
    world.order(1)
    world.away = ApiError(0, "the connection was refused")
    world.run(60)
    assert len(world.puts) == 1


@pytest.mark.parametrize("action", ["Boot", "Rollback"])
def test_an_order_to_reboot_that_was_taken_back_is_not_given_from_a_watch_that_was_cut(
    world: World, action: str
) -> None:
    world.silence()
    world.order(1, action)
    world.run()
    world.lag = True
    world.order(2, "None")
    world.tell(GOOD)
    world.run(60)
    assert world.puts == []
    world.lag = False
    world.run()
    assert [number for _, number in world.puts] == [2]


def test_an_order_to_reboot_waits_until_it_is_known_that_it_still_stands(world: World) -> None:
    world.order(1, "Boot")
    world.away = ApiError(0, "the connection was refused")
    world.run(60)
    assert world.puts == []
    assert world.condition("Delivered") is None
    world.away = None
    world.run(60)
    assert [number for _, number in world.puts] == [1]


def test_an_order_to_reboot_of_an_object_that_is_gone_is_not_given(world: World) -> None:
    world.silence()
    world.order(1, "Boot")
    world.run()
    world.lag = True
    world.create("uid-2")
    world.order(1, "Boot")
    world.tell(GOOD)
    world.run(60)
    assert world.puts == []


# objects and nodes that are made anew


def test_an_object_that_is_made_anew_is_told_all(world: World) -> None:
    world.tell(replace(GOOD, observed_order=Observed(7, "Stage", "Done")))
    world.order(7)
    world.run()
    world.server.remove(PATH)
    world.run(60)
    world.create("uid-2")
    world.run()
    assert world.status == document(GOOD)
    world.order(8)
    world.run()
    assert world.status["observedOrder"]["id"] == 8
    assert world.refused == []


def test_an_order_that_was_refused_is_refused_again_for_an_object_that_is_made_anew(world: World) -> None:
    world.tell(replace(GOOD, observed_order=Observed(3, "Stage", "Done")))
    for uid in ("uid-2", "uid-3"):
        world.create(uid)
        world.run()
        world.order(2)
        world.run(600)
        assert world.condition("Delivered")


def test_what_was_written_before_a_restart_and_not_seen_since_is_found_in_the_end(world: World) -> None:
    world.run()
    world.lag = True
    world.tell(replace(GOOD, progress=Progress("read", 31)))
    world.run(10)
    assert "progress" in world.status
    world.restart()
    world.tell(replace(GOOD, phase=Phase.STAGED))
    world.run(10)
    world.lag = False
    world.run()
    assert world.status == document(replace(GOOD, phase=Phase.STAGED))


def test_an_object_that_is_made_anew_is_not_waited_for(world: World) -> None:
    """The one before could not be written; this one can."""
    world.away = ApiError(403, "no")
    world.run(600)
    world.away = None
    world.create("uid-2")
    world.run()
    assert world.status == document(GOOD)


def test_a_node_with_a_new_disk_gets_its_order_again(world: World) -> None:
    world.tell(replace(GOOD, observed_order=Observed(7, "Stage", "Done")))
    world.order(7)
    world.run()
    world.silence()
    world.run(30)
    world.tell(GOOD)
    world.run()
    assert world.puts == [(30.0, 7)]
    assert world.status["observedOrder"] == {"id": 7, "action": "Stage", "result": "Running"}
    assert world.refused == []


# an agent that is away


def test_a_silent_agent_is_told_after_a_while(world: World) -> None:
    world.run()
    world.silence("nobody listens")
    world.run(SILENT_SECONDS - 1)
    assert world.status == document(GOOD)
    world.run(2)
    found = world.condition("AgentAnswers")
    assert found is not None
    assert (found["status"], found["message"]) == ("False", "nobody listens")
    assert world.status["phase"] == Phase.GOOD
    world.run(3600)
    assert len(world.bodies) == 2
    world.tell(GOOD)
    world.run()
    assert world.status == document(GOOD)


def test_an_agent_that_was_never_heard() -> None:
    world = World()
    world.run(3600)
    assert list(world.status) == ["conditions"]
    assert len(world.bodies) == 1


def test_a_proxy_that_begins_anew_keeps_what_was_said(world: World) -> None:
    world.run()
    world.told = Told()
    world.restart()
    world.run(SILENT_SECONDS + 1)
    assert world.condition("AgentAnswers")
    since = world.status["conditions"][0]["lastTransitionTime"]
    world.restart()
    world.told = Told(since=world.clock.at)
    world.run(3600)
    assert world.status["phase"] == Phase.GOOD
    assert world.status["conditions"][0]["lastTransitionTime"] == since


# whatever happens


_EVENTS: dict[str, Callable[[World, int], None]] = {
    "status": lambda world, n: world.tell(
        replace(world.told.status or GOOD, phase=f"P{n}", progress=Progress("x", n) if n % 2 else None)
    ),
    "order": lambda world, n: world.order(world.given.get("id", 0) + 1 + n % 3),
    "silence": lambda world, n: world.silence(),
    "away": lambda world, n: setattr(world, "away", ApiError((0, 429, 500)[n % 3], "no", retry_after=n)),
    "back": lambda world, n: setattr(world, "away", None),
    "restart": lambda world, n: world.restart(),
    "recreate": lambda world, n: world.create(f"uid-{world.server.version + 1}"),  # none comes twice
    "new disk": lambda world, n: world.replace_disk(),
    "lag": lambda world, n: setattr(world, "lag", bool(n % 2)),
    "time": lambda world, n: world.run(float(n)),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(_EVENTS)), st.integers(0, 40)), max_size=40))
def test_in_the_end_all_is_as_it_must_be(events: list[tuple[str, int]]) -> None:
    world = World()
    for name, number in events:
        _EVENTS[name](world, number)
        world.proxy.step()
    world.lag, world.away = False, None
    world.tell(world.told.status or GOOD)
    world.run(600)
    status, order = world.told.status, world.given or None
    assert status is not None
    said = document(status)
    seen_order = said.pop("observedOrder", None)
    told = {key: value for key, value in world.status.items() if key not in ("observedOrder", "conditions")}
    assert told == {key: value for key, value in said.items() if key != "conditions"}
    if order is not None:
        taken = seen_order is not None and seen_order["id"] == order["id"]
        assert taken != (world.condition("Delivered") is not None)
        assert not taken or world.status["observedOrder"] == seen_order
    writes = len(world.tries)
    world.run(3600)
    assert len(world.tries) == writes


def test_words_of_a_view() -> None:
    """Whatever stands in an object, it is borne."""
    metadata = {"name": "n1", "uid": "u", "resourceVersion": "x"}
    assert seen({"metadata": metadata}) == Seen("u", 0, None, {})
    assert seen({"metadata": metadata, "spec": 1, "status": "x"}) == Seen("u", 0, None, {})
    assert seen({"metadata": metadata, "spec": {"order": {}}}) == Seen("u", 0, None, {})


def test_actions_are_those_of_the_wire(world: World) -> None:
    for number, action in enumerate(Action, start=1):
        world.order(number, action.value, trial={"bootID": "b", "rootHash": "a" * 64})
        world.run()
    assert [number for _, number in world.puts] == list(range(1, len(Action) + 1))
