"""The nearest right word, for hints."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """``Did you mean 'x'?``, or ``otherwise`` if nothing is near."""
    found = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f"Did you mean '{found[0]}'?" if found else otherwise
