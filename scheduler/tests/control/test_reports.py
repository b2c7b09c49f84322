"""The statuses of rollouts: what is written at once, what by and by, and that nothing that was noted is lost."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import pytest

from proa.scheduler.control.reports import CALM, Reports
from proa.scheduler.objects.writing import Outcome, Writer, Written
from proa.scheduler.planning.views import RolloutView
from proa.scheduler.spec.rollout import RolloutSpec
from proa.scheduler.spec.rolloutstatus import Counts, RolloutStatus

FIRST = RolloutStatus(phase="Staging", started_at="2026-01-01T00:00:00Z")
COUNTED = dataclasses.replace(FIRST, counts=Counts(nodes=3), recent_seconds=(60,))
HALTED = dataclasses.replace(COUNTED, phase="Halted", halted="too much has failed")


@dataclass
class Cluster:
    """One rollout, as it is on the API server and as it is seen; takes statuses as :class:`Writer` does."""

    real: RolloutView = RolloutView("workers", "u1", 1, RolloutSpec(release="r"), version="10")  # noqa: RUF009
    outcome: Outcome = Outcome.DONE
    takes: bool = True
    asked: list[RolloutStatus] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.seen = self.real

    def report(self, view: RolloutView, status: RolloutStatus) -> Written:
        self.asked.append(status)
        if self.outcome not in (Outcome.DONE, Outcome.AWAY):
            return Written(self.outcome)
        if view.version != self.real.version:
            return Written(Outcome.STALE)
        if self.takes:
            self.change(status=status)
        return Written(self.outcome, int(self.real.version) if self.outcome is Outcome.DONE else 0)

    def change(self, **values: object) -> None:
        version = str(int(self.real.version) + 1)
        self.real = dataclasses.replace(self.real, version=version, **values)  # type: ignore[arg-type]

    def show(self) -> None:
        self.seen = self.real


class Case:
    """A controller's use of :class:`Reports`, pass by pass."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.reports = Reports(self.cluster)  # type: ignore[arg-type]  # all that is asked of a writer
        self.now = 1000.0

    @property
    def rollouts(self) -> dict[str, RolloutView]:
        return {"workers": self.cluster.seen}

    @property
    def planned_from(self) -> RolloutStatus:
        return self.reports.over(self.rollouts)["workers"].status

    def step(self, status: RolloutStatus) -> list[Outcome]:
        """Plan a status, and write what is due."""
        self.reports.over(self.rollouts)
        self.reports.take(self.rollouts, {"workers": status})
        return [written.outcome for written in self.reports.write(self.rollouts, self.now)]

    def due(self) -> float | None:
        return self.reports.due(self.rollouts, self.now)


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_writer_is_all_that_is_asked() -> None:
    assert callable(Writer.report)


def test_what_says_nothing_new_is_not_written(case: Case) -> None:
    assert case.step(case.cluster.seen.status) == []
    assert case.due() is None


def test_the_first_is_written_at_once(case: Case) -> None:
    assert case.step(FIRST) == [Outcome.DONE]
    case.cluster.show()
    assert case.step(FIRST) == []
    assert case.due() is None


def test_what_only_counts_on_waits(case: Case) -> None:
    case.step(FIRST)
    case.cluster.show()
    case.now += 1
    assert case.step(COUNTED) == []
    assert case.planned_from == COUNTED
    assert case.due() == CALM - 1
    case.now += CALM - 1
    assert case.step(COUNTED) == [Outcome.DONE]


@pytest.mark.parametrize(
    "changes",
    [{"phase": "Halted"}, {"halted": "x"}, {"failed_digests": ("d",)}, {"release": "s"}, {"attempt": 2}],
    ids=str,
)
def test_what_people_must_know_is_written_at_once(case: Case, changes: dict[str, object]) -> None:
    case.step(FIRST)
    case.cluster.show()
    assert case.step(dataclasses.replace(FIRST, **changes)) == [Outcome.DONE]  # type: ignore[arg-type]


