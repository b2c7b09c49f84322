"""The kernel's modules are compressed once, those that the group leaves out are not."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from proa.builder.config.image_settings import Kernel
from proa.builder.engine.context import BuildContext
from proa.builder.formats import packed
from proa.builder.steps.modules import MODULES

FILES = {
    "kernel/fs/btrfs/btrfs.ko": b"btrfs" * 100,
    "kernel/sound/core/snd.ko": b"sound" * 100,
    "kernel/drivers/net/ethernet/fealnx.ko": b"fealnx" * 100,
    "kernel/drivers/scsi/lpfc/lpfc.ko": b"lpfc" * 100,
    "modules.dep": b"",
}


@pytest.fixture
def context(step_context: BuildContext) -> BuildContext:
    with tarfile.open(step_context.output("packages") / "base.tar", "w") as archive:
        for name, data in FILES.items():
            entry = tarfile.TarInfo(f"./usr/lib/modules/6.1/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return step_context


@pytest.mark.parametrize(
    ("kernel", "names"),
    [
        (Kernel(), {"btrfs", "lpfc"}),
        (Kernel(drivers="virtual"), {"btrfs"}),
        (Kernel(drivers="all"), {"btrfs", "snd", "fealnx", "lpfc"}),
        (Kernel(drivers="all", compress=False), set()),
    ],
)
def test_modules_of_the_group_are_packed(
    context: BuildContext, tmp_path: Path, kernel: Kernel, names: set[str]
) -> None:
    config = dataclasses.replace(context.config, kernel=kernel)
    out = tmp_path / "out"
    out.mkdir()
    MODULES.run(dataclasses.replace(context, config=config), out)
    found = packed.read(out)
    there = {name for name, data in FILES.items() if found.index.keys() & {_hash(data)}}
    assert {Path(name).stem for name in there} == names


def test_other_settings_of_the_kernel_keep_them(context: BuildContext) -> None:
    def inputs(kernel: Kernel) -> object:
        return MODULES.inputs(dataclasses.replace(context, config=dataclasses.replace(context.config, kernel=kernel)))

    assert inputs(Kernel(arguments=("quiet",), exclude=("kernel/sound",))) == inputs(Kernel())
    assert inputs(Kernel(drivers="all")) != inputs(Kernel())
    assert inputs(Kernel(drivers="all", compress=False)) == inputs(Kernel(compress=False)) != inputs(Kernel())


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
