"""The verb ``install``: verify, plan, disarm, write, read back, record, and only then, if asked for, arm."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from proa.agent.install.actions import Arm, Reboot, TakeBack
from proa.agent.install.execute import Execution
from proa.agent.install.facts import Offer, load_trust, node_facts, open_offer, policy_of
from proa.agent.install.fetch import fetch_maps
from proa.agent.install.order import InstallOrder
from proa.agent.install.payload import survey
from proa.agent.install.plan import InstallPlan, plan_install
from proa.agent.node.bookkeeping import afterwards, remember, remember_slot, result
from proa.agent.node.lock import locked
from proa.agent.node.policy import Policy
from proa.agent.node.record import SlotRecord
from proa.agent.node.reports import Installed, PlannedInstall, ReleaseFacts
from proa.agent.node.states import Trigger, follow
from proa.agent.node.view import Context, View, look, need_disk
from proa.agent.slot.region import Opener, open_direct
from proa.agent.trial.change import check_reboot, check_settings, reboot
from proa.agent.trial.reconcile import reconcile
from proa.core.runtime.defects import told
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Note


def install(
    context: Context, order: InstallOrder, opener: Opener = open_direct, begins: Callable[[], None] = lambda: None
) -> Installed:
    """Install a release.

    Args:
        context: The context.
        order: What is asked for.
        opener: How devices are opened.
        begins: Called right before the standby is given up; what fails earlier has changed nothing.

    Raises:
        ProaError: The refusal or failure. The slot is unarmed then and the good slot's bytes are untouched.
    """
    started = time.monotonic()
    _forget_peak()
    need_disk(context)
    with locked(context.paths):
        try:
            reconcile(context)
            view = _ready(context, order)
            with _planned(context, view, order) as (offer, policy, plan):
                execution = Execution(context, offer, plan, policy, opener, begins)
                execution.run()
                plan, left = execution.plan, tuple(offer.left)
                if plan.unchanged or plan.keep:
                    _name(context, plan)
        except Exception as error:
            _remember_failure(context, error)
            raise
        report = _report(plan, time.monotonic() - started, left)
        with afterwards(context):
            remember(context, last=result(context, "install", **vars(report.release), slot=report.slot.value))
        if report.reboot:
            reboot()
        return report


def plan_only(context: Context, order: InstallOrder) -> PlannedInstall:
    """Verify, fetch the map and the tree, and say what an install would do. Touches nothing.

    Raises:
        ProaError: The refusal.
    """
    view = _ready(context, order)
    with _planned(context, view, order) as (offer, _, plan):
        if plan.writes:
            maps = fetch_maps(offer.source, offer.candidate.release)
            for blob, found in survey(context, offer, plan.target, view, maps).items():
                plan = plan.with_origin(blob, found.fetch, found.copy, found.keep)
        actions = tuple(str(action) for action in plan.actions)
        return PlannedInstall(_facts(plan), plan.slot, plan.bytes, actions)


@contextmanager
def _planned(context: Context, view: View, order: InstallOrder) -> Iterator[tuple[Offer, Policy, InstallPlan]]:
    """The release once it is believed, what this node accepts, and what is to be done."""
    believed = load_trust(context)
    policy = policy_of(view, believed, downgrade=order.downgrade)
    with open_offer(context, order.reference, order.registry, believed, order.rate) as offer:
        facts = node_facts(context, view, offer.candidate)
        plan = plan_install(offer.candidate, policy, facts, view.state, view.node_state(), order.activation)
        if any(isinstance(action, Arm) for action in plan.actions):
            check_settings(context, SlotRecord.of(offer.candidate.release, offer.candidate.manifest))
        yield offer, policy, plan


def _ready(context: Context, order: InstallOrder) -> View:
    """Look at the node, and refuse before the network is asked for anything."""
    view = look(context)
    view.check()
    follow(view.node_state(), Trigger.INSTALL)
    if order.activation.reboot:
        check_reboot(view)
    return view


def _name(context: Context, plan: InstallPlan) -> None:
    """Record which release a slot holds, where only its content was known: as the factory leaves it."""
    release, manifest = plan.candidate.release, plan.candidate.manifest
    known = look(context).record.slots.get(plan.slot)
    if known and known.manifest != manifest:
        named = dataclasses.replace(
            SlotRecord.of(release, manifest, plan.candidate.signers),
            complete=known.complete,
            failed=known.failed,
            bytes=known.bytes,
        )
        remember_slot(context, plan.slot, named)


def _facts(plan: InstallPlan) -> ReleaseFacts:
    release = plan.candidate.release
    return ReleaseFacts(release.name, release.version, release.serial, release.root.root_hash, plan.candidate.manifest)


def _report(plan: InstallPlan, seconds: float, left: tuple[str, ...]) -> Installed:
    done = {type(action) for action in plan.actions}
    return Installed(
        _facts(plan),
        plan.slot,
        plan.bytes,
        unchanged=plan.unchanged,
        activated=Arm in done,
        taken_back=TakeBack in done,
        reboot=Reboot in done,
        seconds=round(seconds, 3),
        peak_memory=_peak_memory(),
        avoided=plan.avoided,
        mirrors_left=left,
    )


def _forget_peak() -> None:
    """Let the kernel count the peak of this process anew (proc(5), ``clear_refs``): a daemon installs many times."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory() -> int:
    """The most memory that this process had, in bytes. Not ``ru_maxrss``: that counts what its parent had, too."""
    status = Path("/proc/self/status").read_text()
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def _remember_failure(context: Context, error: Exception) -> None:
    """Keep the reason for ``status``; that it cannot be kept must not hide it."""
    failure = told(error)
    if failure.code is Code.NO_DISK:
        return  # this machine is not a node: nothing is left on it
    try:
        remember(context, last=result(context, "install", failure))
    except ProaError as second:
        context.monitor.emit(Note(f"the result cannot be recorded: {second.message}", "warning"))
