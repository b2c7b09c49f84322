"""The proxy while the API server is away, or wants to be left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proa.core.orders.messages import Phase
from proa.core.schema.model import document
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.proxy.proxy import HURRY_SECONDS
from proa.scheduler.testing.proxied import GOOD, World


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
    assert world.said.count("could not write the status") == 1
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
