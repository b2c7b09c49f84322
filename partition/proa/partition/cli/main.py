"""``proa-disk``: plan, create, show, grow and reset disks with Proa's layout; the key of an encrypted PERSIST."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path
from typing import Any, Final

import click

from proa.core import VERSION
from proa.core.runtime.cli import dry_run_option, json_option, options, progress, progress_option, run_command
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import human_bytes
from proa.core.schema.output import tell
from proa.partition.cli import rendering, showing
from proa.partition.cli.reports import PlannedDisk, RecoveryKey, ResetDisk
from proa.partition.disk import blockdev, growing, layout, persist
from proa.partition.disk.layout import NAMES, Layout, LayoutRequest, Sizes
from proa.partition.disk.slots import Node, discover, open_image

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Size(click.ParamType):  # type: ignore[type-arg]  # generic in click 8.2 only
    """A size: bytes, or a number with K, M, G or T (binary; ``MiB`` is the same as ``M``)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See :meth:`click.ParamType.convert`."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]{1,15})([KMGT]?)(?:iB|B)?", str(value))
        if match is None:
            self.fail(f"{value!r} is not a size such as 4G, 512M or 1048576", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


class Filling(click.ParamType):  # type: ignore[type-arg]  # generic in click 8.2 only
    """``NAME=FILE``: what a partition is filled with."""

    name = "name=file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        """See :meth:`click.ParamType.convert`."""
        name, equals, file = str(value).partition("=")
        if name not in NAMES or not equals:
            self.fail(f"{value!r} is not NAME=FILE with NAME one of {', '.join(NAMES)}", param, ctx)
        return name, Path(file)


def _size(name: str, what: str, default: int | None) -> Any:
    shown = f"[default: {default >> 20}M]" if default else ""
    return click.option(f"--{name}-size", type=Size(), default=default, metavar="SIZE", help=f"{what} {shown}".strip())


layout_options = options(
    _size("disk", "Size of the whole disk.  [default: the smallest that fits]", None),
    click.option("--sector-size", type=int, default=512, show_default=True, help="Bytes per sector: 512 or 4096."),
    click.option("--seed", default="proa", show_default=True, help="Seed from which all GUIDs are derived."),
    _size("boot", "BOOT.", Sizes.boot),
    _size("uki", "Size of UKI-A and of UKI-B.", Sizes.uki),
    _size("root", "Size of ROOT-A and of ROOT-B.", Sizes.root),
    _size("persist", "Size of PERSIST.  [default: the rest of the disk, or 256M without --disk-size]", None),
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
disk_argument = click.argument("disk", required=False, type=click.Path(path_type=Path))


def _plan(choices: dict[str, Any]) -> Layout:
    sizes = Sizes(
        boot=choices["boot_size"],
        uki=choices["uki_size"],
        root=choices["root_size"],
        persist=choices["persist_size"],
    )
    return layout.plan(LayoutRequest(choices["seed"], sizes, choices["disk_size"], choices["sector_size"]))


@click.group(epilog="Example: proa-disk show disk.raw")
@click.version_option(VERSION)
def disk_command() -> None:
    """Plan, create, show, grow and reset disks with Proa's layout."""


@disk_command.command(epilog="Example: proa-disk plan --disk-size 16G --root-size 3G")
@layout_options
@json_option
def plan(as_json: bool, **choices: Any) -> None:
    """Show the layout of a disk without creating it."""
    _report(_plan(choices), as_json)


@disk_command.command(epilog="Example: proa-disk create disk.raw --root-size 1G --fill ROOT-A=root.img")
@click.argument("target", type=click.Path(path_type=Path))
@layout_options
@click.option(
    "--fill", "fillings", type=Filling(), multiple=True, help=("Fill a partition from a file; may be repeated.")
)
@yes_option
@dry_run_option
@progress_option
@json_option
def create(target: Path, as_json: bool, **choices: Any) -> None:
    """Create a disk: table, boot state, empty PERSIST, and the contents that --fill names.

    TARGET is a new file, or a device, whose content is lost.
    """
    try:
        from proa.partition.disk import creating
    except ImportError as error:
        raise ProaError(Code.TOOL_MISSING, "pyparted is not installed; nodes cannot create disks") from error

    planned, fillings = _plan(choices), dict(choices["fillings"])
    creating.check(target, planned, fillings)
    if choices["dry_run"]:
        _report(planned, as_json)
        return
    if blockdev.is_device(target) and not choices["yes"]:
        click.confirm(f"This erases everything on {target}. Continue?", abort=True, err=True)
    creating.create(target, planned, choices["seed"], fillings, progress(choices["progress"]))
    _report(planned, as_json)


@disk_command.command("show", epilog="Example: proa-disk show --json /dev/vda")
@disk_argument
@json_option
def show_disk(disk: Path | None, as_json: bool) -> None:
    """Show layout, slots, what each partition holds, and both copies of the boot state.

    DISK is a device or an image file.  [default: the disk that this machine runs from]
    """
    view = showing.look(_node(disk))
    tell(showing.report(view), as_json, lambda _: showing.text(view))


@disk_command.command(epilog="Example: proa-disk grow disk.raw")
@click.argument("disk", type=click.Path(path_type=Path))
@dry_run_option
@json_option
def grow(disk: Path, dry_run: bool, as_json: bool) -> None:
    """Grow PERSIST to the end of DISK and give the disk its own GUIDs, as the first boot does.

    A disk that has no more room stays as it is. The file system in PERSIST grows when the node boots.
    """
    before = open_image(disk).layout
    grown = growing.plan(disk)
    if not dry_run and grown != before:
        growing.write(disk, grown)
    _report(grown, as_json)


@disk_command.command(epilog="Example: proa-disk reset --yes disk.raw")
@disk_argument
@yes_option
@dry_run_option
@json_option
def reset(disk: Path | None, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Empty PERSIST: the node loses its identity, its /etc and its /var. The slots stay.

    DISK is a device or an image file. Without it, the next boot empties PERSIST of the disk that this machine runs
    from.
    """
    node = _node(disk)
    extent = node.disk.partitions["PERSIST"]
    later = node.booted is not None
    if not later:
        persist.check_unused(extent)
    if not dry_run:
        if not yes:
            click.confirm(f"This erases everything on PERSIST of {node.disk.path}. Continue?", abort=True, err=True)
        if later:
            persist.request_reset(persist.MOUNTED)
        else:
            persist.reset(extent, uuid=str(uuid.uuid4()), epoch=int(time.time()))
    when = "next-boot" if later else "now"
    tell(ResetDisk(str(node.disk.path), "PERSIST", extent.size, when, dry_run), as_json, _reset_text)


@disk_command.command("recovery-key", epilog="Example: proa-disk recovery-key")
@click.option("--remove", is_flag=True, help="Also remove it from the node; it still opens PERSIST.")
@yes_option
@dry_run_option
@json_option
def recovery_key(remove: bool, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Show the recovery key of this node's encrypted PERSIST.

    It opens PERSIST where the TPM does not. Keep it away from the node.
    """
    key = persist.recovery_key(persist.MOUNTED)
    removed = remove and not dry_run
    if removed:
        if not yes:
            click.confirm("Have you stored the key? It cannot be shown again. Continue?", abort=True, err=True)
        persist.remove_recovery_key(persist.MOUNTED)
    tell(RecoveryKey(key, removed), as_json, lambda done: done.key)


def _reset_text(done: ResetDisk) -> str:
    became = "is empty" if done.when == "now" else "will be emptied at the next boot"
    return f"PERSIST on {done.disk} ({human_bytes(done.size)}) {'would be empty' if done.dry_run else became}"


def _node(disk: Path | None) -> Node:
    return discover() if disk is None else Node(open_image(disk))


def _report(planned: Layout, as_json: bool) -> None:
    tell(PlannedDisk.of(planned), as_json, lambda _: rendering.text(planned))


def main() -> None:
    """The entry point of ``proa-disk``."""
    run_command(disk_command, "proa-disk")
