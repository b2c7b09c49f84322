"""Kernel parameters: written, read back, and given back the value that they had before any settings.

That a write succeeded says little: the kernel takes a part of a value, reads ``0777`` as octal and rounds. So what
counts is what it says afterwards.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proa.core.runtime import files
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.settings.models.sysctl import partner, proc_path, text


@dataclass(frozen=True)
class KernelParameters:
    """The parameters of this machine.

    Attributes:
        proc: ``/proc/sys``.
        kept: Where the values of before are kept, beside the settings: a boot sets parameters before anybody asks.
    """

    proc: Path
    kept: Path

    def read(self, name: str) -> str:
        """A parameter with single blanks; empty where this kernel has none of that name."""
        try:
            return " ".join((self.proc / proc_path(name)).read_text().split())
        except OSError:
            return ""

    def put(self, wanted: Mapping[str, Any]) -> None:
        """Set parameters; what settings set before and do not any more gets its value of before.

        Raises:
            ProaError: ``SETTINGS_FAILED`` for one that this kernel lacks, refuses, or takes otherwise.
        """
        before = self._before()
        touched = {*wanted, *filter(None, map(partner, wanted))}
        kept = {name: before.get(name, self.read(name)) for name in sorted(touched)}
        self._keep({**before, **kept})
        for name in [one for one in before if one not in touched]:
            if not (before[name] == "0" and partner(name) in before):  # its partner sets it to 0
                self._write(name, before[name])
        for name in sorted(wanted):
            self._write(name, text(wanted[name]))
        self._keep(kept)
        for name, found in self.differing(wanted):
            what = f"sysctl.{name}: the kernel has {found or 'none'} after {text(wanted[name])} was written"
            raise ProaError(Code.SETTINGS_FAILED, what, at=self.proc / proc_path(name))

    def differing(self, wanted: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Parameters that are not as wanted, with what they are."""
        for name in sorted(wanted):
            found = self.read(name)
            if found != text(wanted[name]):
                yield name, found

    def _write(self, name: str, value: str) -> None:
        path = self.proc / proc_path(name)
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_TRUNC), "wb", buffering=0) as file:
                file.write(value.encode())
        except OSError as error:
            what = f"sysctl.{name} = {value}: {error.strerror or error}"
            raise ProaError(Code.SETTINGS_FAILED, what, at=path) from error

    def _before(self) -> dict[str, str]:
        try:
            found = load_json(self.kept.read_bytes(), Code.SETTINGS_INVALID)
        except (OSError, ProaError):
            return {}
        return {name: value for name, value in found.items() if isinstance(value, str)}

    def _keep(self, values: Mapping[str, str]) -> None:
        files.replace(self.kept, (json.dumps(values, indent=1) + "\n").encode(), 0o600)
