"""What is told of actions, rollouts and drains, and that each thing is told once."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from proa.core.orders.messages import FIRST, Condition
from proa.core.orders.messages import Action as Verb
from proa.scheduler.control.event_recorder import EventRecorder
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.emit import About
from proa.scheduler.objects.writing import Outcome, Written
from proa.scheduler.planning.actions import Action, Cordon, Create, Give, Note, Uncordon
from proa.scheduler.planning.views import Mark, NodeRecord, NodeView, RolloutView
from proa.scheduler.spec.rollout import RolloutSpec
from proa.scheduler.spec.rolloutstatus import Blocker, RolloutPhase, RolloutStatus

NODE = NodeView("n1", "u1", {})
ROLLOUT = RolloutView("workers", "r1", 1, RolloutSpec(release="r"), RolloutStatus(phase="Staging"))
DONE = Written(Outcome.DONE, 1)


class Line(NamedTuple):
    """An event that was told."""

    about: About
    reason: str
    note: str
    warning: bool


class Ears:
    """Hears all that is told."""

    def __init__(self) -> None:
        self.heard: list[Line] = []

    def tell(self, about: About, reason: str, note: str, *, action: str = "Update", warning: bool = False) -> None:
        assert action
        self.heard.append(Line(about, reason, note, warning))


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.mark.parametrize(
    ("action", "reason", "warning"),
    [
        (Cordon("n1", Mark("workers", "d", FIRST, True, "b")), "UpdateStarted", False),
        (Uncordon("n1", "Done"), "UpdateDone", False),
        (Uncordon("n1", "Held"), "Uncordoned", False),
        (Uncordon("n1", "DrainTimeout"), "Uncordoned", True),
        (Note("n1", NodeRecord("workers", "d", reason="RolledBack", message="it came back")), "RolledBack", True),
        (Give("n1", 2, Verb.ROLLBACK, "r"), "RollbackOrdered", False),
        (Give("n1", 2, Verb.NONE), "RebootTakenBack", False),
    ],
    ids=lambda value: getattr(value, "reason", None) or type(value).__name__,
)
def test_what_matters_is_told_of_the_node(ears: Ears, action: Action, reason: str, warning: bool) -> None:
    EventRecorder(ears).did(action, DONE, NODE)
    ((about, told, note, is_warning),) = ears.heard
    assert (about, told, is_warning) == (About("Node", "n1", "u1"), reason, warning)
    assert note


@pytest.mark.parametrize("action", [Create("n1"), Give("n1", 1, Verb.STAGE, "r")], ids=lambda one: type(one).__name__)
def test_what_happens_on_every_way_is_not_told(ears: Ears, action: Action) -> None:
    EventRecorder(ears).did(action, DONE, NODE)
    assert ears.heard == []


@pytest.mark.parametrize("outcome", [one for one in Outcome if one not in (Outcome.DONE, Outcome.REFUSED)])
def test_what_was_not_done_is_not_told(ears: Ears, outcome: Outcome) -> None:
    EventRecorder(ears).did(Uncordon("n1", "Done"), Written(outcome, error=ApiError(0, "x")), NODE)
    assert ears.heard == []


def test_a_refusal_is_told_with_its_reason(ears: Ears) -> None:
    EventRecorder(ears).did(Create("n1"), Written(Outcome.REFUSED, error=ApiError(403, "no right to")), NODE)
    assert [(one.reason, one.note, one.warning) for one in ears.heard] == [
        ("WriteRefused", "Create: no right to", True)
    ]


def test_nothing_is_told_of_a_node_that_is_gone(ears: Ears) -> None:
    EventRecorder(ears).did(Uncordon("n1", "Done"), DONE, None)
    assert ears.heard == []


def test_another_phase_is_told_once(ears: Ears) -> None:
    recorder, rollouts = EventRecorder(ears), {"workers": ROLLOUT}
    for phase in ("Staging", "Progressing", "Progressing", "Complete"):
        recorder.stands(rollouts, {"workers": RolloutStatus(phase=phase, release="r", progress="1/2")})
    assert [one.reason for one in ears.heard] == ["Progressing", "Complete"]
    assert ears.heard[0].about == About("OSRollout", "workers", "r1", "proa.dev/v1alpha1")
    assert ears.heard[0].note == "1/2 nodes follow r"
    recorder.stands({}, {})
    recorder.stands(rollouts, {"workers": RolloutStatus(phase="Staging")})
    assert len(ears.heard) == 2  # another one of that name is judged by its own status


def test_a_bad_phase_is_a_warning_with_its_reason(ears: Ears) -> None:
    bad = RolloutStatus(phase=RolloutPhase.HALTED, halted="2 nodes failed")
    EventRecorder(ears).stands({"workers": ROLLOUT}, {"workers": bad})
    invalid = Condition("Valid", "False", "InvalidSchedule", "budgets[0]: no such day")
    EventRecorder(ears).stands({"workers": ROLLOUT}, {"workers": RolloutStatus(phase="Invalid", conditions=(invalid,))})
    assert [(one.note, one.warning) for one in ears.heard] == [
        ("2 nodes failed", True),
        ("budgets[0]: no such day", True),
    ]


def test_a_blocker_is_told_once_as_long_as_it_lasts(ears: Ears) -> None:
    recorder, blocker = (
        EventRecorder(ears),
        Blocker("n1", "ns/pod", reason="pod ns/pod: no disruption is allowed", since="1"),
    )
    later = Blocker("n1", "ns/pod", reason="another sentence", since="1")
    for blockers in ((blocker,), (later,), (), (blocker,)):
        recorder.blocked({"n1": NODE}, blockers)
    assert [(one.reason, one.note) for one in ears.heard] == [("DrainBlocked", blocker.reason)] * 2
    recorder.blocked({}, [Blocker("n2", "ns/pod")])
    assert len(ears.heard) == 2


def test_another_term_tells_again(ears: Ears) -> None:
    recorder, blockers = EventRecorder(ears), [Blocker("n1", "ns/pod", reason="x")]
    recorder.blocked({"n1": NODE}, blockers)
    recorder.clear()
    recorder.blocked({"n1": NODE}, blockers)
    assert len(ears.heard) == 2
