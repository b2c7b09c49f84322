"""Types of values that many documents have, each with its limits."""

from __future__ import annotations

from typing import Annotated

from proa.core.runtime.fields import limits

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
Hex = Annotated[str, limits(pattern="^(?:[0-9a-fA-F]{2}){0,64}$")]
"""Up to 64 bytes in hexadecimal."""
Label = Annotated[str, limits(pattern="^[a-z0-9-]{0,64}$")]
"""A word of a list that may have grown since; empty for none."""
CodeName = Annotated[str, limits(pattern="^[A-Z0-9_]{0,64}$")]
"""The name of an error's code, which may be one of a newer version; empty for none."""
