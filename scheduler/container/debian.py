"""What the image has of Debian: the files of a few packages, without dpkg, shell or anything else that can run."""

from __future__ import annotations

import fnmatch
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from container.layer import Layer
from proa.builder.config.image_settings import ReleaseConfig, SystemConfig
from proa.builder.config.settings import Config
from proa.builder.engine import resolve, sources
from proa.builder.engine.resolve import LOCK, Request
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError

SUITE: Final = "bookworm"
"""Debian 12, whose Python is the one that ``scheduler.lock`` is for."""
PYTHON: Final = "3.11"
ASKED: Final = ("base-files", "libpython3-stdlib", "python3-minimal", "tzdata")
NEEDED: Final = frozenset(
    {
        *(*ASKED, "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
        *("libc6", "libgcc-s1", "libcrypt1", "libexpat1", "zlib1g", "libssl3", "libffi8", "libbz2-1.0", "liblzma5"),
        *("gcc-12-base", "libuuid1"),
    }
)
"""What is taken of ASKED and all that it depends on. The rest serves only maintainer scripts, or modules of Python's
that are left out too: curses, readline, dbm, sqlite3, nis."""
_LEFT_OUT: Final = (
    *("./usr/share/man/*", "./usr/share/info/*", "./usr/share/lintian/*", "./usr/share/locale/*"),
    *("./usr/share/applications/*", "./usr/share/pixmaps/*", "./usr/share/binfmts/*", "./usr/share/python3/*"),
    *("./usr/lib/x86_64-linux-gnu/gconv/*", "./usr/lib/x86_64-linux-gnu/audit/*", "./usr/lib/locale/*"),
    *("./usr/share/zoneinfo/posix/*", "./usr/share/zoneinfo/right/*", "./usr/share/base-files/*"),
    *(f"./usr/lib/python3.11/{name}/*" for name in ("pydoc_data", "lib2to3", "idlelib", "ensurepip", "distutils")),
    *(f"./usr/lib/python3.11/{name}/*" for name in ("curses", "dbm", "sqlite3", "tkinter", "venv")),
    *(f"./usr/lib/python3.11/lib-dynload/{name}.*" for name in ("_curses", "_curses_panel", "readline", "_dbm", "nis")),
    *("./usr/lib/python3.11/lib-dynload/_sqlite3.*", "./var/backups*", "./var/local*", "./var/mail*", "./boot*"),
    *("./home*", "./media*", "./mnt*", "./opt*", "./srv*", "./root*", "./etc/update-motd.d*", "./etc/profile.d*"),
    *("./usr/bin/pdb3*", "./usr/bin/pydoc3*", "./usr/bin/pygettext3*", "./usr/bin/py3*", "./lib/systemd*"),
    *("./etc/dpkg*", "./etc/default*", "./etc/skel*", "./etc/issue*", "./bin", "./sbin", "./usr/sbin", "./usr/games"),
    *("./usr/include", "./usr/src", "./usr/local*", "./usr/share/dict", "./usr/share/misc", "./usr/share/perl5*"),
)
_COPYRIGHT: Final = "./usr/share/doc/*/copyright"
_DOCUMENT: Final = "./usr/share/doc/*/*"


@dataclass(frozen=True)
class Debs:
    """Packages as apt verified them.

    Attributes:
        files: The package files, sorted by the packages' names.
        date: When the newest of them was made, in seconds since 1970.
    """

    files: tuple[Path, ...]
    date: int


def download(folder: Path) -> Debs:
    """Have apt choose, download and verify the packages.

    Args:
        folder: Where they are put.

    Raises:
        ProaError: ``PACKAGES`` or ``MIRROR``.
    """
    archives = sources.archives(Config(ReleaseConfig("container", "0"), SystemConfig(suite=SUITE)), folder)
    request = Request("amd64", ASKED, (), False, archives, (), folder / LOCK, folder)
    found = resolve.resolve(request)
    resolve.fetch(request, found)
    return Debs(tuple(request.place(one) for one in found.root), resolve.newest(request, found))


def add(layer: Layer, debs: Debs) -> list[str]:
    """Put the packages' files into the image, and what each package is where scanners look for it.

    Returns:
        The packages, each as ``NAME=VERSION``.

    Raises:
        ProaError: ``PACKAGES`` if one is missing that must be there.
    """
    found = []
    for deb in debs.files:
        control = process.run(["dpkg-deb", "-f", deb]).text
        fields = next(sources.stanzas(control))
        if fields["Package"] not in NEEDED:
            continue
        found.append(f"{fields['Package']}={fields['Version']}")
        layer.write(f"var/lib/dpkg/status.d/{fields['Package']}", control.encode())
        for info, content in _members(deb):
            layer.add(info, content)
    if missing := NEEDED - {one.partition("=")[0] for one in found}:
        raise ProaError(Code.PACKAGES, f"apt did not choose {', '.join(sorted(missing))}")
    return found


def _members(deb: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    data = process.run(["dpkg-deb", "--fsys-tarfile", deb]).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar:
            if _is_wanted(info):
                file = tar.extractfile(info) if info.isreg() else None
                yield info, file.read() if file else b""


def _is_wanted(info: tarfile.TarInfo) -> bool:
    if fnmatch.fnmatchcase(info.name, _DOCUMENT):
        return fnmatch.fnmatchcase(info.name, _COPYRIGHT)
    return not any(fnmatch.fnmatchcase(info.name, pattern) for pattern in _LEFT_OUT)
