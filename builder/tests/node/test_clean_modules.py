"""Which kernel modules a root leaves out: those of the group that nothing needs which stays, and the user's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proa.builder.config.image_settings import Kernel
from proa.builder.node import clean
from proa.builder.node.tree import Tree
from proa.core.runtime.errors import ProaError

MODULES = {
    "kernel/drivers/net/virtio_net.ko": "",
    "kernel/drivers/net/ppp/ppp_generic.ko": "kernel/drivers/net/slip/slhc.ko",
    "kernel/drivers/net/slip/slhc.ko": "",
    "kernel/drivers/net/slip/slip.ko": "kernel/drivers/net/slip/slhc.ko",
    "kernel/drivers/scsi/hpsa.ko": "kernel/drivers/scsi/transport.ko",
    "kernel/drivers/scsi/transport.ko": "",
    "kernel/sound/core/snd.ko": "",
    "kernel/sound/usb/snd-usb.ko": "kernel/sound/core/snd.ko",
    "kernel/fs/btrfs/btrfs.ko": "kernel/lib/raid6/raid6_pq.ko",
    "kernel/lib/raid6/raid6_pq.ko": "",
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A tree of two kernels, and a `chroot` that notes what it is asked for."""
    tree = Tree(tmp_path / "root", owners=False)
    for version in ("6.1", "6.12"):
        for name in MODULES:
            tree.write(f"/usr/lib/modules/{version}/{name}", "x")
        listed = "".join(f"{name}: {needs}\n" for name, needs in MODULES.items())
        tree.write(f"/usr/lib/modules/{version}/modules.dep", listed)
    (tmp_path / "fakes").mkdir()
    (tmp_path / "fakes/chroot").write_text(f'#!/bin/sh\nshift\necho "$@" >>{tmp_path}/ran\n')
    (tmp_path / "fakes/chroot").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'fakes'}:{os.environ['PATH']}")
    return tree


def left(tree: Tree, version: str = "6.1") -> set[str]:
    folder = tree.path(f"/usr/lib/modules/{version}")
    return {str(path.relative_to(folder)) for path in folder.rglob("*.ko")}


def test_a_server_keeps_what_its_modules_need(tree: Tree) -> None:
    """The compression of slip is the group's to leave out, but ppp needs it."""
    clean.modules(tree, Kernel())
    gone = {"kernel/drivers/net/slip/slip.ko", "kernel/sound/core/snd.ko", "kernel/sound/usb/snd-usb.ko"}
    assert left(tree) == left(tree, "6.12") == MODULES.keys() - gone
    assert not tree.exists("/usr/lib/modules/6.1/kernel/sound")
    assert (tree.root.parent / "ran").read_text() == "depmod 6.1\ndepmod 6.12\n"


def test_a_virtual_machine_has_less_and_all_is_all(tree: Tree) -> None:
    clean.modules(tree, Kernel(drivers="all"))
    assert left(tree) == MODULES.keys()
    clean.modules(tree, Kernel(drivers="virtual"))
    assert "kernel/drivers/scsi/hpsa.ko" not in left(tree)
    assert "kernel/drivers/scsi/transport.ko" in left(tree)


def test_what_the_user_names_goes_whatever_needs_it(tree: Tree) -> None:
    named = ("kernel/drivers/net/slip", "kernel/fs/btrfs", "kernel/sound/usb/*.ko")
    clean.modules(tree, Kernel(drivers="all", exclude=named))
    assert left(tree) == {name for name in MODULES if not name.startswith(named[:2]) and "snd-usb" not in name}


def test_what_only_left_out_modules_need_goes_with_the_group(tree: Tree) -> None:
    clean.modules(tree, Kernel(exclude=("kernel/drivers/net/ppp",)))
    assert not [name for name in left(tree) if "/slip/" in name or "/ppp/" in name]


def test_a_pattern_may_name_what_the_group_leaves_out_anyway(tree: Tree) -> None:
    clean.modules(tree, Kernel(exclude=("kernel/sound",)))
    assert not [name for name in left(tree) if "sound" in name]


def test_a_pattern_of_a_group_need_not_fit_every_kernel(tree: Tree) -> None:
    clean.modules(tree, Kernel(exclude=("kernel/drivers/gpu/drm/xe", "kernel/drivers/isdn")))
    assert left(tree) < MODULES.keys()


def test_a_pattern_that_fits_nothing_is_told_before_anything_goes(tree: Tree) -> None:
    with pytest.raises(ProaError) as raised:
        clean.modules(tree, Kernel(exclude=("kernel/sound", "kernel/sond")))
    assert raised.value.at == "kernel.exclude[1]"
    assert left(tree) == MODULES.keys()
