"""The wish to stop, as those see it who wait for something: it is heard while they wait, not after."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol


class Stop(Protocol):
    """Whether long-running work has been asked to stop."""

    def check(self) -> None:
        """Raise a :class:`~proa.core.runtime.errors.ProaError` once somebody does."""
        ...

    def calling(self, action: Callable[[], None]) -> AbstractContextManager[None]:
        """Call ``action`` when somebody wants that while the block runs, from any thread; at once if they do already.

        Args:
            action: What ends the waiting. It must neither block nor raise.
        """
        ...


class _Never:
    """Nobody ever wants work to end."""

    def check(self) -> None:
        """See :class:`Stop`."""

    def calling(self, action: Callable[[], None]) -> AbstractContextManager[None]:
        """See :class:`Stop`."""
        return nullcontext()


NEVER: Final[Stop] = _Never()
