"""Takes out of a tree what only the building machine or the hour decided, and what the configuration leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from proa.builder.node import accounts
from proa.builder.node.tree import Tree

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
_OF_CHANCE: Final = (
    "/etc/.pwd.lock",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/etc/ssh/ssh_host_*",
    "/etc/udev/hwdb.bin",
    "/root/.cache",
)
"""What differs from build to build, and what each node makes for itself."""
_EMPTIED: Final = ("/run", "/tmp", "/media", "/mnt")  # noqa: S108


def after_installing(tree: Tree) -> None:
    """Take out what is left from installing packages, before anything of the user's is added."""
    for pattern in _OF_INSTALLING:
        tree.remove(pattern)


def before_sealing(tree: Tree) -> None:
    """Take out what would differ from build to build."""
    for pattern in _OF_CHANCE:
        tree.remove(pattern)
    for folder in _EMPTIED:
        tree.empty(folder)
    accounts.forget_days(tree)


def modules(tree: Tree, exclude: Sequence[str]) -> None:
    """Leave out kernel modules, and let depmod forget them."""
    for version in sorted(path.name for path in tree.path("/usr/lib/modules").iterdir()):
        for pattern in exclude:
            for path in sorted(tree.path(f"/usr/lib/modules/{version}").glob(pattern)):
                tree.remove(f"/usr/lib/modules/{version}/{path.relative_to(tree.path(f'/usr/lib/modules/{version}'))}")
        tree.run(("depmod", version))
