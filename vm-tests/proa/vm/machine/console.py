"""The serial console: captured with times, searched, and read against a list of bad signs."""

from __future__ import annotations

import codecs
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from proa.core.runtime.clock import SYSTEM, Clock, Deadline
from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine.console_patterns import BAD_SIGNS, BadSign

_MOVE = re.compile(r"\x1b\[[0-9;]*[HfJ]|\r+\n?|\n")
"""What begins another line: an absolute cursor move, a cleared screen, the ends of lines."""
_OTHER = re.compile(
    r"\x1b(\[[0-9;?=]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78cDEHM])|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f\x7f]"
)
_QUIET_SECONDS = 0.25
"""After this much silence, the end of an unfinished line is taken for all that is going to be said."""
_UNFINISHED = re.compile(r"(\x1b(\[[0-9;?=]*|\][^\x07]*)?|\r)\Z")


@dataclass(frozen=True)
class Line:
    """One line of the console, without control sequences."""

    seconds: float
    """Since the machine was first switched on."""
    text: str


@dataclass(frozen=True)
class Finding:
    """A bad sign that a line shows."""

    sign: BadSign
    line: Line


class Transcript:
    """Bytes of a terminal become lines: escapes go, cursor moves begin a new line, empty lines are dropped."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._current = ""
        self.lines: list[Line] = []

    @property
    def current(self) -> Line:
        """The line that has not ended yet."""
        return Line(self._clock(), self._current)

    def feed(self, data: bytes) -> None:
        """Take the next bytes, cut anywhere."""
        text = self._held + self._decoder.decode(data)
        unfinished = _UNFINISHED.search(text)
        self._held = unfinished.group() if unfinished else ""
        text = text[: len(text) - len(self._held)]
        *ended, last = _MOVE.split(text)
        for part in ended:
            self._append(part)
            self.end_line()
        self._append(last)

    def _append(self, part: str) -> None:
        self._current += _OTHER.sub("", part)

    def end_line(self) -> None:
        """End the line that has not ended yet."""
        if self._current.strip():
            self.lines.append(Line(self._clock(), self._current.rstrip()))
        self._current = ""


class Console:
    """What a machine has said, over all its power cycles.

    A pattern is a regular expression that is searched in single lines, the unfinished last one included: a match
    that reaches to its end could still grow, so it counts once nothing more is said.

    Args:
        folder: Gets ``console.log`` (lines with their seconds) and ``console.raw`` (every byte).
        echo: Called with every byte as it comes: a terminal.
        always: Names of bad signs that are always allowed.
        clock: Whose time counts.
    """

    def __init__(
        self,
        folder: Path,
        echo: Callable[[bytes], object] | None = None,
        *,
        always: Iterable[str] = (),
        clock: Clock = SYSTEM,
    ) -> None:
        self._always = check_names(always)
        self._clock = clock
        self._started = self._heard = clock.monotonic()
        self._transcript = Transcript(lambda: clock.monotonic() - self._started)
        self._news = threading.Condition()
        self._echo = echo
        self._log = folder / "console.log"
        self._raw = folder / "console.raw"
        self._connection: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._written = 0
        self._allowances: list[_Allowance] = []

    def attach(self, connection: socket.socket) -> None:
        """Read from a freshly started machine until it ends."""
        with self._news:
            self._connection = connection
        self._thread = threading.Thread(target=self._read, args=(connection,), name="console", daemon=True)
        self._thread.start()

    def recall(self, said: bytes) -> None:
        """Take what a machine has said before it was saved for said by this one, now."""
        with self._raw.open("ab") as raw:
            self._take(said, raw)

    def _read(self, connection: socket.socket) -> None:
        with self._raw.open("ab") as raw:
            while data := _receive(connection):
                self._take(data, raw)
        with self._news:
            self._transcript.end_line()
            self._save()
            self._connection = None
            self._news.notify_all()
        connection.close()

    def _take(self, data: bytes, raw: BinaryIO) -> None:
        raw.write(data)
        raw.flush()
        if self._echo is not None:
            self._echo(data)
        with self._news:
            self._transcript.feed(data)
            self._heard = self._clock.monotonic()
            self._save()
            self._news.notify_all()

    def _save(self) -> None:
        fresh = self._transcript.lines[self._written :]
        with self._log.open("a") as log:
            log.writelines(f"[{line.seconds:9.3f}] {line.text}\n" for line in fresh)
        self._written += len(fresh)

    def finish(self, seconds: float = 10.0) -> None:
        """Wait until all that an ended machine has said is read."""
        if self._thread is not None:
            self._thread.join(seconds)

    def send(self, data: bytes) -> None:
        """Type on the console.

        Raises:
            ProaError: ``TOOL`` when the machine is off.
        """
        with self._news:
            connection = self._connection
        if connection is None:
            raise ProaError(Code.TOOL, "nothing can be typed: the machine is off")
        connection.sendall(data)

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines so far, the unfinished one included."""
        with self._news:
            current = self._transcript.current
            return (*self._transcript.lines, *([current] if current.text.strip() else []))

    @property
    def text(self) -> str:
        """All lines so far as one text."""
        return "\n".join(line.text for line in self.lines)

    def mark(self) -> int:
        """Here: what is said from now on has a number of at least this."""
        with self._news:
            return len(self._transcript.lines)

    def wait_for(
        self, pattern: str, deadline: Deadline, *, since: int = 0, alive: Callable[[], bool] = lambda: True
    ) -> re.Match[str]:
        """Wait for a line, not counting those before the mark ``since``, and return the match.

        Raises:
            ProaError: ``TIMEOUT`` with the last lines; ``CONSOLE`` when the machine ended without saying it.
        """
        wanted = re.compile(pattern)
        with self._news:
            while True:
                if found := self._search(wanted, since):
                    return found
                since = max(since, len(self._transcript.lines))
                if not alive():
                    raise ProaError(Code.CONSOLE, f"the machine ended without printing /{pattern}/", hint=self.tail())
                if deadline.passed:
                    raise ProaError(
                        Code.TIMEOUT, f"{deadline.what}: not within {deadline.seconds:.0f} s", hint=self.tail()
                    )
                self._news.wait(min(deadline.remaining, _QUIET_SECONDS))

    def _search(self, wanted: re.Pattern[str], since: int) -> re.Match[str] | None:
        for line in self._transcript.lines[since:]:
            if found := wanted.search(line.text):
                return found
        current = self._transcript.current.text
        found = wanted.search(current)
        return found if found and (found.end() < len(current) or self._is_quiet()) else None

    def _is_quiet(self) -> bool:
        return self._clock.monotonic() - self._heard >= _QUIET_SECONDS

    def tail(self, count: int = 15) -> str:
        """The last lines, as an error shows them."""
        return "The console's last lines:\n" + "\n".join(f"    {line.text}" for line in self.lines[-count:])

    def findings(self, allowed: Iterable[str] = (), since: int = 0) -> list[Finding]:
        """The bad signs from line ``since`` on, but for those allowed by name, here or by :meth:`allowing`."""
        lines, names = self.lines, check_names(allowed) | self._always
        with self._news:
            allowances = tuple(self._allowances)
        found = []
        for number, line in enumerate(lines[since:], since):
            here = names.union(*(spell.names for spell in allowances if spell.holds(number)))
            found += scan([line], here)
        return found

    @contextmanager
    def allowing(self, *names: str) -> Iterator[None]:
        """Let these bad signs pass as long as the block runs.

        Raises:
            ProaError: ``USAGE`` when a name is that of no bad sign.
        """
        allowance = _Allowance(check_names(names), self.mark())
        with self._news:
            self._allowances.append(allowance)
        try:
            yield
        finally:
            allowance.end = len(self.lines)


def scan(lines: Iterable[Line], allowed: Iterable[str] = ()) -> list[Finding]:
    """Read lines against all bad signs whose names are not ``allowed``.

    Raises:
        ProaError: ``USAGE`` when an allowed name is none.
    """
    names = check_names(allowed)
    signs = [sign for sign in BAD_SIGNS if sign.name not in names]
    return [Finding(sign, line) for line in lines for sign in signs if sign.shows(line.text)]


def check_names(names: Iterable[str]) -> frozenset[str]:
    """The names as a set.

    Raises:
        ProaError: ``USAGE`` when one is that of no bad sign.
    """
    known = {sign.name for sign in BAD_SIGNS}
    if unknown := set(names) - known:
        hint = f"There are: {', '.join(sorted(known))}."
        raise ProaError(Code.USAGE, f"there is no bad sign {', '.join(sorted(unknown))}", hint=hint)
    return frozenset(names)


@dataclass
class _Allowance:
    names: frozenset[str]
    start: int
    end: int | None = None

    def holds(self, line: int) -> bool:
        return self.start <= line and (self.end is None or line < self.end)


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""
