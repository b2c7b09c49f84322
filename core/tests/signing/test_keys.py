from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from proa.core.runtime.errors import Code, ProaError
from proa.core.signing.keys import Algorithm, PublicKey, load_private, load_public, public_from_pem


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_key_survives_its_files_and_verifies_what_it_signed(algorithm: Algorithm, tmp_path: Path) -> None:
    key = algorithm.generate()
    (tmp_path / "k.key").write_bytes(key.pem)
    (tmp_path / "k.pub").write_bytes(key.public.pem)
    signature = load_private(tmp_path / "k.key").sign(b"message")
    public = load_public(tmp_path / "k.pub")
    assert public == key.public
    assert public.algorithm is algorithm
    assert public.verify(signature, b"message")
    assert not public.verify(signature, b"massage")
    assert not public.verify(b"", b"message")
    assert not algorithm.generate().public.verify(signature, b"message")


@pytest.mark.parametrize("algorithm", Algorithm)
def test_nothing_of_a_private_key_is_shown(algorithm: Algorithm) -> None:
    key = algorithm.generate()
    assert key.public.id[:16] in repr(key)
    assert key.pem.decode().splitlines()[1] not in repr(key)
    assert "BEGIN" not in repr(key) + str(vars(key.public))


def test_an_encrypted_key_needs_its_password(tmp_path: Path) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "k.key"
    path.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")))
    assert load_private(path, b"word").public.algorithm is Algorithm.ECDSA_P256
    for password in (None, b"other"):
        with pytest.raises(ProaError) as caught:
            load_private(path, password)
        assert caught.value.code is Code.KEY
        assert caught.value.at == str(path)


@pytest.mark.parametrize(
    "secret",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())],
    ids=["rsa", "p-384"],
)
def test_f21_other_kinds_of_keys_are_refused(
    secret: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, tmp_path: Path
) -> None:
    (tmp_path / "k.key").write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "k.pub").write_bytes(secret.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for load in (load_private, load_public):
        with pytest.raises(ProaError, match="neither ECDSA P-256 nor Ed25519"):
            load(tmp_path / f"k.{'key' if load is load_private else 'pub'}")


def test_what_is_no_public_key_is_refused() -> None:
    key = Algorithm.ED25519.generate()
    for pem in (b"", b"hello", key.pem, key.public.pem * 2, key.public.pem.replace(b"MCow", b"AAAA"), key.public.der):
        with pytest.raises(ProaError) as caught:
            public_from_pem(pem)
        assert caught.value.code is Code.KEY
    with pytest.raises(ProaError):
        PublicKey(b"\x30\x00")


def test_files_that_are_missing_too_large_or_of_cosign_are_named(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as caught:
        load_public(tmp_path / "none.pub")
    assert caught.value.code is Code.FILE_MISSING
    large = tmp_path / "large.pub"
    large.write_bytes(b"x" * 70_000)
    with pytest.raises(ProaError, match="is not a key"):
        load_public(large)
    cosign = tmp_path / "cosign.key"
    cosign.write_text("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n")
    with pytest.raises(ProaError, match="cosign"):
        load_private(cosign)
