"""What differs between two installations, whose it is, and what became of it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from upkeep import two_installs
from upkeep.two_installs import PACKAGES, Difference

LIST = "/.\n/etc\n/etc/iscsi\n/usr/sbin/iscsid\n"
POSTINST = 'keygen -o "/var/lib/keys/id";\n'


def tree(path: Path, drawn: str) -> Path:
    """A tree of packages as the builder leaves it."""
    files = {
        "./var/lib/dpkg/info/open-iscsi.list": LIST,
        "./var/lib/dpkg/info/keys:amd64.postinst": POSTINST,
        "./usr/sbin/iscsid": "program",
        "./etc/iscsi/initiatorname.iscsi": drawn,
        "./etc/iscsi/hour": drawn,
        "./var/lib/keys/id": drawn,
        "./var/log/setup": drawn,
    }
    with tarfile.open(path, "w") as file:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            file.addfile(member, io.BytesIO(text.encode()))
    return path


def test_b01_each_difference_is_told_with_its_package_and_what_a_release_has(tmp_path: Path) -> None:
    trees = tree(tmp_path / "one", "a"), tree(tmp_path / "other", "b")
    factory = "/usr/share/factory/var/lib/keys/id"
    found = two_installs.compare(trees, ({"/etc/iscsi/hour": 1, factory: "a"}, {"/etc/iscsi/hour": 1, factory: "b"}))
    assert found == [
        Difference("/etc/iscsi/hour", "open-iscsi", "made the same"),
        Difference("/etc/iscsi/initiatorname.iscsi", "open-iscsi", "made by each node"),
        Difference("/var/lib/keys/id", "keys", "differs"),
        Difference("/var/log/setup", "", "left out"),
    ]
    assert "| `/var/lib/keys/id` | keys | differs |" in two_installs.table(found).splitlines()


def test_b01_what_is_equal_is_no_difference(tmp_path: Path) -> None:
    trees = tree(tmp_path / "one", "a"), tree(tmp_path / "other", "a")
    assert two_installs.compare(trees, ({}, {})) == []


def test_b01_many_files_of_a_folder_are_one_row_of_the_table() -> None:
    found = [Difference(f"/var/lib/db/{number}", "db", "differs") for number in range(6)]
    assert two_installs.table(found).splitlines()[2:] == ["| `/var/lib/db/`, 6 files | db | differs |"]
    assert len(two_installs.table(found[:5]).splitlines()) == 7


def test_b01_the_list_has_packages_of_many_kinds_each_once() -> None:
    assert len(set(PACKAGES)) == len(PACKAGES) >= 40
