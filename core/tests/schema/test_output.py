"""Reports on standard output."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from proa.core import VERSION
from proa.core.schema.model import Report, field
from proa.core.schema.output import tell


@dataclass(frozen=True)
class Word(Report, schema="proa.word/v1"):
    """A word."""

    word: str = field("The word.")


def test_for_programs_and_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Word("yes"), True, lambda told: f"it says {told.word}")
    assert json.loads(capsys.readouterr().out) == {"schema": "proa.word/v1", "proa": VERSION, "word": "yes"}
    tell(Word("yes"), False, lambda told: f"it says {told.word}")
    assert capsys.readouterr().out == "it says yes\n"
