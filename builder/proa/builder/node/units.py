"""systemd's units: ours through the release's own links, the user's as systemctl does it."""

from __future__ import annotations

import re
from typing import Final

from proa.builder.config.image_settings import Units
from proa.builder.node.tree import Tree
from proa.core.runtime.errors import Code

FOLDER: Final = "/usr/lib/systemd/system"
_INSTALL: Final = re.compile(r"^(WantedBy|RequiredBy)=(.*)$", re.MULTILINE)


def enable(tree: Tree, unit: str) -> None:
    """Follow a unit's [Install] section with links in ``/usr``, under verity: nothing in a node's /etc is needed."""
    for how, names in _INSTALL.findall(tree.read(f"{FOLDER}/{unit}")):
        for name in names.split():
            kind = "wants" if how == "WantedBy" else "requires"
            tree.link(f"{FOLDER}/{name}.{kind}/{unit}", f"../{unit}")


def arrange(tree: Tree, units: Units) -> None:
    """Enable, disable and mask what the configuration says.

    Raises:
        ProaError: ``CONFIG_VALUE`` for a unit that is not there.
    """
    for verb, names in (("disable", units.disable), ("enable", units.enable), ("mask", units.mask)):
        if names:
            tree.run(("systemctl", "--quiet", verb, *names), code=Code.CONFIG_VALUE)
