"""What a node keeps is the node's own: a release has nothing below it, since a node that has booted would never get it.

A kept folder comes to PERSIST at a node's first boot and stays as it is from then on. Whatever a later release had
there would be hidden for ever: it is refused at build, whether a package, a hook or a [[file]] brought it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proa.builder.node.tree import Tree
from proa.core.runtime.errors import Code, ProaError

KEPT: Final = ("/home", "/root", "/opt/cni")
"""What every node keeps besides /etc and /var."""
CONF: Final = "/usr/lib/tmpfiles.d/proa-kept.conf"
_FACTORY: Final = "/usr/share/factory"
_SEEDS: Final = ("/root/.bashrc", "/root/.profile")
"""What the base system's packages bring: it becomes a line that copies it where it is missing."""
_SEED_FOLDER: Final = "/root/.ssh"
"""What Debian's base system has there, empty."""
_NAMED: Final = 5


def check(tree: Tree, keep: Iterable[str]) -> None:
    """Refuse content below what is kept.

    Raises:
        ProaError: ``CONFIG_VALUE``, with the first names.
    """
    _move_seeds(tree)
    for folder in (*KEPT, *keep):
        names = [inside for inside, _ in tree.files(folder)]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            what = (
                f"the release has {', '.join(names[:_NAMED])}{more}, but the node keeps {folder}: what is there would"
            )
            hint = "Ship it below /usr, and let a line in /usr/lib/tmpfiles.d make or link it on the node."
            raise ProaError(Code.CONFIG_VALUE, f"{what} never reach a node that has been booted", at=folder, hint=hint)


def _move_seeds(tree: Tree) -> None:
    lines = []
    for name in _SEEDS:
        path = tree.path(name)
        if path.is_file() and not path.is_symlink():
            tree.write(f"{_FACTORY}{name}", path.read_bytes())
            tree.remove(name)
            lines.append(f"C {name} 0644 0 0 -\n")
    folder = tree.path(_SEED_FOLDER)
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()
        lines.append(f"d {_SEED_FOLDER} 0700 0 0 -\n")
    if lines:
        tree.write(CONF, "# What packages bring for the home of root; written by proa-build.\n" + "".join(lines))
