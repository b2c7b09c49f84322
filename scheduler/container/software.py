"""What the image has of Python: the locked wheels, and what the scheduler's command runs of Proa."""

from __future__ import annotations

import fnmatch
import os
import sys
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
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not any(fnmatch.fnmatchcase(name, pattern) for pattern in _LEFT_OUT):
            layer.write(f"{SITE}/{name}", path.read_bytes())
    for name, path in own().items():
        layer.write(f"{SITE}/{name}", path.read_bytes())
    for name, module in COMMANDS.items():
        layer.write(f"usr/bin/{name}", _LAUNCHER.format(site=SITE, module=module).encode(), 0o755)
    lines = LOCK.read_text().splitlines()
    return [line.removesuffix(" \\").replace("==", "=") for line in lines if "==" in line and line[0].isalnum()]


def own() -> dict[str, Path]:
    """What the commands of the image run of Proa: the paths below the site folder, and where each file lies here.

    Raises:
        ProaError: ``INTERNAL`` if Proa is not whole here.
    """
    return imports.files(COMMANDS.values(), LOCK)


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
