"""A Linux of 25 MB that boots in seconds and answers SSH: what the harness tests itself with.

Debian's cloud kernel, busybox and dropbear in one initrd, all in one UKI on a FAT disk. It takes its SSH keys from
the same systemd credential as a real image, has a ``systemctl`` that knows a few words, and keeps nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from proa.builder.engine.keys import Keys
from proa.builder.formats import pe
from proa.core.runtime import files, process
from proa.core.runtime.errors import Code, ProaError

KERNEL = "linux-image-cloud-amd64"
PACKAGES = ("busybox-static", "dropbear-bin", "libtomcrypt1", "libtommath1", "libgmp10", "libcrypt1", "zlib1g", "libc6")
MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"),
    *("virtio_blk", "failover", "net_failover", "virtio_net", "virtio-rng"),
)
"""In the order of loading."""
STUB = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
CONSOLE = "console=ttyS0 panic=5 quiet"
_SCRIPTS = Path(__file__).parent / "minilinux_files"
_LOADER = "lib64/ld-linux-x86-64.so.2"
_LIBRARIES = "lib/x86_64-linux-gnu"


def build(folder: Path, *, cmdline: str = CONSOLE, keys: Keys | None = None, sector_size: int = 512) -> Path:
    """The path of the disk image; what was downloaded and built before is used again.

    Args:
        folder: Where downloads and results are kept.
        cmdline: The kernel's.
        keys: Sign the UKI for Secure Boot, if given.
        sector_size: Bytes; the FAT has to be made for it.

    Raises:
        ProaError: ``TOOL`` when a package cannot be downloaded, ``TOOL_MISSING``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    signed = keys.certificate("db").read_text() if keys else ""
    sources = "".join(file.read_text() for file in sorted([*_SCRIPTS.iterdir(), Path(__file__)]))
    inputs = "\0".join((cmdline, signed, str(sector_size), sources))
    disk = folder / f"minilinux-{hashlib.sha256(inputs.encode()).hexdigest()[:16]}.raw"
    if disk.exists():
        return disk
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = Path(name)
        image = _uki(work, _unpack(folder), cmdline)
        pe.sign(image, work / "signed.efi", keys)
        superfloppy(work / "disk", {"EFI/BOOT/BOOTX64.EFI": work / "signed.efi"}, sector_size)
        (work / "disk").rename(disk)
    return disk


def superfloppy(disk: Path, content: dict[str, Path], sector_size: int = 512) -> None:
    """Make a disk that is one FAT with no partition table, which UEFI boots too (UEFI 2.10, 13.3.2).

    Raises:
        ProaError: ``TOOL`` or ``TOOL_MISSING``.
    """
    space = sum(file.stat().st_size for file in content.values()) + 8 * 2**20
    with files.os_errors(disk):
        disk.write_bytes(b"")
        os.truncate(disk, -(-space // 2**20) * 2**20)
    process.run(["mkfs.vfat", "-S", str(sector_size), "--invariant", disk])
    for folder in sorted({str(parent) for name in content for parent in Path(name).parents} - {"."}):
        process.run(["mmd", "-i", disk, f"::{folder}"])
    for name, file in content.items():
        process.run(["mcopy", "-i", disk, file, f"::{name}"])


def _unpack(folder: Path) -> Path:
    root = folder / "root"
    if not root.exists():
        with files.new_folder(root) as new, tempfile.TemporaryDirectory() as packages:
            process.run(["apt-get", "-q", "download", _kernel_package(), *PACKAGES], cwd=Path(packages), timeout=600)
            for package in sorted(Path(packages).glob("*.deb")):
                process.run(["dpkg-deb", "-x", package, new])
    return root


def _kernel_package() -> str:
    said = process.run(["apt-cache", "depends", KERNEL]).text
    names = [line.split()[-1] for line in said.splitlines() if line.strip().startswith("Depends: linux-image-")]
    if not names:
        raise ProaError(Code.TOOL, f"apt has no package {KERNEL}", hint="Run apt-get update.")
    return names[0]


def _uki(work: Path, root: Path, cmdline: str) -> Path:
    (work / "cmdline").write_text(cmdline)
    (work / "initrd").write_bytes(gzip.compress(_initrd(root), 6, mtime=0))
    kernel = next((root / "boot").glob("vmlinuz-*"))
    names = {".cmdline": work / "cmdline", ".initrd": work / "initrd", ".linux": kernel}
    image = work / "uki.efi"
    pe.add_sections(STUB, tuple(pe.Section(name, file) for name, file in names.items()), image, work)
    return image


def _initrd(root: Path) -> bytes:
    entries = [_entry(f"{name}", stat.S_IFDIR | 0o755) for name in _FOLDERS]
    entries += [_entry(name, stat.S_IFREG | 0o755, data) for name, data in _content(root)]
    return b"".join((*entries, _entry("TRAILER!!!", 0)))


_FOLDERS = ("bin", "dev", "etc", "lib", _LIBRARIES, "lib64", "mod", "proc", "root", "run", "sys", "tmp")


def _content(root: Path) -> Iterator[tuple[str, bytes]]:
    yield "bin/busybox", _read(root, ("bin/busybox", "usr/bin/busybox"))
    yield "bin/dropbear", _read(root, ("usr/sbin/dropbear",))
    yield _LOADER, _read(root, (_LOADER, f"{_LIBRARIES}/ld-linux-x86-64.so.2"))
    for name in ("libc.so.6", "libcrypt.so.1", "libz.so.1", "libgmp.so.10", "libtomcrypt.so.1", "libtommath.so.1"):
        yield f"{_LIBRARIES}/{name}", _read(root, (f"{_LIBRARIES}/{name}", f"usr/{_LIBRARIES}/{name}"))
    for number, module in enumerate(MODULES):
        yield f"mod/{number:02}-{module}.ko", next((root / "lib/modules").rglob(f"{module}.ko")).read_bytes()
    for script in ("init", "systemctl", "journalctl"):
        yield ("init" if script == "init" else f"bin/{script}"), (_SCRIPTS / script).read_bytes()
    yield "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"
    yield "etc/shells", b"/bin/sh\n"


def _read(root: Path, names: Iterable[str]) -> bytes:
    for name in names:
        file = root / name
        if file.exists():
            return file.resolve().read_bytes()
    raise ProaError(Code.TOOL, f"the packages contain none of {', '.join(names)}", at=root)


def _entry(name: str, mode: int, data: bytes = b"") -> bytes:
    """One file of a cpio archive (cpio(5), "New ASCII Format")."""
    path = name.encode() + b"\0"
    fields = (_entry_number(name), mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + path
    return _padded(head) + _padded(data)


def _entry_number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:3], "big")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def default_folder() -> Path:
    """Where it is kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "proa" / "minilinux"
