"""Nothing waits for a person in silence."""

from __future__ import annotations

import pytest

from proa.scheduler.control.event_recorder import A_WHILE, EventRecorder
from proa.scheduler.kube.emit import About
from proa.scheduler.planning.reasons import Reason, Verdict
from proa.scheduler.planning.views import RolloutView
from proa.scheduler.testing.situations import change


class Ears:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def tell(self, about: About, reason: str, note: str, **rest: object) -> None:
        self.heard.append((reason, note))


def test_a_person_is_told_once_after_a_while_what_nodes_wait_for() -> None:
    ears, rollouts = Ears(), {"workers": RolloutView("workers", "u", 1, change())}
    recorder = EventRecorder(ears)
    cordoned = {"workers": {f"n{number}": Verdict(Reason.Cordoned) for number in range(7)}}
    for now in (0.0, A_WHILE - 1, A_WHILE, A_WHILE + 1):
        recorder.waits(rollouts, cordoned, now)
    ((reason, note),) = ears.heard
    assert reason == "WaitingCordoned"
    assert note.startswith("n0, n1, n2, n3, n4 and 2 more: Cordoned: Somebody else has cordoned the node")
    assert "kubectl uncordon" in note


@pytest.mark.parametrize("reason", [Reason.GroupSoaking, Reason.ZoneSoaking])
def test_a_long_soak_is_told_of_once(reason: Reason) -> None:
    ears, rollouts = Ears(), {"workers": RolloutView("workers", "u", 1, change())}
    recorder = EventRecorder(ears)
    for now in (0.0, A_WHILE - 1, A_WHILE, A_WHILE * 3):
        recorder.waits(rollouts, {"workers": {"n1": Verdict(reason, f"until {now}")}}, now)
    ((said, note),) = ears.heard
    assert said == f"Waiting{reason.name}"
    assert note.startswith(f"n1: {reason.name}: until {A_WHILE}")


def test_what_has_ended_meanwhile_begins_anew() -> None:
    ears, rollouts = Ears(), {"workers": RolloutView("workers", "u", 1, change())}
    recorder = EventRecorder(ears)
    held = {"workers": {"n1": Verdict(Reason.Held)}}
    for now, said in ((0.0, held), (500.0, {}), (A_WHILE, held), (A_WHILE * 2 - 1, held)):
        recorder.waits(rollouts, said, now)
    assert ears.heard == []
    recorder.waits(rollouts, {"workers": {"n1": Verdict(Reason.UpToDate)}}, A_WHILE * 5)
    assert ears.heard == []
