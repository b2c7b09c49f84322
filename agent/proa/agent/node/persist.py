"""What is known to be wrong with PERSIST: what the initrd found, and what the kernel has met since."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from proa.agent.node.boot import BootReport
from proa.agent.node.paths import Paths


def persist_problems(paths: Paths, report: BootReport | None) -> tuple[str, ...]:
    """What is wrong with PERSIST, a sentence each; none where nothing is, or nothing runs from the disk."""
    return tuple(_found_at_boot(paths, report)) + tuple(_met_since(paths)) if report else ()


def _found_at_boot(paths: Paths, report: BootReport | None) -> Iterator[str]:
    if report and report.persist_check == "mended":
        yield "PERSIST had errors, which were repaired at this boot"
    if report and report.persist_check == "repaired":
        yield "PERSIST was damaged and was repaired at this boot: files may be lost"
    if paths.lost_identity.exists():
        yield (
            "PERSIST lost the identity of this node, which came up as another one; "
            f"remove {paths.lost_identity} once you have dealt with it"
        )


def _met_since(paths: Paths) -> Iterator[str]:
    try:
        device = paths.persist.stat().st_dev
        read_only = os.statvfs(paths.persist).f_flag & os.ST_RDONLY
    except FileNotFoundError:
        return
    except OSError as error:
        yield f"PERSIST cannot be looked at: {error.strerror}"
        return
    if read_only:
        yield "PERSIST is read-only: its file system met an error"
    if errors := _errors(paths, device):
        yield f"PERSIST has met {errors} errors since its last check: reboot, so that it is checked"


def _errors(paths: Paths, device: int) -> int:
    """What ext4 counts since the last check (Linux, ABI/testing/sysfs-fs-ext4); 0 where it says nothing."""
    uevent = paths.root / f"sys/dev/block/{os.major(device)}:{os.minor(device)}/uevent"
    try:
        facts = dict(line.split("=", 1) for line in uevent.read_text().splitlines() if "=" in line)
        count = Path(paths.root, "sys/fs/ext4", facts.get("DEVNAME", ""), "errors_count").read_text()
        return int(count)
    except (OSError, ValueError):
        return 0
