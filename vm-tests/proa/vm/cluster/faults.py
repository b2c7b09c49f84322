"""What goes wrong while a cluster of real nodes is brought to a release, each in a run of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube.paths import leases, named
from proa.vm.cluster.proof import ClusterProof, say
from proa.vm.cluster.timeline import Sight
from proa.vm.cluster.unavailable import unavailable
from proa.vm.support.waiting import until

AWAY_SECONDS: Final = 180.0
"""How long the API server is away."""
BUSY_SECONDS: Final = 60.0
"""How long the registry answers 503."""
_MIDDLE: Final = 5.0
"""Seconds from the beginning of staging to its middle."""
DARK_SECONDS: Final = 5.0
"""How long a node has no power."""
_LEASE: Final = named(leases("proa-system"), "proa-scheduler")
_PODS: Final = "/api/v1/namespaces/proa-system/pods"


def power_while_staging(proof: ClusterProof, step: str) -> None:
    """A node's QEMU is killed in the middle of staging, and started again."""
    node, _ = _wait(proof, lambda one: one.order.startswith("Stage#") and one.result == "Running", "staging")
    time.sleep(_MIDDLE)
    if proof.sights()[node].result != "Running":
        raise ProaError(Code.REHEARSAL, f"{node} had finished staging before its power was cut", at=step)
    _cut(proof, node, step)


def power_in_the_trial(proof: ClusterProof, step: str) -> None:
    """A node's QEMU is killed once its trial is Ready, before it is committed, and started again.

    Nobody can tell that from a release that crashes, so it counts against the release, and the node has another turn.
    """
    node, _ = _wait(proof, lambda one: one.ready and "" != one.kubelet_boot != one.boot_id != "", "a trial")
    _cut(proof, node, step)


def leader_in_a_drain(proof: ClusterProof, step: str) -> None:
    """The pod of the scheduler that leads is deleted while a node is being drained."""
    api = proof.cluster.plane.api
    _wait(proof, lambda one: one.cordoned and one.order.startswith("Stage#"), "a drain")
    holder = str(api.get(_LEASE)["spec"]["holderIdentity"])
    leader = next((name for name in _pods(proof) if holder.startswith(name)), "")
    if not leader:
        raise ProaError(Code.REHEARSAL, f"no pod is the leader {holder!r}", at=step)
    _say(step, f"{leader} leads, and is deleted")
    api.delete(f"{_PODS}/{leader}", gracePeriodSeconds=0)

    def another() -> bool:
        now = str(api.get(_LEASE)["spec"].get("holderIdentity") or "")
        return now != "" and not now.startswith(leader)

    until(another, "another leader", 120)


def api_server_away(proof: ClusterProof, step: str) -> None:
    """The API server is away for three minutes while a node reboots."""
    node, _ = _wait(proof, lambda one: one.order.startswith("Boot#") and one.result == "Running", "a reboot")
    _say(step, f"{node} reboots; the API server stops for {AWAY_SECONDS:.0f} s")
    proof.cluster.plane.kill_apiserver()
    try:
        time.sleep(AWAY_SECONDS)
    finally:
        proof.cluster.plane.start_apiserver()
    _say(step, "the API server is back")


def registry_busy(proof: ClusterProof, step: str) -> None:
    """The registry answers 503 while nodes fetch the release."""
    _wait(proof, lambda one: one.order.startswith("Stage#") and one.result == "Running", "staging")
    registry = proof.cluster.registry
    _say(step, f"the registry answers 503 for {BUSY_SECONDS:.0f} s")
    with unavailable(registry):
        time.sleep(BUSY_SECONDS)
    _say(step, "the registry works again")


@dataclass(frozen=True)
class ProofFault:
    """What goes wrong.

    Attributes:
        happens: What :attr:`proa.vm.cluster.proof.ClusterProof.during` calls.
        answers: Whether the service answers all the time nevertheless: a node without power takes its pod along.
        borne: On how many nodes the release may fail before the rollout halts.
    """

    happens: Callable[[ClusterProof, str], None]
    answers: bool = True
    borne: int = 0


FAULTS: Final[Mapping[str, ProofFault]] = {
    "power-while-staging": ProofFault(power_while_staging, answers=False),
    "power-in-the-trial": ProofFault(power_in_the_trial, answers=False, borne=1),
    "leader-in-a-drain": ProofFault(leader_in_a_drain),
    "api-server-away": ProofFault(api_server_away, answers=False),
    "registry-busy": ProofFault(registry_busy),
}
"""By the name that ``--fault`` takes."""


def _pods(proof: ClusterProof) -> list[str]:
    return [pod["metadata"]["name"] for pod in proof.cluster.plane.api.items(_PODS)]


def _wait(proof: ClusterProof, wanted: Callable[[Sight], bool], what: str) -> tuple[str, Sight]:
    """The first node that is seen in a state."""

    def look() -> tuple[str, Sight] | None:
        try:
            return next(((name, one) for name, one in proof.sights().items() if wanted(one)), None)
        except ProaError:
            return None

    return until(look, what, 1800)


def _cut(proof: ClusterProof, node: str, step: str) -> None:
    machine = proof.cluster.machines[node]
    _say(step, f"{node} loses its power")
    machine.crash()
    time.sleep(DARK_SECONDS)
    machine.start()


def _say(step: str, what: str) -> None:
    say(f"        {step}: {what}")
