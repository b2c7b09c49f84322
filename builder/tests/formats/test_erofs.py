"""The reader of EROFS images against mkfs.erofs, which makes them of folders whose content is known."""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from proa.builder.formats.erofs import Entry, Image
from proa.core.runtime.errors import Code, ProaError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of each form: empty, inline, of whole blocks, with holes, in a folder of several blocks."""
    root = tmp_path / "root"
    (root / "many").mkdir(parents=True)
    (root / "empty").mkdir(mode=0o700)
    for number in range(700):
        (root / "many" / f"a file with a long name, number {number}").touch()
    (root / "none").touch()
    (root / "small").write_bytes(b"small")
    (root / "blocks").write_bytes(os.urandom(8192))
    (root / "large").write_bytes(os.urandom(300_001))
    (root / "program").write_bytes(b"x" * 4097)
    (root / "program").chmod(0o4755)
    os.setxattr(root / "program", "user.owner", b"storage team")
    os.setxattr(root / "small", "user.owner", b"storage team")
    os.setxattr(root / "small", "user.second", bytes(range(70)))
    with (root / "holes").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(500_000)
        file.write(b"in the middle")
    (root / "link").symlink_to("many/nothing")
    (root / "n\u00e4me").write_text("\u00e4")
    os.mkfifo(root / "pipe")
    return root


def image_of(folder: Path, *options: str) -> bytes:
    image = folder.parent / "image.erofs"
    subprocess.run(["mkfs.erofs", "--quiet", "-T1", *options, image, folder], check=True, capture_output=True)
    return image.read_bytes()


def walked(folder: Path) -> dict[str, Entry]:
    """The same by the system itself."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        digest = "" if content is None else hashlib.sha256(content).hexdigest()
        names = os.listxattr(path, follow_symlinks=False)
        xattrs = sorted((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)
        size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
        name = f"/{path.relative_to(folder)}"
        found[name] = Entry(name, status.st_mode, size, (status.st_uid, status.st_gid), tuple(xattrs), digest)
    return found


@pytest.mark.parametrize("options", [("--chunksize=65536",), ("--chunksize=4096",), ("-x1",), ("-Enoinline_data",), ()])
def test_every_file_is_found_as_it_was(folder: Path, options: tuple[str, ...]) -> None:
    image = Image(image_of(folder, *options))
    assert {entry.path: entry for entry in image.entries()} == walked(folder)
    assert image.read("/large") == (folder / "large").read_bytes()
    assert image.read("many/a file with a long name, number 699") == b""
    assert [image.read(name) for name in ("/nowhere", "/small/below", "/many", "/link")] == [b""] * 4


def test_large_numbers_of_owners_are_kept(folder: Path) -> None:
    image = Image(image_of(folder, "--force-uid=1000000", "--force-gid=70000"))
    assert {entry.owner for entry in image.entries()} == {(1_000_000, 70_000)}


def test_what_is_no_image_is_refused(folder: Path) -> None:
    whole = image_of(folder, "--chunksize=4096")
    for data in (b"", bytes(4096), whole[:1100], whole[:8192]):
        with pytest.raises(ProaError) as raised:
            list(Image(data).entries())
        assert raised.value.code is Code.VERITY


def test_damage_never_ends_in_another_error(folder: Path) -> None:
    whole = bytearray(image_of(folder, "--chunksize=4096"))
    codes = set()
    for at in range(1028, 1024 + 128 + 4096, 17):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        with suppress(ProaError):
            codes.add(len(list(itertools.islice(Image(bytes(damaged)).entries(), 2000))))
    assert len(walked(folder)) in codes
