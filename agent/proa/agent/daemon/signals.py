"""SIGTERM and SIGINT as a wish to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from proa.agent.node.cancel import Cancel
from proa.core.runtime.errors import Code


@contextmanager
def stop_on_signals(cancel: Cancel, *, remote: bool = False) -> Iterator[None]:
    """While the block runs, SIGTERM and SIGINT ask the work to stop; a second one ends it at once.

    Args:
        cancel: What the work looks at.
        remote: Whether the work is done elsewhere, so that already the first one ends this process.
    """

    def ask(_: int, __: FrameType | None) -> None:
        if remote or cancel.asked:
            raise KeyboardInterrupt
        cancel.ask(Code.INTERRUPTED)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
