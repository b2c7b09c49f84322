"""What becomes of an exception that nobody expected."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from proa.core.runtime import files, process
from proa.core.runtime.defects import told
from proa.core.runtime.errors import Code, ProaError


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MemoryError(), Code.RESOURCES, "there is not enough memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), Code.RESOURCES, "Cannot allocate memory"),
        (OSError(errno.EMFILE, "Too many open files", "/x"), Code.RESOURCES, "Too many open files"),
        (RuntimeError("can't start new thread"), Code.RESOURCES, "the system gives no more threads"),
        (RuntimeError("something else"), Code.INTERNAL, "RuntimeError: something else"),
        (OSError(errno.EIO, "Input/output error"), Code.INTERNAL, "OSError: [Errno 5] Input/output error"),
        (KeyError("x"), Code.INTERNAL, "KeyError: 'x'"),
    ],
)
def test_f41_a_limit_of_this_process_is_no_defect_of_ours(error: Exception, code: Code, says: str) -> None:
    found = told(error)
    assert (found.code, found.message) == (code, says)


def test_our_own_errors_are_what_they_are() -> None:
    error = ProaError(Code.USAGE, "so")
    assert told(error) is error


def test_f41_this_python_says_of_a_thread_what_is_looked_for() -> None:
    """In a process that may have no memory for the stack of one."""
    program = "import threading; threading.stack_size(1 << 34); threading.Thread(target=print).start()"
    with pytest.raises(ProaError, match="can't start new thread"):
        process.run(["prlimit", "--as=300000000", sys.executable, "-c", program])


def test_f41_a_file_that_is_too_large_names_the_limit(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as raised, files.os_errors(tmp_path / "x"):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    assert raised.value.code is Code.RESOURCES
    assert "ulimit -f" in raised.value.hint
