"""The release document: what is read, and everything that is refused."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.core.release import document as release
from proa.core.release.document import Blob, Boot, Release, Requires, Root
from proa.core.release.frames import expected, map_size
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import MAX_DOCUMENT, load_json

DIGEST = "sha256:" + "ab" * 32


def example() -> Release:
    return Release(
        name="node",
        version="1.2.3~rc1+build",
        architecture="amd64",
        compatible="example-node",
        created="2026-01-02T03:04:05Z",
        serial=7,
        floor=5,
        root=Root("erofs", 129 * 4096, 4096, "0f" * 32, "5a" * 32, 3 * 4096, 131072),
        boot=Boot(1 << 20, DIGEST, DIGEST),
        requires=Requires(1, "0.1.0", 1),
        blobs={name: Blob(DIGEST, 100) for name in release.MEDIA_TYPES},
        expires="2027-01-02T03:04:05+00:00",
    )


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(example().encode())
    return found


def changed(path: str, value: Any) -> bytes:
    """The example's bytes with one field set; a field is taken away by ``...``."""
    whole = document()
    *parents, name = path.split(".")
    inner = whole
    for parent in parents:
        inner = inner[parent]
    if value is ...:
        del inner[name]
    else:
        inner[name] = value
    return json.dumps(whole).encode()


def refusal(data: bytes) -> ProaError:
    with pytest.raises(ProaError) as caught:
        release.decode(data)
    assert caught.value.code is Code.RELEASE
    assert len(caught.value.message) < 300
    return caught.value


def paths(value: dict[str, Any], before: str = "") -> list[str]:
    found = []
    for name, inner in value.items():
        found += [before + name] + (paths(inner, f"{before}{name}.") if isinstance(inner, dict) else [])
    return found


def test_a_document_round_trips() -> None:
    assert release.decode(example().encode()) == example()
    assert example().slot_size == 132 * 4096


def test_the_map_follows_from_the_document() -> None:
    found = expected(example())
    assert list(found) == ["boot", "root"]
    assert (found["root"].size, found["root"].frame_size, found["root"].blob) == (129 * 4096, 131072, 100)
    assert (found["root"].frames, found["boot"].frames) == (5, 8)
    assert map_size(found) == 12 + 2 * 24 + 13 * 36


def test_equal_releases_are_equal_bytes() -> None:
    turned = Release(**{**vars(example()), "blobs": dict(reversed(list(example().blobs.items())))})
    assert turned.encode() == example().encode()


def test_fields_of_later_versions_are_passed_over() -> None:
    assert release.decode(changed("colour", {"deep": [1, 2.5, None]})) == example()
    assert release.decode(changed("root.colour", "green")) == example()


def test_a_critical_field_must_be_known() -> None:
    assert release.decode(changed("critical", ["serial"])).critical == ("serial",)
    assert "'colour'" in refusal(changed("critical", ["serial", "colour"])).message


def test_a_critical_field_is_told_without_controls() -> None:
    message = refusal(changed("critical", ["\x1b]0;title\x07\n" + "x" * 500])).message
    assert message.isprintable()
    assert len(message) < 200


@pytest.mark.parametrize("value", [None, "serial", [1], {"serial": 1}])
def test_critical_is_a_list_of_names(value: Any) -> None:
    assert refusal(changed("critical", value)).at in ("critical", "critical[0]")


OPTIONAL = ("boot.content", "critical", "expires")


@pytest.mark.parametrize("path", [path for path in paths(document()) if path not in OPTIONAL])
def test_every_field_is_required(path: str) -> None:
    error = refusal(changed(path, ...))
    assert (error.at, error.message) == (path, f"{path} is {'not proa.release/v1' if path == 'schema' else 'missing'}")


@pytest.mark.parametrize("path", OPTIONAL)
def test_some_fields_may_be_left_out(path: str) -> None:
    found = release.decode(changed(path, ...))
    assert operator.attrgetter(path)(found) == {"critical": ()}.get(path, "")


