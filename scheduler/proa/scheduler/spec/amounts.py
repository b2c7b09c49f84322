"""A number of nodes, or a percentage of them, as Kubernetes writes it (``int-or-string``)."""

from __future__ import annotations

import re
from typing import Final

from proa.core.runtime.errors import Code, ProaError

Amount = int | str
"""``3``, or ``"25%"``."""
PATTERN: Final = r"^(100|[1-9]?[0-9])%$"
"""What a percentage looks like."""
MAX_NODES: Final = 5000
"""The most nodes that may be named as a number; a cluster of Kubernetes has no more."""
MAX_CANARIES: Final = 64
"""The most canaries: all of them are named in the status."""


def resolve(amount: Amount, total: int) -> int:
    """How many of ``total`` nodes an amount is.

    A percentage is rounded down, and to 1 where that would be none; 0 and 0 % are none, whatever the total.

    Raises:
        ProaError: ``CONFIG_VALUE`` for what is no amount.
    """
    if isinstance(amount, int) and not isinstance(amount, bool) and amount >= 0:
        return amount
    if not isinstance(amount, str) or not re.fullmatch(PATTERN, amount):
        raise ProaError(Code.CONFIG_VALUE, f"{amount!r} is neither a number of nodes nor a percentage such as '25%'")
    percent = int(amount.removesuffix("%"))
    return max(1, total * percent // 100) if percent else 0
