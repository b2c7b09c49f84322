"""What a trial that came back left behind: the initrd's note, the kernel's last messages, the watchdog's flag."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from proa.agent.node.paths import Paths
from proa.agent.node.record import TrialRecord
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.runtime.printable import printable
from proa.core.schema.model import Document, field, parse
from proa.core.schema.values import Count, Hex, Label

KERNEL_LINES: Final = 40
"""Last kernel messages that a report has."""
CARD_RESET: Final = 0x20
"""``WDIOF_CARDRESET`` of ``linux/watchdog.h``: the watchdog reset the machine before this boot."""
_LINE: Final = 300
_READ: Final = 1 << 16
_MOST_LOGS: Final = 4096
_ONE_LOG: Final = 10.0
"""Seconds within which all pieces of one log are written. After a panic the kernel waits that long (``panic=10``)."""
_HEADING: Final = re.compile(r"dmesg-\S+:|\w+#\d+ Part\d+")
"""What pstore and systemd-pstore put before each piece."""
_STAMP: Final = re.compile(r"^(<\d+>)?\[ *(?P<time>\d+\.\d+)\](\[ *[CT]\d+\])? ?")
"""Level, time and, with ``CONFIG_PRINTK_CALLER``, who says it."""


@dataclass(frozen=True)
class TryNote(Document, schema="proa.try/v1"):
    """What the trial's initrd, and what it left in /run, wrote to PERSIST (`proa-ended.sh`)."""

    root_hash: Hex = field("What was tried.")
    seq: Count = field("SEQ of the boot state that armed it.")
    left: Count = field("Attempts left after this one began.")
    cause: Label = field("`started`, or how it ended: `deadline`, `emergency` or `initrd`.")
    what: str = field("What happened, in a sentence; empty if it has only started.", default="")


def load_try(paths: Paths) -> TryNote | None:
    """The note of the last try; none where there is none, or none that can be read: it explains, it decides nothing."""
    try:
        return parse(TryNote, load_json(paths.last_try.read_bytes(), Code.CONFIG_SYNTAX))
    except (OSError, ProaError):
        return None


def watchdog_fired(paths: Paths) -> bool:
    """Whether a hardware watchdog says that it reset the machine before this boot; few have no such flag."""
    return any(_flags(path) & CARD_RESET for path in sorted(paths.watchdogs.glob("watchdog*/bootstatus")))


def _flags(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def kernel_messages(paths: Paths, trial: TrialRecord) -> tuple[str, ...]:
    """The newest kernel log that a trial left in pstore, in order of time; empty where there is none.

    The kernel leaves one when it panics, and when a trial's deadline or emergency shell reboots it. systemd-pstore
    moves records from pstore to /var/lib/systemd/pstore (systemd-pstore.service(8)) and puts the pieces together as
    dmesg.txt, by the second or the ten seconds in which each was written: a log may lie in two folders.

    Which logs are the trial's is told by what was there when it was armed: a machine whose clock has no battery gives
    them any time. Only for a trial that an older agent armed the time counts.
    """
    try:
        found = [path for path in _logs(paths) if _is_newer(path, trial)]
        whole = [path for path in found if path.name == "dmesg.txt"]
        times = {path: _written(path) for path in whole or found}
        newest = max(times.values(), default=0.0)
        lines = [line for path, time in times.items() if newest - time <= _ONE_LOG for line in _lines(path)]
    except OSError:
        return ()
    return tuple(text for _, text in sorted(lines, key=lambda line: line[0]))


def known_logs(paths: Paths) -> tuple[str, ...]:
    """The digests of the kernel logs that there are, with or without their being put together."""
    try:
        return tuple(sorted({_digest(path) for path in _logs(paths)}))[:_MOST_LOGS]
    except OSError:
        return ()


def said(kernel: tuple[str, ...], pattern: str) -> str:
    """The last message that begins with a regular expression, without its time; empty if there is none."""
    messages = [_STAMP.sub("", line) for line in kernel]
    return next((message for message in reversed(messages) if re.match(pattern, message)), "")


def _logs(paths: Paths) -> Iterator[Path]:
    return (path for folder in paths.pstore for path in folder.rglob("dmesg*") if _is_log(path))


def _is_log(path: Path) -> bool:
    return path.is_file() and not path.name.endswith(".z")


def _is_newer(path: Path, trial: TrialRecord) -> bool:
    """Whether a log came after a trial's arming. What was put together since then may be made of older pieces."""
    if trial.logs is None:
        return path.stat().st_mtime >= datetime.fromisoformat(trial.armed).timestamp()
    pieces = path.parent.glob("dmesg-*") if path.name == "dmesg.txt" else ()
    return all(_digest(one) not in trial.logs for one in (path, *pieces) if _is_log(one))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(_READ)).hexdigest()


def _written(path: Path) -> float:
    """When the kernel wrote it: the pieces keep the time that pstore gave them, what is made of them does not."""
    pieces = path.parent.glob("dmesg-*") if path.name == "dmesg.txt" else [path]
    return min((piece.stat().st_mtime for piece in pieces), default=path.stat().st_mtime)


def _lines(path: Path) -> Iterator[tuple[float, str]]:
    """The messages, each with the kernel's time; one without has that of the message before."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _READ))
        text = file.read(_READ).decode(errors="replace")
    time = 0.0
    for line in text.splitlines():
        if line.strip() and not _HEADING.fullmatch(line):
            time = float(stamp["time"]) if (stamp := _STAMP.match(line)) else time
            yield time, printable(line)[:_LINE]
