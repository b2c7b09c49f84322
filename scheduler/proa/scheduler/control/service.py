"""``proa-scheduler run``: all parts of the controller, started and ended in order."""

from __future__ import annotations

import functools
import signal
import threading
from dataclasses import dataclass
from types import FrameType
from typing import Final

from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import SYSTEM
from proa.core.runtime.errors import ProaError
from proa.scheduler.control import log
from proa.scheduler.control.alerts import AlertsAsker
from proa.scheduler.control.complaints import Complaints
from proa.scheduler.control.controller import Controller
from proa.scheduler.control.event_recorder import EventRecorder
from proa.scheduler.control.health import HealthServer
from proa.scheduler.control.metrics import Metrics
from proa.scheduler.control.pending import Pending
from proa.scheduler.control.sources import Sources
from proa.scheduler.control.version_skew import skew
from proa.scheduler.drain.drainer import Drainer
from proa.scheduler.kube.access import Load
from proa.scheduler.kube.api import Api, ApiLimits
from proa.scheduler.kube.emit import Events
from proa.scheduler.kube.leader_elector import LeaderElector
from proa.scheduler.kube.lease_timings import LeaseTimings, identity
from proa.scheduler.kube.prometheus import PrometheusAccess, ask
from proa.scheduler.objects.writing import Writer

STUCK: Final = 120.0
"""Seconds without a step after which the kubelet is to start this process again."""


@dataclass(frozen=True)
class ControllerSettings:
    """How the controller runs.

    Attributes:
        load: The access to the cluster.
        namespace: Where its lease is.
        own_node: The node that it runs on; empty if none.
        own_pod: The pod that it runs in, of that namespace; empty if in none.
        listen: Where health and metrics are asked for, as ``HOST:PORT``; empty for nowhere.
        prometheus: Where alerts are asked for; none if nowhere.
        terms: How long the lease's things take.
    """

    load: Load
    namespace: str
    own_node: str = ""
    own_pod: str = ""
    listen: str = ""
    prometheus: PrometheusAccess | None = None
    terms: LeaseTimings = LeaseTimings()  # noqa: RUF009 -- frozen


def serve(settings: ControllerSettings) -> None:
    """Run until SIGTERM or SIGINT; the lease is given back at the end.

    Raises:
        ProaError: ``KUBECONFIG``, ``USAGE``; ``INTERNAL`` when a part has ended by a defect.
    """
    stop, changed, me = threading.Event(), ChangeSignal(), identity()

    def end(_: int, __: FrameType | None) -> None:
        stop.set()
        changed.notify()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    api = Api(settings.load)
    half = settings.terms.request / 2
    quick = Api(settings.load, limits=ApiLimits(connect=half, read=half), tally=api.tally)
    sources = Sources.of(api, changed)
    elector = LeaderElector(
        quick, settings.namespace, floor=sources.floor, changed=changed, me=me, terms=settings.terms
    )
    events = Events(api, me)
    own_pod = f"{settings.namespace}/{settings.own_pod}" if settings.own_pod else ""
    drainer = Drainer(api, lambda: elector.leading, lambda: sources.budgets.objects, changed, own_pod=own_pod)
    place = settings.prometheus
    alerts = AlertsAsker(functools.partial(ask, place) if place else None, changed)
    controller = Controller(
        sources,
        elector,
        Writer(api, elector),
        drainer,
        EventRecorder(events),
        Pending(api),
        changed,
        settings.own_node,
        skew=lambda: skew(api, own_pod),
        alerts=alerts,
    )
    metrics = Metrics(sources, api.tally, lambda: elector.leading, lambda: events.dropped)
    controller.watcher = metrics
    health = HealthServer(settings.listen, lambda: _stuck(controller), lambda: _unready(sources), metrics.text)
    if settings.listen:
        log.info("listening", port=health.start())
    # Both: a lease that somebody else has just written is a trouble of the elector alone.
    complaints = Complaints(lambda: elector.problem if sources.nodes.problem else "", api.host)
    parts = (sources, elector, events, drainer, alerts, complaints)
    for part in parts:
        part.start()
    log.info("started", me=me, namespace=settings.namespace, own_node=settings.own_node, own_pod=own_pod)
    try:
        controller.run(stop)
    finally:
        released = elector.stop()
        complaints.stop()
        alerts.stop()
        drainer.stop()
        events.stop()
        sources.stop()
        if settings.listen:
            health.stop()
        log.info("ended", released=released)


def _stuck(controller: Controller) -> str:
    """Why this process should be started again."""
    try:
        _ = controller.elector.leading, controller.sources.nodes.objects
    except ProaError as error:
        return error.message
    age = SYSTEM.monotonic() - controller.beat
    return f"no step for {age:.0f} s" if age > STUCK else ""


def _unready(sources: Sources) -> str:
    """Why it could not lead now."""
    missing = [one.path for one in sources if not one.synced]
    return f"not seen yet: {', '.join(missing)}" if missing else ""
