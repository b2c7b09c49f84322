"""How simulated nodes behave: how long what they do takes, and what goes wrong on them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds that things take where nothing goes wrong."""

    stage: float = 0.1
    """Verifying a release and writing it to the standby slot."""
    leave: float = 0.05
    """From the order to reboot until the node is gone: time to answer."""
    boot: float = 0.2
    """From then until agent and kubelet run again."""
    healthy: float = 0.05
    """From there until a trial's health checks have passed."""
    settle: float = 0.05
    """Until new settings are in effect."""
    commit: float = 0.0
    """Making a trial good."""
    trial: float = 600.0
    """How long a trial waits for its commit before it goes back by itself."""
    ready: float = 0.05
    """From when the kubelet runs until the node is Ready."""
    pod_start: float = 0.05
    """From when a pod is bound until it is Ready."""
    pod_stop: float = 0.05
    """What a pod needs to end; its grace period at most."""


@dataclass(frozen=True)
class Faults:
    """What is wrong with a node. All of it holds from when it is set until it is taken away again."""

    ignore_sigterm: bool = False
    """Pods end only when their grace period is over."""
    stuck_pods: bool = False
    """Pods stay Terminating for ever."""
    unready_pods: bool = False
    """Pods run and do not become Ready."""
    never_returns: bool = False
    """The node does not come back from its next reboot, as long as this holds."""
    returns_in_old_slot: bool = False
    """The boot loader gives a trial up: the node comes back in the slot that it left."""
    wrong_root: bool = False
    """The slot that comes up holds another root than was staged."""
    unhealthy: bool = False
    """A trial's health checks fail; it goes back at its deadline."""
    fails_after_ready: float | None = None
    """Seconds after which a node that came back Ready is NotReady, and stays so."""
    ready_delay: float = 0.0
    """Seconds more until the node is Ready after a boot."""
    slow_seconds: float = 0.0
    """Seconds more for everything that an order asks for."""
    clock_skew: float = 0.0
    """Seconds that the node's clock is ahead."""
    bad_settings: bool = False
    """A daemon does not start with new settings: the node takes them back."""
    stage_error: str = ""
    """Staging ends with this code, such as ``SIGNATURE`` or ``NETWORK``."""
    silent_kubelet: bool = False
    """The kubelet says nothing of its node: no status, no lease."""
    silent: bool = False
    """The agent neither takes orders nor says anything; the node itself is well."""


WELL = Faults()
"""Nothing is wrong."""
