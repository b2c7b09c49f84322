"""Prometheus' own tool, as Debian has it: it says whether metrics and alert rules are as Prometheus wants them.

It is taken out of the package ``prometheus`` (19 MB, 94 MB unpacked) and kept: to install the package would start a
server on the machine that runs the tests, and its Go module needs ten minutes to build.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import fsync_folder
from proa.core.runtime.lock import locked
from proa.vm.support.tools import cache_folder

_PACKAGE: Final = "prometheus"
_MEMBER: Final = "./usr/bin/promtool"


def promtool() -> Path:
    """The path of the program: that of the machine, or one that is fetched first if it is not kept yet.

    Raises:
        ProaError: ``MIRROR`` if apt does not have it.
    """
    if found := shutil.which("promtool"):
        return Path(found)
    folder = cache_folder() / "tools" / "promtool"
    program = folder / "promtool"
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        if not program.exists():
            _fetch(program)
    return program


def _fetch(program: Path) -> None:
    with tempfile.TemporaryDirectory(dir=program.parent) as name:
        work = Path(name)
        done = process.run(["apt-get", "download", "-q", _PACKAGE], cwd=work, check=False)
        debs = list(work.glob("*.deb"))
        if done.status != 0 or len(debs) != 1:
            raise ProaError(Code.MIRROR, f"apt has no package {_PACKAGE}", hint="As root, run apt-get update.")
        process.run(["dpkg-deb", "--extract", debs[0], work / "tree"])
        (work / "tree" / _MEMBER).replace(program)
        fsync_folder(program.parent)