WRONG: tuple[Any, ...] = (None, True, [], [[[]]], {}, "", 1.0, -1, 1 << 63, 10**400, "\0", "a\nb", "../../x")


@pytest.mark.parametrize("path", [path for path in paths(document()) if path != "critical"])
def test_no_field_takes_a_wrong_value(path: str) -> None:
    for value in WRONG:
        if value != "" or path not in OPTIONAL:
            assert refusal(changed(path, value)).at.startswith(path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "proa.release/v2"),
        ("root.size", 0),
        ("root.size", 4096),
        ("root.size", 129 * 4096 + 512),
        ("root.size", (1 << 45) + 4096),
        ("root.tree_size", 4096),
        ("root.tree_size", 4 * 4096),
        ("root.block_size", 512),
        ("root.frame_size", 4095),
        ("root.frame_size", 1 << 23),
        ("root.root_hash", "0F" * 32),
        ("root.root_hash", "0f" * 31),
        ("root.salt", "5"),
        ("root.salt", "00" * 65),
        ("root.filesystem", "ext4"),
        ("boot.digest", "sha512:" + "ab" * 64),
        ("boot.digest", DIGEST + "\n"),
        ("blobs.map.size", 0),
        ("name", "Node"),
        ("name", "-node"),
        ("name", "n" * 65),
        ("name", "nodé"),
        ("name", "\ud800"),
        ("version", "1 2"),
        ("created", "2026-01-02"),
        ("created", "2026-01-02T03:04:05"),
        ("created", "2026-01-02T03:04:05+01:00"),
        ("created", "2026-13-02T03:04:05Z"),
        ("created", "2026-W01-1T00:00:00Z"),
        ("created", "٢026-01-02T03:04:05Z"),
        ("expires", 0),
        ("expires", False),
        ("expires", []),
        ("serial", 4),
        ("requires.layout", 0),
    ],
)
def test_f5_values_out_of_range_are_refused(path: str, value: Any) -> None:
    refusal(changed(path, value))


def test_the_tree_must_be_that_of_the_image() -> None:
    error = refusal(changed("root.tree_size", 4096))
    assert error.at == "root.tree_size"
    assert "12288" in error.message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"[]",
        b"null",
        b"1",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1, "a": 1}',
        b'{"b": {"a": 1, "a": 2}}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"{}" + b" " * MAX_DOCUMENT,
        example().encode() + b"{}",
        example().encode() + b"\0",
        example().encode()[:-3],
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    refusal(data)


@pytest.mark.parametrize("depth", [10, 300, 900, 950, 970, 980, 990, 1000])
def test_a_deeply_nested_value_is_refused(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    refusal(example().encode().replace(b'"node"', nested.encode()))


def test_a_truncated_document_is_refused() -> None:
    data = example().encode()
    for size in range(0, len(data) - 1, 97):
        refusal(data[:size])


@settings(max_examples=100)
@given(
    place=st.integers(0, len(example().encode()) - 1),
    patch=st.binary(min_size=1, max_size=3),
    join=st.sampled_from([lambda a, b, c: a + b + c, lambda a, b, c: a + b + c[len(b) :]]),
)
def test_any_bytes_are_a_release_or_refused(
    place: int, patch: bytes, join: Callable[[bytes, bytes, bytes], bytes]
) -> None:
    data = example().encode()
    try:
        found = release.decode(join(data[:place], patch, data[place:]))
    except ProaError as error:
        code = error.code
    else:
        code = Code.RELEASE
        assert release.decode(found.encode()) == found
    assert code is Code.RELEASE


def test_json_is_refused_with_the_code_of_the_caller() -> None:
    with pytest.raises(ProaError) as caught:
        load_json(b"[]", Code.REGISTRY)
    assert caught.value.code is Code.REGISTRY
