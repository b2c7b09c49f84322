import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proa.core.runtime.errors import Code, ProaError
from proa.core.signing.bundle import (
    MAX_BUNDLE,
    MAX_SIGNATURES,
    PAYLOAD_TYPE,
    check_threshold,
    examine,
    pre_authentication,
    sign,
    verify,
)
from proa.core.signing.keys import Algorithm, PrivateKey

DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
KEY = Algorithm.ECDSA_P256.generate()
SECOND = Algorithm.ED25519.generate()
STRANGER = Algorithm.ECDSA_P256.generate()
TRUSTED = (KEY.public, SECOND.public)
SIGNED = sign(DIGEST, KEY)


def resigned(
    change: Callable[[dict[str, Any]], None], key: PrivateKey = KEY, payload_type: str = PAYLOAD_TYPE
) -> bytes:
    """A bundle about a changed statement, correctly signed."""
    bundle = json.loads(sign(DIGEST, key))
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(statement)
    payload = json.dumps(statement).encode()
    signature = key.sign(pre_authentication(payload_type, payload))
    bundle["dsseEnvelope"] |= {"payload": base64.b64encode(payload).decode(), "payloadType": payload_type}
    bundle["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode()}]
    return json.dumps(bundle).encode()


def changed(path: str, value: Any) -> bytes:
    """A bundle with one value put in, or taken out if it is None."""
    bundle = json.loads(sign(DIGEST, KEY))
    *parents, last = path.split(".")
    target = bundle
    for name in parents:
        target = target[int(name) if name.isdigit() else name]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return json.dumps(bundle).encode()


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_signature_counts_for_its_key_and_its_manifest_only(algorithm: Algorithm) -> None:
    key = algorithm.generate()
    bundle = sign(DIGEST, key)
    assert verify(bundle, DIGEST, [STRANGER.public, key.public]) == key.public.id
    assert verify(bundle, OTHER, [key.public]) is None
    assert verify(bundle, DIGEST, [STRANGER.public]) is None
    assert verify(bundle, DIGEST, []) is None


def test_dsse_encodes_before_signing_as_its_specification_shows() -> None:
    # protocol.md, "Test vectors"
    message = pre_authentication("http://example.com/HelloWorld", b"hello world")
    assert message == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@given(st.data())
def test_a_flipped_bit_in_payload_or_signature_counts_for_nothing(data: st.DataObject) -> None:
    bundle = json.loads(SIGNED)
    envelope = bundle["dsseEnvelope"]
    place, name = data.draw(st.sampled_from([(envelope, "payload"), (envelope["signatures"][0], "sig")]))
    content = bytearray(base64.b64decode(place[name]))
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    place[name] = base64.b64encode(content).decode()
    assert verify(json.dumps(bundle).encode(), DIGEST, TRUSTED) is None


@given(st.binary(max_size=200))
def test_garbage_counts_for_nothing(garbage: bytes) -> None:
    assert verify(garbage, DIGEST, TRUSTED) is None


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.2", "not a Sigstore bundle"),
        ("mediaType", None, "lacks mediaType"),
        ("extra", 1, "unknown field 'extra'"),
        ("messageSignature", {}, "unknown field"),
        ("verificationMaterial", [], "not an object"),
        ("verificationMaterial", {"certificate": {"rawBytes": ""}}, "lacks publicKey"),
        ("verificationMaterial.algorithm", "none", "unknown field"),
        ("verificationMaterial.publicKey.rawBytes", "", "unknown field"),
        pytest.param("verificationMaterial.publicKey.hint", STRANGER.public.hint, "not trusted", id="strangers-hint"),
        pytest.param("verificationMaterial.publicKey.hint", SECOND.public.hint, "match the key", id="seconds-hint"),
        ("verificationMaterial.publicKey.hint", 7, "not trusted"),
        ("dsseEnvelope.payloadType", "text/plain", "an in-toto statement"),
        ("dsseEnvelope.payload", "!!!!", "invalid base64"),
        ("dsseEnvelope.payload", 5, "invalid base64"),
        ("dsseEnvelope.signatures", [], "exactly one signature"),
        ("dsseEnvelope.signatures", [{"sig": ""}, {"sig": ""}], "exactly one signature"),
        ("dsseEnvelope.signatures", [{"sig": ""}], "does not match the key"),
        ("dsseEnvelope.signatures.0.alg", "none", "unknown field"),
    ],
)
def test_a_bundle_that_is_not_as_it_must_be_says_why(path: str, value: Any, why: str) -> None:
    with pytest.raises(ProaError, match=why) as caught:
        examine(changed(path, value), DIGEST, TRUSTED)
    assert caught.value.code is Code.SIGNATURE


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "not a signature of an artifact"),
        ({"predicateType": "https://slsa.dev/provenance/v1"}, "not a signature of an artifact"),
        ({"subject": []}, "exactly one subject"),
        ({"subject": [{"digest": {"sha256": "1" * 64}}] * 2}, "exactly one subject"),
        ({"subject": [{"digest": {"sha1": "1" * 40}}]}, "another manifest"),
        ({"subject": [{"digest": {"sha256": "1" * 64, "sha512": "1" * 128}}]}, "another manifest"),
        ({"subject": [{"digest": {"sha256": "2" * 64}}]}, "another manifest"),
        ({"subject": [{"digest": {"sha256": "1" * 64}, "uri": "x"}]}, "unknown field"),
        ({"expires": "2020"}, "unknown field"),
    ],
)
def test_a_rightly_signed_statement_about_something_else_counts_for_nothing(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ProaError, match=why):
        examine(resigned(lambda statement: statement.update(fields)), DIGEST, TRUSTED)


