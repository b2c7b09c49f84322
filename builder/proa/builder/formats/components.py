"""The parts of a release as a bill of materials names them, whatever its form: package URLs, sources, suppliers.

Package URLs are those of the purl specification, type ``deb``, with the qualifiers that scanners match advisories by:
``distro`` (``debian-12``) and ``upstream``, the source package, which advisories are about.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

LOCAL: Final = "local"
"""Who gives out what came from no archive: a package of the user's own, or one that a hook installed."""
_SOURCE: Final = re.compile(r"(\S+)(?: \((\S+)\))?")


@dataclass(frozen=True)
class OperatingSystem:
    """What scanners look for first.

    Attributes:
        name: ``ID`` of os-release(5).
        version: ``VERSION_ID``.
    """

    name: str
    version: str


@dataclass(frozen=True)
class DebianPackage:
    """A package of dpkg's database.

    Attributes:
        name: Its name.
        version: Its version.
        architecture: Its architecture.
        source: The name of its source package.
        source_version: The version of that.
        maintainer: As its control file has it.
        homepage: The same.
        origin: Who gives it out: empty for the distribution, else a host, or :data:`LOCAL`.
    """

    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    maintainer: str
    homepage: str
    origin: str

    def purl(self, system: OperatingSystem) -> str:
        """Its package URL."""
        qualifiers = {"arch": self.architecture}
        if not self.origin:
            qualifiers["distro"] = f"{system.name}-{system.version}"
        if (self.source, self.source_version) != (self.name, self.version):
            qualifiers["upstream"] = f"{self.source}@{self.source_version}"
        return debian_purl(self.origin or system.name, self.name, self.version, qualifiers)


def debian(entry: Mapping[str, str], origin: str) -> DebianPackage:
    """A package as ``packages.json`` has it; a source without a version has that of the package (deb-control(5))."""
    match = _SOURCE.match(entry.get("source", ""))
    source, version = (match[1], match[2]) if match else (entry["package"], None)
    return DebianPackage(
        entry["package"],
        entry["version"],
        entry["architecture"],
        source,
        version or entry["version"],
        entry.get("maintainer", ""),
        entry.get("homepage", ""),
        origin,
    )


def debian_purl(owner: str, name: str, version: str, qualifiers: Mapping[str, str]) -> str:
    """The package URL of a Debian package, given out by ``owner``."""
    query = "&".join(f"{key}={urllib.parse.quote(value, safe='')}" for key, value in sorted(qualifiers.items()))
    parts = [urllib.parse.quote(owner, safe=""), urllib.parse.quote(name)]
    return f"pkg:deb/{'/'.join(parts)}@{urllib.parse.quote(version, safe='')}?{query}"


def python_purl(name: str, version: str) -> str:
    """The package URL of a Python package."""
    return f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{urllib.parse.quote(version, safe='')}"


@dataclass(frozen=True)
class Bill:
    """What a bill of materials says of a release, whatever its form; equal ones make equal documents.

    Attributes:
        name: The product line.
        version: The release's version.
        root_hash: The release's true name; it makes the document's own name unique.
        system: The distribution, as os-release(5) names it.
        packages: The packages in the root, and those that the boot chain was made of.
        wheels: The Python packages of the agent, and those that hooks brought.
        files: What the configuration and its hooks put into the root: path, origin, SHA-1 and SHA-256 of each.
        epoch: When it was built, in seconds since 1970.
    """

    name: str
    version: str
    root_hash: str
    system: OperatingSystem
    packages: Sequence[DebianPackage]
    wheels: Sequence[Mapping[str, str]]
    files: Sequence[Mapping[str, str]]
    epoch: int

    @property
    def created(self) -> str:
        """The time of the build (RFC 3339, UTC)."""
        return datetime.fromtimestamp(self.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
