"""An apt of our own in a folder: it asks what the mirrors hold now, and which packages a configuration comes to.

Nothing of the machine's apt is used but its programs; nothing is installed. The folder may be kept: apt then fetches
only what has changed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.builder.config.near import did_you_mean
from proa.builder.config.valuerules import ARMOR
from proa.builder.engine import proxies
from proa.builder.engine.sources import Archive
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError, ProaErrors
from proa.core.runtime.files import replace, sha256

_FULL: Final = "No space left"
HELPER: Final = "/usr/lib/apt/apt-helper"
_ESSENTIAL: Final = "?narrow(?architecture({architecture}),?essential)"
_URI: Final = re.compile(r"^'([^']+)' (\S+) (\d+) SHA256:([0-9a-f]{64})$", re.MULTILINE)
_NAME: Final = re.compile(r"([^_]+)_([^_]+)_([^_]+)\.deb")
_MISSING: Final = re.compile(
    r"Unable to locate package (\S+)|Version '([^']+)' for '([^':]+)(?::\w+)?' was not found"
    r"|Package '?([^\s']+)'? has no installation candidate|Couldn't find any package by \w+ '([^']+)'"
)
_REASON: Final = re.compile(r"^(?:E|W|Err)\b.*$", re.MULTILINE)


@dataclass(frozen=True, order=True)
class Package:
    """A package that a build comes to.

    Attributes:
        name: Its name.
        version: Its version.
        architecture: Its architecture.
        sha256: The hash of its file.
        uri: Where it is fetched from.
    """

    name: str
    version: str
    architecture: str
    sha256: str
    uri: str

    @property
    def file(self) -> str:
        """The name of its file, as apt keeps it: a colon in the version is escaped."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


