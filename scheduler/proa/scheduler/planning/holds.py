"""What holds a node back that could fetch the release, or be started: a table of gates, the first shut one counts.

``explain`` asks all of them. What has nothing of its own to hold it back gets the verdict of its group, so that 5,000
nodes are a few questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from proa.scheduler.planning.actions import Cordon, Verdict
from proa.scheduler.planning.blame import waiting
from proa.scheduler.planning.canary import is_soaking
from proa.scheduler.planning.node_progress import Standing
from proa.scheduler.planning.precedence import Others
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.planning.rollout_pass import Campaign
from proa.scheduler.spec.rollout import ControlPlane, Zones
from proa.scheduler.spec.times import text


@dataclass(frozen=True)
class Cluster:
    """What matters of nodes beyond those of one rollout.

    Attributes:
        control_plane_away: Nodes of the control plane that are away or not Ready.
    """

    control_plane_away: frozenset[str]

    def after(self, campaign: Campaign) -> Cluster:
        """The same for the rollout that is planned next: whom this one cordons is away."""
        cordoned = (action.node for action in campaign.actions if isinstance(action, Cordon))
        nodes = campaign.snapshot.nodes
        return Cluster(self.control_plane_away | {name for name in cordoned if nodes[name].control_plane})


@dataclass(frozen=True)
class Sight:
    """What the gates look at, besides the node.

    Attributes:
        campaign: The rollout.
        canaries: Those that the others wait for; none when all may go.
        others: Who goes before.
        cluster: What matters beyond the rollout.
    """

    campaign: Campaign
    canaries: frozenset[str] | None
    others: Others
    cluster: Cluster


Gate = Callable[[Sight, Standing], Verdict | None]


def _halted(sight: Sight, _: Standing) -> Verdict | None:
    campaign = sight.campaign
    return Verdict(Reason.Halted, campaign.status.halted) if campaign.halted and not campaign.aim.back else None


def _paused(sight: Sight, _: Standing) -> Verdict | None:
    return Verdict(Reason.Paused) if sight.campaign.spec.paused else None


def _held(_: Sight, standing: Standing) -> Verdict | None:
    hold = standing.node.hold
    return Verdict(Reason.Held, hold) if hold is not None else None


def _not_ready(sight: Sight, standing: Standing) -> Verdict | None:
    """A node that is ill waits; but not for the way back, which may be what cures it."""
    return None if standing.node.ready or sight.campaign.aim.back else Verdict(Reason.NotReady)


def _given_up(sight: Sight, standing: Standing) -> Verdict | None:
    record = standing.record
    if record is None or record.failures <= sight.campaign.spec.retry.limit:
        return None
    return Verdict(Reason.GivenUp, record.message)


def _waiting(sight: Sight, standing: Standing) -> Verdict | None:
    until = waiting(standing, sight.campaign.now)
    if until is None:
        return None
    sight.campaign.wakes.append(until)
    parked = standing.record is not None and standing.record.parks > 0 and not standing.record.failures
    return Verdict(Reason.Parked if parked else Reason.BackingOff, f"until {text(until)}")


def _canary(sight: Sight, standing: Standing) -> Verdict | None:
    canaries = sight.canaries
    if canaries is None or standing.node.name in canaries:
        return None
    reason = Reason.Soaking if is_soaking(sight.campaign) else Reason.AwaitingCanary
    return Verdict(reason, ", ".join(sorted(canaries)))


def _staging_others(sight: Sight, _: Standing) -> Verdict | None:
    if not sight.others.fetching or sight.campaign.aim.back:
        return None
    return Verdict(Reason.StagingOthers, f"{sight.others.fetching} nodes do not have it yet")


def _control_plane_order(sight: Sight, standing: Standing) -> Verdict | None:
    rule, others = sight.campaign.spec.order.control_plane, sight.others
    if rule is ControlPlane.FIRST and not standing.node.control_plane and others.control_plane:
        return Verdict(Reason.ControlPlaneFirst)
    if rule is ControlPlane.LAST and standing.node.control_plane and others.workers:
        return Verdict(Reason.ControlPlaneLater)
    return None


def _control_plane_busy(sight: Sight, standing: Standing) -> Verdict | None:
    away = sight.cluster.control_plane_away
    if not standing.node.control_plane or not away - {standing.node.name}:
        return None
    return Verdict(Reason.ControlPlaneBusy, f"away: {', '.join(sorted(away))}")


def _zone(sight: Sight, standing: Standing) -> Verdict | None:
    zone = sight.others.zone
    if sight.campaign.spec.order.zones is not Zones.ONE_AT_A_TIME or zone in (None, standing.node.zone):
        return None
    return Verdict(Reason.OtherZone, f"zone {zone or '(none)'}")


def undrainable(sight: Sight, standing: Standing) -> Verdict | None:
    """Whether a node could never be drained."""
    found = sight.campaign.snapshot.hopeless.get(standing.node.name)
    return Verdict(Reason.Undrainable, "; ".join(blocker.reason for blocker in found)) if found else None


def _own_node(sight: Sight, standing: Standing) -> Verdict | None:
    own = standing.node.name == sight.campaign.snapshot.own_node
    return Verdict(Reason.OwnNodeLast) if own and sight.others.workers + sight.others.control_plane else None


REST: Final[tuple[Gate, ...]] = (_halted, _paused, _held, _not_ready, _given_up, _waiting, _canary)
"""What holds back staging and starting alike."""
START: Final[tuple[Gate, ...]] = (
    *REST,
    undrainable,
    _staging_others,
    _control_plane_order,
    _control_plane_busy,
    _zone,
    _own_node,
)
"""The same, and what only holds back a start: that it would lead nowhere, or that others go before."""


def shut(gates: tuple[Gate, ...], sight: Sight, standing: Standing) -> Iterator[Verdict]:
    """The verdict of every gate that is shut for a node."""
    for gate in gates:
        if verdict := gate(sight, standing):
            yield verdict


@dataclass
class Keeper:
    """Asks the gates about many nodes.

    Attributes:
        gates: The gates.
        sight: What they look at.
    """

    gates: tuple[Gate, ...]
    sight: Sight
    _known: dict[tuple[str, bool], Verdict | None] = field(default_factory=dict)

    def verdict(self, standing: Standing) -> Verdict | None:
        """The first gate that is shut; none if all are open."""
        node, canaries, snapshot = standing.node, self.sight.canaries, self.sight.campaign.snapshot
        if not standing.plain or node.name == snapshot.own_node or node.name in snapshot.hopeless:
            return next(shut(self.gates, self.sight, standing), None)
        group = node.zone, canaries is None or node.name in canaries
        if group not in self._known:
            self._known[group] = next(shut(self.gates, self.sight, standing), None)
        return self._known[group]
