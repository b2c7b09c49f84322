"""Which kernel modules a root leaves out: those of the group that nothing needs which stays, and the user's own.

Those that stay are compressed, and as they were for every program that reads them with libkmod.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from proa.builder.config.image_settings import Kernel
from proa.builder.formats import packed
from proa.builder.node import modules
from proa.builder.node.tree import Tree
from proa.core.runtime.errors import ProaError
from proa.core.runtime.process import run

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
    (tmp_path / "fakes/chroot").write_text(
        f'#!/bin/sh\nshift\n[ "$1" != kmod ] || exec cat {tmp_path}/kmod\necho "$@" >>{tmp_path}/ran\n'
    )
    (tmp_path / "kmod").write_text("kmod version 30\n+ZSTD +XZ -ZLIB\n")
    (tmp_path / "fakes/chroot").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'fakes'}:{os.environ['PATH']}")
    return tree


def left(tree: Tree, version: str = "6.1") -> set[str]:
    folder = tree.path(f"/usr/lib/modules/{version}")
    return {str(path.relative_to(folder)).removesuffix(".zst") for path in folder.rglob("*.ko*")}


def plain(tree: Tree) -> set[str]:
    folder = tree.path("/usr/lib/modules/6.1")
    return {str(path.relative_to(folder)) for path in folder.rglob("*.ko")}


def arrange(tree: Tree, kernel: Kernel, added: Iterable[str] = ()) -> None:
    modules.arrange(tree, kernel, packed.Packed(tree.root), added)


def test_a_server_keeps_what_its_modules_need(tree: Tree) -> None:
    """The compression of slip is the group's to leave out, but ppp needs it."""
    arrange(tree, Kernel())
    gone = {"kernel/drivers/net/slip/slip.ko", "kernel/sound/core/snd.ko", "kernel/sound/usb/snd-usb.ko"}
    assert left(tree) == left(tree, "6.12") == MODULES.keys() - gone
    assert not tree.exists("/usr/lib/modules/6.1/kernel/sound")
    assert (tree.root.parent / "ran").read_text() == "depmod 6.1\ndepmod 6.12\n"


def test_a_virtual_machine_has_less_and_all_is_all(tree: Tree) -> None:
    arrange(tree, Kernel(drivers="all"))
    assert left(tree) == MODULES.keys()
    arrange(tree, Kernel(drivers="virtual"))
    assert "kernel/drivers/scsi/hpsa.ko" not in left(tree)
    assert "kernel/drivers/scsi/transport.ko" in left(tree)


def test_what_the_user_names_goes_whatever_needs_it(tree: Tree) -> None:
    named = ("kernel/drivers/net/slip", "kernel/fs/btrfs", "kernel/sound/usb/*.ko")
    arrange(tree, Kernel(drivers="all", exclude=named))
    assert left(tree) == {name for name in MODULES if not name.startswith(named[:2]) and "snd-usb" not in name}


def test_what_only_left_out_modules_need_goes_with_the_group(tree: Tree) -> None:
    arrange(tree, Kernel(exclude=("kernel/drivers/net/ppp",)))
    assert not [name for name in left(tree) if "/slip/" in name or "/ppp/" in name]


def test_a_pattern_may_name_what_the_group_leaves_out_anyway(tree: Tree) -> None:
    arrange(tree, Kernel(exclude=("kernel/sound",)))
    assert not [name for name in left(tree) if "sound" in name]


def test_a_pattern_of_a_group_need_not_fit_every_kernel(tree: Tree) -> None:
    arrange(tree, Kernel(exclude=("kernel/drivers/gpu/drm/xe", "kernel/drivers/isdn")))
    assert left(tree) < MODULES.keys()


def test_a_pattern_that_fits_nothing_is_told_before_anything_goes(tree: Tree) -> None:
    with pytest.raises(ProaError) as raised:
        arrange(tree, Kernel(exclude=("kernel/sound", "kernel/sond")))
    assert raised.value.at == "kernel.exclude[1]"
    assert left(tree) == MODULES.keys()


def test_what_stays_is_compressed_for_a_kmod_that_can_read_it(tree: Tree) -> None:
    module = tree.path("/usr/lib/modules/6.1/kernel/fs/btrfs/btrfs.ko")
    module.write_bytes(b"a module" * 1000)
    module.chmod(0o600)
    arrange(tree, Kernel())
    assert plain(tree) == set()
    smaller = module.with_name("btrfs.ko.zst")
    assert smaller.stat().st_mode & 0o777 == 0o600
    assert smaller.stat().st_size < 1000
    assert run(["zstd", "-dc", smaller]).stdout == b"a module" * 1000


def test_a_module_that_the_configuration_brings_stays_as_it_is(tree: Tree) -> None:
    """The initrd takes it from there, and the bill of materials has its hash."""
    tree.link("/lib", "usr/lib")
    name = "kernel/fs/btrfs/btrfs.ko"
    arrange(tree, Kernel(), added=[f"/lib/modules/6.1/{name}", "/etc/motd"])
    assert plain(tree) == {name}


@pytest.mark.parametrize("said", ["kmod version 30\n-ZSTD +XZ\n", "kmod version 24\n"])
def test_a_kmod_that_cannot_read_them_gets_plain_modules(tree: Tree, said: str) -> None:
    (tree.root.parent / "kmod").write_text(said)
    arrange(tree, Kernel())
    assert plain(tree) == left(tree) != set()


def test_modules_stay_plain_where_that_is_asked_for(tree: Tree) -> None:
    arrange(tree, Kernel(compress=False))
    assert plain(tree) == left(tree) != set()
