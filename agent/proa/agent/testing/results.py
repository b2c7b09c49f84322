"""What became of an order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from proa.core.orders.messages import NodeStatus
from proa.core.runtime.errors import ProaError

OTHER = "sha256:" + "9" * 64
"""A release that nobody has."""


def refused(work: Callable[[], Any]) -> ProaError:
    """The error of work that is refused."""
    with pytest.raises(ProaError) as caught:
        work()
    return caught.value


def result(status: NodeStatus) -> tuple[str, str]:
    """What became of the last order: the result, and the error's code."""
    assert status.observed_order
    return status.observed_order.result, status.last_error.code if status.last_error else ""


def done(status: NodeStatus) -> bool:
    """Whether the last order was carried out."""
    return result(status) == ("Done", "")
