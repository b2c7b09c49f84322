"""The proxy: what it gives to the agent and writes to the API server, when, and how it bears an agent that is away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proa.core.orders.messages import Action, NodeStatus, Observed, Order, Phase, Progress
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.proxy.follower import Told
from proa.scheduler.proxy.proxy import BURST, BURST_SECONDS, PROGRESS_SECONDS, SILENT_SECONDS, Seen, seen
from proa.scheduler.testing.proxied import GOOD, PATH, World


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
    assert world.said.count("the agent refuses an order") == 1
    assert len(world.bodies) == 1


def test_another_agent_is_asked_again(world: World) -> None:
    """Perhaps it is a newer one."""
    world.says = ProaError(Code.CONFIG_VALUE, "order.action is not a known key")
    world.order(1)
    world.run(60)
    world.silence()
    world.run(1)
    world.tell(GOOD)
    world.run(60)
    assert len(world.puts) == 2
    assert world.said.count("the agent refuses an order") == 1
    world.silence()
    world.run(1)
    world.says = None
    world.tell(GOOD)
    world.run()
    assert world.condition("Delivered") is None


@pytest.mark.parametrize("knows", [True, False])
def test_an_agent_that_knows_no_rate_gets_its_order_without(knows: bool) -> None:
    """The proxy is newer than the agent as long as a rollout brings the new agent."""
    world, offered = World(), []

    def agent(order: Order) -> NodeStatus:
        offered.append(order.bytes_per_second)
        if order.bytes_per_second and not knows:
            raise ProaError(Code.CONFIG_VALUE, "bytesPerSecond is not a known key")
        return GOOD

    world.proxy.put = agent
    world.tell(GOOD)
    world.order(1, bytesPerSecond=1 << 20)
    world.run(600)
    assert offered == [1 << 20] + ([] if knows else [0])
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
