"""Groups of nodes that follow one another, and the time for which a group or a zone must stay well before the next.

What a group has proved stands in the status, as with canaries: later groups go on then, whatever becomes of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from proa.core.runtime import duration
from proa.scheduler.kube.times import read, text
from proa.scheduler.planning.node_progress import NodeProgress
from proa.scheduler.planning.node_step import TO_START, NodeStep
from proa.scheduler.planning.precedence import Precedence
from proa.scheduler.planning.reasons import Reason, Verdict
from proa.scheduler.planning.rollout_pass import JOINING, RolloutPass, waiting
from proa.scheduler.planning.views import NodeView
from proa.scheduler.spec.rollout import RolloutSpec, Zones
from proa.scheduler.spec.rolloutstatus import GroupStatus, ZoneStatus
from proa.scheduler.spec.selectors import matches

MOST_NAMED = 5
"""Nodes that a sentence names."""


def group_of(spec: RolloutSpec, node: NodeView) -> int:
    """The place of a node's group; behind all of them if it is in none."""
    groups = spec.order.groups
    return next((place for place, one in enumerate(groups) if matches(one.node_selector, node.labels)), len(groups))


def group_name(spec: RolloutSpec, place: int) -> str:
    """The name of the group at a place; empty behind all of them."""
    groups = spec.order.groups
    return groups[place].name if place < len(groups) else ""


def wave_of(spec: RolloutSpec, node: NodeView) -> str:
    """Of which wave a node is: ``ControlPlane`` or its zone, with its group before it."""
    wave = "ControlPlane" if node.control_plane else node.zone
    return "/".join(filter(None, (group_name(spec, group_of(spec, node)), wave)))


def judge(rollout_pass: RolloutPass, precedence: Precedence, *, canaries: bool) -> None:
    """Note which groups have had their turn, and since when they, and the zone that had its turn last, are well.

    Args:
        rollout_pass: The rollout.
        precedence: Who goes before.
        canaries: Whether canaries have yet to prove the release: no group has its turn before.
    """
    if rollout_pass.aim.back:
        return
    order = rollout_pass.spec.order
    if order.groups and not canaries:
        _judge_groups(rollout_pass, _ahead(rollout_pass, precedence.waited_for))
    if order.zones is Zones.ONE_AT_A_TIME and duration.parse(order.zone_soak):
        _judge_zone(rollout_pass, precedence)


def held_by_group(rollout_pass: RolloutPass, place: int) -> Verdict | None:
    """What holds back the nodes of a group until those before it are done."""
    groups = rollout_pass.spec.order.groups
    if not place or rollout_pass.aim.back:
        return None
    known = {one.name: one for one in rollout_pass.status.groups}
    for before in groups[:place]:
        if names := rollout_pass.ahead.get(before.name):
            return Verdict(Reason.EarlierGroup, f"group {before.name}: {names}")
    for before in groups[:place]:
        state = known.get(before.name)
        if state is not None and not state.soaked_at:
            what = f"group {before.name}"
            return _unwell(rollout_pass, what) or _soaks(
                rollout_pass, Reason.GroupSoaking, what, state.proved_at, before.soak
            )
    return None


def held_by_zone(rollout_pass: RolloutPass, zone: str) -> Verdict | None:
    """What holds back the nodes of a zone until the one that had its turn last has been well for long enough."""
    order, last = rollout_pass.spec.order, rollout_pass.status.zone
    if last is None or last.name == zone or rollout_pass.aim.back or order.zones is Zones.IGNORE:
        return None
    soak = duration.parse(order.zone_soak)
    since = read(last.proved_at)
    if not soak or (since is not None and rollout_pass.now >= since + soak):
        return None
    what = _zone(last.name)
    return _unwell(rollout_pass, what) or _soaks(
        rollout_pass, Reason.ZoneSoaking, what, last.proved_at, order.zone_soak
    )


# inside


def _judge_groups(rollout_pass: RolloutPass, ahead: Mapping[int, list[str]]) -> None:
    reached: dict[int, list[NodeProgress]] = {}
    for progress in _reached(rollout_pass):
        reached.setdefault(progress.group, []).append(progress)
    known, found = {one.name: one for one in rollout_pass.status.groups}, []
    for place, group in enumerate(rollout_pass.spec.order.groups):
        state = known.get(group.name) or GroupStatus(group.name)
        if not state.soaked_at:
            rollout_pass.ahead[group.name] = _named(ahead.get(place, []))
            done = bool(reached.get(place)) and not ahead.get(place)
            ill = rollout_pass.ill[f"group {group.name}"] = _ill(reached.get(place, ()))
            state = _judge_group(rollout_pass, state, group.soak, done and not ill)
            if not done:
                continue
        found.append(state)
    if tuple(found) != rollout_pass.status.groups:
        rollout_pass.change(groups=tuple(found))


