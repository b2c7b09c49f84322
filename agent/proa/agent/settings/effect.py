"""What puts a generation into effect once it is switched to, and whether it still is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proa.agent.node.paths import Paths
from proa.agent.settings import units
from proa.agent.settings.kernel import KernelParameters
from proa.agent.settings.store import CURRENT, Store
from proa.core.runtime import files
from proa.core.runtime.clock import Clock
from proa.core.runtime.files import os_errors
from proa.core.settings.document import Document
from proa.core.settings.models.sysctl import text
from proa.core.settings.registry import MODELS, changed, render

FOLDER = "proa/settings"
"""The generations' folder below /etc."""


@dataclass(frozen=True)
class Effect:
    """The node as far as settings reach.

    Attributes:
        paths: Its places.
        clock: For the time that a restarted daemon must stay up.
    """

    paths: Paths
    clock: Clock

    @property
    def store(self) -> Store:
        """The generations of the running slot."""
        return Store(self.etc / FOLDER)

    @property
    def etc(self) -> Path:
        """The node's /etc."""
        return self.paths.root / "etc"

    @property
    def kernel(self) -> KernelParameters:
        """The parameters of the running kernel."""
        return KernelParameters(self.paths.root / "proc/sys", self.store.folder / "kernel-before.json")

    def put(self, before: Document, after: Document, *, everything: bool = False) -> None:
        """Put the generation that is switched to into effect, as far as it differs from the one before.

        Args:
            before: What was in effect.
            after: What shall be.
            everything: Put all of it into effect, whatever was before: after a cut, nobody knows.

        Raises:
            ProaError: ``SETTINGS_FAILED`` with what does not take effect, or as the file system says.
        """
        models = {*before.models, *after.models} if everything else set(changed(before, after))
        self._place_links(before, after)
        self._place_files(before, after)
        if "sysctl" in models:
            self.kernel.put(after.models.get("sysctl", {}))
        if "limits" in models:
            units.reload_manager()
        touched = [one for name, one in MODELS.items() if name in models]
        units.restart(dict.fromkeys(unit for one in touched for unit in one.restart), self.clock)
        for one in touched:
            if one.argument and after.models.get(one.name):
                units.require_argument(one.restart[0], one.argument, self.paths.root / "proc")

    def drift(self, document: Document) -> Iterator[str]:
        """What is not, or no more, as the document wants it."""
        wanted = document.models.get("sysctl", {})
        for name, found in self.kernel.differing(wanted):
            yield f"sysctl.{name}: {found or 'missing'}, not {text(wanted[name])}"
        folder = self.store.folder / CURRENT
        for path, content in render(document).items() if document.models else ():
            if _read(folder / path) != content:
                yield f"{FOLDER}/{CURRENT}/{path}: changed by hand"
        for name, link in self._links(document):
            if not link.is_symlink() or str(link.readlink()) != self._target(link, name):
                yield f"{self._shown(link)}: no link to the settings"
        for path, content in document.models.get("files", {}).items():
            if _read(self.paths.root / path.lstrip("/")) != content:
                yield f"files.{path}: changed by hand"

    def _place_links(self, before: Document, document: Document) -> None:
        """Lead the node's programs to the files that are there, and nowhere else."""
        wanted = {link: self._target(link, name) for name, link in self._links(document)}
        every = {self.paths.root / link.lstrip("/") for one in MODELS.values() for link in one.links.values()}
        every |= {link for _, link in self._links(before)}
        with os_errors(self.etc):
            for link in every - set(wanted):
                if link.is_symlink() and FOLDER in str(link.readlink()):
                    self._give_back(link)
            for link, target in wanted.items():
                if not link.is_symlink() or str(link.readlink()) != target:
                    link.parent.mkdir(parents=True, exist_ok=True)
                    work = link.with_name(f".{link.name}.new")
                    work.unlink(missing_ok=True)
                    work.symlink_to(target)
                    work.rename(link)

    def _links(self, document: Document) -> Iterator[tuple[str, Path]]:
        for name, model in MODELS.items():
            for path, link in model.placed(document.models.get(name, {})).items():
                yield path, self.paths.root / link.lstrip("/")

    def _target(self, link: Path, name: str) -> str:
        return os.path.relpath(self.store.folder / CURRENT / name, link.parent)

    def _shown(self, path: Path) -> str:
        return f"/{path.relative_to(self.paths.root)}"

    def _place_files(self, before: Document, after: Document) -> None:
        """Files at their own places; one that is set no more becomes the release's again, or goes."""
        wanted, was = after.models.get("files", {}), before.models.get("files", {})
        for path in sorted(set(was) - set(wanted)):
            own = self.paths.root / path.lstrip("/")
            with os_errors(own):
                self._give_back(own)
        for path, content in sorted(wanted.items()):
            own = self.paths.root / path.lstrip("/")
            with os_errors(own):
                own.parent.mkdir(parents=True, exist_ok=True)
            files.replace(own, content.encode(), 0o644)

    def _give_back(self, own: Path) -> None:
        """Let a file below /etc be the release's again, or go where the release has none."""
        original = self.paths.lower_etc / own.relative_to(self.etc)
        if original.is_file():
            files.replace(own, original.read_bytes(), 0o644)
        else:
            own.unlink(missing_ok=True)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
