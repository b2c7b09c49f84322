"""Where counting from the clock begins."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""From when on the seconds are counted that the first order of an object has as its id."""
