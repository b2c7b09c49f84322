"""What is known to be wrong with PERSIST: what the initrd found, and what the kernel has met since."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from proa.agent.node.boot import BootReport
from proa.agent.node.paths import Paths

_REPAIRED: Final[Mapping[str, str]] = {
    "mended": "PERSIST had errors, which were repaired",
    "repaired": "PERSIST was damaged, so that files may be lost, and was repaired",
}
"""What the initrd's check of PERSIST found, by its word for it."""
_UNTIL: Final = "remove {} once you have dealt with it"


def persist_problems(paths: Paths, report: BootReport | None) -> tuple[str, ...]:
    """What is wrong with PERSIST, a sentence each; none where nothing is, or nothing runs from the disk."""
    return tuple(_found_at_boot(paths, report)) + tuple(_met_since(paths)) if report else ()


def _found_at_boot(paths: Paths, report: BootReport | None) -> Iterator[str]:
    found = report.persist_check if report else ""
    when = "at this boot" if found in _REPAIRED else "at an earlier boot"
    noted = _noted(paths.damaged)
    if told := _REPAIRED.get(found) or _REPAIRED.get(noted):
        yield f"{told} {when}" + (f"; {_UNTIL.format(paths.damaged)}" if noted else "")
    if paths.lost_identity.exists():
        yield (
            "PERSIST lost the identity of this node, which came up as another one; "
            f"{_UNTIL.format(paths.lost_identity)}"
        )


def _noted(path: Path) -> str:
    """What an earlier boot's check found; empty where it found nothing, or what it wrote says nothing."""
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""


def _met_since(paths: Paths) -> Iterator[str]:
    try:
        device = paths.persist.stat().st_dev
        read_only = os.statvfs(paths.persist).f_flag & os.ST_RDONLY
    except FileNotFoundError:
        return
    except OSError as error:
        yield f"PERSIST cannot be inspected: {error.strerror}"
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
