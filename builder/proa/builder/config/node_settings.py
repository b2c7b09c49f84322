"""The settings of a node that runs the image: its disk, what it keeps, checks and takes orders and releases from."""

from __future__ import annotations

from dataclasses import dataclass

from proa.builder.config.kinds import Choice, Duration, Listing, Number, Size, Text
from proa.builder.config.setting import setting
from proa.builder.config.vocabulary import ABSOLUTE, LOCAL, UNIT
from proa.partition.disk.layout import MIN_BOOT


@dataclass(frozen=True)
class DiskConfig:
    """The disk image. A slot never changes its size, so leave room for releases to come."""

    sector_size: int = setting(Number(512, 4096, (512, 4096)), "Bytes per sector of the node's disk.", 512)
    size: int = setting(
        Size(1 << 30, derived=True),
        "The image's size; as small as its partitions allow if not set.",
        "",
        example="8 GiB",
    )
    boot: int = setting(Size(MIN_BOOT), "Size of `BOOT`, the EFI system partition.", "264 MiB")
    uki: int = setting(
        Size(8 << 20, derived=True),
        "Size of `UKI-A` and of `UKI-B`; 0 for one and a half times the kernel image.",
        "64 MiB",
    )
    root: int = setting(
        Size(64 << 20, derived=True),
        "Size of `ROOT-A` and of `ROOT-B`, for the root and its verity tree; 0 for one and a half "
        "times what they need.",
        "2 GiB",
    )
    persist: int = setting(
        Size(64 << 20), "Size of `PERSIST`; it grows to the end of the node's disk at the first boot.", "512 MiB"
    )


@dataclass(frozen=True)
class Persist:
    """What a node keeps besides /etc, /var, /home, /root and /opt/cni, and how."""

    keep: tuple[str, ...] = setting(Listing(ABSOLUTE), "Folders to keep from release to release.", [], example=["/srv"])
    encryption: str = setting(
        Choice(("none", "tpm2")),
        "Whether `PERSIST` is encrypted: with `tpm2` by LUKS2, with a key that the node's TPM 2.0 gives only to signed "
        "kernel images of this product line. See docs/how-to/encrypt-persist.md.",
        "none",
    )


@dataclass(frozen=True)
class HealthConfig:
    """What a trial must prove before it is committed."""

    deadline: int = setting(
        Duration(30, 86400),
        "How long a trial may take to be committed, from the start of the kernel; then the machine resets.",
        "10 min",
    )
    timeout: int = setting(Duration(1, 3600), "How long one check may take.", "30 s")
    watchdog: int = setting(
        Duration(10, 600), "The hardware watchdog's time: it resets a system that hangs for that long.", "1 min"
    )
    seconds: int = setting(
        Duration(0, 3600),
        "How long a trial must run without a failure, and without a restart of a service, before it is committed; at "
        "most half of what the agent has until the deadline.",
        "1 min",
    )
    required: tuple[str, ...] = setting(
        Listing(UNIT),
        "Units that must be active, besides the rule that no unit may have failed.",
        [],
        example=["ssh.service"],
    )


@dataclass(frozen=True)
class Check:
    """A health check: a program that ends with status 0 when the node is healthy."""

    name: str = setting(
        Text(r"[A-Za-z0-9][A-Za-z0-9_.-]*", "a file name"), "Its name; checks run in this order.", example="10-network"
    )
    content: str | None = setting(
        Text(),
        "The content of the check. Give either this or `source`.",
        None,
        example="#!/bin/sh\nexec ip route get 192.0.2.1\n",
    )
    source: str = setting(LOCAL, "The program to copy.", "", example="checks/network")


@dataclass(frozen=True)
class ClusterConfig:
    """What the cluster may order a node to do."""

    group: int = setting(
        Number(1, (1 << 32) - 2),
        "The number of the group that may give orders through `/run/proa/orders.sock`: the group that"
        " the proxy's pod runs with. Without it, that socket does not exist.",
        "",
        example=4711,
    )
    commit: str = setting(
        Choice(("checks", "order")),
        "Who commits a trial: with `checks`, the node itself as soon as its checks pass; with "
        "`order`, the cluster. A healthy trial then waits for the order until shortly before "
        "`health.deadline`.",
        "checks",
    )


@dataclass(frozen=True)
class TrustConfig:
    """Whose releases the node takes."""

    keys: tuple[str, ...] = setting(
        Listing(LOCAL), "Public keys (PEM). The keys of `--keys` if not set.", [], example=["keys/release.pub"]
    )
    threshold: int = setting(Number(1, 16), "How many different keys must have signed a release.", 1)
