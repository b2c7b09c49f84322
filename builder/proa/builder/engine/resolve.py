"""Which packages a build comes to: name, version, hash and origin of each, from the mirrors, a lock, or what is kept.

Keys of steps, the time of the build and the bill of materials follow from these packages, never from the mirrors'
indexes: a push to a mirror that changes none of them changes nothing. Their files are kept by their hash; the tree is
made from a repository of just these files, so that nothing else can get into it, and without network.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from proa.builder.engine import sources
from proa.builder.engine.aptroot import AptRoot, Package
from proa.builder.engine.sources import Archive
from proa.builder.inputs import fingerprint
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import replace, sha256
from proa.core.runtime.lock import locked

LOCK: Final = "proa.packages.lock"
"""The lock beside proa.toml."""
_HEAD: Final = (
    "# Packages of the next builds, written by proa-build lock. Keep this file next to proa.toml, under version "
    "control.\n# what name version architecture sha256 uri\n"
)
_RECORD: Final = "resolved.json"
_DEB_HEAD: Final = b"!<arch>\n"
_OWN: Final = re.compile(r"copy:.*/apt/[0-9a-f]{24}/own/")
"""The URIs of the user's own packages."""


@dataclass(frozen=True)
class Supply:
    """How a build may come by its packages.

    Attributes:
        locked: Whether the lock says which.
        offline: Whether nothing is fetched, and the last answer of the mirrors counts.
    """

    locked: bool = False
    offline: bool = False


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        architecture: As Debian names it.
        wanted: Packages to install, each as NAME or NAME=VERSION.
        beside: Packages to fetch without what they depend on.
        recommends: Whether recommended packages come too.
        archives: Where to look.
        debs: Folders of the user's own packages.
        lock: The lock.
        cache: The folder for indexes and files.
        supply: How.
    """

    architecture: str
    wanted: tuple[str, ...]
    beside: tuple[str, ...]
    recommends: bool
    archives: tuple[Archive, ...]
    debs: tuple[Path, ...]
    lock: Path
    cache: Path
    supply: Supply = Supply()

    @property
    def files(self) -> Path:
        """Where the files of packages are kept."""
        return self.cache / "debs"

    def place(self, package: Package) -> Path:
        """Where the file of a package is kept."""
        return self.files / f"{package.sha256}.deb"

    @property
    def identity(self) -> str:
        """The hash of what is asked for, the mirrors' answers left out."""
        own = {path.name: fingerprint.file(path) for folder in self.debs for path in sorted(folder.glob("*.deb"))}
        asked = [self.architecture, self.wanted, self.beside, self.recommends]
        return fingerprint.of([*asked, sources.describe(self.archives), own])


@dataclass(frozen=True)
class Resolved:
    """What a request comes to.

    Attributes:
        root: The packages of the root.
        beside: Those that are unpacked beside it.
    """

    root: tuple[Package, ...]
    beside: tuple[Package, ...]

    @property
    def all(self) -> tuple[Package, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.root, *self.beside)))

    def text(self) -> str:
        """As the lock has it."""
        rows = [(what, one) for what in ("root", "beside") for one in getattr(self, what)]
        lines = [f"{what} {one.name} {one.version} {one.architecture} {one.sha256} {one.uri}\n" for what, one in rows]
        return _HEAD + "".join(lines)

    def identities(self) -> dict[str, list[list[str]]]:
        """What counts in the keys of steps: where a file is fetched from does not."""
        return {
            what: [[one.name, one.version, one.architecture, one.sha256] for one in getattr(self, what)]
            for what in ("root", "beside")
        }


def read_lock(path: Path) -> Resolved:
    """The lock.

    Raises:
        ProaError: ``FILE_MISSING``, or ``CONFIG`` with the line that is not one of it.
    """
    if not path.is_file():
        raise ProaError(Code.FILE_MISSING, "there is no package lock", at=path, hint="Write one: proa-build lock.")
    found: dict[str, list[Package]] = {"root": [], "beside": []}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match line.split():
            case [("root" | "beside") as what, name, version, architecture, digest, uri] if len(digest) == 64:
                found[what].append(Package(name, version, architecture, digest, uri))
            case [] | ["#", *_]:
                pass
            case _:
                raise ProaError(Code.CONFIG, "not a line of a package lock", at=f"{path}:{number}:1")
    return Resolved(tuple(found["root"]), tuple(found["beside"]))


@functools.cache
def resolve(request: Request) -> Resolved:
    """Ask which packages it comes to; once for each request of this process (:func:`forget`).

    Raises:
        ProaError: ``MIRROR``, ``PACKAGES``; ``CONFIG`` if the lock lacks what is asked for.
    """
    if request.supply.locked:
        return _from_lock(request)
    root = _apt(request)
    with locked(root.folder / ".lock"):
        record = _read_record(root.folder)
        if request.supply.offline:
            if record is None:
                what = "none of these packages is cached"
                raise ProaError(Code.MIRROR, what, hint="Build once without --offline, or write a lock.")
            return record[1]
        root.prepare([*request.archives, *_own(request)])
        root.update()
        state = root.state()
        if record is not None and record[0] == state:
            return record[1]
        found = Resolved(*root.solve(request.wanted, request.beside))
        document = {"state": state, "root": [*map(asdict, found.root)], "beside": [*map(asdict, found.beside)]}
        replace(root.folder / _RECORD, json.dumps(document, indent=1).encode())
        return found


forget: Final = resolve.cache_clear
"""Ask the mirrors anew at the next request."""


