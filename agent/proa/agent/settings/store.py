"""Generations of settings in ``/etc/proa/settings``: written whole, switched by one rename, whatever is cut off.

Each generation is a folder of files that is never changed; ``current`` is a relative link to the one in effect.
Generation 0 is empty: the release's own. All of it lies in the /etc of the running slot, so that a trial that returns
returns to its settings, too.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from proa.core.runtime import files
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import fsync_folder, os_errors
from proa.core.runtime.json_text import load_json
from proa.core.schema.model import Document as Written
from proa.core.schema.model import document, field, parse
from proa.core.schema.values import Count, Hash, Seconds
from proa.core.settings.document import EMPTY, Document
from proa.core.settings.document import parse as parse_document
from proa.core.settings.registry import DOCUMENT_FILE

CURRENT: Final = "current"
Kind = TypeVar("Kind", bound=Written)
_ALWAYS: Final = ("kubelet",)
"""Folders that are there in each generation, even empty: kubelet does not start without its own."""
_TRIAL: Final = "trial.json"
_LAST: Final = "last.json"
_KEPT: Final = 2
"""Generations besides the one in effect that are kept."""


@dataclass(frozen=True)
class SettingsTrial(Written, schema="proa.settings-trial/v1"):
    """`/etc/proa/settings/trial.json`: the generation that is being tried."""

    generation: Count = field("The generation that is being tried.")
    before: Count = field("The generation that it returns to.")
    hash: Hash = field("The hash of its document.")
    boot_id: str = field("The boot in which it was applied: no other commits it.")
    until: Seconds = field("Seconds since that boot began by which it must be committed.")
    applied: bool = field("Whether it has taken effect; one that was cut off before returns.", default=False)


@dataclass(frozen=True)
class LastReturn(Written, schema="proa.settings-returned/v1"):
    """`/etc/proa/settings/last.json`: the document that was reverted last, and why."""

    hash: Hash = field("The hash of the document.")
    reason: str = field("Why it was reverted.")
    time: str = field("When, by the node's clock (RFC 3339).", default="")


@dataclass(frozen=True)
class Store:
    """The generations below a folder.

    Attributes:
        folder: ``/etc/proa/settings``.
    """

    folder: Path

    @property
    def current(self) -> int:
        """The generation in effect; 0 where there is none."""
        try:
            name = str((self.folder / CURRENT).readlink())
        except OSError:
            return 0
        return int(name) if name.isascii() and name.isdigit() and (self.folder / name).is_dir() else 0

    @property
    def numbers(self) -> list[int]:
        """The generations that are there, in ascending order."""
        if not self.folder.is_dir():
            return []
        return sorted(int(one.name) for one in self.folder.iterdir() if one.name.isascii() and one.name.isdigit())

    @property
    def trial(self) -> SettingsTrial | None:
        """The trial under way; none where there is none, or its record is damaged."""
        return _read(SettingsTrial, self.folder / _TRIAL)

    @property
    def last(self) -> LastReturn | None:
        """What was taken back last; none if nothing was."""
        return _read(LastReturn, self.folder / _LAST)

    def document(self, number: int) -> Document:
        """The document of a generation; the empty one for 0, and where it cannot be read."""
        try:
            return parse_document((self.folder / str(number) / DOCUMENT_FILE).read_bytes())
        except (OSError, ProaError):
            return EMPTY

    def write(self, content: Mapping[str, str]) -> int:
        """Write a new generation, whole and flushed, beside the others; its number. It is not in effect yet.

        Raises:
            ProaError: ``DISK_FULL`` or as the file system says; nothing is left then.
        """
        number = max([*self.numbers, self.current], default=0) + 1
        work = self.folder / f".new-{number}"
        with os_errors(self.folder):
            self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            for left in self.folder.glob(".new-*"):
                shutil.rmtree(left)
            try:
                _fill(work, content)
                work.rename(self.folder / str(number))
            except OSError:
                shutil.rmtree(work, ignore_errors=True)
                raise
            fsync_folder(self.folder)
        return number

    def switch(self, number: int) -> None:
        """Put a generation into effect, or the release's own for 0: consumers' links lead there from now on.

        Raises:
            ProaError: as the file system says; the one before is in effect then.
        """
        link = self.folder / f".{CURRENT}"
        with os_errors(self.folder):
            if number == 0:
                for name in _ALWAYS:
                    (self.folder / "0" / name).mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(str(number))
            link.rename(self.folder / CURRENT)
            fsync_folder(self.folder)

    def begin(self, trial: SettingsTrial) -> None:
        """Write down what is being tried; before the switch, so that any cut leads back."""
        _write(self.folder / _TRIAL, trial)

    def end(self) -> None:
        """There is no trial any more."""
        with os_errors(self.folder):
            (self.folder / _TRIAL).unlink(missing_ok=True)
            if self.folder.is_dir():
                fsync_folder(self.folder)

    def remember(self, last: LastReturn) -> None:
        """Write down what was taken back."""
        _write(self.folder / _LAST, last)

    def forget(self) -> None:
        """What was taken back before is of no interest any more."""
        with os_errors(self.folder):
            (self.folder / _LAST).unlink(missing_ok=True)

    def prune(self) -> None:
        """Remove generations that nothing leads back to."""
        trial, current = self.trial, self.current
        needed = {0, current, *((trial.before, trial.generation) if trial else ())}
        others = [one for one in self.numbers if one not in needed]
        with os_errors(self.folder):
            for number in others[: max(0, len(others) - _KEPT)]:
                shutil.rmtree(self.folder / str(number))


def _fill(work: Path, content: Mapping[str, str]) -> None:
    """Files in a new folder, each flushed, then each folder."""
    work.mkdir(mode=0o755)
    folders = {work, *(work / name for name in _ALWAYS)}
    for folder in folders:
        folder.mkdir(mode=0o755, exist_ok=True)
    for name, text in content.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        folders.update(one for one in path.parents if one.is_relative_to(work))
        with path.open("wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
    for folder in sorted(folders, key=lambda one: len(one.parts), reverse=True):
        fsync_folder(folder)


def _read(kind: type[Kind], path: Path) -> Kind | None:
    try:
        return parse(kind, load_json(path.read_bytes(), Code.SETTINGS_INVALID))
    except (OSError, ProaError):
        return None


def _write(path: Path, what: Written) -> None:
    with os_errors(path):
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    files.replace(path, (json.dumps(document(what), indent=1) + "\n").encode(), 0o600)
