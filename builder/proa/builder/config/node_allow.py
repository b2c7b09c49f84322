"""What the cluster may set on nodes of a release: a list of keys for each model, signed with the release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proa.builder.config.kinds import Listing, Text
from proa.builder.config.setting import setting

_ENTRY: Final = Text(r"[^\s=]+(?:=[0-9]*\.\.[0-9]*)?", "a key, or KEY=LOW..HIGH")
_MIRRORS: Final = Text(r"[^\s=]+=[^\s=]+", "REGISTRY=HOST[:PORT],HOST[:PORT]")


@dataclass(frozen=True)
class SettingsConfig:
    """What the cluster may set on nodes of this release (docs/reference/node-settings.md); without a list, nothing."""

    sysctl: tuple[str, ...] = setting(
        Listing(_ENTRY),
        "Kernel parameters; `KEY=LOW..HIGH` narrows the range of a number.",
        [],
        example=["vm.swappiness=0..60", "net.core.somaxconn"],
    )
    kubelet: tuple[str, ...] = setting(
        Listing(_ENTRY),
        "Fields of kubelet's configuration. Start kubelet with `--config-dir=/etc/proa/settings/current/kubelet/`; "
        "where its unit reads `KUBELET_EXTRA_ARGS`, the builder sets that.",
        [],
        example=["maxPods=10..250", "evictionHard"],
    )
    limits: tuple[str, ...] = setting(Listing(_ENTRY), "Resource limits.", [], example=["nofile"])
    time: tuple[str, ...] = setting(Listing(_ENTRY), "Time servers.", [], example=["servers"])
    dns: tuple[str, ...] = setting(Listing(_ENTRY), "DNS servers and domains.", [], example=["servers"])
    proxy: tuple[str, ...] = setting(
        Listing(_ENTRY), "The proxy of containerd, as environment.", [], example=["http", "https", "none"]
    )
    registries: tuple[str, ...] = setting(
        Listing(_MIRRORS),
        "Mirrors of containerd, by registry: which hosts may be set. With `/resolve` behind the registry they may say, "
        "too, which image a tag stands for. containerd's `config_path` must be `/etc/containerd/certs.d`.",
        [],
        example=["docker.io=mirror.example.net", "registry.k8s.io/resolve=mirror.example.net:5000"],
    )
    files: tuple[str, ...] = setting(Listing(_ENTRY), "Text files below /etc.", [], example=["/etc/motd"])
