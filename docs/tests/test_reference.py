"""The reference pages are what the code says, and every report is what its schema says."""

from __future__ import annotations

import sys
from pathlib import Path

from proa.core.runtime.process import run

ROOT = Path(__file__).parents[2]


def test_the_reference_is_what_the_code_says() -> None:
    result = run([sys.executable, ROOT / "docs" / "generate.py", "--check"], check=False)
    assert result.status == 0, f"out of date, run make docs:\n{result.text}{result.stderr.decode()}"
