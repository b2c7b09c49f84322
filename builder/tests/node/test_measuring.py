"""Units that measure into a TPM, and the libraries without which they fail (faults n22)."""

from __future__ import annotations

from pathlib import Path

import pytest

from proa.builder.node.measuring import LIBRARIES, mask_without_libraries
from proa.builder.node.tree import Tree
from proa.builder.node.units import FOLDER

UNITS = {
    # As Debian 12 has them.
    "systemd-pcrphase.service": "ExecStart=/lib/systemd/systemd-pcrphase --graceful ready",
    "systemd-pcrphase-sysinit.service": "ExecStop=/lib/systemd/systemd-pcrphase --graceful final",
    # As Debian 13 has them.
    "systemd-tpm2-setup.service": "ExecStart=/usr/lib/systemd/systemd-tpm2-setup --graceful",
    "systemd-pcrlock@.service": "ExecStart=-/usr/lib/systemd/systemd-pcrlock --location=770",
    "systemd-pcrlock.socket": "ListenStream=/run/systemd/io.systemd.PCRLock",
    # What has nothing to do with them.
    "systemd-logind.service": "ExecStart=/usr/lib/systemd/systemd-logind",
    "pcscd.service": "ExecStart=/usr/sbin/pcscd --foreground",
}
MEASURING = {name for name in UNITS if "pcr" in name or "tpm2" in name}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    made = Tree(tmp_path, owners=False)
    for name, line in UNITS.items():
        made.write(f"{FOLDER}/{name}", f"[Unit]\nDescription=TPM2 test\n\n[Service]\n{line}\n")
    return made


def masked(tree: Tree) -> set[str]:
    """What is masked in a tree."""
    found = (tree.root / "etc/systemd/system").iterdir()
    return {path.name for path in found if path.is_symlink() and str(path.readlink()) == "/dev/null"}


def add_libraries(tree: Tree, *names: str, folder: str = "/usr/lib/x86_64-linux-gnu") -> None:
    for name in names:
        tree.write(f"{folder}/{name}", b"\x7fELF")


def test_n22_units_that_measure_are_masked_where_their_libraries_are_not(tree: Tree) -> None:
    assert set(mask_without_libraries(tree)) == MEASURING
    assert masked(tree) == MEASURING


@pytest.mark.parametrize("folder", ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"])
def test_n22_with_all_libraries_they_stay(tree: Tree, folder: str) -> None:
    add_libraries(tree, *LIBRARIES, folder=folder)
    assert mask_without_libraries(tree) == ()
    assert masked(tree) == set()


@pytest.mark.parametrize("lacking", LIBRARIES)
def test_n22_one_library_that_lacks_is_all_of_them(tree: Tree, lacking: str) -> None:
    add_libraries(tree, *(name for name in LIBRARIES if name != lacking))
    assert set(mask_without_libraries(tree)) == MEASURING


def test_n22_a_unit_that_is_a_link_is_no_other_unit(tree: Tree) -> None:
    """An alias of a masked unit would otherwise be masked twice, or an alias of a package's own taken away."""
    tree.link(f"{FOLDER}/alias.service", "systemd-pcrphase.service")
    assert "alias.service" not in mask_without_libraries(tree)
