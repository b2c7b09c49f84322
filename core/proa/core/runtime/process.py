"""The one gateway to other programs: no shell, clean environment, null stdin, a failure that can be pasted."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proa.core.runtime.defects import LIMITS
from proa.core.runtime.errors import Code, ProaError

_KEPT = ("PATH", "HOME", "TMPDIR", "SOURCE_DATE_EPOCH", "http_proxy", "https_proxy", "no_proxy")
_TAIL_LINES = 15
_FULL = re.compile(rb"No space left on device|Disk full", re.IGNORECASE)
"""What C libraries and mtools call a file system without room; of the exit status nothing can be told."""
_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""


@dataclass(frozen=True)
class ProcessResult:
    """What a finished program left: its output as bytes, and how long it took in seconds."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def text(self) -> str:
        """Standard output as text, undecodable bytes replaced."""
        return self.stdout.decode(errors="replace")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment given to programs: a few variables of ours, the C locale, and ``extra``."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    kept.setdefault("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    if "/usr/sbin" not in kept["PATH"].split(":"):
        kept["PATH"] += ":/usr/sbin:/sbin"
    return kept | {"LC_ALL": "C.UTF-8", "TZ": "UTC"} | dict(extra or {})


def find(program: str, package: str = "") -> str:
    """The path of a program.

    Raises:
        ProaError: ``TOOL_MISSING``, with the package to install where it is given.
    """
    found = shutil.which(program, path=environment()["PATH"])
    if found is None:
        raise ProaError(
            Code.TOOL_MISSING,
            f"{program} is not installed",
            hint=f"Install it: apt-get install {package}" if package else "",
        )
    return found


def run(
    argv: Sequence[str | Path],
    *,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout: float | None = None,
    cwd: Path | None = None,
    keep: int | None = None,
    show: bool = False,
) -> ProcessResult:
    """Run a program to its end and keep its output.

    It gets a process group of its own, all of which is ended (SIGTERM, then SIGKILL) when the time is up or
    when this process is interrupted. What it leaves running behind itself is not waited for.

    Args:
        argv: The program and its arguments; never a shell line.
        check: Whether an exit status other than 0 is an error.
        env: Variables besides those of :func:`environment`.
        stdin: Bytes for its standard input; it reads end-of-file at once if none.
        timeout: Seconds after which it is ended.
        cwd: Its working directory.
        keep: Bytes of each output that are kept, the last ones; all of them if none.
        show: Whether its standard error is ours, so that a person sees its progress; it is not kept then.

    Raises:
        ProaError: ``TOOL_MISSING``, ``TOOL`` (with the command and the last lines of its output), or
            ``TIMEOUT``.
    """
    words = tuple(str(word) for word in argv)
    started = time.monotonic()
    child, held = _start(words, environment(env), cwd, fed=stdin is not None, show=show)
    with child, _ending(child, words, timeout):
        held.release()
        stdout, stderr = _Talk(child, stdin, keep).finish(timeout)
    result = ProcessResult(words, child.returncode, stdout, stderr, time.monotonic() - started)
    if check and result.status != 0:
        raise failure(result)
    return result


def _start(
    words: tuple[str, ...], env: Mapping[str, str], cwd: Path | None, *, fed: bool, show: bool
) -> tuple[subprocess.Popen[bytes], _Interrupts]:
    """Start a program; interrupts are held back until its supervisor releases them.

    Raises:
        ProaError: ``TOOL_MISSING``, or ``TOOL`` when it cannot be started.
    """
    program = find(words[0])
    held = _Interrupts()
    try:
        child = subprocess.Popen(
            (program, *words[1:]),
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if show else subprocess.PIPE,
            bufsize=0,
            env=env,
            cwd=cwd,
            process_group=0,
        )
    except BaseException as error:
        held.release()
        if not isinstance(error, OSError):
            raise
        what = f"{words[0]} could not be started: {error.strerror}"
        code = Code.RESOURCES if error.errno in (*LIMITS, errno.EAGAIN) else Code.TOOL
        raise ProaError(code, what, at=pasteable(words)) from error
    return child, held


@contextlib.contextmanager
def _ending(child: subprocess.Popen[bytes], words: tuple[str, ...], timeout: float | None) -> Iterator[None]:
    """End a program, with all that it started, when it is late or anything else goes wrong.

    Raises:
        ProaError: ``TIMEOUT`` when it is late.
    """
    try:
        yield
    except BaseException as error:
        _end(child)
        if not isinstance(error, TimeoutError):
            raise
        what = f"{words[0]} did not finish within {timeout:g} s"
        raise ProaError(Code.TIMEOUT, what, at=pasteable(words)) from error


