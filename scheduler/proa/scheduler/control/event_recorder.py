"""What the controller tells in events: about the node that it does something to, and about the rollout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

from proa.core.orders.messages import Action as Verb
from proa.core.runtime import duration
from proa.core.runtime.errors import ProaError
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.emit import About, Told
from proa.scheduler.objects.writing import Outcome, Written
from proa.scheduler.planning.actions import Action, Cordon, Give, Note, Uncordon
from proa.scheduler.planning.reasons import Reason, Verdict
from proa.scheduler.planning.rollout_pass import ENOUGH
from proa.scheduler.planning.views import NodeView, RolloutView
from proa.scheduler.spec.crd import GROUP, ROLLOUTS, VERSION
from proa.scheduler.spec.rolloutstatus import Blocker, RolloutPhase, RolloutStatus

_BAD: Final = frozenset({RolloutPhase.HALTED, RolloutPhase.ROLLING_BACK, RolloutPhase.CONFLICT, RolloutPhase.INVALID})
_FINE: Final = frozenset({"Done", "NotNeeded", "Held", "Halted", "LetGo"})


A_WHILE: Final = 600.0
"""Seconds after which nodes that wait are told of."""
_LONG: Final = frozenset(one for one in Reason if "a person" in one.who) - {
    Reason.Paused,
    Reason.Halted,
    Reason.NoFreeSlot,
} | {Reason.GroupSoaking, Reason.ZoneSoaking, Reason.AwaitingPods}
"""Reasons that people can end, or have asked for; a pause and a halt show in the phase, and a full budget is usual."""


class Tells(Protocol):
    """What is asked of :class:`proa.scheduler.kube.emit.Events`."""

    def tell(self, about: About, reason: str, note: str, *, action: str = "Update", warning: bool = False) -> None:
        """Tell that something has happened."""
        ...


def words(action: Action, about: About) -> Told | None:
    """What is told of an action; none of what happens to every node on the way and shows in its object."""
    match action:
        case Cordon(again=True):
            note = f"its Node was registered again while it was updated for rollout {action.mark.rollout}"
            return Told(about, "TakenUpAgain", note, "Cordon", warning=True)
        case Cordon():
            return Told(about, "UpdateStarted", f"cordoned and drained for rollout {action.mark.rollout}", "Cordon")
        case Uncordon(reason="Done"):
            return Told(about, "UpdateDone", "the node runs the release, committed, and takes pods again", "Uncordon")
        case Uncordon():
            return Told(about, "Uncordoned", f"uncordoned: {action.reason}", "Uncordon", action.reason not in _FINE)
        case Note():
            return Told(about, action.record.reason, action.record.message, "Update", warning=True)
        case Give(verb=Verb.NONE):
            what = "the node has not accepted its order to reboot, which is now withdrawn"
            return Told(about, "RebootTakenBack", what, "Order")
        case Give(verb=Verb.CONFIGURE):
            return Told(about, "SettingsOrdered", "ordered to try the settings of its rollout", "Order")
        case Give(verb=Verb.COMMIT_SETTINGS):
            return Told(about, "SettingsProved", "the settings are proved, and ordered to be kept", "Order")
        case Give(verb=Verb.REVERT_SETTINGS):
            return Told(about, "SettingsTakenBack", "ordered to return to the settings before", "Order", warning=True)
        case Give(verb=Verb.ROLLBACK):
            return Told(about, "RollbackOrdered", f"ordered to roll back from {action.release}", "Order")
        case _:
            return None


def _expected(view: RolloutView) -> timedelta:
    """How long a node takes as its spec says; for ever where that cannot be read, and nothing is planned."""
    try:
        found: timedelta = duration.parse(view.spec.expected_duration)
    except ProaError:
        return timedelta.max
    return found


@dataclass(eq=False)
class EventRecorder:
    """Tells of each thing once."""

    events: Tells
    _phases: dict[str, str] = field(default_factory=dict)
    _lost: dict[str, int] = field(default_factory=dict)
    _waiting: dict[tuple[str, Reason], float] = field(default_factory=dict)
    _told: set[tuple[str, Reason]] = field(default_factory=set)
    _unwritten: dict[str, str] = field(default_factory=dict)
    _skewed: set[str] = field(default_factory=set)
    _slow: frozenset[str] = frozenset()
    _blocked: frozenset[tuple[str, str, str, str]] = frozenset()

    def did(self, action: Action, written: Written, node: NodeView | None) -> None:
        """Tell of an action that was carried out, or that the cluster does not accept."""
        if node is None:
            return
        about = About("Node", node.name, node.uid)
        if written.outcome is Outcome.REFUSED and written.error is not None:
            what = type(action).__name__
            self.events.tell(about, "WriteRefused", f"{what}: {written.error.message}", action=what, warning=True)
        elif written.outcome is Outcome.AWAY and isinstance(written.error, ApiError) and written.error.status:
            what = type(action).__name__
            self.events.tell(about, "WriteFailed", f"{what}: {written.error.message}", action=what, warning=True)
        elif written.outcome is Outcome.DONE and (said := words(action, about)) is not None:
            self.events.tell(about, said.reason, said.note, action=said.action, warning=said.warning)

    def stands(self, rollouts: Mapping[str, RolloutView], statuses: Mapping[str, RolloutStatus]) -> None:
        """Tell of rollouts that have come to another phase."""
        for name, status in statuses.items():
            before, self._phases[name] = self._phases.get(name, rollouts[name].status.phase), status.phase
            about = About(ROLLOUTS.kind, name, rollouts[name].uid, f"{GROUP}/{VERSION}")
            self._tell_lost(about, rollouts[name].status, status)
            self._tell_slow(about, rollouts[name], status)
            if status.phase == before:
                continue
            invalid = (one.message for one in status.conditions if one.type == "Valid" and one.status == "False")
            note = status.halted or next(invalid, "") or f"{status.progress} nodes follow {status.release}"
            self.events.tell(about, status.phase, note, action="Rollout", warning=status.phase in _BAD)
        self._phases = {name: phase for name, phase in self._phases.items() if name in rollouts}

    def _tell_lost(self, about: About, before: RolloutStatus, status: RolloutStatus) -> None:
        """Tell of nodes that went away between their order to reboot and their proof."""
        lost = status.lost.count if status.lost else 0
        known = self._lost.get(about.name, before.lost.count if before.lost else 0)
        self._lost[about.name] = lost
        if status.lost is not None and lost > known:
            names = ", ".join(status.lost.nodes[: lost - known])
            note = f"removed from the cluster between the order to reboot and the proof, so counted as failed: {names}"
            self.events.tell(about, "NodesLost", note[:1024], action="Rollout", warning=True)

    def unwritten(self, rollouts: Mapping[str, RolloutView], refusals: Mapping[str, str]) -> None:
        """Tell once of statuses that the cluster does not accept, as where its definitions are older than this."""
        for name, said in refusals.items():
            if name in rollouts and self._unwritten.get(name) != said:
                about = About(ROLLOUTS.kind, name, rollouts[name].uid, f"{GROUP}/{VERSION}")
                note = f"the status cannot be stored: {said}; if the definitions are older, apply the new manifests"
                self.events.tell(about, "StatusRefused", note[:1024], action="Rollout", warning=True)
        self._unwritten = dict(refusals)

    def skewed(self, rollouts: Mapping[str, RolloutView], skew: Iterable[str]) -> None:
        """Tell of what is of another version than this scheduler: once a rollout."""
        for name in rollouts.keys() - self._skewed if skew else ():
            about = About(ROLLOUTS.kind, name, rollouts[name].uid, f"{GROUP}/{VERSION}")
            self.events.tell(about, "VersionSkew", "; ".join(skew)[:1024], action="Rollout", warning=True)
            self._skewed.add(name)

    def waits(
        self,
        rollouts: Mapping[str, RolloutView],
        by_rollout: Mapping[str, Mapping[str, Verdict]],
        now: float,
    ) -> None:
        """Tell of what nodes wait for, once it has been so for a while: one event a reason."""
        found: dict[tuple[str, Reason], list[str]] = {}
        for rollout, verdicts in by_rollout.items():
            for node, verdict in verdicts.items():
                if verdict.reason in _LONG:
                    found.setdefault((rollout, verdict.reason), []).append(node)
        self._waiting = {key: self._waiting.get(key, now) for key in found}
        self._told &= found.keys()
        for key, nodes in found.items():
            rollout, reason = key
            if key in self._told or now - self._waiting[key] < A_WHILE:
                continue
            self._told.add(key)
            about = About(ROLLOUTS.kind, rollout, rollouts[rollout].uid, f"{GROUP}/{VERSION}")
            more = f" and {len(nodes) - 5} more" if len(nodes) > 5 else ""
            detail = str(by_rollout[rollout][nodes[0]])
            note = f"{', '.join(sorted(nodes)[:5])}{more}: {detail} (who can end it: {reason.who})"
            self.events.tell(about, f"Waiting{reason.name}", note[:1024], action="Rollout", warning=True)

    def _tell_slow(self, about: About, view: RolloutView, status: RolloutStatus) -> None:
        """Tell once of nodes that take longer than the spec expects, by which windows are kept."""
        recent = sorted(status.recent_seconds)
        slow = len(recent) >= ENOUGH and timedelta(seconds=recent[len(recent) // 2]) > _expected(view)
        if slow and about.name not in self._slow:
            note = (
                f"half of the last nodes took {recent[len(recent) // 2]} s or longer, and expectedDuration is"
                f" {view.spec.expected_duration}: raise it, or make the windows longer"
            )
            self.events.tell(about, "SlowerThanExpected", note, action="Rollout", warning=True)
        self._slow = self._slow | {about.name} if slow else self._slow - {about.name}

    def blocked(self, nodes: Mapping[str, NodeView], blockers: Iterable[Blocker]) -> None:
        """Tell of what keeps nodes from being drained."""
        found = {(one.node, one.pod, one.budget, one.volume): one for one in blockers}
        for key, blocker in found.items():
            node = nodes.get(blocker.node)
            if key not in self._blocked and node is not None:
                about = About("Node", node.name, node.uid)
                self.events.tell(about, "DrainBlocked", blocker.reason, action="Drain", warning=True)
        self._blocked = frozenset(found)

    def clear(self) -> None:
        """Another term begins."""
        self._phases.clear()
        self._lost.clear()
        self._unwritten.clear()
        self._waiting.clear()
        self._told.clear()
        self._skewed.clear()
        self._slow = frozenset()
        self._blocked = frozenset()
