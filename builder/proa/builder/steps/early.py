"""Early: what the initrd takes of the finished root, kept apart so that other changes of the root keep the initrd."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proa.builder.engine.context import BuildContext
from proa.builder.node.early import ARCHIVE


class Early:
    """See the module."""

    name = "early"
    title = "Drivers' settings"
    needs = ("root",)
    tools = ()
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """Nothing besides the root."""
        return {}

    def run(self, context: BuildContext, out: Path) -> None:
        """Copy it."""
        shutil.copyfile(context.output("root") / ARCHIVE, out / ARCHIVE)


EARLY: Final = Early()
