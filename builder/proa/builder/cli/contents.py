"""What is in a release, unpacked to be looked at: its files, packages, accounts, units and kernel arguments."""

from __future__ import annotations

import mmap
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from proa.builder.cli import verifying
from proa.builder.formats import pe, sbom
from proa.builder.formats.erofs import Entry, Image
from proa.core.artifact.release_artifact import OpenedRelease, inspect_release
from proa.core.oci.access import Access
from proa.core.oci.reference import Reference, parse
from proa.core.oci.registry import open_source
from proa.core.release.document import Release
from proa.core.release.frames import Frame, FrameMap, decode_maps, expected
from proa.core.runtime.errors import Code, ProaError

_WANTED: Final = re.compile(r"/(?:etc|usr/lib)/systemd/system/[^/]+\.(?:wants|requires)/(.+)")


@dataclass(frozen=True)
class Contents:
    """A release that has been unpacked.

    Attributes:
        name: The output folder or the reference, as it was given.
        opened: The release.
        data: The bytes of its root.
        image: The same as a file system.
        uki: The file of its kernel image.
    """

    name: str
    opened: OpenedRelease
    data: mmap.mmap
    image: Image
    uki: Path

    @property
    def release(self) -> Release:
        """The document."""
        return self.opened.release

    @cached_property
    def files(self) -> dict[str, Entry]:
        """Everything in the root, by path."""
        return {entry.path: entry for entry in self.image.entries()}

    @cached_property
    def packages(self) -> dict[str, str]:
        """Names to versions, from the bill of materials."""
        return {one["name"]: one["version"] for one in sbom.packages(self.opened.small("sbom"))}

    @property
    def accounts(self) -> set[str]:
        """Users and groups with their numbers, as ``user admin 1000``."""
        found = set()
        for kind, path in (("user", "/etc/passwd"), ("group", "/etc/group")):
            lines = (line.split(":") for line in self.image.read(path).decode(errors="replace").splitlines())
            found |= {f"{kind} {fields[0]} {fields[2]}" for fields in lines if len(fields) > 2}
        return found

    @property
    def units(self) -> set[str]:
        """Units that some other one wants, as those that are enabled."""
        return {match[1] for match in map(_WANTED.fullmatch, self.files) if match}

    @cached_property
    def sections(self) -> dict[str, bytes]:
        """The parts of the kernel image."""
        return pe.read_sections(self.uki)

    @property
    def arguments(self) -> list[str]:
        """Kernel arguments, but those that differ in every release by their nature."""
        words = self.sections.get(".cmdline", b"").decode(errors="replace").split()
        return [word for word in words if word.partition("=")[0] not in _OF_THE_ROOT]

    @property
    def frames(self) -> list[Frame]:
        """The frames of root and kernel image, as a node fetches them."""
        return [frame for found in self._maps.values() for frame in found.frames]

    def frame_map(self, name: str) -> FrameMap:
        """The frames of ``root`` or ``boot``."""
        return self._maps[name]

    @cached_property
    def _maps(self) -> dict[str, FrameMap]:
        return decode_maps(self.opened.small("map"), expected=expected(self.release))


_OF_THE_ROOT: Final = ("proa.root_hash", "proa.salt", "proa.data_blocks", "proa.hash_offset")


@contextmanager
def opened(target: str, reach: Access) -> Iterator[Contents]:
    """Unpack a release for as long as the block runs. Digests are verified, signatures are not.

    Args:
        target: An output folder, a layout's folder, or a reference.
        reach: How registries are reached.

    Raises:
        ProaError: ``FILE_MISSING``, ``DIGEST``, ``RELEASE``, or what a registry says.
    """
    reference = layout(Path(target)) if Path(target).is_dir() else parse(target)
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="proa-contents-")))
        source = held.enter_context(open_source(reference, reach))
        found = inspect_release(source)
        with (folder / "root.erofs").open("wb") as sink:
            sink.writelines(verifying.plain(found, "root", found.release.root.size))
        file = held.enter_context((folder / "root.erofs").open("rb"))
        data = held.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        yield Contents(target, found, data, Image(data), verifying.unpack_uki(found, folder))


def layout(folder: Path) -> Reference:
    """The release in an output folder, or the folder itself if it is a layout.

    Raises:
        ProaError: ``FILE_MISSING``.
    """
    for place in (folder / "release", folder):
        if (place / "oci-layout").is_file():
            return Reference("", "", layout=place)
    if folder.is_file():
        hint = "Name the folder that proa-build image made: a release is several files."
        raise ProaError(Code.FILE_MISSING, "it is a file, and must be a folder with a release", at=folder, hint=hint)
    what = "the folder does not contain a release" if folder.is_dir() else "there is no such folder"
    raise ProaError(Code.FILE_MISSING, what, at=folder, hint="Build a release with proa-build image.")
