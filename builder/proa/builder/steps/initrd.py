"""The initrd: dracut, run in the tree of the target's packages, with a module of our own (``builder/initrd``).

Of dracut's own modules only those for systemd and udev are taken: its queue of hooks costs seconds of every boot and
ends in a shell that waits for a person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proa.builder.config.near import did_you_mean
from proa.builder.engine import namespace
from proa.builder.engine.context import BuildContext
from proa.builder.inputs import fingerprint
from proa.builder.node import early
from proa.builder.steps import kernel_needs
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError, ProaErrors
from proa.partition.boot import initrdscript

_DATA: Final = Path(__file__).parent.parent / "initrd"
_NODE: Final = Path(__file__).parent.parent / "node/root/usr/lib/proa"
ENCRYPTION: Final = ("encryption.list", "encryption-setup.sh", "proa-crypt.sh")
"""Files of our dracut module for nodes whose PERSIST is encrypted."""
CREDENTIALS: Final = _NODE / "credentials"
"""The table of what a node may be given; the root has it too."""


class Initrd:
    """See the module."""

    name = "initrd"
    title = "Initrd"
    needs = ("packages", "early")
    tools = ("tar", "unshare")
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """Our dracut module, the kernel modules asked for, and the time."""
        return {
            "data": fingerprint.tree(_DATA),
            "credentials": fingerprint.file(CREDENTIALS),
            "modest": fingerprint.file(_NODE / "modest"),
            "state": hashlib.sha256(initrdscript.script().encode()).hexdigest(),
            "modules": context.config.kernel.initrd_modules,
            "encryption": context.config.persist.encryption,
            "epoch": context.epoch,
        }

    def run(self, context: BuildContext, out: Path) -> None:
        """Make it, for a kernel that has what a node needs.

        Raises:
            ProaError: ``CONFIG_VALUE``; ``TOOL``, with dracut's last lines.
        """
        packages, archive = context.output("packages"), context.output("early") / early.ARCHIVE
        known = [(packages / "kernel/modules").read_text(), *early.modules(archive)]
        check_drivers("\n".join(known), context.config.kernel.initrd_modules)
        module = context.scratch / "90proa"
        assemble(module, context.config.kernel.initrd_modules, context.config.persist.encryption)
        version = (packages / "kernel/version").read_text().strip()
        if config := kernel_needs.read(packages / "base.tar", version):
            kernel_needs.check(config, version, encryption=context.config.persist.encryption != "none")
        process.run(
            [
                *namespace.room(context.scratch, show=(_DATA, packages, archive), change=(out,)),
                *("sh", _DATA / "make.sh", packages / "base.tar", context.scratch / "tree", module),
                version,
                out / "initrd.img",
                archive,
            ],
            env={"SOURCE_DATE_EPOCH": str(context.epoch)},
        )


def check_drivers(modules: str, drivers: tuple[str, ...]) -> None:
    """Look for the modules that the configuration asks for; dracut passes over what it does not find.

    Args:
        modules: The kernel's modules, a path on each line.
        drivers: Their names; ``-`` and ``_`` are the same in them (modprobe(8)).

    Raises:
        ProaErrors: ``CONFIG_VALUE`` for each that the kernel does not have.
    """
    known = {Path(line).name.partition(".ko")[0].replace("-", "_") for line in modules.splitlines()}
    found = []
    for number, name in enumerate(drivers):
        if name.replace("-", "_") not in known:
            hint = did_you_mean(name.replace("-", "_"), known, "Name a module without its folder and ending.")
            at = f"kernel.initrd_modules[{number}]"
            found.append(ProaError(Code.CONFIG_VALUE, f"the kernel has no module '{name}'", at=at, hint=hint))
    if found:
        raise ProaErrors(found)


def assemble(module: Path, drivers: tuple[str, ...], encryption: str = "none") -> None:
    """Put our dracut module together: the files that lie beside it, the generated functions, the drivers asked for.

    Args:
        module: The folder; it must not be there yet.
        drivers: Kernel modules besides those of ``drivers.list``.
        encryption: As in ``persist.encryption``; what opens such a PERSIST is only in the initrd that needs it.
    """
    module.mkdir()
    for source in _DATA.iterdir():
        _put(module / source.name, source.read_text())
    _put(module / "proa-state.sh", initrdscript.script())
    _put(module / CREDENTIALS.name, CREDENTIALS.read_text())
    _put(module / "proa-modest.sh", (_NODE / "modest").read_text())
    with (module / "drivers.list").open("a") as file:
        if encryption == "tpm2":
            file.write((module / "encryption.list").read_text())
        else:
            for name in ENCRYPTION:
                (module / name).unlink()
        file.writelines(f"{name}\n" for name in drivers)


def _put(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755 if path.suffix == ".sh" else 0o644)


INITRD: Final = Initrd()
