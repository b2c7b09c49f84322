"""What a simulated agent says besides: releases, conditions and boots, as a real one would name them."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import datetime
from typing import Final

from proa.core import VERSION
from proa.core.orders.messages import Action, Booted, Condition, NodeStatus, Order, Phase, Standby
from proa.core.runtime import duration
from proa.core.runtime.errors import Code, ProaError
from proa.core.settings import allow_list, checking
from proa.core.settings.document import Document
from proa.scheduler.kube.times import text
from proa.scheduler.simulation import node_status
from proa.vm.simulated.releases import digest_of, root_hash_of, version_of

HEALTHY: Final = "Healthy"
"""The condition that tells of a trial's health checks."""


def first(release: str, now: datetime) -> NodeStatus:
    """Of a node that has never been told anything."""
    booted = Booted("a", version_of(release), digest_of(release), root_hash_of(release), new_boot_id(), True)
    standby = Standby("b", state="unknown")
    status = NodeStatus(phase=Phase.GOOD, booted=booted, standby=standby, agent=VERSION, conditions=conditions(now))
    return dataclasses.replace(status, settings=node_status.UNSET)


ALLOWED: Final = allow_list.of_entries({"sysctl": ["vm.swappiness=0..60"], "kubelet": ["maxPods=10..250"]})
"""What the releases of simulated nodes allow to be set."""


def refused(wanted: Document) -> str:
    """What of a document a simulated node does not take, as a real one would say it; empty if all is allowed."""
    return "; ".join(one.text for one in checking.check(wanted, ALLOWED))


def staged(slot: str, release: str) -> Standby:
    """A slot that holds a release."""
    return node_status.staged(slot, version_of(release), digest_of(release), root_hash_of(release))


def conditions(now: datetime, healthy: str = "", reason: str = "") -> tuple[Condition, ...]:
    """What an agent always tells, and of a trial what came of its health checks."""
    since = text(now)
    agreed = Condition("Consistent", "True", "Agreed", "boot loader and boot state agree about this boot", since)
    whole = "the check at boot and the kernel found nothing wrong"
    persist = Condition("PersistHealthy", "True", "NoErrors", whole, since)
    return (*([Condition(HEALTHY, healthy, reason, "", since)] if healthy else []), agreed, persist)


def is_healthy(status: NodeStatus) -> bool:
    """Whether the health checks of a trial have passed."""
    return any(condition.type == HEALTHY and condition.status == "True" for condition in status.conditions)


def limit(order: Order) -> float:
    """Seconds that an order may take."""
    return duration.parse(order.timeout).total_seconds()


def check(order: Order) -> None:
    """Check what holds between the fields of an order.

    Raises:
        ProaError: ``CONFIG_VALUE``.
    """
    if order.action in (Action.STAGE, Action.BOOT) and not order.release:
        raise ProaError(Code.CONFIG_VALUE, f"{order.action.value} needs a release", at="release")
    if order.action is Action.COMMIT and not order.trial:
        raise ProaError(Code.CONFIG_VALUE, "Commit needs a trial", at="trial")


def new_boot_id() -> str:
    """A boot id as a kernel makes them."""
    return str(uuid.uuid4())
