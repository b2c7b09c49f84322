"""Firmware variables: the owner's keys and nobody else's, in a copy."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from virt.firmware.varstore.edk2 import Edk2VarStore

from proa.builder.engine import keys
from proa.builder.engine.keys import Keys
from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine import firmware


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return keys.create(tmp_path_factory.mktemp("owner") / "keys")


def variables(store: Path) -> dict[str, bytes]:
    return {name: bytes(variable.data) for name, variable in Edk2VarStore(str(store)).get_varlist().items()}


@pytest.mark.parametrize("secure", [False, True])
def test_debians_firmware_is_found(secure: bool) -> None:
    found = firmware.find(secure)
    assert found.secure == secure
    assert ("secboot" in found.code.name) == secure


def test_no_firmware_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as caught:
        firmware.find(True, (tmp_path,))
    assert caught.value.code is Code.NO_FIRMWARE
    assert "ovmf" in caught.value.hint


def test_the_owners_three_keys_are_enrolled_and_no_other(tmp_path: Path, owner: Keys) -> None:
    template = firmware.find(True).variables
    before = template.read_bytes()
    firmware.make_variables(firmware.find(True), tmp_path / "vars.fd", owner.folder)
    found = variables(tmp_path / "vars.fd")
    for name in ("PK", "KEK", "db"):
        der = x509.load_pem_x509_certificate(owner.certificate(name).read_bytes()).public_bytes(Encoding.DER)
        assert found[name].endswith(der)
        assert len(found[name]) == len(der) + 28 + 16  # one EFI_SIGNATURE_LIST with one entry (UEFI 2.10, 32.4.1)
    assert found["SecureBootEnable"] == b"\x01"
    assert template.read_bytes() == before


def test_the_same_keys_give_the_same_store(tmp_path: Path, owner: Keys) -> None:
    for name in ("one", "two"):
        firmware.make_variables(firmware.find(True), tmp_path / name, owner.folder)
    assert variables(tmp_path / "one") == variables(tmp_path / "two")


def test_without_keys_the_store_is_the_template(tmp_path: Path) -> None:
    found = firmware.find(False)
    firmware.make_variables(found, tmp_path / "vars.fd", None)
    assert (tmp_path / "vars.fd").read_bytes() == found.variables.read_bytes()


@pytest.mark.parametrize("missing", ["PK.crt", "KEK.crt", "db.crt"])
def test_a_folder_that_lacks_a_certificate_is_named(tmp_path: Path, owner: Keys, missing: str) -> None:
    folder = tmp_path / "keys" / "secureboot"
    folder.mkdir(parents=True)
    for name in ("PK.crt", "KEK.crt", "db.crt"):
        if name != missing:
            (folder / name).write_bytes(owner.certificate(name[:-4]).read_bytes())
    with pytest.raises(ProaError, match=missing) as caught:
        firmware.make_variables(firmware.find(True), tmp_path / "vars.fd", tmp_path / "keys")
    assert caught.value.code is Code.KEY


@pytest.mark.parametrize(("file", "content"), [("db.crt", "no certificate"), ("guid.txt", "no guid")])
def test_what_cannot_be_enrolled_is_an_error(tmp_path: Path, owner: Keys, file: str, content: str) -> None:
    folder = tmp_path / "keys" / "secureboot"
    folder.mkdir(parents=True)
    for name in ("PK.crt", "KEK.crt", "db.crt", "guid.txt"):
        (folder / name).write_bytes((owner.folder / "secureboot" / name).read_bytes())
    (folder / file).write_text(content)
    with pytest.raises(ProaError) as caught:
        firmware.make_variables(firmware.find(True), tmp_path / "vars.fd", tmp_path / "keys")
    assert caught.value.code is Code.KEY
