"""What happens below a step and a person may want to know: a registry is tried again, say.

Code that notices it does not know who watches, so it says it here; the command's renderer, if there is one, shows it.
"""

from __future__ import annotations

from collections.abc import Callable

_shown_by: Callable[[str], object] | None = None


def notice(text: str) -> None:
    """Say a sentence to whoever watches this process; nothing where nobody does."""
    if _shown_by is not None:
        _shown_by(text)


def show_with(show: Callable[[str], object] | None) -> None:
    """Let notices be shown by a function from now on; None for nobody."""
    global _shown_by
    _shown_by = show
