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
_LOST = f"{_PERSON}, if one is lost: repair it, or set proa.dev/hold or proa.dev/exclude on it"


class Reason(enum.Enum):
    """Every reason. Names never change their meaning; new ones are only added."""

    # done
    UpToDate = Why("The node runs the release, committed, with the settings of the rollout.", "-")
    BackOnOld = Why("The node runs the previous release, because the rollout was rolled back.", "-")
    # under way
    Staging = Why("The node is fetching the release into its standby slot.", _NODE)
    Draining = Why("The node's pods are being evicted.", _SCHEDULER)
    AwaitingPods = Why("Pods may finish before anything is evicted from the node (drain.waitFor).", _TIME)
    Booting = Why("The node has the order to reboot, and has not come back yet.", _NODE)
    Proving = Why("The node runs the release on trial, and has not been healthy for long enough yet.", _NODE)
    Committing = Why("The node has the order to commit.", _NODE)
    Configuring = Why("The node has the order to apply the settings.", _NODE)
    ProvingSettings = Why("The node has the settings on trial, and has not been healthy for long enough yet.", _NODE)
    Finishing = Why("The node runs the release, committed, and is about to be uncordoned.", _SCHEDULER)
    TakingBack = Why(
        "The node has not accepted its order to reboot; the order is withdrawn, and then the node is uncordoned.",
        _SCHEDULER,
    )
    LetGo = Why("No rollout selects the node any more, so it is uncordoned.", _SCHEDULER)
    # its turn
    Next = Why("The node starts now.", "-")
    StageNext = Why("The node gets the order to fetch the release now.", "-")
    # a person, or another, holds it back
    Paused = Why("The rollout is paused.", f"{_PERSON}: kubectl proa resume")
    AwaitingApproval = Why("Nobody has approved the release yet.", f"{_PERSON}: kubectl proa approve")
    Held = Why("A person holds the node.", f"{_PERSON}: remove the annotation proa.dev/hold")
    Excluded = Why("A person has excluded the node.", f"{_PERSON}: remove the annotation proa.dev/exclude")
    ControlPlaneExcluded = Why("Control-plane nodes are excluded.", f"{_PERSON}: spec.order.controlPlane")
    Conflict = Why("Several rollouts select the node, so none of them acts.", f"{_PERSON}: change a nodeSelector")
    Halted = Why("The rollout halted.", f"{_PERSON}: kubectl proa resume, or another release")
    ForeignTrial = Why("The node runs a trial that Proa did not order.", f"{_PERSON}: commit it or roll it back")
    ForeignMark = Why(
        "The node has a mark that belongs to no readable rollout.",
        f"{_PERSON}: correct the rollout, or remove proa.dev/mark",
    )
    NothingToReturnTo = Why("The node's other slot holds nothing to go back to.", f"{_PERSON}: install a release there")
    DisturbsMore = Why(
        "The new settings disturb the node more than settingsDisruption says.",
        f"{_PERSON}: spec.settingsDisruption, or other settings",
    )
    CannotBeSet = Why(
        "The agent of the node's release does not report settings, so it cannot be configured.",
        f"{_PERSON}: a release with a newer agent, or no settings in the rollout",
    )
    # the node itself
    New = Why("The node has just joined.", _SCHEDULER)
    Recreated = Why("The node was recreated under its old name; its old NodeOS has to go first.", _SCHEDULER)
    AgentSilent = Why("The node's agent has never reported.", f"{_PERSON}: look at the proxy's pod on the node")
    NoAgent = Why(
        "No agent has ever reported from the node, so it does not count: the rollout is complete without it.",
        f"{_PERSON}: look at the proxy's pod on the node, or leave the node out by spec.nodeSelector",
    )
    WriteRefused = Why(
        "The cluster does not accept what the scheduler writes to the node; it tries again later, and less often.",
        f"{_PERSON}: look at the webhooks and policies that judge writes to this node",
    )
    NotReady = Why("The node is not Ready.", _NODE)
    Leaving = Why("The node is about to be removed from the cluster, so it is not started.", "who removes it")
    Cordoned = Why(
        "Somebody else has cordoned the node, so it is not started.",
        f"{_PERSON}: kubectl uncordon, or spec.cordoned: Include",
    )
    BackingOff = Why("An attempt failed on the node; it has another turn later.", _TIME)
    Parked = Why("The node's drain took too long, or somebody removed its cordon; it has another turn later.", _TIME)
    GivenUp = Why("The node has failed as often as allowed.", f"{_PERSON}: fix the node, then kubectl proa resume")
    AlertsFiring = Why("A query of health.alerts has a result.", f"{_PERSON}: look at what fires, or change the query")
    AlertsUnknown = Why(
        "Prometheus has not answered the queries of health.alerts.",
        f"{_SCHEDULER}; {_PERSON}, if that lasts: look at Prometheus, and at the scheduler's --prometheus",
    )
    # others go first
    NoFreeSlot = Why(
        "As many nodes are unavailable as allowed.",
        f"{_SCHEDULER}; {_PERSON}, if none of them has its turn: bring them back, or set proa.dev/exclude on them",
    )
    NoBudget = Why("No node may be unavailable: maxUnavailable is 0.", f"{_PERSON}: spec.maxUnavailable or a budget")
    WindowClosed = Why("No window is open.", _TIME)
    WindowTooShort = Why(
        "The node would not finish before the windows close, or before no node may be unavailable.", _TIME
    )
    AwaitingCanary = Why("The canaries have not proved the release yet.", _SCHEDULER)
    Soaking = Why("The canaries have not run the release for long enough yet.", _TIME)
    NodesLost = Why(
        "Nodes were removed from the cluster between their order to reboot and their proof; the next one starts later.",
        f"{_TIME}; {_PERSON}: look at who removes them",
    )
    StagingOthers = Why(
        "Other nodes are still fetching the release; no node is disrupted before all have it.", _SCHEDULER
    )
    StagingFull = Why("As many nodes are fetching the release as allowed.", _SCHEDULER)
    OtherZone = Why("Nodes of another zone go first.", _SCHEDULER)
    ZoneSoaking = Why("The nodes of the last zone have not run the release for long enough yet.", _TIME)
    EarlierGroup = Why("Nodes of an earlier group go first.", _SCHEDULER)
    JoinedLater = Why("The node joined after the rollout began, and nodes that were there before go first.", _SCHEDULER)
    GroupSoaking = Why("The nodes of an earlier group have not run the release for long enough yet.", _TIME)
    WaveUnwell = Why(
        "Nodes of an earlier group, or of the last zone, run the release and are not Ready.",
        f"{_NODE}; {_PERSON}, if one is lost: repair it, or set proa.dev/hold or proa.dev/exclude on it",
    )
    ControlPlaneLater = Why("Control-plane nodes go last.", _SCHEDULER)
    ControlPlaneFirst = Why("Control-plane nodes go first.", f"{_SCHEDULER}; {_LOST}")
    ControlPlaneBusy = Why("Another control-plane node is unavailable or not Ready.", f"{_SCHEDULER}; {_LOST}")
    Undrainable = Why(
        "Something would block the node's drain forever, so it is not cordoned.",
        f"{_PERSON}: change the pod or its budget, or spec.drain (undrainable: Try, onTimeout)",
    )
    OwnNodeLast = Why("The scheduler runs on the node, so it goes last.", _SCHEDULER)

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
