"""What a TPM measures of a kernel image, against systemd-measure and openssl; a TPM is asked in the vm tier."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from proa.builder.config.image_settings import SUITES
from proa.builder.formats import measured

MEASURE: Final = "/usr/lib/systemd/systemd-measure"
NAMES: Final = ("linux", "osrel", "cmdline", "initrd")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def sections(key: rsa.RSAPrivateKey) -> dict[str, bytes]:
    contents = {f".{name}": name.encode() * number for number, name in enumerate(NAMES, 1000)}
    return contents | {measured.PUBLIC_KEY: measured.public_pem(key.public_key())}


@pytest.mark.contract
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("phases", [("enter-initrd",), ("enter-initrd", "leave-initrd")])
def test_s16_systemd_measure_finds_the_same_value(
    sections: dict[str, bytes], tmp_path: Path, suite: str, phases: tuple[str, ...]
) -> None:
    words = []
    for name, content in sections.items():
        (tmp_path / name).write_bytes(content)
        words.append(f"--{name.removeprefix('.')}={tmp_path / name}")
    argv = [MEASURE, "calculate", *words, "--bank=sha256", f"--phase={':'.join(phases)}", "--json=short"]
    (found,) = json.loads(subprocess.check_output(argv))["sha256"]
    assert measured.pcr(sections, suite, phases).hex() == found["hash"]


def test_s16_each_section_that_counts_changes_the_value_and_the_others_do_not(sections: dict[str, bytes]) -> None:
    value = measured.pcr(sections, "bookworm")
    for name in sections:
        assert measured.pcr(sections | {name: sections[name] + b"x"}, "bookworm") != value
    for name in (".sbat", ".uname", measured.SIGNATURE):
        assert measured.pcr(sections | {name: b"x"}, "bookworm") == value
    assert measured.pcr(sections | {".uname": b"x"}, "trixie") != value
    assert measured.pcr(dict(reversed(sections.items())), "bookworm") == value, "the stub has an order of its own"


def test_s16_every_suite_has_its_list() -> None:
    assert set(measured.SECTIONS) == set(SUITES)


@pytest.mark.contract
def test_s16_openssl_finds_the_signature_good(key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    (entry,) = json.loads(measured.sign(bytes(range(32)), key))["sha256"]
    assert entry["pcrs"] == [11]
    (tmp_path / "public.pem").write_bytes(measured.public_pem(key.public_key()))
    (tmp_path / "policy").write_bytes(bytes.fromhex(entry["pol"]))
    (tmp_path / "signature").write_bytes(base64.b64decode(entry["sig"]))
    files: list[str | Path] = [tmp_path / "public.pem", "-signature", tmp_path / "signature", tmp_path / "policy"]
    subprocess.run(["openssl", "dgst", "-sha256", "-verify", *files], check=True, capture_output=True)
    pkcs1: list[str | Path] = [
        "openssl",
        "rsa",
        "-pubin",
        "-in",
        tmp_path / "public.pem",
        "-RSAPublicKey_out",
        "-outform",
        "DER",
    ]
    assert hashlib.sha256(subprocess.check_output(pkcs1, stderr=subprocess.DEVNULL)).hexdigest() == entry["pkfp"]


def test_s16_the_policy_is_that_of_the_tpms_own_library() -> None:
    """Recorded from `tpm2_policypcr` of tpm2-tools 5.4 on swtpm 0.7, for a PCR 11 of zeros."""
    assert measured.policy(bytes(32)).hex() == "fd32fa22c52cfc8e1a0c29eb38519f87084cab0b04b0d8f020a4d38b2f4e223e"
