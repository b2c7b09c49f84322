"""The operations whose writes are recorded, done by the agent's commands on a disk that nothing runs from.

A node's other slot gets a release, is armed and disarmed; another release goes over it, is interrupted, and goes on.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.signing import trust
from proa.core.signing.keys import load_public
from proa.partition.boot.bootstate import Slot
from proa.vm.crash.judge import Promise
from proa.vm.crash.recorder import Recorder
from proa.vm.support.copies import copy_sparse
from proa.vm.support.waiting import until

_AGENT: Final = "proa-agent"
_QUIET: Final = ("--progress", "none")
_STAYS: Final = Promise(Slot.A)
_ARMS: Final = Promise(Slot.A, arms=True, ends_armed=True)
_DISARMS: Final = Promise(Slot.A, arms=True)
_ENOUGH: Final = 64 << 20
"""Bytes of the log after which an install is killed."""


@dataclass(frozen=True)
class Operation:
    """One of them, recorded.

    Attributes:
        name: What is done.
        words: The agent's command that does it, and that is given again after a crash.
        span: Its entries in the log: the first, and the one after its last.
        promise: What may have come of it.
        after: The disk on which the other slot is complete.
        record: The agent's files as they were when it began: they are on another file system.
        done: The error code that says that there is nothing to do any more; empty if there is none.
    """

    name: str
    words: tuple[str, ...]
    span: tuple[int, int]
    promise: Promise
    after: Path
    record: Path
    done: str = ""

    def again(self, disk: Path, root: Path) -> None:
        """Give the order once more.

        Raises:
            ProaError: ``TOOL``, with what the agent says.
        """
        try:
            agent(disk, root, *self.words)
        except ProaError as error:
            if not self.done or f"error[{self.done}]" not in error.message:
                raise


@dataclass(frozen=True)
class Recording:
    """A disk before all operations, what was written to it, and what was done."""

    before: Path
    log: Path
    operations: tuple[Operation, ...]


def agent(disk: Path, root: Path, *words: str) -> None:
    """Give the agent an order for a disk.

    Raises:
        ProaError: ``TOOL``, with what it says.
    """
    process.run([*command(words[0]), "--disk", disk, "--root", root, *words[1:]])


def command(verb: str) -> list[str | Path]:
    """The agent's program and a verb."""
    return [Path(sys.executable).with_name(_AGENT), verb]


def record(before: Path, releases: Sequence[Path], key: Path, folder: Path) -> Recording:
    """Do all operations.

    Args:
        before: The image of the disk; slot a holds a release.
        releases: The output folders of two more.
        key: The public key that they are signed with.
        folder: A new one, for all that is kept.

    Raises:
        ProaError: What the agent says.
    """
    story = _Story(before, folder)
    trust.save(story.root / trust.FOLDER.relative_to("/"), trust.Trust((load_public(key),)))
    first, second = (f"oci:{out / 'release'}" for out in releases)
    with story.recorder:
        story.do("install", "install", first, *_QUIET)
        story.do("arm", "activate", promise=_ARMS)
        story.do("disarm", "deactivate", promise=_DISARMS, done="NO_TRIAL")
        story.interrupted("install over a release, killed", "install", second, *_QUIET)
        story.do("install, continued", "install", second, *_QUIET)
        story.do("arm the second release", "activate", promise=_ARMS)
    return Recording(before, story.recorder.log, story.finished())


@dataclass(frozen=True)
class _Deed:
    name: str
    words: tuple[str, ...]
    promise: Promise
    record: Path
    after: Path | None
    done: str


class _Story:
    def __init__(self, before: Path, folder: Path) -> None:
        self.folder, self.root, self.image = folder, folder / "root", folder / "image.raw"
        copy_sparse(before, self.image)
        (folder / "recorded").mkdir()
        self.recorder = Recorder(self.image, folder / "recorded")
        self._deeds: list[_Deed] = []

    def do(self, name: str, *words: str, promise: Promise = _STAYS, done: str = "") -> None:
        """An operation that comes to its end."""
        record, after = self._record(), None
        with self.recorder.operation(name):
            agent(self.recorder.disk, self.root, *words)
        if words[0] == "install":
            after = self.folder / f"after-{len(self._deeds)}.raw"
            copy_sparse(self.image, after)
        self._deeds.append(_Deed(name, words, promise, record, after, done))

    def interrupted(self, name: str, *words: str) -> None:
        """An install that is killed once it has written a good part."""
        record, log = self._record(), self.recorder.log
        begun = log.stat().st_size
        with self.recorder.operation(name):
            argv = [*command(words[0]), *words[1:], "--disk", self.recorder.disk, "--root", self.root]
            with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
                until(
                    lambda: log.stat().st_size > begun + _ENOUGH or running.poll() is not None, "64 MiB to be written"
                )
                running.kill()
            if running.returncode != -signal.SIGKILL:
                raise ProaError(Code.TOOL, f"it ended with {running.returncode} before that", at=self.recorder.disk)
        self._deeds.append(_Deed(name, words, _STAYS, record, None, ""))

    def finished(self) -> tuple[Operation, ...]:
        """All of them, once the recorder has ended."""
        found: list[Operation] = []
        for number, deed in enumerate(self._deeds):
            begun = [one.after for one in self._deeds[: number + 1] if one.after]
            ahead = [one.after for one in self._deeds[number:] if one.after]
            after = ahead[0] if deed.words[0] == "install" else begun[-1]
            span = self.recorder.spans[deed.name]
            found.append(Operation(deed.name, deed.words, span, deed.promise, after, deed.record, deed.done))
        return tuple(found)

    def _record(self) -> Path:
        kept = self.folder / f"record-{len(self._deeds)}"
        shutil.copytree(self.root, kept, symlinks=True)
        return kept