def fetch(request: Request, found: Resolved) -> None:
    """Have the file of every package, each checked against its hash.

    Raises:
        ProaError: ``MIRROR``, with the packages that are not kept if nothing may be fetched.
    """
    request.files.mkdir(parents=True, exist_ok=True)
    with locked(request.files / ".lock"):
        missing = [one for one in found.all if not _is_kept(request, one)]
        if missing and request.supply.offline:
            names = ", ".join(one.file for one in missing[:3])
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise ProaError(
                Code.MIRROR, f"not cached, and nothing may be fetched: {names}{more}", hint="Omit --offline."
            )
        if missing:
            root = _apt(request)
            root.prepare([*request.archives, *_own(request)])
            root.fetch(missing, request.files)
            for one in missing:
                (request.files / one.file).rename(request.place(one))
        for one in found.all:
            os.utime(request.place(one))


def newest(request: Request, found: Resolved) -> int:
    """When the newest of the packages was made, in seconds since 1970, as its file says (deb(5))."""
    dates = [_date(request.place(one)) for one in found.all if request.place(one).is_file()]
    return max(dates, default=0)


def repository(request: Request, found: Resolved, folder: Path) -> None:
    """A flat repository of just these packages, for ``copy:`` (links to the kept files, and an index)."""
    folder.mkdir()
    stanzas = []
    for one in found.all:
        place = request.place(one)
        (folder / one.file).symlink_to(place.absolute())
        control = process.run(("dpkg-deb", "-f", place)).text.rstrip("\n")
        stanzas.append(f"{control}\nFilename: ./{one.file}\nSize: {place.stat().st_size}\nSHA256: {one.sha256}\n")
    (folder / "Packages").write_text("\n".join(stanzas))


def _from_lock(request: Request) -> Resolved:
    found = read_lock(request.lock)
    versions = {what: {one.name: one.version for one in getattr(found, what)} for what in ("root", "beside")}
    for what, names in (("root", request.wanted), ("beside", request.beside)):
        for word in names:
            name, _, version = word.partition("=")
            if name not in versions[what]:
                raise ProaError(Code.CONFIG, f"the lock does not have {name}", at=request.lock, hint=_UPDATE)
            if version and "*" not in version and versions[what][name] != version:
                told = f"the lock has {name} {versions[what][name]}, not {version}"
                raise ProaError(Code.CONFIG, told, at=request.lock, hint=_UPDATE)
    return found


_UPDATE: Final = "Update it: proa-build lock --update."


def _apt(request: Request) -> AptRoot:
    place = request.cache / "apt" / request.identity[:24]
    place.mkdir(parents=True, exist_ok=True)
    return AptRoot(place.absolute(), request.architecture, request.recommends)


def _own(request: Request) -> Iterable[Archive]:
    """The user's own packages as an archive that needs no signature."""
    if not request.debs:
        return
    folder = _apt(request).folder / "own"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stanzas = []
    for path in (path for one in request.debs for path in sorted(one.glob("*.deb"))):
        digest = sha256(path)
        shutil.copyfile(path, folder / f"{digest[:16]}-{path.name}")
        control = process.run(("dpkg-deb", "-f", path)).text.rstrip("\n")
        place = f"Filename: ./{digest[:16]}-{path.name}\nSize: {path.stat().st_size}\nSHA256: {digest}\n"
        stanzas.append(f"{control}\n{place}")
    (folder / "Packages").write_text("\n".join(stanzas))
    yield Archive(sources.copied(folder), ("./",), (), ())


def _is_kept(request: Request, one: Package) -> bool:
    place = request.place(one)
    if place.is_file() and sha256(place) == one.sha256:
        return True
    place.unlink(missing_ok=True)
    return False


def _date(path: Path) -> int:
    """The time of the first member of an ar archive: what dpkg-deb was told by ``SOURCE_DATE_EPOCH``."""
    with path.open("rb") as file:
        head = file.read(68)
    return int(head[24:36]) if head.startswith(_DEB_HEAD) else 0


def _read_record(folder: Path) -> tuple[Mapping[str, str], Resolved] | None:
    try:
        found: Mapping[str, Any] = json.loads((folder / _RECORD).read_bytes())
        kinds = [tuple(Package(**one) for one in found[what]) for what in ("root", "beside")]
        return found["state"], Resolved(kinds[0], kinds[1])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def origins(found: Resolved, others: Iterable[str]) -> dict[str, str]:
    """Who gives out the packages that are not of the distribution: the host of the archive, or ``local``.

    Args:
        found: What a request came to, from mirrors or a lock.
        others: The URIs of archives that are not the distribution's.
    """
    folders = [f"{_folder(uri)}/" for uri in others]
    told = {}
    for one in found.all:
        host = urllib.parse.urlsplit(one.uri.removeprefix("mirror+")).hostname
        if _OWN.match(one.uri):
            told[one.name] = "local"
        elif any(_folder(one.uri).startswith(folder) for folder in folders):
            told[one.name] = host or "local"
    return told


def _folder(uri: str) -> str:
    """A URI in one form: apt is given folders as ``copy:``, and writes paths with or without an authority."""
    scheme, separator, rest = uri.partition(":")
    if not separator or scheme not in ("file", "copy"):
        return uri.rstrip("/")
    return "copy:/" + urllib.parse.unquote(rest).strip("/")


def changes(old: Sequence[Package], new: Sequence[Package]) -> dict[str, list[str]]:
    """What a new list changes of an old one, by ``added``, ``removed`` and ``changed``."""
    before, after = ({one.name: one for one in many} for many in (old, new))
    return {
        "added": [f"{name} {after[name].version}" for name in sorted(after.keys() - before.keys())],
        "removed": [f"{name} {before[name].version}" for name in sorted(before.keys() - after.keys())],
        "changed": [
            f"{name} {before[name].version} -> {after[name].version}"
            for name in sorted(before.keys() & after.keys())
            if before[name].sha256 != after[name].sha256
        ],
    }
