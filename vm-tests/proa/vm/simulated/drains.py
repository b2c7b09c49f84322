"""Pods that are in the way of a drain: bound to one node, and guarded by a disruption budget."""

from __future__ import annotations

from typing import Any, Final

from proa.vm.kube.api import STRATEGIC, Object
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.support.waiting import until

NAMESPACE: Final = "load"


class Workload:
    """A Deployment, a DaemonSet or a bare Pod whose pods run on one node only.

    Args:
        cluster: The control plane.
        name: Its name.
        node: Where its pods run; as they can be nowhere else, one that is evicted is missing as long as the node is
            cordoned.
        kind: ``Deployment``, ``DaemonSet`` or ``Pod``.
        replicas: How many pods.
        budget: The spec of its PodDisruptionBudget but for the selector; none for no budget.
        grace: Seconds that a pod has to end.
        volumes: The volumes of its pods.
        tolerations: The tolerations of its pods.
        owner: The kind of object that a bare Pod belongs to, one that Kubernetes knows; nobody if empty.
    """

    def __init__(
        self,
        cluster: ControlPlane,
        name: str,
        node: str,
        *,
        kind: str = "Deployment",
        replicas: int = 1,
        budget: Object | None = None,
        grace: int = 30,
        volumes: tuple[Object, ...] = (),
        tolerations: tuple[Object, ...] = (),
        owner: str = "",
    ) -> None:
        self.cluster, self.name, self._kind = cluster, name, kind
        cluster.namespace(NAMESPACE)
        labels = {"app": name}
        containers = [{"name": "main", "image": "registry.test/main"}]
        pod = {"terminationGracePeriodSeconds": grace, "containers": containers, "volumes": list(volumes)}
        pod["tolerations"] = list(tolerations)
        pod["nodeSelector"] = {"kubernetes.io/hostname": node}
        template = {"metadata": {"labels": labels}, "spec": pod}
        spec: dict[str, Any] = {"selector": {"matchLabels": labels}, "template": template}
        if kind == "Deployment":
            spec["replicas"] = replicas
        elif kind == "Pod":
            spec = pod
        metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
        owned = {"ownerReferences": [self._owner(owner)]} if owner else {}
        about = {"apiVersion": "v1" if kind == "Pod" else "apps/v1", "kind": kind}
        made = [{**about, "metadata": metadata | owned, "spec": spec}]
        if budget is not None:
            guard = {**budget, "selector": {"matchLabels": labels}}
            made.append({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": guard})
        cluster.apply(made)
        until(lambda: self.ready == replicas, f"{replicas} pods of {name} to be Ready")
        if budget is not None:
            path = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets/{name}"
            until(lambda: _counted(cluster.api.get(path).get("status", {})), "its budget to be known")

    @property
    def pods(self) -> list[Object]:
        """Its pods."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        return list(self.cluster.api.items(path, {"labelSelector": f"app={self.name}"}))

    @property
    def ready(self) -> int:
        """How many of its pods are Ready."""
        return sum(
            any(
                one["type"] == "Ready" and one["status"] == "True"
                for one in pod.get("status", {}).get("conditions", ())
            )
            for pod in self.pods
        )

    def fall_ill(self) -> None:
        """Its pods are not Ready any more: on nodes with the fault ``unready_pods``, which keeps them so."""
        unwell = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        for pod in self.pods:
            path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}/status"
            self.cluster.api.patch(path, unwell, STRATEGIC)
        until(lambda: not self.ready, f"the pods of {self.name} not to be Ready")

    def unguard(self) -> None:
        """A person takes the budget away."""
        self.cluster.api.delete(f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets/{self.name}")

    def _owner(self, kind: str) -> Object:
        """A reference to an object of its name."""
        about = {"apiVersion": "v1", "kind": kind}
        self.cluster.apply([{**about, "metadata": {"name": self.name, "namespace": NAMESPACE}}])
        path = f"/api/v1/namespaces/{NAMESPACE}/{kind.lower()}s/{self.name}"
        uid = self.cluster.api.get(path)["metadata"]["uid"]
        return {**about, "name": self.name, "uid": uid, "controller": True}

    def remove(self) -> None:
        """Take it all away."""
        self.unguard()
        options = {"propagationPolicy": "Background", "gracePeriodSeconds": 0}
        base = "/api/v1" if self._kind == "Pod" else "/apis/apps/v1"
        self.cluster.api.delete(f"{base}/namespaces/{NAMESPACE}/{self._kind.lower()}s/{self.name}", **options)
        for pod in self.pods:
            self.cluster.api.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}", **options)


def _counted(status: Object) -> bool:
    """Whether the disruption controller has looked at a budget: it knows how many pods are meant, or cannot know."""
    reasons = {condition.get("reason") for condition in status.get("conditions", ())}
    return bool(status.get("expectedPods")) or "SyncFailed" in reasons
