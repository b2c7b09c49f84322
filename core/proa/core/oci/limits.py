"""How long a registry is waited for. Small: settings that name the limits need no HTTP client."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TransferLimits:
    """Every limit of talking to a registry. Times are seconds, sizes bytes."""

    connect: float = 10.0
    """Time for a connection to come up."""
    silence: float = 30.0
    """Time without a single byte after which a connection counts as cut."""
    answer: float = 60.0
    """Time from a request to the end of its answer's head, whatever dribbles; the request's own size adds to it."""
    patience: float = 180.0
    """Time for a request with all its retries, before what its size adds."""
    minimum_rate: float = 4 * 1024
    """Bytes a second below which, over ``window``, a connection is given up; size adds time at this rate."""
    maximum_rate: float = 0.0
    """Bytes a second that all transfers of a session together may come at; 0 for no limit."""
    window: float = 30.0
    """Time over which the rate is measured."""
    attempts: int = 6
    """Failures in a row, without one new byte, after which it is enough."""
    backoff: float = 0.5
    """The first wait; it doubles with every failure in a row."""
    longest_wait: float = 30.0
    """Where the doubling ends. A registry's own Retry-After may be longer, up to the deadline."""
    longest_pause: float = math.inf
    """A longer Retry-After counts as the last failure: somebody else may be asked meanwhile."""
    redirects: int = 5
    """Redirects that one request may take."""

    def within(self, rate: float) -> TransferLimits:
        """The same with another limit on the rate besides its own; 0 for none."""
        rates = [one for one in (rate, self.maximum_rate) if one]
        return replace(self, maximum_rate=min(rates, default=0.0))

    def brief(self) -> TransferLimits:
        """The same for a place that somebody else can stand in for."""
        return replace(self, attempts=min(self.attempts, 3), patience=min(self.patience, 60.0), longest_pause=2.0)


DEFAULT_LIMITS = TransferLimits()