class _Interrupts:
    """Keeps interrupts back while a program starts: one that came in between would leave it running, known to nobody.

    Only Python's own handlers are held, and only in the main thread, where they run; the program gets the defaults.
    """

    _NUMBERS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._came: list[int] = []
        self._handlers: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in self._NUMBERS}
            self._handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
        for number in self._handlers:
            signal.signal(number, lambda came, _: self._came.append(came))

    def release(self) -> None:
        """Restore the handlers, and pass on the signals that arrived."""
        handlers, self._handlers = self._handlers, {}
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in self._came:
            signal.raise_signal(number)


class _Talk:
    """Feeds and reads a program until it has ended, even if something else holds its outputs open."""

    def __init__(self, child: subprocess.Popen[bytes], stdin: bytes | None, keep: int | None) -> None:
        self._child = child
        self._left = memoryview(stdin or b"")
        self._keep = keep
        self._selector = selectors.DefaultSelector()
        self._outputs = {pipe.fileno(): bytearray() for pipe in (child.stdout, child.stderr) if pipe}
        for handle in self._outputs:
            os.set_blocking(handle, False)
            self._selector.register(handle, selectors.EVENT_READ)
        if child.stdin is not None:
            os.set_blocking(child.stdin.fileno(), False)
            self._selector.register(child.stdin, selectors.EVENT_WRITE)

    def finish(self, timeout: float | None) -> tuple[bytes, bytes]:
        """Both outputs, once the program has ended; ``TimeoutError`` if it does not within ``timeout`` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        ended = os.pidfd_open(self._child.pid)
        try:
            self._selector.register(ended, selectors.EVENT_READ)
            while not self._step(ended, until):
                pass
        finally:
            self._selector.close()
            os.close(ended)
        keep = slice(-self._keep if self._keep else None, None)
        stdout, stderr = (*(bytes(output[keep]) for output in self._outputs.values()), b"")[:2]
        return stdout, stderr

    def _step(self, ended: int, until: float | None) -> bool:
        """Do what can be done now; whether the program has ended and all that it said was read."""
        ready = self._selector.select(None if until is None else max(0.0, until - time.monotonic()))
        if not ready:
            raise TimeoutError
        handles = [key.fd for key, _ in ready]
        for handle in self._outputs if ended in handles else handles:
            if handle in self._outputs:
                self._read(handle)
            elif handle != ended:
                self._feed()
        return ended in handles

    def _read(self, handle: int) -> None:
        """Take what a pipe holds now: that is a mebibyte at most, and one read gives all of it."""
        try:
            data = os.read(handle, 1 << 20)
        except BlockingIOError:
            return
        output = self._outputs[handle]
        output += data
        if not data and handle in self._selector.get_map():
            self._selector.unregister(handle)
        if self._keep is not None and len(output) > 2 * self._keep:
            del output[: -self._keep]

    def _feed(self) -> None:
        """Give its input what it takes now; closes it at the end, and when nobody reads any more."""
        pipe = self._child.stdin
        if pipe is None:
            return
        try:
            self._left = self._left[os.write(pipe.fileno(), self._left[: 1 << 16]) :]
        except BrokenPipeError:
            self._left = self._left[:0]
        if not self._left:
            self._selector.unregister(pipe)
            pipe.close()


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a program with all that it started."""
    for number, grace in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace)


def failure(result: ProcessResult, code: Code = Code.TOOL) -> ProaError:
    """The error that a failed run amounts to: its last lines, and the command as it can be pasted.

    ``DISK_FULL`` in place of ``code`` when the program says that there is no room.
    """
    if _FULL.search(result.stdout + result.stderr):
        code = Code.DISK_FULL
    output = (result.stderr or result.stdout).decode(errors="replace").strip().splitlines()
    tail = "\n    ".join(output[-_TAIL_LINES:]) or "(no output)"
    how = f"exited with status {result.status}"
    if result.status < 0:
        how = f"was killed by {signal.Signals(-result.status).name}"
    return ProaError(code, f"{result.argv[0]} {how}:\n    {tail}", at=pasteable(result.argv))


def pasteable(argv: Sequence[str]) -> str:
    """The command as a line for a shell, without the user and the password of a URL."""
    return _LOGIN.sub("://***@", shlex.join(argv))


_LOGIN: Final = re.compile(r"(?<=\w)://[^/\s]+@")
