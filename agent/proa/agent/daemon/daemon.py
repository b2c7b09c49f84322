"""``serve``: settles the boot, watches a trial, and does what the local API is asked for."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final

from proa.agent.api.jobs import EventLog, Jobs
from proa.agent.api.listen import listen
from proa.agent.daemon.notify import Notifier
from proa.agent.node.cause import Cause
from proa.agent.node.failure import HealthFailure
from proa.agent.node.health_seen import save_health
from proa.agent.node.lock import locked
from proa.agent.node.policy import Door
from proa.agent.node.settings import (
    INITRD_DEADLINE,
    ClusterSettings,
    Commit,
    HealthSettings,
    cluster_settings,
    health_settings,
)
from proa.agent.node.view import Context, View, look
from proa.agent.trial import change
from proa.agent.trial.health import HealthReport, check_health
from proa.agent.trial.reconcile import give_up, reconcile
from proa.agent.trial.standing import objection
from proa.agent.trial.steady import Steadiness
from proa.agent.trial.trial import TrialLog, broken_settings, watch
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import Deadline
from proa.core.runtime.defects import told
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Note, Tee

_LOCK_PATIENCE: Final = 120.0
"""Seconds that the daemon waits at its start for a lock that a command holds."""
_TRIAL_PATIENCE: Final = 86400.0
"""The same at the end of a trial: for as long as the initrd's deadline lets it."""
_DRIFT: Final = 15.0
"""Seconds between two looks at whether settings are still in effect."""
_RETRY: Final = 15.0
"""Seconds before what went wrong is tried again."""


@dataclass(frozen=True)
class _Checks:
    """How a trial is looked at, and who commits it."""

    settings: HealthSettings
    cluster: ClusterSettings
    look: Callable[[], HealthReport]


@dataclass(frozen=True)
class _Verdict:
    """Why a trial is taken back; empty if it is committed."""

    wrong: str = ""
    cause: Cause = Cause.INCONSISTENT


