"""Where packages come from: the configuration's sources, those of the building machine, or both."""

from __future__ import annotations

import base64
import hashlib
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.builder.config.image_settings import SUITES, SourceConfig
from proa.builder.config.settings import Config
from proa.builder.config.valuerules import ARMOR
from proa.core.runtime.errors import Code, ProaError

MACHINE: Final = Path("/etc/apt")
KEYRINGS: Final = Path("/usr/share/keyrings")
_OS_RELEASE: Final = Path("/etc/os-release")
_ONE_LINE: Final = re.compile(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(\S.*)")


@dataclass(frozen=True)
class Archive:
    """One source as apt is given it.

    Attributes:
        uri: The mirror.
        suites: Its suites; one that ends in ``/`` is the folder of a flat repository.
        components: Its components; a flat repository has none.
        keyrings: The files with the keys that must have signed it; none for packages of the user's own.
        valid_until: Whether an index that has expired is refused; those of snapshots have.
    """

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    keyrings: tuple[Path, ...]
    valid_until: bool = True

    def stanza(self, keyrings: Sequence[Path]) -> str:
        """The source in apt's format (sources.list(5), "deb822-style").

        A mirror in a folder is copied from: apt would otherwise hand its paths to programs inside the tree. Suites
        and flat folders, which may not stand together, are two sources.

        Args:
            keyrings: Where the keys lie for apt.
        """
        uri = copied(self.uri.removeprefix("file:")) if self.uri.startswith("file:") else self.uri
        trust = f"Signed-By:{_signers(keyrings)}" if keyrings else "Trusted: yes"
        more = "" if self.valid_until else "Check-Valid-Until: no\n"
        flat = [suite for suite in self.suites if suite.endswith("/")]
        named = [suite for suite in self.suites if not suite.endswith("/")]
        found = [f"Types: deb\nURIs: {uri}\nSuites: {' '.join(flat)}\n{trust}\n{more}"] if flat else []
        if named:
            parts = f"Suites: {' '.join(named)}\nComponents: {' '.join(self.components)}\n"
            found.insert(0, f"Types: deb\nURIs: {uri}\n{parts}{trust}\n{more}")
        return "\n".join(found)


def copied(folder: Path | str) -> str:
    """The URI of a repository in a folder, whatever the folder is called."""
    return f"copy:{urllib.parse.quote(str(folder))}"


def _signers(keyrings: Sequence[Path]) -> str:
    """The keys as sources.list(5) takes them: their paths, or where those have blanks, the keys themselves."""
    if not any(char.isspace() for path in keyrings for char in str(path)):
        return "".join(f" {path}" for path in keyrings)
    keys = base64.encodebytes(b"".join(map(_binary, keyrings))).decode().split()
    lines = ("-----BEGIN PGP PUBLIC KEY BLOCK-----", ".", *keys, "-----END PGP PUBLIC KEY BLOCK-----")
    return "".join(f"\n {line}" for line in lines)


def _binary(keyring: Path) -> bytes:
    """A keyring in OpenPGP's own form; armored ones (RFC 9580, section 6.2) end their head with an empty line."""
    data = keyring.read_bytes()
    if not data.lstrip().startswith(ARMOR):
        return data
    body = data.decode("ascii", "replace").replace("\r", "").partition("\n\n")[2].partition("-----END")[0]
    return base64.b64decode("".join(line for line in body.split("\n") if not line.startswith("=")))


def archives(
    config: Config, folder: Path, *, machine: Path = MACHINE, keyrings: Path = KEYRINGS
) -> tuple[Archive, ...]:
    """The sources of a build.

    Without any in the configuration, or if it asks for both, these are the Debian sources of the building machine:
    entries whose suites name its own release, moved to the release that is built. Entries of others are left out.

    Args:
        config: The configuration.
        folder: The folder of proa.toml.
        machine: apt's folder on the building machine.
        keyrings: Where Debian's keyrings lie.

    Raises:
        ProaError: ``CONFIG_MISSING`` if there are none, ``FILE_MISSING`` without keys for the suite.
    """
    suite = config.system.suite
    given = tuple(_given(source, folder, suite, keyrings) for source in config.source)
    if given and not config.system.machine_sources:
        return given
    own = _codename(machine.parent / "os-release" if machine != MACHINE else _OS_RELEASE)
    found: dict[str, Archive] = {}
    for uri, suites, components in _machine_sources(machine):
        mine = tuple(_move(name, own, suite) for name in suites if _belongs(name, own))
        if mine and "main" in components and not uri.startswith("cdrom:"):
            earlier = found.get(uri)
            names = tuple(dict.fromkeys((*(earlier.suites if earlier else ()), *mine)))
            found[uri] = Archive(uri, names, ("main",), debian_keyrings(suite, keyrings))
    if not found:
        raise ProaError(
            Code.CONFIG_MISSING,
            "this machine has no sources of Debian packages",
            hint=("Add them to proa.toml as [[source]]."),
        )
    return (*found.values(), *given)


def others(config: Config, folder: Path, *, keyrings: Path = KEYRINGS) -> tuple[str, ...]:
    """The URIs of sources that are not Debian's: those signed by keys other than Debian's.

    The same with a lock and without: neither mirrors nor keys are asked for.
    """
    own = set(keyrings.glob("debian-archive-*"))
    signed = (source for source in config.source if source.signed_by)
    return tuple(source.uri.rstrip("/") for source in signed if (folder / source.signed_by).absolute() not in own)


def _given(source: SourceConfig, folder: Path, suite: str, keyrings: Path) -> Archive:
    keys = ((folder / source.signed_by).absolute(),) if source.signed_by else debian_keyrings(suite, keyrings)
    return Archive(source.uri.rstrip("/"), source.suites, source.components, keys, source.check_valid_until)


def _codename(os_release: Path) -> str:
    match = re.search(r"^VERSION_CODENAME=(\w+)", os_release.read_text() if os_release.exists() else "", re.MULTILINE)
    return match[1] if match and match[1] in SUITES else ""


def _belongs(suite: str, codename: str) -> bool:
    return bool(codename) and (suite == codename or suite in (f"{codename}-updates", f"{codename}-security"))


def _move(suite: str, old: str, new: str) -> str:
    return new + suite.removeprefix(old)


def debian_keyrings(suite: str, keyrings: Path = KEYRINGS) -> tuple[Path, ...]:
    """The keys of a release of Debian.

    Raises:
        ProaError: ``FILE_MISSING`` if this machine has none.
    """
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


def describe(sources: Iterable[Archive]) -> list[Mapping[str, object]]:
    """The sources as JSON values, keys by content: what goes into the hash of a step."""
    return [
        {
            "uri": archive.uri,
            "suites": archive.suites,
            "components": archive.components,
            "valid_until": archive.valid_until,
            "keys": sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in archive.keyrings),
        }
        for archive in sources
    ]
