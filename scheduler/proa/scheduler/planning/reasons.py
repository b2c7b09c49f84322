"""Why a node does or does not move: stable words, a sentence each, and who can change it.

They stand in events, conditions and metrics, and ``explain`` prints them; ``docs/reference/reasons.md`` is
generated from this table.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True)
class Why:
    """What is known about a reason.

    Attributes:
        text: In a sentence.
        who: Who can change it.
    """

    text: str
    who: str


_TIME = "time"
_SCHEDULER = "the scheduler, by itself"
_NODE = "the node, by itself"
_PERSON = "a person"


class Reason(enum.Enum):
    """Every reason. Names never change their meaning; new ones are only added."""

    # done
    UpToDate = Why("It runs the release, committed.", "-")
    BackOnOld = Why("It runs the release before, as the rollout was rolled back.", "-")
    # under way
    Staging = Why("The node fetches the release into its standby slot.", _NODE)
    Draining = Why("Its pods are moved away.", _SCHEDULER)
    Booting = Why("It was ordered to reboot, and has not come back yet.", _NODE)
    Proving = Why("It runs the release on trial; what is demanded of it has not been seen for long enough yet.", _NODE)
    Committing = Why("It was ordered to commit.", _NODE)
    Finishing = Why("It runs the release, committed, and is about to be uncordoned.", _SCHEDULER)
    TakingBack = Why("An order to reboot that it has not taken up is taken back, then it is given back.", _SCHEDULER)
    LetGo = Why("Its rollout is gone, or does not select it any more: it is given back.", _SCHEDULER)
    # its turn
    Next = Why("It is started now.", "-")
    StageNext = Why("It is ordered to fetch the release now.", "-")
    # a person, or another, holds it back
    Paused = Why("The rollout is paused.", f"{_PERSON}: kubectl proa resume")
    Held = Why("A person holds the node.", f"{_PERSON}: remove the annotation proa.dev/hold")
    Excluded = Why("A person has excluded the node.", f"{_PERSON}: remove the annotation proa.dev/exclude")
    ControlPlaneExcluded = Why("Nodes of the control plane are excluded.", f"{_PERSON}: spec.order.controlPlane")
    Conflict = Why("Several rollouts select the node; none of them acts.", f"{_PERSON}: change a nodeSelector")
    Halted = Why("The rollout was halted.", f"{_PERSON}: kubectl proa resume, or another release")
    ForeignTrial = Why("A trial runs there that no order of ours began.", f"{_PERSON}: commit it or roll it back")
    ForeignMark = Why(
        "It has a mark for which no rollout can answer.", f"{_PERSON}: mend the rollout, or remove proa.dev/mark"
    )
    NothingToReturnTo = Why("Its other slot holds nothing to go back to.", f"{_PERSON}: install a release there")
    # the node itself
    New = Why("The node has just joined.", _SCHEDULER)
    Recreated = Why("The node was made anew under its old name; its old object goes first.", _SCHEDULER)
    AgentSilent = Why("Its agent has never reported.", f"{_PERSON}: look at the proxy's pod on the node")
    NotReady = Why("The node is not Ready.", _NODE)
    BackingOff = Why("Something failed there; it has another turn later.", _TIME)
    Parked = Why("Its drain took too long, or its cordon was taken away; it has another turn later.", _TIME)
    GivenUp = Why("It failed as often as is borne.", f"{_PERSON}: mend the node, then kubectl proa resume")
    # others go first
    NoFreeSlot = Why("As many nodes are away as may be.", _SCHEDULER)
    NoBudget = Why("No node may be away: maxUnavailable is 0.", f"{_PERSON}: spec.maxUnavailable or a budget")
    WindowClosed = Why("No window is open.", _TIME)
    WindowTooShort = Why("It would not be done when the windows close, or when no node may be away any more.", _TIME)
    AwaitingCanary = Why("The canaries have not proved the release yet.", _SCHEDULER)
    Soaking = Why("The canaries run the release, but not for long enough yet.", _TIME)
    StagingOthers = Why("Other nodes still fetch the release; none is disturbed before all have it.", _SCHEDULER)
    StagingFull = Why("As many nodes fetch the release as may at a time.", _SCHEDULER)
    OtherZone = Why("Nodes of another zone have their turn.", _SCHEDULER)
    ControlPlaneLater = Why("Nodes of the control plane have their turn later.", _SCHEDULER)
    ControlPlaneFirst = Why("Nodes of the control plane have their turn first.", _SCHEDULER)
    ControlPlaneBusy = Why("Another node of the control plane is away or not Ready.", _SCHEDULER)
    Undrainable = Why(
        "Something would keep it from being drained for ever, so it is not even cordoned.",
        f"{_PERSON}: change the pod or its budget, or spec.drain",
    )
    OwnNodeLast = Why("The scheduler runs there: it has its turn last.", _SCHEDULER)

    @property
    def text(self) -> str:
        """In a sentence."""
        return self.value.text

    @property
    def who(self) -> str:
        """Who can change it."""
        return self.value.who


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a node does or does not move.

    Attributes:
        reason: In a word.
        detail: What exactly, if there is more to say than the reason's sentence.
    """

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason.name}: {self.detail or self.reason.text}"
