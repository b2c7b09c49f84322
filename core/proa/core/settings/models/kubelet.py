"""``kubelet``: a file for ``kubelet --config-dir`` (KubeletConfiguration, kubelet.config.k8s.io/v1beta1).

Maps are merged into the release's own configuration, lists replace it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from proa.core.settings.disruption import Disruption
from proa.core.settings.machines import Address, Domain
from proa.core.settings.model import Base, Key, Model, Never, Part, Refusal
from proa.core.settings.quantities import Amount, CpuSet, Duration, seconds
from proa.core.settings.values import FLAG, Choice, Kind, ListOf, MapOf, Text, Whole

FILE: Final = "kubelet/50-proa.conf"
_HOUR: Final = 3600
_SYSCTL: Final = Text(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+", "the exact name of a kernel parameter", 128)
_SIGNALS: Final = (
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "pid.available",
)
_RESERVED: Final = MapOf(
    {
        "cpu": Text(r"[1-9][0-9]{0,5}m|[1-9][0-9]{0,2}(?:\.[0-9]{1,3})?", "processors such as '500m' or '2'", 8),
        "memory": Amount(least=1 << 20),
        "ephemeral-storage": Amount(least=1 << 20),
        "pid": Text(r"[1-9][0-9]{1,6}", "a number such as '1000'", 7),
    }
)
_PERCENT: Final = Whole(1, 100, "percent")
_NOT_ABOVE: Final = (
    ("shutdownGracePeriodCriticalPods", "shutdownGracePeriod"),
    ("imageMinimumGCAge", "imageMaximumGCAge"),
    ("nodeStatusUpdateFrequency", "nodeStatusReportFrequency"),
)
"""Durations of which the first one is not above the second one."""
_FOR_EVER: Final = 1 << 40


def _restart(kind: Kind, about: str) -> Key:
    return Key(kind, about, Disruption.RESTART)


def _drain(kind: Kind, about: str) -> Key:
    return Key(kind, about, Disruption.DRAIN)


KEYS: Final[Mapping[str, Key]] = {
    "maxPods": _restart(Whole(1, 1000), "pods on the node"),
    "podPidsLimit": _restart(Whole(64, 1 << 22), "processes in a pod"),
    "imageGCHighThresholdPercent": _restart(_PERCENT, "use of the disk at which images are removed"),
    "imageGCLowThresholdPercent": _restart(Whole(1, 99, "percent"), "use of the disk down to which images are removed"),
    "imageMinimumGCAge": _restart(Duration(0, 24 * _HOUR), "age of an image before it may be removed"),
    "imageMaximumGCAge": _restart(Duration(_HOUR, 365 * 24 * _HOUR), "age at which an unused image is removed"),
    "containerLogMaxSize": _restart(Amount(), "size of a container's log before it is rotated"),
    "containerLogMaxFiles": _restart(Whole(2, 100), "files of a container's log"),
    "registryPullQPS": _restart(Whole(1, 1000), "image pulls a second"),
    "registryBurst": _restart(Whole(1, 1000), "image pulls in a burst"),
    "serializeImagePulls": _restart(FLAG, "whether images are pulled one at a time"),
    "maxParallelImagePulls": _restart(Whole(1, 100), "images that are pulled at once"),
    "evictionHard": _restart(
        MapOf.each(_SIGNALS, Amount(percent=True)), "what is left at which pods are evicted at once"
    ),
    "evictionSoft": _restart(
        MapOf.each(_SIGNALS, Amount(percent=True)), "what is left at which pods are evicted in time"
    ),
    "evictionSoftGracePeriod": _restart(MapOf.each(_SIGNALS, Duration(1, _HOUR)), "how long that must be so"),
    "evictionMaxPodGracePeriod": _restart(Whole(0, _HOUR, "seconds"), "time for evicted pods to end"),
    "evictionMinimumReclaim": _restart(MapOf.each(_SIGNALS, Amount(percent=True)), "what an eviction frees at least"),
    "evictionPressureTransitionPeriod": _restart(Duration(1, _HOUR), "time before pressure counts as over"),
    "kubeAPIQPS": _restart(Whole(1, 1000), "requests to the API server a second"),
    "kubeAPIBurst": _restart(Whole(1, 1000), "requests to the API server in a burst"),
    "eventRecordQPS": _restart(Whole(1, 1000), "events a second"),
    "eventBurst": _restart(Whole(1, 1000), "events in a burst"),
    "shutdownGracePeriod": _restart(Duration(0, _HOUR), "time for pods to end when the node shuts down"),
    "shutdownGracePeriodCriticalPods": _restart(Duration(0, _HOUR), "of that, the time for critical pods"),
    "seccompDefault": _restart(Choice((True,)), "the default seccomp profile for every container"),
    "systemReserved": _drain(_RESERVED, "what is kept for the system"),
    "kubeReserved": _drain(_RESERVED, "what is kept for Kubernetes"),
    "reservedSystemCPUs": _drain(CpuSet(), "processors that are kept for the system"),
    "cpuManagerPolicy": _drain(Choice(("none", "static")), "whether pods get processors of their own"),
    "cpuManagerReconcilePeriod": _drain(Duration(1, _HOUR), "time between two looks of the CPU manager"),
    "topologyManagerPolicy": _drain(
        Choice(("none", "best-effort", "restricted", "single-numa-node")),
        "whether resources are taken from one NUMA node",
    ),
    "clusterDNS": _drain(ListOf(Address(loopback=False), 3), "DNS servers of pods"),
    "clusterDomain": _drain(Domain(), "DNS domain of the cluster"),
    "allowedUnsafeSysctls": _drain(ListOf(_SYSCTL, 32), "unsafe kernel parameters that pods may ask for"),
    "nodeStatusUpdateFrequency": _drain(Duration(1, 60), "time between two looks at the node's status"),
    "nodeStatusReportFrequency": _drain(Duration(1, 600), "time between two reports of an unchanged status"),
    "nodeLeaseDurationSeconds": _drain(Whole(10, 120, "seconds"), "how long the node's lease is good"),
}
_CODE: Final = "it would let the cluster run code on the node"
_ACCESS: Final = "it decides who may use the node"
_NODE: Final = "the release decides how the node works"
NEVER: Final = (
    Never(r"staticPod.*|podManifest.*|volumePluginDir|.*ImageCredentialProvider.*", _CODE),
    Never(
        r"containerRuntimeEndpoint|imageServiceEndpoint|featureGates|podLogsDir|resolvConf|cgroup.*|runtimeRequestTimeout",
        _NODE,
    ),
    Never(r"protectKernelDefaults|makeIPTablesUtilChains|logging|tracing|registerNode|providerID|failSwapOn", _NODE),
    Never(
        r"authentication.*|authorization.*|tls.*|rotateCertificates|serverTLSBootstrap|address|.*port|healthz.*",
        _ACCESS,
    ),
    Never(r"enable(Server|Debugging.*|Profiling.*|SystemLog.*|ContentionProfiling)|imagePullCredentials.*", _ACCESS),
)


def _render(part: Part, _: Base) -> Mapping[str, str]:
    document = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", **part}
    return {FILE: json.dumps(document, indent=2, sort_keys=True) + "\n"}


def _together(part: Part) -> list[Refusal]:
    found = []
    high, low = part.get("imageGCHighThresholdPercent", 85), part.get("imageGCLowThresholdPercent", 80)
    if low >= high:
        what = f"{low} is not below imageGCHighThresholdPercent, which is {high}"
        found.append(Refusal("kubelet.imageGCLowThresholdPercent", what, f"1 to {high - 1}"))
    for smaller, larger in _NOT_ABOVE:
        if (seconds(part.get(smaller, "")) or 0) > (seconds(part.get(larger, "")) or _FOR_EVER):
            what = f"{part[smaller]} is more than {larger}, which is {part[larger]}"
            found.append(Refusal(f"kubelet.{smaller}", what, f"at most {part[larger]}"))
    soft, grace = part.get("evictionSoft", {}), part.get("evictionSoftGracePeriod", {})
    if set(soft) != set(grace):
        missing = ", ".join(sorted(set(soft) ^ set(grace)))
        found.append(Refusal("kubelet.evictionSoftGracePeriod", f"each soft threshold needs one: {missing}"))
    if part.get("maxParallelImagePulls", 1) != 1 and part.get("serializeImagePulls", True) is not False:
        what = "several pulls at once need serializeImagePulls = false"
        found.append(Refusal("kubelet.maxParallelImagePulls", what, "1"))
    return found


KUBELET: Final = Model(
    "kubelet",
    "Configuration of kubelet, merged into the release's own by `--config-dir`.",
    KEYS,
    _render,
    NEVER,
    _together,
    restart=("kubelet.service",),
    argument="--config-dir=/etc/proa/settings/current/kubelet/",
)
