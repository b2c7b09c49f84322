"""Software: the agent's Python packages as wheels for the image's own Python, each by its pinned hash."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

from proa.builder.engine import proxies
from proa.builder.engine.context import BuildContext
from proa.builder.inputs import fingerprint
from proa.builder.node.software import LOCK
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError

_LEFT_OUT: Final = ("bin", "**/tests", "**/__pycache__", "**/*.pyi", "**/*.c", "**/*.h")


class Software:
    """See the module."""

    name = "software"
    title = "Agent's packages"
    needs = ("packages",)
    tools = ("strip",)
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """The lock, the image's Python, the platform."""
        return {
            "lock": fingerprint.file(LOCK),
            "python": python_version(context.output("packages")),
            "platforms": context.architecture.platforms,
            "pip": metadata.version("pip"),
        }

    def run(self, context: BuildContext, out: Path) -> None:
        """Unpack the wheels.

        Raises:
            ProaError: ``MIRROR`` or ``TOOL``.
        """
        site = out / "site"
        version = python_version(context.output("packages"))
        words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
        words += ["--target", str(site), "--require-hashes", "--only-binary=:all:", "--no-deps", "--no-compile"]
        words += ["--python-version", version, "--implementation", "cp"]
        words += [f"--abi={abi}" for abi in (f"cp{version.replace('.', '')}", "abi3", "none")]
        words += [f"--platform={platform}" for platform in (*context.architecture.platforms, "any")]
        given = {name: value for name, value in os.environ.items() if name.startswith("PIP_") and "CONFIG" not in name}
        cache = {"PIP_CACHE_DIR": str(context.cache / self.name)}
        variables = proxies.read().environment | cache | given | {"TMPDIR": str(context.scratch)}
        done = process.run(
            (*words, "-r", LOCK),
            check=False,
            env=variables,
        )
        if done.status != 0:
            said = done.stderr.decode(errors="replace")
            code = Code.MIRROR if "connection" in said.lower() or "timed out" in said else Code.PACKAGES
            raise process.failure(done, code)
        strip(site)
        found = sorted(metadata.distributions(path=[str(site)]), key=lambda found: found.metadata["Name"].lower())
        listed = [_entry(distribution) for distribution in found]
        (out / "wheels.json").write_text(json.dumps(listed, indent=1, sort_keys=True) + "\n")
        for pattern in _LEFT_OUT:
            for path in sorted(site.glob(pattern), reverse=True):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def strip(site: Path) -> None:
    """Take debugging symbols out of the wheels' libraries: half of what they bring, and a node never reads them.

    Raises:
        ProaError: ``TOOL``.
    """
    if found := sorted(path for path in site.rglob("*.so*") if path.is_file() and not path.is_symlink()):
        process.run(("strip", "--strip-unneeded", *found))


def python_version(packages: Path) -> str:
    """The Python of a packages output, as ``3.11``.

    Raises:
        ProaError: ``PACKAGES`` if it has none.
    """
    installed = json.loads((packages / "packages.json").read_text())["installed"]
    for entry in installed:
        if entry["package"] == "python3":
            return ".".join(entry["version"].split(".")[:2])
    raise ProaError(Code.PACKAGES, "the tree has no python3")


def _entry(found: metadata.Distribution) -> dict[str, str]:
    return {"package": found.metadata["Name"], "version": found.version}


SOFTWARE: Final = Software()
