"""What is known of this boot: the initrd's report, and whether boot loader and boot state agree about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proa.agent.node.paths import Paths
from proa.agent.node.record import TrialRecord
from proa.core.release.document import BLOCK_SIZE
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors
from proa.core.runtime.json_text import load_json
from proa.core.runtime.parsing import json_value
from proa.core.schema.model import Document, field, parse
from proa.core.schema.values import Count
from proa.partition.boot.bootstate import TRIES_MAX, BootState, Slot


@dataclass(frozen=True)
class BootReport(Document, schema="proa.boot/v1"):
    """`/run/proa/boot.json`: what the initrd found out about this boot. Health checks may read it."""

    slot: Slot = field("The slot whose root it opened.")
    root_hash: str = field("The root hash, which identifies the release.", pattern="^[0-9a-f]{64}$")
    trial: bool = field("Whether this boot is a trial.")
    left: Count = field("Attempts left after this one.")
    disk: str = field("The disk.", default="")
    root: str = field("The partition of the root.", default="")
    first_boot: bool = field("Whether this is the disk's first boot.", default=False)
    persist_check: str = field(
        "How PERSIST was found: `clean`, `mended` after an error, `repaired` where files may be lost; empty in a "
        "report of an older initrd.",
        default="",
    )
    identity_lost: bool = field("Whether the node had an identity on PERSIST that is gone.", default=False)


@dataclass(frozen=True)
class BootedRelease:
    """What runs, as the signed command line and the release's own file say it."""

    root_hash: str
    salt: str
    root_size: int
    """Bytes of the file system."""
    name: str = ""
    version: str = ""
    serial: int = 0
    floor: int = 0
    compatible: str = ""
    architecture: str = ""
    expires: str = ""


def boot_report(paths: Paths) -> BootReport | None:
    """The initrd's report; none when it left none.

    Raises:
        ProaError: ``HANDSHAKE`` when it is not one, ``DEVICE`` when it cannot be read.
    """
    if not paths.boot.exists():
        return None
    with os_errors(paths.boot):
        data = paths.boot.read_bytes()
    try:
        return parse(BootReport, load_json(data, Code.HANDSHAKE))
    except ProaError as error:
        raise ProaError(Code.HANDSHAKE, f"the initrd's report is malformed: {error}", at=paths.boot) from error


def boot_id(paths: Paths) -> str:
    """The kernel's identifier of this boot; empty where there is none."""
    return _text(paths.root / "proc/sys/kernel/random/boot_id")


def command_line(paths: Paths) -> str:
    """The kernel's command line; empty where there is none."""
    return _text(paths.cmdline)


def booted_release(paths: Paths) -> BootedRelease | None:
    """What runs; none where the command line has no root hash.

    Raises:
        ProaError: ``AMBIGUOUS`` where one of our arguments stands there twice: only one can be the signed one.
    """
    found = re.findall(r"(?:^|\s)proa\.([a-z_]+)=(\S*)", command_line(paths))
    words = dict(found)
    if len(words) != len(found):
        raise ProaError(Code.AMBIGUOUS, "the kernel command line has an argument of Proa's twice", at=paths.cmdline)
    if not words.get("root_hash"):
        return None
    release = own_release(paths)
    return BootedRelease(
        root_hash=words["root_hash"].lower(),
        salt=words.get("salt", ""),
        root_size=int(words.get("data_blocks", "0")) * BLOCK_SIZE,
        **{key: release[key] for key in _OWN if isinstance(release.get(key), _OWN[key])},
    )


_OWN: Final = {
    "name": str,
    "version": str,
    "serial": int,
    "floor": int,
    "compatible": str,
    "architecture": str,
    "expires": str,
}


def own_release(paths: Paths) -> dict[str, Any]:
    """What the booted release says of itself (``release.json``); empty where there is no such file."""
    try:
        document = json_value(paths.release.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def disagreement(
    report: BootReport | None, booted: Slot, state: BootState, trial: TrialRecord | None, *, leaving: bool
) -> str:
    """Why boot loader and boot state do not agree about this boot; empty when they do.

    Args:
        report: What the initrd found.
        booted: The running slot, by device number.
        state: The boot state as it is now.
        trial: The trial that was armed, as the agent remembers it.
        leaving: Whether this boot's slot was given up by order since it was booted.
    """
    if report is None:
        return "the initrd left no report about this boot"
    if report.slot is not booted:
        return f"the initrd opened slot {report.slot.value}, but slot {booted.value} runs"
    if report.trial and state.good is not booted:
        limit = trial.tries if trial and trial.slot == booted.value else TRIES_MAX
        if report.left >= limit:
            return f"{report.left} of {limit} attempts are left on a running trial: the boot loader cannot count down"
    chosen = {state.good, *([state.trial] if report.trial else [])}
    if booted in chosen or leaving or state.alt:
        return ""
    return f"slot {booted.value} runs, but slot {state.good.value} is good, and no trial of {booted.value} is known"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
