"""The proxy as a process: who listens, who acts, and how it ends."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proa.core.orders.client import OrderClient
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import SYSTEM, Clock
from proa.scheduler.kube.reflector import Reflector
from proa.scheduler.kube.server import Server
from proa.scheduler.kube.worker import Worker
from proa.scheduler.proxy.follower import Follower
from proa.scheduler.proxy.proxy import NodeProxy, Seen, Tell, seen
from proa.scheduler.spec.crd import NODE_OSES

_LAST_SECONDS: Final = 1.5
"""For what is under way when it ends; kubelet waits for 30 s, a node that shuts down for less."""

_LOOK_SECONDS: Final = 2.0
"""How often is looked whether an API server that was lost is there again: nobody rings for that."""


@dataclass(eq=False)
class Service(Worker):
    """Everything that runs on a node.

    Attributes:
        node: Its name.
        api: The API server.
        agent: The agent.
        tell: Where news go.
        clock: The clock.
    """

    node: str
    api: Server
    agent: OrderClient
    tell: Tell
    clock: Clock = SYSTEM

    def __post_init__(self) -> None:
        self._changed = ChangeSignal()
        super().__init__("proxy", self._step_and_wait, self._changed)
        self._heard = 0
        self._reflector: Reflector[Seen] = Reflector(
            self.api, NODE_OSES, seen, self._changed, f"metadata.name={self.node}", self.clock
        )
        self._follower = Follower(self.agent, self._changed, self.clock)
        self._proxy = NodeProxy(
            self.node,
            lambda: self._reflector.objects.get(self.node),
            lambda: self._follower.told,
            self.agent.put,
            self.api,
            self.tell,
            self.clock,
        )
        self._problems = {"the API server": "", "the agent": ""}

    def run(self) -> None:
        """Run until it is asked to end, by :meth:`end` or a signal.

        Raises:
            ProaError: ``INTERNAL``, and whatever else a defect raises.
        """
        self._reflector.start()
        self._follower.start()
        self.start()
        self._stop.wait()
        self._changed.notify()
        self.join(_LAST_SECONDS)
        self._follower.stop()
        self._reflector.stop()
        if self.defect is not None:
            raise self.defect
        self.tell("ended")

    def end(self, *_: object) -> None:
        """End soon; also as a handler of signals."""
        self._stop.set()

    def end_on_signals(self, install: Callable[[int, Callable[..., None]], object] = signal.signal) -> None:
        """Let SIGTERM end it."""
        install(signal.SIGTERM, self.end)

    def _step_and_wait(self) -> float:
        self._heard = self._changed.wait(self._heard, self._proxy_step())
        return 0.0

    def _ended(self) -> None:
        if self._stop.is_set():
            self._proxy.step(ending=True)
        self._stop.set()

    def _proxy_step(self) -> float | None:
        self._look_at_agent()
        lost = self._look_at_server()
        if self._follower.defect is not None:
            raise self._follower.defect
        wait = self._proxy.step()
        return min(_LOOK_SECONDS, wait if wait is not None else _LOOK_SECONDS) if lost else wait

    def _look_at_agent(self) -> None:
        """Tell once when the agent is lost, and when it is back."""
        told = self._follower.told
        self._note("the agent", "" if told.answering else told.problem)

    def _look_at_server(self) -> bool:
        """Whether the API server is lost; told once, and once when it is back."""
        who = "the API server"
        if self._reflector.stale_since is None:
            if self._note(who, ""):
                self._proxy.hurry()
        elif problem := self._reflector.problem:  # a watch that has ended in order is begun again at once
            self._note(who, problem)
        return bool(self._problems[who])

    def _note(self, who: str, problem: str) -> bool:
        """Tell what is new; whether anything is."""
        if problem == self._problems[who]:
            return False
        self._problems[who] = problem
        self.tell(f"{who} no longer answers" if problem else f"{who} answers", why=problem)
        return True
