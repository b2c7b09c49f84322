"""The verb ``install``: verify, plan, disarm, write, read back, record, and only then, if asked for, arm."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from proa.agent.change import check_reboot, reboot, remember, result
from proa.agent.execute import Execution
from proa.agent.facts import load_trust, node_facts, open_offer, policy_of
from proa.agent.lock import held
from proa.agent.orders import InstallOrder
from proa.agent.plan import InstallPlan, Policy, plan_install
from proa.agent.region import Opener, open_direct
from proa.agent.states import Trigger, follow
from proa.agent.view import Context, View, look
from proa.core.errors import ProaError
from proa.core.events import Note


def install(context: Context, order: InstallOrder, opener: Opener = open_direct) -> dict[str, Any]:
    """Install a release; what is reported as ``proa.install/v1``.

    Raises:
        ProaError: The refusal or failure. The slot is unarmed then and the good slot's bytes are untouched.
    """
    started = time.monotonic()
    _forget_peak()
    with held(context.paths.lock):
        try:
            view = _ready(context, order)
            believed = load_trust(context)
            with open_offer(context, order.reference, order.registry, believed) as offer:
                policy = policy_of(view, believed)
                plan = plan_install(
                    offer.candidate,
                    policy,
                    node_facts(context, view, offer.candidate),
                    view.state,
                    view.node_state(),
                    order.wish,
                )
                execution = Execution(context, offer, plan, policy.floor, opener)
                execution.run()
        except ProaError as error:
            _remember_failure(context, error)
            raise
        report = _report(plan, time.monotonic() - started)
        remember(context, last=result(context, "install", **report["release"], slot=report["slot"]))
        if report["reboot"]:
            reboot()
        return report


def plan_only(context: Context, order: InstallOrder) -> dict[str, Any]:
    """Verify and say what an install would do; what is reported as ``proa.install-plan/v1``. Touches nothing.

    Raises:
        ProaError: The refusal.
    """
    view = _ready(context, order)
    believed = load_trust(context)
    with open_offer(context, order.reference, order.registry, believed) as offer:
        facts = node_facts(context, view, offer.candidate)
        policy: Policy = policy_of(view, believed)
        plan = plan_install(offer.candidate, policy, facts, view.state, view.node_state(), order.wish)
    return _description(plan) | {"actions": [str(action) for action in plan.actions]}


def _ready(context: Context, order: InstallOrder) -> View:
    """Look at the node, and refuse before the network is asked for anything."""
    view = look(context)
    view.check()
    follow(view.node_state(), Trigger.INSTALL)
    if order.wish.reboot:
        check_reboot(view)
    return view


def _description(plan: InstallPlan) -> dict[str, Any]:
    release = plan.candidate.release
    return {
        "release": {
            "name": release.name,
            "version": release.version,
            "serial": release.serial,
            "root_hash": release.root.root_hash,
            "manifest": plan.candidate.manifest,
        },
        "slot": plan.target.value,
        "bytes": {"fetch": plan.fetch, "copy": 0, "keep": plan.keep, "write": plan.write},
    }


def _report(plan: InstallPlan, seconds: float) -> dict[str, Any]:
    done = [type(action).__name__.lower() for action in plan.actions]
    return _description(plan) | {
        "unchanged": not plan.actions,
        "activated": "arm" in done,
        "reboot": "reboot" in done,
        "seconds": round(seconds, 3),
        "peak_memory": _peak_memory(),
    }


def _forget_peak() -> None:
    """Let the kernel count the peak of this process anew (proc(5), ``clear_refs``): a daemon installs many times."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory() -> int:
    """The most memory that this process had, in bytes. Not ``ru_maxrss``: that counts what its parent had, too."""
    status = Path("/proc/self/status").read_text()
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def _remember_failure(context: Context, error: ProaError) -> None:
    """Keep the reason for ``status``; that it cannot be kept must not hide it."""
    try:
        remember(context, last=result(context, "install", error))
    except ProaError as second:
        context.monitor.emit(Note(f"the result cannot be recorded: {second.message}", "warning"))