@dataclass(frozen=True)
class AptRoot:
    """The folder of one set of archives."""

    folder: Path
    architecture: str
    recommends: bool = False

    def prepare(self, archives: Sequence[Archive]) -> None:
        """Write its configuration, sources and keys."""
        for name in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial", "var/cache", "keys"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        through = proxies.read()
        lines = [
            f'Dir "{self.folder}";',
            f'Dir::State::status "{self.folder}/status";',
            f'Dir::Etc::sourcelist "{self.folder}/sources.list";',
            f'Dir::Etc::sourceparts "{self.folder}/sources.d";',
            f'APT::Architecture "{self.architecture}";',
            f'APT::Architectures {{ "{self.architecture}"; }};',
            f'APT::Install-Recommends "{str(self.recommends).lower()}";',
            'APT::Sandbox::User "";',
            'Acquire::Languages "none";',
            'Acquire::ForceHash "SHA256";',
            'Acquire::Retries "3";',
            'Acquire::http::Timeout "30";',
            *(f'Acquire::{name}::Proxy "{value}";' for name, value in _pairs(through) if value),
            *(f'Acquire::http::Proxy::{host} "DIRECT";' for host in through.direct.split(",") if host),
        ]
        replace(self.folder / "apt.conf", "".join(f"{line}\n" for line in lines).encode())
        (self.folder / "sources.d").mkdir(exist_ok=True)
        stanzas = [archive.stanza(self._keys(number, archive)) for number, archive in enumerate(archives)]
        replace(self.folder / "sources.d" / "proa.sources", "\n".join(stanzas).encode())

    def update(self) -> None:
        """Fetch the indexes that have changed; apt reads them when something is asked of them, and not before.

        Raises:
            ProaError: ``MIRROR``, with what apt said.
        """
        done = self._run("apt-get", "update", "--error-on=any", "-qq", "-o", "pkgCacheFile::Generate=false")
        if done.status != 0:
            raise _mirror_error(done)

    def solve(self, wanted: Sequence[str], beside: Sequence[str]) -> tuple[tuple[Package, ...], tuple[Package, ...]]:
        """The packages that installing some into nothing comes to, and some others without what they depend on.

        Raises:
            ProaErrors: ``PACKAGES`` for each that the archives do not have, with the nearest name.
            ProaError: ``PACKAGES``, with what apt said.
        """
        pattern = _ESSENTIAL.format(architecture=self.architecture)
        words = ("install", "-y", "--print-uris", "-qq", "--allow-downgrades", pattern, *wanted)
        done = self._run("apt-get", *words)
        if done.status != 0:
            raise self._explained(done)
        found = tuple(sorted(_packages(done.text)))
        if not beside:
            return found, ()
        others = self._run("apt-get", "download", "--print-uris", "-qq", *beside)
        if others.status != 0:
            raise self._explained(others)
        return found, tuple(sorted(_packages(others.text)))

    def fetch(self, packages: Sequence[Package], folder: Path) -> None:
        """Fetch files, each against its hash.

        Raises:
            ProaError: ``MIRROR``.
        """
        words = [word for one in packages for word in (one.uri, str(folder / one.file), f"SHA256:{one.sha256}")]
        done = self._run(HELPER, "download-file", "-qq", *words)
        if done.status != 0:
            raise _mirror_error(done)

    def names(self) -> list[str]:
        """The names of all packages of the indexes."""
        return self._run("apt-cache", "pkgnames").text.split()

    def state(self) -> dict[str, str]:
        """What the mirrors said: what they sign by content, the rest, which that covers, by size and time."""
        found = {}
        for path in sorted((self.folder / "var/lib/apt/lists").iterdir()):
            if path.name.endswith("Release"):
                found[path.name] = sha256(path)
            elif path.is_file() and path.name != "lock":
                found[path.name] = f"{path.stat().st_size} {path.stat().st_mtime_ns}"
        return found

    def _run(self, program: str, *words: str) -> process.ProcessResult:
        config = {"APT_CONFIG": str(self.folder / "apt.conf"), "HOME": str(self.folder)}
        return process.run((program, *words), check=False, env=proxies.read().environment | config)

    def _keys(self, number: int, archive: Archive) -> list[Path]:
        """The keyrings where apt can read them, with the ending that it knows their form by."""
        found = []
        for which, keyring in enumerate(archive.keyrings):
            data = keyring.read_bytes()
            ending = "asc" if data.lstrip().startswith(ARMOR) else "gpg"
            copy = self.folder / "keys" / f"{number}-{which}.{ending}"
            replace(copy, data, 0o644)
            found.append(copy)
        return found

    def _explained(self, done: process.ProcessResult) -> ProaError:
        said = done.stderr.decode(errors="replace")
        if _FULL in said:
            return process.failure(done, Code.DISK_FULL)
        missing = dict.fromkeys(
            match[1] or match[4] or match[5] or f"{match[3]}={match[2]}" for match in _MISSING.finditer(said)
        )
        if not missing:
            reasons = "; ".join(_REASON.findall(said)) or shlex.join(done.argv)
            return ProaError(Code.PACKAGES, reasons, hint="Find out which packages conflict with each other.")
        known = self.names()
        return ProaErrors([_no_package(name, known) for name in missing])


def _no_package(name: str, known: Sequence[str]) -> ProaError:
    package, _, version = name.partition("=")
    if version and package in known:
        return ProaError(Code.PACKAGES, f"the archives have no version '{version}' of {package}", at=name)
    hint = did_you_mean(package, known, "Correct system.packages, or add a [[source]].")
    return ProaError(Code.PACKAGES, f"there is no package '{package}'", at=name, hint=hint)


def _packages(text: str) -> Iterator[Package]:
    for uri, file, _, digest in _URI.findall(text):
        match = _NAME.fullmatch(file)
        if match:
            yield Package(match[1], match[2].replace("%3a", ":"), match[3], digest, uri)


def _pairs(through: proxies.Proxies) -> tuple[tuple[str, str], ...]:
    return ("http", through.http), ("https", through.https)


def _mirror_error(done: process.ProcessResult) -> ProaError:
    said = done.stderr.decode(errors="replace")
    reasons = [line for line in _REASON.findall(said) if not line.startswith("E: Some index files")]
    hint = ""
    if any(word in said for word in ("NO_PUBKEY", "is not signed", "EXPKEYSIG", "couldn't be verified")):
        hint = "Check the keyring that signed_by names."
    code = Code.DISK_FULL if _FULL in said else Code.MIRROR
    return ProaError(code, reasons[0] if reasons else f"apt ended with status {done.status}", hint=hint)
