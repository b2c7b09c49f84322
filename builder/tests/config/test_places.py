"""Places in a TOML text."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proa.builder.config.places import Places, Way, find

TEXT = '''\
# a comment with = and [brackets]
[a]
b = 1
  c.d = "x" # trailing
"quoted key" = { e = [1, { f = 2 }], g.h = "," }
[[a.list]]
x = """
many
lines""" # not = a key
[[a.list]]
x = \'\'\'it's
[not.a.table]\'\'\'
y = [
  "one", # with a comment, and a comma
  [ 2,
    3 ],
]
[a.list.under]
z = 1979-05-27 07:32:00Z
'''


def line_of(places: Places, way: Way) -> tuple[int, int]:
    return places.keys[way]


@pytest.mark.parametrize(
    ("way", "key", "value"),
    [
        (("a",), (2, 2), None),
        (("a", "b"), (3, 1), (3, 5)),
        (("a", "c", "d"), (4, 5), (4, 9)),
        (("a", "quoted key"), (5, 1), (5, 16)),
        (("a", "quoted key", "e"), (5, 18), (5, 22)),
        (("a", "quoted key", "e", 1, "f"), (5, 28), (5, 32)),
        (("a", "quoted key", "g", "h"), (5, 40), (5, 44)),
        (("a", "list", 0, "x"), (7, 1), (7, 5)),
        (("a", "list", 1, "x"), (11, 1), (11, 5)),
        (("a", "list", 1, "y"), (13, 1), (13, 5)),
        (("a", "list", 1, "under", "z"), (19, 1), (19, 5)),
    ],
)
def test_keys_and_values(way: Way, key: tuple[int, int], value: tuple[int, int] | None) -> None:
    places = find(TEXT)
    assert places.keys[way] == key
    if value is not None:
        assert places.values[way] == value


def test_items_of_arrays() -> None:
    places = find(TEXT)
    assert places.values[("a", "list", 1, "y", 0)] == (14, 3)
    assert places.values[("a", "list", 1, "y", 1, 1)] == (16, 5)


def test_what_is_missing_has_the_place_of_its_table() -> None:
    places = find(TEXT)
    assert places.of(("a", "list", 1, "missing")) == (10, 5)
    assert places.of(("nothing", "at", "all")) == (1, 1)


@pytest.mark.parametrize(
    "text",
    [
        'a = """x\\"""""" \nb = 1\n',
        "a = ''''quoted''''\nb = 1\n",
        'a = "\\\\" # "\nb = 1\n',
        "a = [[], [[]], {}]\r\nb = 1",
        '"\\u0062" = 1\n',
        "a = 0x1F\nb = -inf\n",
    ],
)
def test_odd_but_valid(text: str) -> None:
    document = tomllib.loads(text)
    places = find(text)
    assert places.keys.keys() >= {(key,) for key in document}
    last = max(line for line, _ in places.keys.values())
    assert places.keys[("b",)] == (last, 1)


KEYS = st.text("abc-_9", min_size=1, max_size=5)
STRINGS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs"]), max_size=12)


def toml(value: object) -> str:
    """A value as TOML, in as many ways as it can be written."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[ # a comment\n " + ",\n ".join(toml(item) for item in value) + " ]" if value else "[]"
    if isinstance(value, str):
        if "'" not in value and "\x7f" not in value and len(value) % 2:
            return f"'{value}'"
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\x7f", "\\u007F")
        return f'"""\n{escaped}"""' if len(value) % 3 == 0 else f'"{escaped}"'
    return str(value)


VALUES = st.recursive(
    st.integers() | STRINGS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)


@settings(max_examples=50)
@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4))
def test_every_key_stands_at_its_place(document: dict[str, dict[str, Any]]) -> None:
    text = "".join(
        f"[{table}]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in keys.items())
        for table, keys in document.items()
    )
    if any(isinstance(value, dict) and "\n" in toml(value) for keys in document.values() for value in keys.values()):
        return  # an inline table stands in one line
    assert tomllib.loads(text) == document
    places = find(text)
    lines = text.split("\n")
    for table, keys in document.items():
        for key in keys:
            line, column = places.keys[(table, key)]
            assert lines[line - 1][column - 1 :].startswith(f"{key} = ")
            line, column = places.values[(table, key)]
            assert lines[line - 1][: column - 1].endswith(f"{key} = ")
