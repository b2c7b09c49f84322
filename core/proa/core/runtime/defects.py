"""What an exception comes to that is no :class:`ProaError`: a limit of this process, or a defect of ours."""

from __future__ import annotations

import errno
from typing import Final

from proa.core.runtime.errors import Code, ProaError

LIMITS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What the system says where a process may have no more of something."""
_NO_THREAD: Final = "can't start new thread"
"""What Python says of a thread that the system does not give (CPython, Modules/_threadmodule.c)."""


def told(error: BaseException) -> ProaError:
    """The error that a user sees, whatever was raised: ``RESOURCES`` where this process was refused something."""
    if isinstance(error, ProaError):
        return error
    if isinstance(error, MemoryError):
        return ProaError(Code.RESOURCES, "there is not enough memory")
    if isinstance(error, OSError) and error.errno in LIMITS:
        return ProaError(Code.RESOURCES, f"{error.strerror or error}", at=error.filename or "")
    if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
        return ProaError(Code.RESOURCES, "the system gives no more threads")
    return ProaError(Code.INTERNAL, f"{type(error).__name__}: {error}")
