"""The initrd: dracut, run in the tree of the target's packages, with a module of our own (``builder/initrd``).

Of dracut's own modules only those for systemd and udev are taken: its queue of hooks costs seconds of every boot and
ends in a shell that waits for a person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proa.builder.engine import namespace
from proa.builder.engine.context import BuildContext
from proa.builder.inputs import fingerprint
from proa.builder.steps import kernel_needs
from proa.core.runtime import process
from proa.partition.boot import initrdscript

_DATA: Final = Path(__file__).parent.parent / "initrd"
CREDENTIALS: Final = Path(__file__).parent.parent / "node/root/usr/lib/proa/credentials"
"""The table of what a node may be given; the root has it too."""


class Initrd:
    """See the module."""

    name = "initrd"
    title = "Initrd"
    needs = ("packages",)
    tools = ("tar", "unshare")
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """Our dracut module, the kernel modules asked for, and the time."""
        return {
            "data": fingerprint.tree(_DATA),
            "credentials": fingerprint.file(CREDENTIALS),
            "state": hashlib.sha256(initrdscript.script().encode()).hexdigest(),
            "modules": context.config.kernel.initrd_modules,
            "epoch": context.epoch,
        }

    def run(self, context: BuildContext, out: Path) -> None:
        """Make it, for a kernel that has what a node needs.

        Raises:
            ProaError: ``CONFIG_VALUE``; ``TOOL``, with dracut's last lines.
        """
        module = context.scratch / "90proa"
        assemble(module, context.config.kernel.initrd_modules)
        packages = context.output("packages")
        version = (packages / "kernel/version").read_text().strip()
        if config := kernel_needs.read(packages / "base.tar", version):
            kernel_needs.check(config, version)
        process.run(
            [
                *namespace.enter(network=False),
                *("sh", _DATA / "make.sh", packages / "base.tar", context.scratch / "tree", module),
                version,
                out / "initrd.img",
            ],
            env={"SOURCE_DATE_EPOCH": str(context.epoch)},
        )


def assemble(module: Path, drivers: tuple[str, ...]) -> None:
    """Put our dracut module together: the files that lie beside it, the generated functions, the drivers asked for.

    Args:
        module: The folder; it must not be there yet.
        drivers: Kernel modules besides those of ``drivers.list``.
    """
    module.mkdir()
    for source in _DATA.iterdir():
        _put(module / source.name, source.read_text())
    _put(module / "proa-state.sh", initrdscript.script())
    _put(module / CREDENTIALS.name, CREDENTIALS.read_text())
    with (module / "drivers.list").open("a") as file:
        file.writelines(f"{name}\n" for name in drivers)


def _put(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755 if path.suffix == ".sh" else 0o644)


INITRD: Final = Initrd()
