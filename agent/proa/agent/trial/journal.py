"""The journal of a trial that came back: copied out of the node's, which forgets its oldest boots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proa.agent.node.paths import Paths
from proa.core.runtime import files
from proa.core.runtime.process import run

BOOTS: Final = 3
"""Boots whose journal is kept, the last ones: a trial has no more attempts."""
KEPT: Final = 1 << 20
"""Bytes that are kept of each boot's journal: the last ones."""
_LINES: Final = 10_000
_LIMIT: Final = 120.0


def keep_journal(paths: Paths, armed: str, now: str) -> Path | None:
    """Copy what the boots between two boots wrote; the file, or none where there is no journal of them.

    Boots are told apart by their ids, never by the clock: a trial may have had another one.

    Args:
        paths: The node's places.
        armed: The kernel's identifier of the boot in which the trial was armed.
        now: That of this boot.

    Raises:
        ProaError: ``TOOL`` or ``TOOL_MISSING`` if journalctl fails; ``DEVICE`` or ``DISK_FULL``.
    """
    if not paths.journal.is_dir():
        return None
    told = run(["journalctl", f"--directory={paths.journal}", "--list-boots", "--no-pager"], timeout=_LIMIT).text
    boots = between(
        [words[1] for line in told.splitlines() if len(words := line.split()) > 1], _plain(armed), _plain(now)
    )
    texts = [f"-- boot {boot} --\n".encode() + _journal(paths, boot) for boot in boots[-BOOTS:]]
    if not texts:
        return None
    with files.os_errors(paths.returned_journal):
        paths.returned_journal.parent.mkdir(parents=True, exist_ok=True)
    files.replace(paths.returned_journal, b"".join(texts), 0o600)
    return paths.returned_journal


def between(boots: Sequence[str], armed: str, now: str) -> Sequence[str]:
    """The boots after one and before another, of a list in their order; none where the first is not known any more."""
    if armed not in boots:
        return ()
    later = boots[boots.index(armed) + 1 :]
    return later[: later.index(now)] if now in later else later


def _journal(paths: Paths, boot: str) -> bytes:
    """The end of what one boot wrote, in whole lines."""
    words = (f"--directory={paths.journal}", f"--boot={boot}", f"--lines={_LINES}", "--output=short-iso-precise")
    data = run(["journalctl", *words, "--no-pager", "--quiet"], timeout=_LIMIT, keep=KEPT).stdout
    return data.partition(b"\n")[2] if len(data) >= KEPT else data


def _plain(boot_id: str) -> str:
    """A boot's identifier as the journal writes it."""
    return boot_id.replace("-", "")
