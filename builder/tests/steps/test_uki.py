"""The unified kernel image, against objdump, sbverify and the fat tools."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from proa.builder.config import image_settings, node_settings, settings
from proa.builder.config.architecture import AMD64
from proa.builder.engine.context import BuildContext
from proa.builder.engine.keys import Keys
from proa.builder.formats import fat, measured, pe
from proa.builder.formats.pe import Section
from proa.builder.steps import uki
from proa.builder.steps.uki import Verity
from proa.core.runtime.errors import Code, ProaError

STUB = Path("/usr/lib/systemd/boot/efi") / AMD64.stub
CONFIG = settings.Config(
    release=image_settings.ReleaseConfig(name="my-node", version="1.2.3", serial=1),
    kernel=image_settings.Kernel(arguments=("console=ttyS0", "panic=3")),
    boot=image_settings.BootConfig(generation=7),
)
VERITY = Verity("ab" * 32, "cd" * 32, 100, 409600)


def test_the_command_line_says_where_the_root_is_and_ends_with_the_users_words() -> None:
    line = uki.command_line(CONFIG, VERITY)
    words = line.split(" ")
    assert f"proa.root_hash={'ab' * 32}" in words
    assert "proa.data_blocks=100" in words
    assert "proa.hash_offset=409600" in words
    assert words[-2:] == ["console=ttyS0", "panic=3"]
    assert {"systemd.gpt_auto=0", "ro", f"panic={uki.PANIC}"} <= set(words)


def test_deadline_and_watchdog_follow_the_settings() -> None:
    health = node_settings.HealthConfig(deadline=90, watchdog=20)
    line = uki.command_line(settings.Config(release=CONFIG.release, health=health), VERITY)
    assert "proa.deadline=90 " in line
    assert "systemd.watchdog_sec=20 " in line


def test_n08_the_firmware_is_asked_whatever_the_kernels_default() -> None:
    assert "efi=runtime" in uki.command_line(CONFIG, VERITY).split()


def test_s15_the_command_line_says_what_the_release_is_for_and_takes() -> None:
    words = uki.command_line(CONFIG, VERITY).split()
    assert f"proa.compatible={CONFIG.release.compatible}" in words
    assert not any(word.startswith("proa.credentials") for word in words)
    system = image_settings.SystemConfig(credentials=("kubernetes.*", "tmpfiles.extra"))
    more = uki.command_line(settings.Config(release=CONFIG.release, system=system), VERITY).split()
    assert "proa.credentials=kubernetes.*,tmpfiles.extra" in more
    ours = [word.partition("=")[0] for word in more if word.startswith("proa.")]
    assert len(set(ours)) == len(ours), "none stands there twice"


def test_s16_the_command_line_says_whether_persist_is_encrypted() -> None:
    assert "proa.encryption" not in uki.command_line(CONFIG, VERITY)
    persist = node_settings.Persist(encryption="tpm2")
    encrypted = uki.command_line(settings.Config(release=CONFIG.release, persist=persist), VERITY)
    assert "proa.encryption=tpm2" in encrypted.split()


@pytest.mark.contract
def test_s16_an_image_carries_what_a_tpm_asks_for(tmp_path: Path, sections: tuple[Section, ...]) -> None:
    """The value is that of the sections as they are in the image, whatever their order there."""
    key = rsa.generate_private_key(65537, 2048)
    more = uki.pcr_sections(sections, "trixie", key, tmp_path)
    pe.add_sections(STUB, (*sections[:4], *more, *sections[4:]), tmp_path / "uki.efi", tmp_path)
    found = pe.read_sections(tmp_path / "uki.efi")
    assert load_pem_public_key(found[".pcrpkey"]) == key.public_key()
    (entry,) = json.loads(found[".pcrsig"])["sha256"]
    assert entry["pol"] == measured.policy(measured.pcr(found, "trixie")).hex()
    assert entry["pol"] != measured.policy(measured.pcr(found | {".cmdline": b"init=/bin/sh"}, "trixie")).hex()


def test_no_console_is_forced() -> None:
    config = settings.Config(release=CONFIG.release, kernel=image_settings.Kernel(arguments=()))
    assert "console" not in uki.command_line(config, VERITY)


def test_the_sbat_entry_names_product_and_generation() -> None:
    assert uki.sbat_entry(CONFIG).startswith("proa.my-node,7,")
    assert uki.sbat_entry(CONFIG).count(",") == 5


@pytest.fixture
def sections(tmp_path: Path) -> tuple[Section, ...]:
    contents = {
        ".osrel": uki.os_release(CONFIG).encode(),
        ".cmdline": uki.command_line(CONFIG, VERITY).encode(),
        ".uname": b"6.1.0",
        pe.SBAT: pe.read_sbat(STUB) + uki.sbat_entry(CONFIG).encode(),
        ".initrd": bytes(range(256)) * 100,
        ".linux": b"kernel" * 10_000,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return tuple(Section(name, tmp_path / name) for name in contents)


@pytest.fixture
def image(tmp_path: Path, sections: tuple[Section, ...]) -> Path:
    pe.add_sections(STUB, sections, tmp_path / "uki.efi", tmp_path)
    return tmp_path / "uki.efi"


@pytest.mark.contract
def test_objdump_sees_each_section_once_and_none_overlap(image: Path, sections: tuple[Section, ...]) -> None:
    said = subprocess.run(["objdump", "-h", image], capture_output=True, text=True, check=True).stdout
    found = [
        (name, int(size, 16), int(address, 16))
        for name, size, address in re.findall(r"^ *\d+ (\S+) +(\w+)  (\w+)", said, re.M)
    ]
    names = [name for name, _, _ in found]
    assert names[-len(sections) :] == [section.name for section in sections]
    assert len(set(names)) == len(names)
    for (_, size, address), (_, _, following) in itertools.pairwise(found):
        assert address + size <= following
    assert all(address % pe.PAGE == 0 for _, _, address in found[-len(sections) :])


@pytest.mark.contract
def test_sections_read_back_whole_by_objcopy(image: Path, sections: tuple[Section, ...], tmp_path: Path) -> None:
    for section in sections:
        out = tmp_path / "out"
        subprocess.run(["objcopy", "-O", "binary", f"--only-section={section.name}", image, out], check=True)
        assert out.read_bytes().startswith(section.path.read_bytes())


@pytest.mark.contract
def test_an_sbat_longer_than_the_stubs_is_not_cut(tmp_path: Path, image: Path) -> None:
    long = pe.read_sbat(STUB) + b"proa.x,1,Proa,x,1,-\n" * 100
    (tmp_path / "long").write_bytes(long)
    pe.add_sections(image, (Section(pe.SBAT, tmp_path / "long"),), tmp_path / "again.efi", tmp_path)
    assert pe.read_sbat(tmp_path / "again.efi") == long


@pytest.mark.contract
def test_equal_input_gives_equal_bytes(tmp_path: Path, image: Path, sections: tuple[Section, ...]) -> None:
    (tmp_path / "other").mkdir()
    pe.add_sections(STUB, sections, tmp_path / "other/uki.efi", tmp_path / "other")
    assert (tmp_path / "other/uki.efi").read_bytes() == image.read_bytes()


@pytest.mark.contract
def test_the_signature_covers_every_section(tmp_path: Path, image: Path, secure_boot: Keys) -> None:
    signed = tmp_path / "signed.efi"
    pe.sign(image, signed, secure_boot)
    subprocess.run(["sbverify", "--cert", secure_boot.certificate("db"), signed], check=True, capture_output=True)
    for name in (".cmdline", ".initrd", ".linux", pe.SBAT):
        data = bytearray(signed.read_bytes())
        data[pe.locate(signed, name)[0] + 1] ^= 1
        (tmp_path / "altered.efi").write_bytes(data)
        with pytest.raises(ProaError) as caught:
            pe.verify(tmp_path / "altered.efi", secure_boot.certificate("db"))
        assert caught.value.code is Code.SECURE_BOOT


@pytest.mark.contract
def test_a_strangers_certificate_is_refused(tmp_path: Path, image: Path, secure_boot: Keys) -> None:
    pe.sign(image, tmp_path / "signed.efi", secure_boot)
    with pytest.raises(ProaError) as caught:
        pe.verify(tmp_path / "signed.efi", secure_boot.certificate("KEK"))
    assert caught.value.code is Code.SECURE_BOOT


def test_what_is_no_uefi_program_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"MZ" + bytes(100))
    with pytest.raises(ProaError) as caught:
        pe.read_sections(tmp_path / "x")
    assert caught.value.code is Code.SECURE_BOOT


# the image of UKI-x


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 5_000_000, 16_600_000, 16_800_000, 30_000_000])
def test_the_slots_image_is_just_large_enough(tmp_path: Path, size: int) -> None:
    (tmp_path / "uki.efi").write_bytes(b"\x5a" * size)
    image = tmp_path / "boot.img"
    fat.make_fitting(image, {"EFI/proa/uki.efi": tmp_path / "uki.efi"}, "UKI", 1_700_000_000)
    assert image.stat().st_size % 4096 == 0
    assert 0 < image.stat().st_size - size < 256 * 1024
    checked = subprocess.run(["/usr/sbin/fsck.fat", "-n", image], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    read = subprocess.run(["mtype", "-i", image, "::EFI/proa/uki.efi"], capture_output=True, check=True).stdout
    assert read == (tmp_path / "uki.efi").read_bytes()


def test_the_slots_image_is_the_same_at_another_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uki.efi").write_bytes(b"\x5a" * 100_000)
    images = []
    for zone in ("UTC", "Asia/Tokyo"):
        monkeypatch.setenv("TZ", zone)
        (tmp_path / "uki.efi").touch()
        fat.make_fitting(tmp_path / zone[:3], {"EFI/proa/uki.efi": tmp_path / "uki.efi"}, "UKI", 1_700_000_000)
        images.append((tmp_path / zone[:3]).read_bytes())
    assert images[0] == images[1]
    listing = subprocess.run(
        ["mdir", "-i", tmp_path / "UTC", "-/", "-b", "::"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "::/EFI/proa/uki.efi" in listing


@pytest.mark.parametrize("clusters", [1, fat.FAT12_MOST, fat.FAT12_MOST + 1, fat.FAT16_MOST])
def test_the_tables_have_an_entry_for_every_cluster(clusters: int) -> None:
    geometry = fat.Geometry(clusters)
    bits = 12 if clusters <= fat.FAT12_MOST else 16
    assert geometry.fat_sectors * 512 * 8 // bits >= clusters + 2


def test_s16_without_keys_nothing_can_be_encrypted(step_context: BuildContext) -> None:
    persist = node_settings.Persist(encryption="tpm2")
    context = replace(step_context, config=settings.Config(release=CONFIG.release, persist=persist), keys=None)
    with pytest.raises(ProaError) as caught:
        uki.UKI.inputs(context)
    assert (caught.value.code, caught.value.at) == (Code.KEY, "persist.encryption")
    assert "--keys" in caught.value.hint
