"""What several files of tests need: Secure Boot keys, and a step's context with outputs of earlier steps."""

from __future__ import annotations

import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from proa.builder.config import image_settings, settings
from proa.builder.engine import keys
from proa.builder.engine.context import BuildContext
from proa.builder.engine.keys import Keys
from proa.core.runtime.events import Recorder


@pytest.fixture(scope="session")
def secure_boot(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """A folder of keys."""
    return keys.create(tmp_path_factory.mktemp("keys") / "keys")


@pytest.fixture
def host_packages(tmp_path: Path) -> Path:
    """An output of the step ``packages`` made of this machine's own GRUB, shim and stub."""
    folder = tmp_path / "packages"
    (folder / "kernel").mkdir(parents=True)
    (folder / "boot").symlink_to("/")
    (folder / "kernel/vmlinuz").write_bytes(b"a kernel" * 5000)
    (folder / "kernel/version").write_text("6.1.0-test\n")
    said = subprocess.run(["ldd", "/usr/bin/grub-mkimage"], capture_output=True, text=True, check=True).stdout
    with tarfile.open(folder / "base.tar", "w") as archive:
        for path in sorted({Path(found) for found in re.findall(r"(/\S+) \(0x", said)}):
            name = path if str(path).startswith("/usr") else Path("/usr") / path.relative_to("/")
            archive.add(path.resolve(), f".{name}")
        for link in ("lib", "lib64"):
            entry = tarfile.TarInfo(f"./{link}")
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{link}"
            archive.addfile(entry)
    return folder


@pytest.fixture
def step_context(tmp_path: Path, host_packages: Path, secure_boot: Keys) -> BuildContext:
    """The context of a step; further outputs may be added to ``outputs``."""
    (tmp_path / "scratch").mkdir()
    config = settings.Config(
        release=image_settings.ReleaseConfig(name="my-node", version="1.2.3", serial=1, compatible="my-node")
    )
    return BuildContext(
        config=config,
        folder=tmp_path,
        keys=secure_boot,
        epoch=1_700_000_000,
        scratch=tmp_path / "scratch",
        cache=tmp_path / "cache",
        monitor=Recorder(),
        outputs={"packages": host_packages},
    )
