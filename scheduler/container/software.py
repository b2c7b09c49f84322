"""What the image has of Python: the locked wheels, and what the scheduler's command runs of Proa."""

from __future__ import annotations

import fnmatch
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from container.debian import PYTHON
from container.layer import Layer
from proa.builder.config.architecture import AMD64
from proa.builder.inputs import imports
from proa.core.runtime import process
from proa.core.runtime.errors import Code

SITE: Final = "usr/lib/proa/python"
LOCK: Final = Path(__file__).parent / "scheduler.lock"
COMMANDS: Final = {"proa-scheduler": "proa.scheduler.cli.main"}
_LAUNCHER: Final = """\
#!/usr/bin/python3 -IB
import sys

sys.path.insert(0, "/{site}")
from {module} import main

main()
"""
_LEFT_OUT: Final = (
    *("bin/*", "*/tests/*", "*/__pycache__/*", "*.pyi", "*.c", "*.h", "*.pyx", "*.pxd"),
    "kubernetes/aio/*",  # the official client once more, for asyncio
    *("aiohttp/*", "aiohttp_retry/*", "aiosignal/*", "aiohappyeyeballs/*", "frozenlist/*", "multidict/*"),
    *("propcache/*", "yarl/*"),  # which only that one needs
    *("zstandard/_cffi.*", "pycparser/*"),  # for Pythons that are not CPython
)


def add(layer: Layer, folder: Path) -> list[str]:
    """Put all of it into the image.

    Args:
        layer: The image's layer.
        folder: Where pip may unpack.

    Returns:
        The packages, each as ``NAME=VERSION``.

    Raises:
        ProaError: ``MIRROR`` or ``PACKAGES`` from pip, ``INTERNAL`` if Proa's packages are not installed here.
    """
    _install(folder)
    needed = _needed(folder)
    for name in sorted({str(file) for one in needed.values() for file in one.files or () if ".." not in file.parts}):
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in _LEFT_OUT):
            layer.write(f"{SITE}/{name}", (folder / name).read_bytes())
    for name, path in own().items():
        layer.write(f"{SITE}/{name}", path.read_bytes())
    for name, module in COMMANDS.items():
        layer.write(f"usr/bin/{name}", _LAUNCHER.format(site=SITE, module=module).encode(), 0o755)
    return [f"{name}={one.version}" for name, one in sorted(needed.items())]


def own() -> dict[str, Path]:
    """What the commands of the image run of Proa: the paths below the site folder, and where each file lies here.

    Raises:
        ProaError: ``INTERNAL`` if Proa is not whole here.
    """
    return imports.files(COMMANDS.values(), LOCK)


def _needed(folder: Path) -> dict[str, metadata.Distribution]:
    """The distributions in a folder that the commands import, and what these require, by their canonical names."""
    there = {imports.canonical(one.metadata["Name"]): one for one in metadata.distributions(path=[str(folder)])}
    found: dict[str, metadata.Distribution] = {}
    waiting = [name for one in imports.reached(*COMMANDS.values()).values() for name in one.distributions]
    while waiting:
        name = imports.canonical(waiting.pop())
        if name in there and name not in found:
            found[name] = there[name]
            waiting += [_name(line) for line in there[name].requires or () if "extra ==" not in line]
    return found


def _name(requirement: str) -> str:
    """The distribution that a requirement names (Python packaging user guide, "Dependency specifiers")."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]


def _install(folder: Path) -> None:
    words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
    words += ["--target", str(folder), "--require-hashes", "--only-binary=:all:", "--no-deps", "--no-compile"]
    words += ["--python-version", PYTHON, "--implementation", "cp"]
    words += [f"--abi={abi}" for abi in (f"cp{PYTHON.replace('.', '')}", "abi3", "none")]
    words += [f"--platform={platform}" for platform in (*AMD64.platforms, "any")]
    given = {name: value for name, value in os.environ.items() if name.startswith("PIP_") and "CONFIG" not in name}
    done = process.run((*words, "-r", LOCK), check=False, env=given)
    if done.status != 0:
        said = done.stderr.decode(errors="replace").lower()
        code = Code.MIRROR if "connection" in said or "timed out" in said else Code.PACKAGES
        raise process.failure(done, code)
