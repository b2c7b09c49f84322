"""The folder of keys."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from proa.builder.engine import keys
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.core.signing.keys import load_private, load_public


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> keys.Keys:
    folder = tmp_path_factory.mktemp("keys") / "below" / "keys"
    return keys.create(folder, name="Test", count=2, clock=VirtualClock())


def test_modes_are_private(made: keys.Keys) -> None:
    paths = [made.folder, *made.folder.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600}


def test_it_makes_what_it_planned(made: keys.Keys, tmp_path: Path) -> None:
    planned = {path.relative_to(tmp_path / "k") for path in keys.plan(tmp_path / "k", 2)}
    assert {path.relative_to(made.folder) for path in made.folder.rglob("*") if path.is_file()} == planned


def test_pairs_of_release_keys_belong_together(made: keys.Keys) -> None:
    public = [load_public(path.with_suffix(".pub")) for path in made.release]
    assert [load_private(path).public for path in made.release] == public
    assert [signer.public for signer in made.signers] == list(made.public) == public
    assert len(public) == len(set(public)) == 2


@pytest.mark.parametrize("name", keys.SECURE_BOOT)
def test_certificates_are_signed_by_their_own_keys_for_twenty_years(made: keys.Keys, name: str) -> None:
    certificate = x509.load_pem_x509_certificate(made.certificate(name).read_bytes())
    private = load_pem_private_key(made.private(name).read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.key_size == 2048
    assert certificate.public_key() == private.public_key()
    assert certificate.subject.rfc4514_string() == f"CN=Test {name}"
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 7305
    digest = certificate.signature_hash_algorithm
    assert digest is not None
    private.public_key().verify(certificate.signature, certificate.tbs_certificate_bytes, padding.PKCS1v15(), digest)


def test_nothing_is_overwritten(made: keys.Keys, tmp_path: Path) -> None:
    before = made.release[0].read_bytes()
    with pytest.raises(ProaError) as raised:
        keys.create(made.folder)
    assert raised.value.code is Code.FILE_EXISTS
    assert made.release[0].read_bytes() == before
    (tmp_path / "file").touch()
    with pytest.raises(ProaError):
        keys.create(tmp_path / "file")


def test_an_incomplete_folder_is_told(made: keys.Keys, tmp_path: Path) -> None:
    assert keys.open_keys(made.folder) == made
    with pytest.raises(ProaError) as raised:
        keys.open_keys(tmp_path)
    assert (raised.value.code, raised.value.at) == (Code.FILE_MISSING, str(tmp_path / "release.key"))


@pytest.fixture
def mine(tmp_path: Path, made: keys.Keys) -> keys.Keys:
    """A copy that may be changed."""
    shutil.copytree(made.folder, tmp_path / "mine")
    return keys.Keys(tmp_path / "mine")


def test_a_public_key_without_its_private_one_is_trusted_and_does_not_sign(mine: keys.Keys, made: keys.Keys) -> None:
    (mine.folder / "release-2.key").unlink()
    assert keys.open_keys(mine.folder).public == made.public
    assert len(mine.signers) == 1


def test_a_private_key_without_its_public_one_is_trusted(mine: keys.Keys, made: keys.Keys) -> None:
    (mine.folder / "release.pub").unlink()
    assert keys.open_keys(mine.folder).public == made.public


def test_a_pair_that_does_not_belong_together_is_refused(mine: keys.Keys) -> None:
    shutil.copy(mine.folder / "release-2.pub", mine.folder / "release.pub")
    with pytest.raises(ProaError) as raised:
        keys.open_keys(mine.folder)
    assert (raised.value.code, raised.value.at) == (Code.KEY, str(mine.folder / "release.pub"))


def test_b13_nobody_is_told_to_remove_keys(tmp_path: Path) -> None:
    (tmp_path / "release.key").touch()
    with pytest.raises(ProaError) as raised:
        keys.plan(tmp_path, 1)
    assert "remove" not in raised.value.hint
    assert "another folder" in raised.value.hint


def test_s16_there_is_a_key_for_what_a_tpm_may_have_measured(made: keys.Keys) -> None:
    assert made.pcr_signer().key_size == 2048
    assert made.pcr not in made.release, "it is trusted with no release"


def test_s16_a_folder_without_it_says_how_to_make_one(mine: keys.Keys) -> None:
    mine.pcr.unlink()
    assert keys.open_keys(mine.folder) == mine
    with pytest.raises(ProaError) as raised:
        mine.pcr_signer()
    assert (raised.value.code, raised.value.at) == (Code.FILE_MISSING, str(mine.pcr))
    command = raised.value.hint.partition(": ")[2].split()
    subprocess.run(command, check=True, capture_output=True)
    assert mine.pcr_signer().key_size == 2048


@pytest.mark.parametrize("name", ["release.key", "release.pub", "secureboot/guid.txt"])
def test_s16_a_key_of_another_kind_is_refused(mine: keys.Keys, name: str) -> None:
    shutil.copy(mine.folder / name, mine.pcr)
    with pytest.raises(ProaError) as raised:
        mine.pcr_signer()
    assert (raised.value.code, raised.value.at) == (Code.KEY, str(mine.pcr))


def test_p08_private_keys_do_not_get_into_git_by_accident(made: keys.Keys) -> None:
    """Git itself says which files it would take."""
    folder = made.folder.parent
    subprocess.run(["git", "init", "-q", folder], check=True)
    subprocess.run(["git", "-C", folder, "add", "."], check=True)
    taken = subprocess.run(["git", "-C", folder, "ls-files"], check=True, capture_output=True, text=True).stdout
    shutil.rmtree(folder / ".git")
    assert "keys/release.pub" in taken
    assert not [name for name in taken.split() if name.endswith(".key")]


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o400, False), (0o644, True), (0o620, True)])
def test_p08_keys_that_others_may_read_are_told(mine: keys.Keys, mode: int, told: bool) -> None:
    key = mine.release[0]
    key.chmod(mode)
    assert keys.exposed(mine) == ((key,) if told else ())