def test_nothing_is_written_over_what_does_not_show_yet_and_nobody_waits_for_that_busily(case: Case) -> None:
    case.step(FIRST)
    case.now += 10 * CALM
    assert case.step(HALTED) == []
    assert case.due() is None  # the reflector rings when it shows
    case.cluster.show()
    assert case.due() == 0
    assert case.step(HALTED) == [Outcome.DONE]


def test_a_change_of_the_spec_meanwhile_loses_nothing(case: Case) -> None:
    """Somebody pauses the rollout while we write: what was noted before is still noted."""
    case.step(FIRST)
    case.cluster.show()
    case.cluster.change(generation=2)
    assert case.step(HALTED) == [Outcome.STALE]
    assert case.planned_from == HALTED
    assert case.step(HALTED) == []  # over the same version it would be refused again
    assert case.due() == CALM
    case.cluster.show()
    assert case.planned_from == HALTED
    assert case.step(HALTED) == [Outcome.DONE]
    assert case.cluster.real.status.recent_seconds == (60,)


def test_a_status_that_somebody_else_wrote_meanwhile_is_planned_over(case: Case) -> None:
    case.step(FIRST)
    case.cluster.show()
    case.cluster.change(status=HALTED)
    assert case.step(dataclasses.replace(FIRST, phase="Progressing")) == [Outcome.STALE]
    case.cluster.show()
    assert case.planned_from == HALTED


@pytest.mark.parametrize("takes", [True, False])
def test_a_write_without_an_answer_loses_nothing(case: Case, takes: bool) -> None:
    case.cluster.outcome, case.cluster.takes = Outcome.AWAY, takes
    assert case.step(COUNTED) == [Outcome.AWAY]
    case.cluster.outcome, case.cluster.takes = Outcome.DONE, True
    case.now += CALM
    case.step(HALTED)
    case.cluster.show()
    assert case.planned_from == HALTED
    case.now += CALM
    case.step(HALTED)
    assert case.cluster.real.status == HALTED


def test_what_is_refused_is_not_asked_for_again_and_again(case: Case) -> None:
    case.cluster.outcome = Outcome.REFUSED
    assert case.step(HALTED) == [Outcome.REFUSED]
    case.now += 1
    assert case.step(HALTED) == []
    assert case.due() == CALM - 1
    case.now += CALM
    assert case.step(HALTED) == [Outcome.REFUSED]


def test_a_rollout_that_was_made_anew_starts_anew(case: Case) -> None:
    case.step(FIRST)
    case.cluster.show()
    case.step(HALTED)
    case.cluster.change(uid="u2", status=RolloutStatus())
    case.cluster.show()
    assert case.planned_from == RolloutStatus()


def test_a_rollout_that_is_gone_is_forgotten(case: Case) -> None:
    case.step(FIRST)
    assert case.reports.over({}) == {}
    case.reports.take({}, {"workers": FIRST})
    assert list(case.reports.write({}, case.now)) == []


def test_another_term_goes_on_from_what_is_written(case: Case) -> None:
    case.step(FIRST)
    case.cluster.show()
    case.step(COUNTED)
    case.reports.clear()
    assert case.planned_from == FIRST


def test_after_one_that_ended_the_pass_the_others_come_first() -> None:
    asked = []

    class Away:
        """An API server that gives no answer."""

        def report(self, view: RolloutView, status: RolloutStatus) -> Written:
            asked.append(view.name)
            return Written(Outcome.AWAY)

    reports = Reports(Away())  # type: ignore[arg-type]  # all that is asked of a writer
    rollouts = {name: RolloutView(name, name, 1, RolloutSpec(release="r"), version="10") for name in "abc"}
    reports.take(rollouts, dict.fromkeys(rollouts, FIRST))
    for number in range(4):
        next(reports.write(rollouts, 1000 + CALM * number))
    assert asked == ["a", "b", "c", "a"]
