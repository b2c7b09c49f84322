"""The reference page says what the tables say."""

from __future__ import annotations

import re

from proa.partition.boot.bootstate import FIELDS, TRANSITIONS, Slot
from proa.partition.boot.decisions import RULES
from proa.partition.boot.grubscript import PREFIX, script
from proa.partition.boot.reference import reference

PAGE = reference()


def test_every_row_of_every_table_is_there() -> None:
    for name in [field.name for field in FIELDS] + [rule.name for rule in RULES] + [row.name for row in TRANSITIONS]:
        assert f"| `{name}` |" in PAGE


def test_tables_are_whole() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(columns) == 1


def test_every_line_of_the_script_is_told() -> None:
    for line in re.findall(rf'echo "{PREFIX} ([a-zA-Z-]+)', script(Slot.A)):
        assert f"| `{line}" in PAGE
