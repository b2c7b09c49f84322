"""s12: whatever text of a stranger makes a parser raise comes out as one error."""

from __future__ import annotations

import json
import struct
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.runtime.parsing import foreign, json_value, toml_table

DEEP = "[" * 200_000
DIGITS = "9" * 5_000


@pytest.mark.parametrize(
    "text", [DEEP, DIGITS, f'{{"a": {DIGITS}}}', '{"a":' * 100_000, "\ud800", "", b"\xff\xfe", b"\xff"]
)
def test_s12_json_that_is_none_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        json_value(text)
    data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    with pytest.raises(ProaError) as caught:
        load_json(data, Code.RELEASE, "there")
    assert (caught.value.code, caught.value.at) == (Code.RELEASE, "there")


@pytest.mark.parametrize(
    "text", [f"a = {DIGITS}", f"a = {DEEP}", "a = " + "{b = " * 5_000, "a" + ".a" * 5 + " = ", "a = 25:61:61"]
)
def test_s12_toml_that_is_none_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        toml_table(text)


@pytest.mark.parametrize(
    "defect",
    [
        lambda: struct.unpack("<Q", b"1"),
        lambda: None.replace("a", "b"),  # type: ignore[attr-defined] # as an attribute that is null
        lambda: dict[str, str]()["a"],
        lambda: int("x"),
        lambda: 1 << -1,
        lambda: b"\xff".decode(),
        lambda: 10.0**400,
        lambda: [].pop(),
    ],
)
def test_s12_whatever_a_parser_raises_is_one_error(defect: object) -> None:
    with pytest.raises(ProaError) as caught, foreign(Code.NO_DISK, "it cannot be read", "/dev/x"):
        defect()  # type: ignore[operator] # it is a function
    assert caught.value.code is Code.NO_DISK
    assert caught.value.message.startswith("it cannot be read")


def test_s12_errors_of_the_system_and_our_own_pass() -> None:
    with pytest.raises(FileNotFoundError), foreign(Code.NO_DISK, "no"):
        Path("/nonexistent/x").read_bytes()
    with pytest.raises(ProaError) as caught, foreign(Code.NO_DISK, "no"):
        raise ProaError(Code.SIGNATURE)
    assert caught.value.code is Code.SIGNATURE


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_s12_what_a_library_reads_is_read_and_all_else_is_a_value_error(text: bytes | str) -> None:
    toml = text if isinstance(text, str) else text.decode(errors="replace")
    assert read(json_value, text) == read(json.loads, text)
    assert read(toml_table, toml) == read(tomllib.loads, toml)


def read(parse: Callable[[Any], object], text: bytes | str) -> str:
    """The value, written down so that NaN equals itself; any error but a ``ValueError`` is not caught."""
    try:
        return repr(parse(text))
    except ValueError:
        return "a ValueError"
