"""What each verb changes in the spec of a rollout. Pure: from what is there, to a merge patch and what to say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document, parse
from proa.scheduler.objects.annotations import approval_text
from proa.scheduler.planning.rollout_pass import is_halted
from proa.scheduler.planning.views import (
    APPROVED,
    APPROVED_GROUPS,
    ATTEMPT,
    IN_NO_GROUP,
    PAUSED,
    RolloutView,
    digest_of,
    named_group,
)
from proa.scheduler.spec.rollout import Approval, Drain, OnFailure, Selector, Zones
from proa.scheduler.spec.rolloutstatus import RolloutPhase

_BACK: Final = frozenset({RolloutPhase.ROLLING_BACK, RolloutPhase.ROLLED_BACK})


@dataclass(frozen=True)
class SpecChange:
    """What a verb does.

    Attributes:
        spec: The merge patch of the spec; empty if there is nothing to do.
        said: What that is, in a sentence without its subject.
        notes: What the person should know besides.
        annotations: The merge patch of its annotations, which an apply from git does not own.
    """

    spec: Mapping[str, Any] = field(default_factory=dict)
    said: str = "unchanged"
    notes: tuple[str, ...] = ()
    annotations: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def is_one(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.spec or self.annotations)


def start(
    before: RolloutView | None, release: str, wishes: Mapping[str, Any], selector: Selector | None = None
) -> SpecChange:
    """Bring a release to the nodes.

    Args:
        before: The rollout; none if there is none of the name.
        release: The release, by its digest.
        wishes: What else is to be changed of the spec.
        selector: Which nodes follow it; as before, or all, if none.
    """
    spec = {"release": release, **wishes}
    if before is None:
        chosen = document(selector) if selector else {}
        notes: tuple[str, ...] = () if chosen else ("It selects all nodes.",)
        notes = (*notes, *_unapproved(wishes.get("approval", Approval.NOT_REQUIRED.value)))
        if "drain" in wishes:
            spec["drain"] = {key: value for key, value in wishes["drain"].items() if value != {}}
        return SpecChange(spec | ({"nodeSelector": chosen} if chosen else {}), f"created for {release}", notes)
    if "canary" in wishes:
        spec["canary"] = _recanary(wishes["canary"])
    if "order" in wishes:
        spec["order"] = _reorder(wishes["order"])
    if "drain" in wishes:
        spec["drain"] = _redrain(before.spec.drain, wishes["drain"])
    if "settings" in wishes:
        spec["settings"] = _resettle(before.spec.settings or {}, wishes["settings"])
    if selector is not None and selector != before.spec.node_selector:
        spec["nodeSelector"] = _reselect(before.spec.node_selector, selector)
    same = before.spec.release == release
    if not same and before.spec.allow_downgrade:
        spec.setdefault("allowDowngrade", False)  # it was meant for the release before
    notes = _again(before) if same else _failed_before(before, release)
    if same and len(spec) == 1:
        return SpecChange(notes=notes)
    if wishes.get("paused") is not False:
        notes = (*notes, *_paused(before))
    if not (same and before.approved):
        notes = (*notes, *_unapproved(wishes.get("approval") or before.spec.approval.value))
    annotations = {PAUSED: None} if wishes.get("paused") is False else {}
    return SpecChange(spec, "changed" if same else f"taken to {release}", notes, annotations)


def _resettle(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch of settings: what is in the old document alone goes."""
    found: dict[str, Any] = dict.fromkeys(key for key in old if key not in new)
    for key, value in new.items():
        before = old.get(key)
        deeper = isinstance(value, Mapping) and isinstance(before, Mapping)
        found[key] = _resettle(before or {}, value) if deeper else value
    return found


def _reselect(old: Selector, new: Selector) -> dict[str, Any]:
    """The merge patch of a selector: the labels of the old one go."""
    labels = dict.fromkeys(old.match_labels) | dict(new.match_labels)
    return {"matchExpressions": document(new).get("matchExpressions"), "matchLabels": labels or None}


