"""Results of steps, kept by the hash of all that went into them.

``<cache>/steps/<name>/<key>/`` holds ``output/`` and ``made.json``: the inputs, and name, size and hash of every
file of the output, and how each looked to stat(2). An entry appears under its name only when it is whole. One whose
files look as they did then is found without being read; before a step works with it, and where they look otherwise, it
is read against those hashes. A damaged one is thrown away and made again, never used.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proa.builder.engine import scratch
from proa.builder.inputs import fingerprint
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import new_folder, os_errors
from proa.core.runtime.lock import is_held, locked
from proa.core.runtime.parsing import json_value

KEPT_PER_STEP: Final = 6
"""Results of one step that are kept; the ones used last."""
_RECORD: Final = "made.json"
_OUTPUT: Final = "output"


@dataclass(frozen=True)
class Entry:
    """A kept result: its folder and the hash of its content."""

    folder: Path
    digest: str


@dataclass(frozen=True)
class StepCache:
    """A folder of kept results; several builds may share it at the same time."""

    folder: Path

    def find(self, step: str, key: str) -> Entry | None:
        """The result of a step for a key, or None if there is none or it is damaged. Changes nothing."""
        place = self._place(step, key)
        record = _record(place)
        if record is None:
            return None
        if _seen(place / _OUTPUT) != record.get("seen") and _content(place / _OUTPUT) != record["content"]:
            return None
        return Entry(place / _OUTPUT, fingerprint.of(record["content"]))

    def intact(self, step: str, key: str) -> bool:
        """Whether every byte of a result is as it was made; what is damaged is thrown away."""
        place = self._place(step, key)
        record = _record(place)
        if record is not None and _content(place / _OUTPUT) == record["content"]:
            return True
        shutil.rmtree(place, ignore_errors=True)
        return False

    def use(self, step: str, key: str, held: ExitStack) -> Entry | None:
        """The same for use: it counts as used now, and stays there until ``held`` is closed.

        The caller holds the step's lock. What is damaged is thrown away.
        """
        place = self._place(step, key)
        try:
            held.enter_context(locked(place / _RECORD, shared=True, create=False))
        except ProaError:
            return None
        entry = self.find(step, key)
        if entry is None:
            shutil.rmtree(place, ignore_errors=True)
            return None
        os.utime(place)
        return entry

    @contextmanager
    def new(self, step: str, key: str, inputs: Mapping[str, object]) -> Iterator[Path]:
        """A folder to make a step's output in; it is kept when the block ends well, and leaves nothing otherwise."""
        place = self._place(step, key)
        self._private()
        with os_errors(place), new_folder(place) as work:
            output = work / _OUTPUT
            output.mkdir()
            yield output
            record = {"step": step, "inputs": inputs, "content": _content(output), "seen": _seen(output)}
            (work / _RECORD).write_text(json.dumps(record, indent=1, sort_keys=True))

    def missed(self, step: str, inputs: Mapping[str, object]) -> str:
        """Why nothing was found: the first input that differs from the result used last; empty if there is none."""
        for place in self._by_use(step):
            record = _record(place)
            if record is not None:
                return fingerprint.explain(record["inputs"], json.loads(json.dumps(inputs)))
        return ""

    def prune(self, step: str) -> None:
        """Throw away the results of a step that were not used for the longest time, but for a few.

        The caller holds the step's lock. Results that another build uses stay; what a killed build left goes.
        """
        for place in self._by_use(step)[KEPT_PER_STEP:]:
            if not is_held(place / _RECORD):
                shutil.rmtree(place, ignore_errors=True)
        for left in (self.folder / "steps" / step).glob(".*.*"):
            scratch.remove(left)

    @contextmanager
    def lock(self, step: str) -> Iterator[None]:
        """Let one build at a time make a step, so that two of the same input do the work once."""
        self._private()
        with locked(self.folder / "steps" / step / ".lock"):
            yield

    def _private(self) -> None:
        """See that nobody else reads what is kept: it holds the contents of files that only root may read on a node."""
        steps = self.folder / "steps"
        with os_errors(steps):
            steps.mkdir(mode=0o700, parents=True, exist_ok=True)
            if steps.stat().st_mode & 0o077:
                steps.chmod(0o700)

    def _place(self, step: str, key: str) -> Path:
        return self.folder / "steps" / step / key

    def _by_use(self, step: str) -> list[Path]:
        folder = self.folder / "steps" / step
        places = [place for place in folder.iterdir() if not place.name.startswith(".")] if folder.is_dir() else []
        return sorted(places, key=lambda place: place.stat().st_mtime_ns, reverse=True)


def digest(folder: Path) -> str:
    """The hash of a folder's content, as :class:`Entry` has it."""
    return fingerprint.of(_content(folder))


def default_folder() -> Path:
    """The user's cache folder (XDG Base Directory Specification 0.8)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "proa"


def check_space(folder: Path, needed: int, what: str) -> None:
    """Refuse early if a file system has too little room.

    Raises:
        ProaError: ``DISK_FULL``, with both numbers.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        numbers = f"{needed >> 20} MiB are needed, but only {free >> 20} MiB are free"
        raise ProaError(Code.DISK_FULL, f"there is not enough space for {what}: {numbers}", at=folder)


def _record(place: Path) -> dict[str, Any] | None:
    try:
        record = json_value((place / _RECORD).read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"content", "inputs"} <= record.keys() else None


def _content(output: Path) -> dict[str, str]:
    try:
        return fingerprint.tree(output)
    except OSError:
        return {}


def _seen(output: Path) -> dict[str, list[int]]:
    """What changes of each file when somebody writes to it; nobody can set the last of the times (inode(7))."""
    found = {}
    for folder, _, names in os.walk(output):
        for name in names:
            status = os.lstat(f"{folder}/{name}")
            place = os.path.relpath(f"{folder}/{name}", output)
            found[place] = [status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return found
