"""Types of values that many documents have, each with its limits."""

from __future__ import annotations

from typing import Annotated, Final

from proa.core.runtime.fields import limits

MAX_COUNT: Final = (1 << 63) - 1

Count = Annotated[int, limits(minimum=0)]
"""A whole number that is not below zero."""
Positive = Annotated[int, limits(minimum=1)]
"""A whole number from 1."""
Seconds = Annotated[float, limits(minimum=0)]
"""A span of time in seconds."""
Hash = Annotated[str, limits(pattern="^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal."""
Digest = Annotated[str, limits(pattern="^sha256:[0-9a-f]{64}$")]
"""A digest as OCI writes it."""
Time = Annotated[str, limits(format="date-time")]
"""A point in time (RFC 3339)."""
