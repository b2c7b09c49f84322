"""Waits until no scheduler works any more: before that, whatever is taken away may come back."""

from __future__ import annotations

from typing import Any, Final

from proa.core.runtime.clock import Clock
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.install.names import SCHEDULER, labels
from proa.scheduler.kube import paths
from proa.scheduler.kube.server import Server, find, items

_LEASE_SECONDS: Final = 20
"""What a lease lasts that does not say so."""
_PAUSE: Final = 0.5


def wait(api: Server, namespace: str, clock: Clock, seconds: float) -> None:
    """Wait until the lease is free, and the schedulers' pods are gone.

    A lease that nobody renews is free when its time is up, as for a candidate. Pods that are left while it stays free
    for a whole term are of a node that is dead: a live one would have taken it.

    Args:
        api: The API server.
        namespace: The scheduler's.
        clock: The clock.
        seconds: How long.

    Raises:
        ProaError: ``TIMEOUT``.
    """
    began = since = free_since = clock.monotonic()
    seen: tuple[Any, ...] = ()
    while True:
        now = clock.monotonic()
        holder, said, term = _lease(api, namespace)
        if said != seen:
            seen, since = said, now
        free = not holder or now - since >= term
        free_since = free_since if free else now
        left = _pods(api, namespace)
        if free and (not left or now - free_since >= term):
            return
        if now - began >= seconds:
            what = f"{holder} still holds the lease" if not free else f"{', '.join(left[:5])} still there"
            hint = "Stop that scheduler, then run this command again: it continues where it stopped."
            raise ProaError(Code.TIMEOUT, f"{what} after {seconds:.0f} s", at=f"namespace {namespace}", hint=hint)
        clock.sleep(_PAUSE)


def _lease(api: Server, namespace: str) -> tuple[str, tuple[Any, ...], float]:
    """Who holds the lease, what it says, and for how long it holds."""
    spec = (find(api, paths.named(paths.leases(namespace), SCHEDULER)) or {}).get("spec") or {}
    holder = str(spec.get("holderIdentity") or "")
    return holder, (holder, spec.get("renewTime")), float(spec.get("leaseDurationSeconds") or _LEASE_SECONDS)


def _pods(api: Server, namespace: str) -> list[str]:
    query = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels(SCHEDULER).items())}
    return sorted(item["metadata"]["name"] for item in items(api, paths.within(paths.PODS, namespace), query))
