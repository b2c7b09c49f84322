"""Modules: the kernel's modules in compressed form, made once for all releases that have this kernel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proa.builder.config.drivers import EXCLUDED
from proa.builder.engine.context import BuildContext
from proa.builder.formats import packed
from proa.core.runtime import process


class Modules:
    """See the module.

    What of them a root has is decided in its tree; a module that is not here is compressed there.
    """

    name = "modules"
    title = "Kernel modules"
    needs = ("packages",)
    tools = ("tar",)
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """Whether they are compressed, and the group that is left out."""
        kernel = context.config.kernel
        return {"drivers": kernel.drivers if kernel.compress else ""}

    def run(self, context: BuildContext, out: Path) -> None:
        """Compress them.

        Raises:
            ProaError: ``TOOL``.
        """
        kernel = context.config.kernel
        tree = context.scratch / "modules"
        tree.mkdir()
        if kernel.compress:
            base = context.output("packages") / "base.tar"
            rules = [f"--exclude=./usr/lib/modules/*/{pattern}" for pattern in EXCLUDED[kernel.drivers]]
            words = ["--wildcards", "--no-same-owner", *rules, "./usr/lib/modules"]
            process.run(["tar", "--extract", "--file", base, "--directory", tree, *words])
        packed.pack(sorted(path for path in tree.rglob("*.ko") if not path.is_symlink()), out)


MODULES: Final = Modules()
