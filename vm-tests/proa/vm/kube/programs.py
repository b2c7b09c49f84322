"""Where the programs of a Kubernetes control plane come from: ``KUBEBUILDER_ASSETS``, or else our own build."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import SILENT, Monitor
from proa.vm.support.tools import go_tool

ASSETS: Final = "KUBEBUILDER_ASSETS"
"""Environment: a folder with etcd, kube-apiserver and kubectl, as envtest's archives hold them."""
NEEDED: Final = ("etcd", "kube-apiserver", "kubectl")
OPTIONAL: Final = ("kube-controller-manager", "kube-scheduler", "kubelet")


def gather(folder: Path, monitor: Monitor = SILENT) -> Path:
    """Make a folder with a link to every program by its own name, fit for ``PATH``.

    Args:
        folder: Where; made if it is not there.
        monitor: Where a build is told.

    Raises:
        ProaError: ``TOOL_MISSING``, ``TOOL`` when the build fails.
    """
    assets = os.environ.get(ASSETS)
    found = _given(Path(assets)) if assets else dict.fromkeys((*NEEDED, *OPTIONAL), go_tool("controlplane", monitor))
    folder.mkdir(parents=True, exist_ok=True)
    for name, program in found.items():
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(program)
    return folder


def _given(assets: Path) -> dict[str, Path]:
    found = {name: (assets / name).absolute() for name in (*NEEDED, *OPTIONAL) if (assets / name).exists()}
    if missing := [name for name in NEEDED if name not in found]:
        hint = f"Unset {ASSETS} to build them from vm-tests/controlplane."
        raise ProaError(Code.TOOL_MISSING, f"no {', '.join(missing)} in {ASSETS}", at=assets, hint=hint)
    return found