@dataclass
class Daemon:
    """The daemon of one node.

    Attributes:
        context: Places, monitor, time; its wish to stop ends the daemon.
        notifier: The way to the service manager.
        allowed: The users who may use the API, and give orders whatever their group.
    """

    context: Context
    notifier: Notifier = dataclasses.field(default_factory=Notifier)
    allowed: frozenset[int] = frozenset({0})

    def __post_init__(self) -> None:
        self.changed = ChangeSignal()
        self.log = EventLog(changed=self.changed)
        self.health: HealthReport | None = None
        self.jobs = Jobs(self.log)
        self.settled = False
        self.brought: HealthFailure | None = None
        self.context = dataclasses.replace(self.context, monitor=Tee((self.context.monitor, self.log)))

    def run(self) -> None:
        """Serve until asked to stop.

        What the API needs is imported once all else is under way: a machine that boots a trial has no time for it,
        and a client that calls meanwhile waits in the socket's queue.
        """
        self._settle(_LOCK_PATIENCE)
        self._told(self._bring_settings)
        path = self.context.paths.socket
        with listen(path) as listening:
            self.notifier.send("READY=1")
            threading.Thread(target=self.watch_trial, name="trial", daemon=True).start()
            threading.Thread(target=self.keep_settings, name="settings", daemon=True).start()
            from proa.agent.api.routes import routes
            from proa.agent.api.server import ApiServer, Gate

            server = ApiServer(listening, routes(self.context, self.jobs, self.changed), Gate(self.allowed))
            threading.Thread(target=server.serve, name="api", daemon=True).start()
            with ExitStack() as serving:
                serving.callback(path.unlink, missing_ok=True)
                serving.callback(server.stop)
                self._told(lambda: self._take_orders(serving))
                try:
                    while not self.context.cancel.wait(self.notifier.interval):
                        self.notifier.send("WATCHDOG=1")
                finally:
                    self.notifier.send("STOPPING=1")
                    self.changed.close()
                    self._stop()

    def _take_orders(self, serving: ExitStack) -> None:
        """Open the order socket, where there is a group that may give orders; without one nothing of it is imported."""
        group = cluster_settings(self.context.paths).group
        if group is None:
            return
        from proa.agent.orders.service import serving_orders
        from proa.agent.orders.status_feed import StatusFeed
        from proa.agent.orders.worker import OrderWorker

        feed = StatusFeed(self.context, self.jobs, self.changed, health=lambda: self.health)
        serving.enter_context(serving_orders(OrderWorker(feed, lambda: self.settled), group, self.allowed))

    def _settle(self, patience: float) -> None:
        """Settle the boot; one that cannot be is served all the same: ``status`` must be able to say why."""
        self.settled = self._told(lambda: self._locked(lambda: reconcile(self.context), patience))
        self.changed.notify()

    def _told(self, work: Callable[[], object]) -> bool:
        """Do something; whether it went well. What went wrong is told, defects too: the daemon lives on."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 -- a crash would come back at every start
            failure = told(error)
            self.context.monitor.emit(Note(f"{failure.code.name}: {failure.message}", "warning"))
            return False
        return True

    def _bring_settings(self) -> None:
        """In a trial: set what came along with the release, before what reads it starts."""
        view = look(self.context)
        order = view.record.order
        if on_trial(view) and order and order.order.settings:
            from proa.agent.settings import along

            def bring() -> None:
                self.brought = along.bring(self.context, view)

            self._patiently(bring, _LOCK_PATIENCE)

    def _locked(self, work: Callable[[], object], patience: float) -> None:
        """Do something under the lock, waiting for a command that holds it."""

        def alone() -> None:
            with locked(self.context.paths):
                work()

        self._patiently(alone, patience)

    def _patiently(self, work: Callable[[], object], patience: float) -> None:
        """Do something that takes the lock, waiting for a command that holds it."""
        deadline = Deadline("the lock", patience, self.context.clock)
        while True:
            try:
                work()
                return
            except ProaError as error:
                if error.code is not Code.BUSY or deadline.passed:
                    raise
            self.context.clock.sleep(0.5)

    def watch_trial(self) -> None:
        """Watch a trial to its end, if this boot is one, and reconcile the boot, if that is still to be done.

        What goes wrong is tried again for as long as the initrd's own deadline lets a trial live.
        """
        deadline = Deadline("the trial", INITRD_DEADLINE, self.context.clock, started=0.0)
        while not self._looked_after() and not deadline.passed and not self.context.cancel.asked:
            self._told(lambda: self.context.cancel.clock(self.context.clock).sleep(_RETRY))

    def keep_settings(self) -> None:
        """Take back settings that nobody commits in time, and let the cluster hear of drift."""
        paths = self.context.paths
        while not self.context.cancel.asked:
            pause = _DRIFT
            if (paths.etc / "settings").is_dir() or (paths.usr / "settings.json").exists():
                from proa.agent.settings.engine import Engine

                engine = Engine(self.context)
                self._told(engine.settle)
                left = engine.left()
                pause = _DRIFT if left is None else min(max(left, 1.0), _DRIFT)
                self.changed.notify()
            self.context.cancel.wait(pause)

    def _looked_after(self) -> bool:
        """Whether there is nothing left to be done for this boot."""
        if not self.settled:
            self._settle(_TRIAL_PATIENCE)
        return self._told(self._watch_if_trial) and self.settled

    def _watch_if_trial(self) -> None:
        view = look(self.context)
        if on_trial(view):
            self._watch(view)

    def _watch(self, view: View) -> None:
        trial_log = TrialLog(self.context, view)
        verdict = _Verdict(view.problem.message if view.problem else trial_log.problem)
        if not verdict.wrong:
            checks = self._checks(view.record.trial.failed_before if view.record.trial else ())
            by_order = checks.cluster.commit is Commit.ORDER
            found = watch(
                self.context, checks.settings, self._seen(checks), trial_log, self._ended, to_the_end=by_order
            )
            if found is None:
                return
            if found.known:
                self.context.monitor.emit(Note(f"failed before the upgrade as well: {', '.join(found.known)}"))
            verdict = self._judge(found, checks)
        if not verdict.wrong:
            self._locked(self._commit, _TRIAL_PATIENCE)
            return
        trial_log.ended(verdict.wrong, verdict.cause)
        self._locked(lambda: give_up(self.context, verdict.wrong), _TRIAL_PATIENCE)
        change.reboot()

    def _ended(self) -> bool:
        return not on_trial(look(self.context))

    def _seen(self, checks: _Checks) -> Callable[[], HealthReport]:
        """A look at the health that the cluster hears of."""
        steadiness = Steadiness(self.context.clock, checks.settings.seconds)

        def look_once() -> HealthReport:
            self.health = steadiness.judge(checks.look())
            self._told(lambda: self._keep(steadiness))
            self.changed.notify()
            return self.health

        return look_once

    def _keep(self, steadiness: Steadiness) -> None:
        """Let ``status`` tell what was seen."""
        if self.health:
            save_health(self.context.paths, steadiness.seen(self.health, self.context.time()))

    def _judge(self, health: HealthReport, checks: _Checks) -> _Verdict:
        """What the last look at a trial means."""
        limit = f"within {checks.settings.deadline:g} s"
        if not health.healthy:
            cause = Cause.DEADLINE if health.waiting else Cause.UNHEALTHY
            when = "and never will be" if health.final else limit
            return _Verdict(f"not healthy {when}: {health.summary}", cause)
        if error := objection(self.context, look(self.context), Door.COMMIT, look(self.context).running):
            return _Verdict(f"healthy, but not allowed: {error.message}", Cause.DENIED)
        if checks.cluster.commit is Commit.ORDER:
            from proa.agent.orders.plan import commit_is_ordered

            if not commit_is_ordered(look(self.context)):
                return _Verdict(f"healthy, but no order to commit came {limit}", Cause.NO_ORDER)
        return _Verdict()

    def _commit(self) -> None:
        view = look(self.context)
        if on_trial(view):  # else an order was faster
            change.commit(self.context, view)
            self.context.monitor.emit(Note("the trial is healthy and committed"))

    def _checks(self, failed_before: tuple[str, ...]) -> _Checks:
        paths = self.context.paths
        try:
            settings, cluster = health_settings(paths), cluster_settings(paths)
        except ProaError as error:
            broken = broken_settings(error)
            return _Checks(HealthSettings().resolved(paths), ClusterSettings(), lambda: broken)
        return _Checks(settings.resolved(paths), cluster, lambda: self._look_at_health(settings, failed_before))

    def _look_at_health(self, settings: HealthSettings, failed_before: tuple[str, ...]) -> HealthReport:
        """Units and checks, and that this release allows the settings that the node has."""
        found = check_health(self.context.paths, settings, failed_before)
        if self.brought is None and not (self.context.paths.etc / "settings").is_dir():
            return found
        from proa.agent.settings.along import refused

        failures = (*refused(self.context), *((self.brought,) if self.brought else ()))
        return dataclasses.replace(found, failures=(*found.failures, *failures), final=found.final or bool(failures))

    def _stop(self) -> None:
        with suppress(ProaError):
            thread = self.jobs.cancel(Code.INTERRUPTED).thread
            if thread:
                thread.join(timeout=30)
        self.log.close()
        with suppress(ProaError):
            self._locked(lambda: change.refresh_etc(self.context, look(self.context)), _LOCK_PATIENCE)


def on_trial(view: View) -> bool:
    """Whether the running slot is a trial that has not been ended yet."""
    return view.booted is not None and view.state.on_trial and view.booted is view.state.good.other
