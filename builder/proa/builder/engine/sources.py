"""Where packages come from: the configuration's sources, or those of the building machine, and what they hold now."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import requests

from proa.builder.config.settings import SUITES, Config, SourceConfig
from proa.core.oci.failures import safe_url
from proa.core.runtime.errors import Code, ProaError

MACHINE: Final = Path("/etc/apt")
KEYRINGS: Final = Path("/usr/share/keyrings")
_OS_RELEASE: Final = Path("/etc/os-release")
_AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
"""The machine's own certificate authorities, which apt believes too."""
_TIMEOUT: Final = (10.0, 60.0)
"""Seconds to connect to a mirror, and between two of its bytes."""
_MAX_INDEX: Final = 4 << 20
"""Bytes of an index beyond which it is refused."""
_ONE_LINE: Final = re.compile(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(\S.*)")
_DATE: Final = re.compile(r"^Date: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Archive:
    """One source as apt is given it.

    Attributes:
        uri: The mirror.
        suites: Its suites.
        components: Its components.
        keyrings: The files with the keys that must have signed it.
    """

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    keyrings: tuple[Path, ...]

    def stanza(self) -> str:
        """The source in apt's format (sources.list(5), "deb822-style").

        A mirror in a folder is copied from: apt would otherwise hand its paths to programs inside the tree.
        """
        uri = "copy:" + self.uri.removeprefix("file:") if self.uri.startswith("file:") else self.uri
        return (
            f"Types: deb\nURIs: {uri}\nSuites: {' '.join(self.suites)}\n"
            f"Components: {' '.join(self.components)}\nSigned-By: {' '.join(str(path) for path in self.keyrings)}\n"
        )


@dataclass(frozen=True)
class Index:
    """What a suite of a mirror said: the SHA-256 of its ``InRelease`` and its date, in seconds since 1970."""

    uri: str
    suite: str
    digest: str
    date: int


def archives(
    config: Config, folder: Path, *, machine: Path = MACHINE, keyrings: Path = KEYRINGS
) -> tuple[Archive, ...]:
    """The sources of a build.

    Without any in the configuration these are the Debian sources of the building machine: entries whose suites
    name its own release, moved to the release that is built. Entries of others are left out.

    Args:
        config: The configuration.
        folder: The folder of proa.toml.
        machine: apt's folder on the building machine.
        keyrings: Where Debian's keyrings lie.

    Raises:
        ProaError: ``CONFIG_MISSING`` if there are none, ``FILE_MISSING`` without keys for the suite.
    """
    suite = config.system.suite
    if config.source:
        return tuple(_given(source, folder, suite, keyrings) for source in config.source)
    own = _codename(machine.parent / "os-release" if machine != MACHINE else _OS_RELEASE)
    found: dict[str, Archive] = {}
    for uri, suites, components in _machine_sources(machine):
        mine = tuple(_move(name, own, suite) for name in suites if _belongs(name, own))
        if mine and "main" in components and not uri.startswith("cdrom:"):
            earlier = found.get(uri)
            names = tuple(dict.fromkeys((*(earlier.suites if earlier else ()), *mine)))
            found[uri] = Archive(uri, names, ("main",), _debian_keyrings(suite, keyrings))
    if not found:
        raise ProaError(
            Code.CONFIG_MISSING,
            "this machine has no sources of Debian packages",
            hint=("Add them to proa.toml as [[source]]."),
        )
    return tuple(found.values())


def _given(source: SourceConfig, folder: Path, suite: str, keyrings: Path) -> Archive:
    keys = ((folder / source.signed_by).absolute(),) if source.signed_by else _debian_keyrings(suite, keyrings)
    return Archive(source.uri.rstrip("/"), source.suites, source.components, keys)


def _codename(os_release: Path) -> str:
    match = re.search(r"^VERSION_CODENAME=(\w+)", os_release.read_text() if os_release.exists() else "", re.MULTILINE)
    return match[1] if match and match[1] in SUITES else ""


def _belongs(suite: str, codename: str) -> bool:
    return bool(codename) and (suite == codename or suite in (f"{codename}-updates", f"{codename}-security"))


def _move(suite: str, old: str, new: str) -> str:
    return new + suite.removeprefix(old)


def _debian_keyrings(suite: str, keyrings: Path) -> tuple[Path, ...]:
    found = tuple(sorted(keyrings.glob(f"debian-archive-{suite}-*.gpg")))
    if not found:
        raise ProaError(
            Code.FILE_MISSING,
            f"this machine does not have the keys of Debian {suite}",
            at=keyrings,
            hint="Install a newer debian-archive-keyring, or name the keys with signed_by.",
        )
    return found


def _machine_sources(apt: Path) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """URI, suites and components of every entry of a machine that is in use."""
    folder = apt / "sources.list.d"
    lists = [apt / "sources.list", *sorted(folder.glob("*.list"))]
    for path in (path for path in lists if path.is_file()):
        for line in path.read_text().splitlines():
            match = _ONE_LINE.match(line.split("#", 1)[0].strip())
            if match:
                yield match[2].rstrip("/"), (match[3],), tuple(match[4].split())
    for path in sorted(folder.glob("*.sources")):
        for fields in stanzas(path.read_text()):
            if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes").lower() not in (
                "no",
                "false",
                "0",
            ):
                for uri in fields.get("URIs", "").split():
                    yield (
                        uri.rstrip("/"),
                        tuple(fields.get("Suites", "").split()),
                        tuple(fields.get("Components", "").split()),
                    )


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a Debian control file (deb822(5)), fields by name; continued lines keep their breaks."""
    fields: dict[str, str] = {}
    name = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t":
            fields[name] = fields.get(name, "") + "\n" + line.strip()
        else:
            name, _, value = line.partition(":")
            fields[name] = value.strip()


def indexes(sources: Iterable[Archive]) -> tuple[Index, ...]:
    """Ask every mirror what it holds now.

    Raises:
        ProaError: ``MIRROR``, with the address.
    """
    session = requests.Session()
    if _AUTHORITIES.is_file():
        session.verify = str(_AUTHORITIES)
    found = []
    for archive in sources:
        for suite in archive.suites:
            data = _fetch(session, f"{archive.uri}/dists/{suite}/InRelease")
            found.append(
                Index(archive.uri, suite, hashlib.sha256(data).hexdigest(), _date(data.decode(errors="replace")))
            )
    return tuple(found)


def newest(found: Iterable[Index]) -> int:
    """The date of the newest index, in seconds since 1970."""
    return max(index.date for index in found)


def _fetch(session: requests.Session, url: str) -> bytes:
    if url.startswith(("file:", "copy:")):
        path = Path("/" + url.partition(":")[2].lstrip("/"))
        if not path.is_file():
            raise ProaError(Code.MIRROR, "the mirror does not have this index", at=safe_url(url))
        return path.read_bytes()
    try:
        with session.get(url, timeout=_TIMEOUT, stream=True) as answer:
            answer.raise_for_status()
            data = answer.raw.read(_MAX_INDEX + 1, decode_content=True)
    except requests.HTTPError as error:
        what = f"the mirror answered {error.response.status_code} {error.response.reason}"
        raise ProaError(Code.MIRROR, what, at=safe_url(url), hint="Check that the mirror has this suite.") from error
    except (requests.RequestException, OSError) as error:
        raise ProaError(Code.MIRROR, f"the mirror could not be reached: {_reason(error)}", at=safe_url(url)) from error
    if len(data) > _MAX_INDEX:
        raise ProaError(Code.MIRROR, f"the index has more than {_MAX_INDEX} bytes", at=safe_url(url))
    return bytes(data)


def _reason(error: BaseException) -> str:
    """The innermost cause, without the objects' addresses that urllib3 prints."""
    while True:
        inner = getattr(error, "reason", None) or next(iter(error.args), None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return re.sub(r"<[^>]*>:? ?", "", str(error))


def _date(text: str) -> int:
    match = _DATE.search(text)
    try:
        return int(parsedate_to_datetime(match[1].strip()).timestamp()) if match else 0
    except ValueError:
        return 0


def describe(sources: Iterable[Archive]) -> list[Mapping[str, object]]:
    """The sources as JSON values, keys by content: what goes into the hash of a step."""
    return [
        {
            "uri": archive.uri,
            "suites": archive.suites,
            "components": archive.components,
            "keys": sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in archive.keyrings),
        }
        for archive in sources
    ]