def _judge_group(rollout_pass: RolloutPass, state: GroupStatus, soak: str, well: bool) -> GroupStatus:
    """Note since when a group that has had its turn is well, and when that was for long enough."""
    if not well:
        return dataclasses.replace(state, proved_at="")
    since = read(state.proved_at) or rollout_pass.now
    until = since + duration.parse(soak)
    if rollout_pass.now < until:
        rollout_pass.wakes.append(until)
        return dataclasses.replace(state, proved_at=text(since))
    return dataclasses.replace(state, proved_at=text(since), soaked_at=text(rollout_pass.now))


def _judge_zone(rollout_pass: RolloutPass, precedence: Precedence) -> None:
    """Note the zone that has its turn; once another one has the next, since when the nodes of it are well."""
    state = rollout_pass.status.zone
    if precedence.busy or (state is not None and state.name == precedence.zone):
        state = ZoneStatus(precedence.zone or "")
    elif state is not None:
        ill = _ill(one for one in _reached(rollout_pass) if one.node.zone == state.name)
        rollout_pass.ill[_zone(state.name)] = ill
        state = ZoneStatus(state.name, "" if ill else state.proved_at or text(rollout_pass.now))
        if state.proved_at:
            rollout_pass.wakes.append(_end(rollout_pass, state.proved_at, rollout_pass.spec.order.zone_soak))
    if state != rollout_pass.status.zone:
        rollout_pass.change(zone=state)


def _reached(rollout_pass: RolloutPass) -> Sequence[NodeProgress]:
    return rollout_pass.by_step[NodeStep.REACHED]


def _zone(name: str) -> str:
    return f"zone {name or '(none)'}"


def _ill(progresses: Iterable[NodeProgress]) -> str:
    """Nodes that run the release, and are not Ready, but for those that a person holds; empty if there are none."""
    return _named([one.node.name for one in progresses if not one.node.ready and one.node.hold is None])


def _ahead(rollout_pass: RolloutPass, waited_for: Iterable[NodeProgress]) -> dict[int, list[str]]:
    """By group: the nodes that the groups behind it wait for."""
    found: dict[int, list[str]] = {}
    pending = rollout_pass.snapshot.pending - rollout_pass.snapshot.resting
    pending |= {one.node for one in rollout_pass.unproved}
    busy = [one for one in rollout_pass.progresses if one.under_way or one.mark or one.node.name in pending]
    every = (*busy, *waited_for, *_later(rollout_pass))
    for progress in {one.node.name: one for one in every}.values():
        found.setdefault(progress.group, []).append(progress.node.name)
    for place in range(len(rollout_pass.spec.order.groups)):  # what is gone took its labels along
        found.setdefault(place, []).extend(ghost.node for ghost in rollout_pass.ghosts)
    return found


def _later(rollout_pass: RolloutPass) -> Iterator[NodeProgress]:
    """Nodes that cannot move now, and will by themselves: a group is not done because one of it has to try again.

    A drain that took too long may do so for ever, and a node may be NotReady for ever: nobody waits for that.
    """
    own, retries, now = rollout_pass.snapshot.own_node, rollout_pass.spec.retry.limit, rollout_pass.now
    for step in (*TO_START, NodeStep.NEW, NodeStep.SILENT):
        for progress in rollout_pass.by_step[step]:
            node, record = progress.node, progress.record
            if progress.plain and step in TO_START:
                continue
            if node.name == own or node.hold is not None or node.leaving or rollout_pass.has_joined(progress):
                continue
            if rollout_pass.is_stuck(progress) or rollout_pass.is_set_aside(progress):
                continue
            if step is NodeStep.SILENT and not _may_speak(rollout_pass, progress):
                continue
            failing = record is not None and 0 < record.failures <= retries and waiting(progress, now) is not None
            until = node.ready_since + duration.parse(rollout_pass.spec.health.timeout) if node.ready_since else now
            unready = not node.ready and now < until
            if unready:
                rollout_pass.wakes.append(until)
            if failing or unready or step not in TO_START:
                yield progress


def _may_speak(rollout_pass: RolloutPass, progress: NodeProgress) -> bool:
    """Whether a node's agent, which has never spoken, has the time to do so still."""
    created = progress.os.created if progress.os else None
    return created is not None and rollout_pass.now < created + JOINING


def _unwell(rollout_pass: RolloutPass, what: str) -> Verdict | None:
    """That nodes are ill over the release, which ends by itself or by a person; none if none is."""
    ill = rollout_pass.ill.get(what)
    return Verdict(Reason.WaveUnwell, f"{what}: {ill}") if ill else None


def _soaks(rollout_pass: RolloutPass, reason: Reason, what: str, since: str, soak: str) -> Verdict:
    """How much of a time is left."""
    end = _end(rollout_pass, since, soak)
    left = duration.text(max(end - rollout_pass.now, timedelta(0)))
    return Verdict(reason, f"{what}: until {text(end)}, {left} left of {soak}")


def _end(rollout_pass: RolloutPass, since: str, soak: str) -> datetime:
    end: datetime = (read(since) or rollout_pass.now) + duration.parse(soak)
    return end


def _named(names: Sequence[str]) -> str:
    """Names for a sentence."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(sorted(names)[:MOST_NAMED]) + more