def test_a_signature_under_another_payload_type_counts_for_nothing() -> None:
    assert verify(resigned(lambda _: None), DIGEST, TRUSTED) == KEY.public.id
    assert verify(resigned(lambda _: None, payload_type="text/plain"), DIGEST, TRUSTED) is None


def test_without_a_hint_every_trusted_key_is_tried() -> None:
    materials: list[dict[str, Any]] = [{"publicKey": {}}, {"publicKey": {"hint": ""}, "tlogEntries": []}]
    for material in materials:
        assert verify(changed("verificationMaterial", material), DIGEST, TRUSTED) == KEY.public.id


def test_duplicate_keys_and_too_many_bytes_are_refused() -> None:
    bundle = sign(DIGEST, KEY)
    assert verify(bundle.replace(b"{", b'{"mediaType":"x",', 1), DIGEST, TRUSTED) is None
    assert verify(bundle + b" " * MAX_BUNDLE, DIGEST, TRUSTED) is None
    assert verify(b"[" * 60_000, DIGEST, TRUSTED) is None


def test_the_hint_of_a_stranger_is_told_on_one_line_without_controls() -> None:
    bundle = changed("verificationMaterial.publicKey.hint", "\ud800\x1b[2J\nproa-agent: all is well")
    with pytest.raises(ProaError) as caught:
        examine(bundle, DIGEST, TRUSTED)
    assert caught.value.message == "made with a key that is not trusted ([2J proa-agent: all is well)"


def test_the_threshold_asks_for_different_keys() -> None:
    one, again, two = sign(DIGEST, KEY), sign(DIGEST, KEY), sign(DIGEST, SECOND)
    assert check_threshold([one], DIGEST, TRUSTED) == (KEY.public.id,)
    assert check_threshold([one, again, two], DIGEST, TRUSTED, 2) == (KEY.public.id, SECOND.public.id)
    for bundles in ([one], [one, again], [one, one], [one, sign(DIGEST, STRANGER)], [one, sign(OTHER, SECOND)]):
        with pytest.raises(ProaError, match="1 of 2 required signatures") as caught:
            check_threshold(bundles, DIGEST, TRUSTED, 2)
        assert caught.value.code is Code.SIGNATURE


def test_a_bad_signature_beside_a_good_one_does_no_harm() -> None:
    assert check_threshold([b"{}", sign(DIGEST, STRANGER), sign(DIGEST, KEY)], DIGEST, TRUSTED) == (KEY.public.id,)


def test_a_key_that_is_listed_twice_is_one_key() -> None:
    with pytest.raises(ProaError) as caught:
        check_threshold([sign(DIGEST, KEY)], DIGEST, (KEY.public, KEY.public), 2)
    assert caught.value.code is Code.NO_TRUST


def test_only_so_many_signatures_are_looked_at() -> None:
    looked: list[int] = []

    def many() -> Any:
        for number in range(1000):
            looked.append(number)
            yield b"{}"

    with pytest.raises(ProaError):
        check_threshold(many(), DIGEST, TRUSTED)
    assert len(looked) == MAX_SIGNATURES


@pytest.mark.parametrize(
    ("bundles", "keys", "threshold", "code"),
    [
        ([], TRUSTED, 1, Code.UNSIGNED),
        ([sign(DIGEST, KEY)], (), 1, Code.NO_TRUST),
        ([sign(DIGEST, KEY)], TRUSTED, 0, Code.NO_TRUST),
        ([sign(DIGEST, KEY)], TRUSTED, 3, Code.NO_TRUST),
        ([sign(DIGEST, STRANGER)], TRUSTED, 1, Code.SIGNATURE),
    ],
)
def test_nothing_is_accepted_without_keys_and_signatures(
    bundles: list[bytes], keys: tuple[Any, ...], threshold: int, code: Code
) -> None:
    with pytest.raises(ProaError) as caught:
        check_threshold(bundles, DIGEST, keys, threshold)
    assert caught.value.code is code


def test_only_a_sha256_digest_is_signed() -> None:
    for digest in ("", "1" * 64, "sha512:" + "1" * 128, "sha256:" + "A" * 64):
        with pytest.raises(ProaError):
            sign(digest, KEY)
