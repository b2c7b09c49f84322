"""One thread with an event loop, behind the synchronous verbs. It lives as long as the process."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from proa.core.runtime.errors import Code, ProaError

T = TypeVar("T")


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="proa-vm", daemon=True).start()
    return loop


def call(work: Coroutine[Any, Any, T], seconds: float, what: str) -> T:
    """Run a coroutine in the background thread and wait for its result.

    Raises:
        ProaError: ``TIMEOUT`` after ``seconds``; the coroutine is cancelled.
        Exception: Whatever the coroutine raises.
    """
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result(seconds)
    except TimeoutError as late:
        if future.done():
            raise
        future.cancel()
        raise ProaError(Code.TIMEOUT, f"{what}: not within {seconds:.0f} s") from late
