"""The controller and Prometheus: it is asked before each start, and at no other time."""

from __future__ import annotations

from collections.abc import Callable

from proa.scheduler.control.alerts import AlertsAsker
from proa.scheduler.kube.prometheus import UnansweredError
from proa.scheduler.planning.actions import Cordon
from proa.scheduler.testing.controlled import Case, assert_all_is_well

ALERTS = {"alerts": [{"name": "critical", "query": "ALERTS"}]}


class Asked:
    """A rollout whose scheduler asks a Prometheus of the test, which does so whenever the controller has had a turn."""

    def __init__(self) -> None:
        self.case = Case(health={"readySeconds": 0, **ALERTS})
        self.queries: list[str] = []
        self.firing: tuple[str, ...] = ()
        self.away = ""
        self.starts()

    def starts(self) -> None:
        """The scheduler starts, or another one does."""
        self.asker = AlertsAsker(self.ask, self.case.changed, self.case.clock)
        self.case.controller.alerts = self.asker

    def ask(self, query: str, seconds: float) -> tuple[str, ...]:
        self.queries.append(query)
        if self.away:
            raise UnansweredError(self.away)
        return self.firing

    def until(self, true: Callable[[], bool]) -> None:
        def then() -> bool:
            self.asker.step()
            return true()

        self.case.until(then)

    @property
    def cordons(self) -> int:
        return sum(isinstance(one, Cordon) for one in self.case.eyes.done)


def test_each_node_is_asked_for_and_a_rollout_that_is_done_asks_nothing() -> None:
    asked = Asked()
    asked.until(lambda: asked.case.phase == "Complete")
    assert_all_is_well(asked.case)
    assert asked.queries == ["ALERTS"] * 3
    for _ in range(20):
        asked.case.turn()
        asked.asker.step()
    assert len(asked.queries) == 3
    assert [reason for _, reason in asked.case.ears.heard].count("Waiting") <= 1  # it does not flicker


def test_an_alert_between_two_nodes_holds_the_second_one_back() -> None:
    asked = Asked()
    asked.until(lambda: asked.case.boots == {"n0": 1})
    asked.firing = ("NodeDown",)
    asked.until(lambda: bool(asked.case.status.get("alerts")))
    for _ in range(20):
        asked.case.turn()
        asked.asker.step()
    assert (asked.cordons, asked.case.status["alerts"]["firing"]) == (1, ["critical: NodeDown"])
    asked.firing = ()
    asked.until(lambda: asked.case.phase == "Complete")
    assert "alerts" not in asked.case.status


def test_another_leader_starts_nothing_on_what_the_one_before_was_told() -> None:
    asked = Asked()
    asked.away = "it cannot be reached"
    asked.until(lambda: bool(asked.case.status.get("alerts")))
    asked.case.start()
    asked.starts()
    for _ in range(5):
        asked.case.turn()
    assert asked.cordons == 0
    asked.until(lambda: "critical: it cannot be reached" in str(asked.case.status.get("alerts")))


def test_who_leads_no_more_asks_no_more() -> None:
    asked = Asked()
    asked.away = "it cannot be reached"
    asked.until(lambda: bool(asked.case.status.get("alerts")))
    asked.case.elector.leading = False
    asked.case.turn()
    before = len(asked.queries)
    for _ in range(10):
        asked.case.turn()
        asked.asker.step()
    assert len(asked.queries) == before
