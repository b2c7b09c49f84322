"""References: what is one, what is not, and that they are written as they were read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.core.oci.reference import Reference, parse
from proa.core.runtime.errors import Code, Exit, ProaError

DIGEST = "sha256:" + "0f" * 32


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("registry.example/node", Reference("registry.example", "node")),
        ("registry.example/os/node:1.2", Reference("registry.example", "os/node", "1.2")),
        ("localhost:5000/node", Reference("localhost:5000", "node")),
        ("localhost:5000/node:latest", Reference("localhost:5000", "node", "latest")),
        (f"127.0.0.1:5000/n@{DIGEST}", Reference("127.0.0.1:5000", "n", "", DIGEST)),
        (f"[::1]:5000/a/b__c.d-e:V_1@{DIGEST}", Reference("[::1]:5000", "a/b__c.d-e", "V_1", DIGEST)),
        ("Registry.Example/node", Reference("Registry.Example", "node")),
        ("oci:/srv/out/release", Reference("", "", layout=Path("/srv/out/release"))),
        ("oci:release:1.2", Reference("", "", "1.2", layout=Path("release"))),
        ("oci:../a:b/release", Reference("", "", layout=Path("../a:b/release"))),
        (f"oci:/srv/release:1@{DIGEST}", Reference("", "", "1", DIGEST, Path("/srv/release"))),
        ("oci:/with space/ünï:1", Reference("", "", "1", layout=Path("/with space/ünï"))),
    ],
)
def test_references_are_read_and_written(text: str, reference: Reference) -> None:
    assert parse(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "node",
        "node:1",
        "/node",
        "registry.example/",
        "registry.example/Node",
        "registry.example/node:",
        "registry.example/node:a b",
        "registry.example/node:" + "t" * 129,
        "registry.example/node:1:2",
        "registry.example/node/",
        "registry.example//node",
        "registry.example/../node",
        "registry.example/no___de",
        "registry.example/" + "n" * 256,
        "registry.example:0/node",
        "registry.example:65536/node",
        "registry.example:port/node",
        "user:password@registry.example/node",
        "https://registry.example/node",
        "300.1.1.1/node",
        "[::1/node",
        "[1.2.3.4]/node",
        "[::g]/node",
        "-registry.example/node",
        "registry..example/node",
        "registry.example/node@",
        "registry.example/node@sha256:" + "0F" * 32,
        "registry.example/node@sha256:0f",
        "registry.example/node@sha512:" + "0f" * 64,
        f"registry.example/node@{DIGEST}x",
        f"registry.example/node@{DIGEST}@{DIGEST}",
        "registry.example/node\n",
        "registry.example/no\0de",
        "registry.example/nodé",
        "régistry.example/node",
        "oci:",
        "oci::1",
        "oci:/a:",
        "oci:/a:b c",
        "oci:/a:b/",
        "oci:/a\n",
        f"oci:/a@{DIGEST}x",
        "oci:" + "a" * 5000,
        "\udc80.example/node",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ProaError) as caught:
        parse(text)
    assert caught.value.code is Code.REFERENCE
    assert caught.value.exit is Exit.USAGE
    assert len(caught.value.message + caught.value.at) < 400
    caught.value.text("proa").encode()


@settings(max_examples=120)
@given(
    st.text(max_size=40)
    | st.tuples(
        st.sampled_from(["oci:", "a.b/", "a.b:1/", "[::1]/", ""]),
        st.text("aB1._-/:@ ", max_size=20),
        st.sampled_from(["", ":t", "@" + DIGEST]),
    ).map("".join)
)
def test_any_text_is_refused_or_round_trips(text: str) -> None:
    try:
        found = parse(text)
    except ProaError as error:
        assert error.code is Code.REFERENCE  # noqa: PT017 -- both outcomes are right
        return
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST:5000", True),
        ("127.0.0.1:5000", True),
        ("127.8.8.8", True),
        ("[::1]:5000", True),
        ("10.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 -- a name, nothing listens
        ("registry.example", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("[::2]", False),
    ],
)
def test_loopback_is_told_by_the_address(host: str, loopback: bool) -> None:
    assert parse(f"{host}/node").is_loopback is loopback


def test_a_layout_is_no_host() -> None:
    found = parse("oci:/srv/release")
    assert found.repository == ""
    assert not found.is_loopback
    assert parse("localhost:5000/os/node:1").repository == "localhost:5000/os/node"


def test_a_reference_is_pinned() -> None:
    assert str(parse("a.b/node:1").pinned(DIGEST)) == f"a.b/node:1@{DIGEST}"
    assert str(parse("oci:/srv/out:1").pinned(DIGEST)) == f"oci:/srv/out:1@{DIGEST}"
    with pytest.raises(ProaError):
        parse("a.b/node:1").pinned("sha256:short")
