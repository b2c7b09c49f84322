"""How long to wait before another try, when a server must be neither left for long nor hammered."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

LONGEST_REQUEST: Final = 300.0
"""Seconds that a server may ask to be left alone for; a longer wish counts as this one."""
jitter: Final[Callable[[], float]] = random.SystemRandom().random
"""A number from 0 to 1, another one at every call."""


@dataclass
class Backoff:
    """Waits that double with each failure in a row.

    Attributes:
        first: The first wait, in seconds.
        longest: Where the doubling ends.
        random: A number from 0 to 1, another one at every call: those who failed together must not come back together.
        longest_request: Seconds that a server may ask to be left alone for.
        failures: How many there were in a row.
    """

    first: float = 0.5
    longest: float = 30.0
    random: Callable[[], float] = jitter
    longest_request: float = LONGEST_REQUEST
    failures: int = field(default=0, init=False)

    def next(self, after: float | None = None) -> float:
        """The seconds to wait after one more failure; at least those that the server asks for."""
        pause = min(self.longest, self.first * 2.0 ** min(self.failures, 30)) * (0.5 + self.random() / 2)
        self.failures += 1
        if after is None:
            return pause
        return max(pause, min(after, self.longest_request) + self.random() * self.first)

    def reset(self) -> None:
        """Start over after a success."""
        self.failures = 0
