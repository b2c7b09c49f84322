"""The proxy when the object or the node's disk is made anew."""

from __future__ import annotations

from dataclasses import replace

from proa.core.orders.messages import Observed, Phase, Progress
from proa.core.schema.model import document
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.testing.proxied import GOOD, PATH, World


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