def _recanary(request: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch of the canaries: where none are left, how long those before had to soak goes."""
    return {"soak": None, **request} if request.get("nodes") in (0, "0%") else dict(request)


def _reorder(request: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch of turns: where zones take none any more, how long those before had to soak goes."""
    return {"zoneSoak": None, **request} if request.get("zones") == Zones.IGNORE.value else dict(request)


def _redrain(old: Drain, request: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch of drains: the labels of pods that were waited for before go."""
    wanted = request.get("waitFor")
    if wanted is None:
        return dict(request)
    if not wanted:
        return {**request, "waitFor": None}
    before = old.wait_for.selector if old.wait_for else Selector()
    selector = _reselect(before, parse(Selector, wanted["selector"]))
    return {**request, "waitFor": {**wanted, "selector": selector}}


def pause(before: RolloutView) -> SpecChange:
    """Start no node any more; those under way finish."""
    if before.spec.paused:
        return SpecChange(said="paused already")
    busy = before.status.counts.updating
    notes = (f"{busy} nodes are under way, and will finish.",) if busy else ()
    return SpecChange({}, "paused", notes, {PAUSED: "true"})


def approve(before: RolloutView, by: str, now: datetime, groups: Sequence[str] = ()) -> SpecChange:
    """Approve the release that the rollout has now, and no later one.

    Args:
        before: The rollout.
        by: Who approves it.
        now: When.
        groups: For which groups, :data:`IN_NO_GROUP` for nodes in none; for all nodes if empty.

    Raises:
        ProaError: ``USAGE`` when the rollout has no such group, or asks for the approval of each.
    """
    if groups or before.spec.approval is Approval.EACH_GROUP:
        return _approve_groups(before, by, now, groups)
    if before.approved:
        return SpecChange(said=f"approved already, by {before.approved}")
    notes = () if before.spec.approval is not Approval.NOT_REQUIRED else ("It needs no approval: spec.approval.",)
    said = f"approved: {before.spec.release}"
    return SpecChange({}, said, notes, {APPROVED: approval_text(before.digest, by, now)})


def _approve_groups(before: RolloutView, by: str, now: datetime, groups: Sequence[str]) -> SpecChange:
    names = (*(group.name for group in before.spec.order.groups), IN_NO_GROUP)
    left = ", ".join(name for name in names if name not in before.approved_groups) or "none"
    hint = f"Groups that nobody has approved yet: {left}."
    if before.spec.approval is not Approval.EACH_GROUP:
        said = f"approval is {before.spec.approval.value}: groups are not approved one by one"
        raise ProaError(Code.USAGE, said, at="--group", hint="Leave out --group, or write approval: EachGroup.")
    if not groups:
        raise ProaError(Code.USAGE, "each group is approved by itself: which one?", at="--group", hint=hint)
    if unknown := [name for name in groups if name not in names]:
        raise ProaError(Code.USAGE, f"{before.name} has no group {unknown[0]!r}", at="--group", hint=hint)
    open_ones = [name for name in groups if name not in before.approved_groups]
    if not open_ones:
        return SpecChange(said=f"approved already, by {before.approved_groups[groups[0]]}")
    said = f"approved for {', '.join(map(named_group, open_ones))}: {before.spec.release}"
    text = approval_text(before.digest, by, now)
    return SpecChange({}, said, (), {f"{APPROVED_GROUPS}{name}": text for name in open_ones})


def resume(before: RolloutView, *, attempt: bool) -> SpecChange:
    """Go on after a pause; with ``attempt`` after a halt.

    Raises:
        ProaError: ``HALTED`` when that is not asked for, and it is all that would help.
    """
    spec: dict[str, Any] = {"paused": False} if before.spec.paused else {}
    annotations: dict[str, str | None] = {PAUSED: None} if before.spec.paused else {}
    if attempt:
        annotations[ATTEMPT] = str(before.spec.attempt + 1)
        return SpecChange(spec, f"resumed, as attempt {annotations[ATTEMPT]}", annotations=annotations)
    if is_halted(before):
        hint = (
            "Use 'kubectl proa resume ROLLOUT --attempt' to try the release again, or 'kubectl proa "
            "rollback' to roll back."
        )
        raise ProaError(Code.HALTED, f"it halted: {before.status.halted}", at=before.name, hint=hint)
    return SpecChange(spec, "resumed" if spec else "not paused, and not halted", annotations=annotations)


def rollback(before: RolloutView, release: str = "") -> SpecChange:
    """Take nodes back.

    What was halted goes back by itself, each node to its other slot, with one reboot and without a canary. All else
    has the release before as its new target: of nodes that still hold it nothing is fetched, but they go through
    canary, soak and windows as with any other release.

    Args:
        before: The rollout.
        release: The release to go back to, by its digest; the last one that was completed if empty.

    Raises:
        ProaError: ``NO_PREVIOUS`` when nobody knows where to.
    """
    if not release and is_halted(before):
        if before.spec.failure.action is OnFailure.ROLLBACK:
            said = "already rolling back" if before.status.phase in _BACK else "already set to roll back"
            return SpecChange(said=said, notes=_paused(before))
        spec = {"failure": {"action": OnFailure.ROLLBACK.value}}
        note = (
            "From now on, failure.action is Rollback: the rollout rolls back by itself. Change that with "
            "'start --on-failure Halt'."
        )
        said = "rolling back: each updated node goes back to its other slot"
        return SpecChange(spec, said, (note, *_paused(before)))
    target = release or _previous(before)
    if digest_of(target) == before.digest:
        return SpecChange(said=f"on {target} already")
    back = {"release": target, "allowDowngrade": True}
    notes = (*_failed_before(before, target), *_paused(before), *_unapproved(before.spec.approval.value))
    return SpecChange(back, f"rolling back to {target}", notes)


def _previous(before: RolloutView) -> str:
    """The last release that was completed, and is not the present one."""
    bad = {before.digest, *before.status.failed_digests}
    for past in before.status.history:
        if past.phase == RolloutPhase.COMPLETE and digest_of(past.release) not in bad:
            return past.release
    raise ProaError(
        Code.NO_PREVIOUS, f"{before.name} has completed no other release", at=before.name, hint=_hint(before)
    )


def _hint(before: RolloutView) -> str:
    known = tuple(dict.fromkeys(f"{past.release} ({past.phase or 'unknown'})" for past in before.status.history))
    what = "Name a release: kubectl proa rollback ROLLOUT --to REF."
    return f"{what} It had {'; '.join(known[:3])}." if known else what


def _paused(before: RolloutView) -> tuple[str, ...]:
    return ("It is paused: continue with 'kubectl proa resume'.",) if before.spec.paused else ()


def _unapproved(rule: str) -> tuple[str, ...]:
    if Approval(rule) is Approval.NOT_REQUIRED:
        return ()
    return ("Somebody has to approve the release: 'kubectl proa approve'.",)


def _again(before: RolloutView) -> tuple[str, ...]:
    if is_halted(before):
        return (f"It halted: {before.status.halted}. Try it again with 'kubectl proa resume --attempt'.",)
    return ()


def _failed_before(before: RolloutView, release: str) -> tuple[str, ...]:
    if digest_of(release) in before.status.failed_digests:
        return (
            "This release failed before, so the rollout halts at once, until you run 'kubectl proa resume --attempt'.",
        )
    return ()
