"""Takes out of a tree what only the building machine or the hour decided, and what the configuration leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from proa.builder.config.filerules import EMPTIED, MADE_ANEW
from proa.builder.config.near import did_you_mean
from proa.builder.config.settings import Kernel
from proa.builder.node import accounts
from proa.builder.node.tree import Tree
from proa.core.runtime.errors import Code, ProaError

_OF_INSTALLING: Final = (
    "/boot/*",
    "/vmlinuz*",
    "/initrd.img*",
    "/etc/apt/sources.list*",
    "/etc/apt/apt.conf.d/*mmdebstrap*",
    "/etc/dpkg/dpkg.cfg.d/*mmdebstrap*",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/.resolv.conf.systemd-resolved.bak",
)
"""What the building machine put into the tree, and what only its packages needed."""


def after_installing(tree: Tree) -> None:
    """Take out what is left from installing packages, before anything of the user's is added."""
    for pattern in _OF_INSTALLING:
        tree.remove(pattern)


def before_sealing(tree: Tree) -> None:
    """Take out what would differ from build to build."""
    for pattern in MADE_ANEW:
        tree.remove(pattern)
    for folder in EMPTIED:
        tree.empty(folder)
    accounts.forget_days(tree)


def modules(tree: Tree, exclude: Sequence[str]) -> None:
    """Leave out kernel modules, and let depmod forget them.

    Raises:
        ProaError: ``CONFIG_VALUE`` for a pattern of the user's own that fits no module of any kernel.
    """
    top = tree.path("/usr/lib/modules")
    folders = sorted(path for path in top.iterdir() if path.is_dir())
    for number, pattern in enumerate(exclude):
        found = {folder: sorted(folder.glob(pattern)) for folder in folders}
        if not any(found.values()) and pattern not in Kernel().exclude:
            known = {str(path.relative_to(folder)) for folder in folders for path in folder.glob("kernel/*/*")}
            hint = did_you_mean(pattern, known, "Patterns are relative to /usr/lib/modules/VERSION.")
            what = f"'{pattern}' fits no module of the kernel"
            raise ProaError(Code.CONFIG_VALUE, what, at=f"kernel.exclude[{number}]", hint=hint)
        for folder, paths in found.items():
            for path in paths:
                tree.remove(f"/usr/lib/modules/{folder.name}/{path.relative_to(folder)}")
    for folder in folders:
        tree.run(("depmod", folder.name))
