"""A node that takes orders, and the releases that there are."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proa.agent.api.jobs import EventLog, Jobs
from proa.agent.install.install import install
from proa.agent.install.order import InstallOrder
from proa.agent.node.cancel import Cancel
from proa.agent.node.reports import Installed
from proa.agent.node.view import Context
from proa.agent.orders.status_feed import StatusFeed
from proa.agent.orders.worker import OrderWorker
from proa.agent.testing.node import Node
from proa.agent.testing.systemctl import Systemctl
from proa.agent.trial.health import HealthReport
from proa.core.orders.messages import NodeStatus
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.events import Monitor, Tee
from proa.core.runtime.process import run
from proa.partition.boot.bootstate import Slot


@dataclass
class Agent:
    """The part of a daemon that carries orders out, in one boot of a node."""

    node: Node
    places: dict[str, str]
    """Where the releases lie that orders name, by manifest digest."""
    health: HealthReport | None = None
    cancel: Cancel = field(default_factory=Cancel)
    monitors: list[Monitor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.changed = ChangeSignal()
        log = EventLog(changed=self.changed)
        monitor = Tee((self.node.events, log, *self.monitors))
        self.context = dataclasses.replace(self.node.context, monitor=monitor, cancel=self.cancel)
        feed = StatusFeed(self.context, Jobs(log), self.changed, health=lambda: self.health)
        self.worker = OrderWorker(feed, install=self.install)

    def install(self, context: Context, order: InstallOrder, begins: Callable[[], None]) -> Installed:
        """The real one, from where the release lies."""
        digest = order.reference.rpartition("@")[2]
        place = self.places.get(digest, "oci:/nowhere")
        return install(context, dataclasses.replace(order, reference=f"{place}@{digest}"), begins=begins)

    def order(self, number: int, action: str, digest: str = "", fence: int = 1, **more: Any) -> NodeStatus:
        """Give an order, and see it as far as it comes in this boot."""
        self.worker.put(Site.order(number, action, digest, fence, **more))
        return self.work()

    def work(self) -> NodeStatus:
        """Let the worker work until only time, a boot or an order brings it on."""
        for _ in range(50):
            known = self.changed.count
            pause = self.worker.step()
            job = self.worker.feed.jobs.current
            if job and job.thread:
                job.thread.join(300)
            elif self.changed.count == known and pause != 0.0:
                return self.status
        raise AssertionError(pause)

    @property
    def status(self) -> NodeStatus:
        """What the node says of itself."""
        return self.worker.feed.status()


@dataclass
class Site:
    """A node, and the releases that there are."""

    node: Node
    systemctl: Systemctl
    places: dict[str, str]
    new: str
    """The manifest digest of release 2."""
    factory: str
    kept: Path
    """A node with a trial, once there was one."""

    @staticmethod
    def order(number: int, action: str, digest: str = "", fence: int = 1, **more: Any) -> dict[str, Any]:
        """An order as it comes through the socket."""
        release = {"release": f"registry.example/os/node:2@{digest}"} if digest else {}
        return {"id": number, "action": action, "fence": fence} | release | more

    @staticmethod
    def proof(status: NodeStatus) -> dict[str, str]:
        """What a commit of what runs has to say."""
        assert status.booted
        return {"bootID": status.booted.boot_id, "rootHash": status.booted.root_hash}

    def agent(self, **options: Any) -> Agent:
        """The agent, as it has just started."""
        return Agent(self.node, self.places, **options)

    @property
    def reboots(self) -> int:
        """How often a reboot was asked for."""
        return self.systemctl.calls.count("reboot")

    def reboot(self, *, agent: bool = True) -> Slot:
        """Boot the machine, early in its uptime."""
        self.node.clock.at = 20.0
        return self.node.reboot(agent=agent)

    def on_trial(self) -> Agent:
        """Stage and boot release 2 by orders; the agent of its trial. What that leaves is kept for the next test."""
        if not self.kept.exists():
            self.agent().order(1, "Stage", self.new)
            self.agent().order(2, "Boot", self.new)
            assert self.reboot() is Slot.B
            assert self.agent().work().phase == "Trial"
            run(["cp", "--archive", "--sparse=always", self.node.folder, self.kept])
            return self.agent()
        shutil.rmtree(self.node.folder)
        run(["cp", "--archive", "--sparse=always", self.kept, self.node.folder])
        self.node.clock.at, self.node.booted, self.node.boots = 20.0, Slot.B, 2
        self.node.__dict__.pop("context", None)
        self.systemctl.log("reboot")
        return self.agent()

    def committed(self) -> Agent:
        """The agent of a node whose trial of release 2 has been committed."""
        agent = self.on_trial()
        agent.health = HealthReport(())
        assert agent.order(3, "Commit", trial=self.proof(agent.status)).phase == "Good"
        return agent
