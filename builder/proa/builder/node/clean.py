"""Takes out of a tree what only the building machine or the hour decided."""

from __future__ import annotations

from typing import Final

from proa.builder.config.filerules import EMPTIED, MADE_ANEW
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
