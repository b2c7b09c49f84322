"""HTTP and JSON over a Unix socket, from the caller's side: what the node's own programs say to its agent."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.parsing import json_value

MAX_ANSWER: Final = 1 << 22
"""Bytes of an answer, or of one line of a stream, beyond which it is not believed."""
_LOST: Final = (OSError, http.client.HTTPException, ValueError, RecursionError)


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, limit: float) -> None:
        super().__init__("localhost", timeout=limit)
        self._path = path
        self._limit = limit

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._limit)
        self.sock.connect(str(self._path))

    def send(self, data: Any) -> None:
        # A busy server says so without having read the request: what it said is read all the same.
        with suppress(BrokenPipeError):
            super().send(data)


@dataclass(frozen=True)
class UnixHttp:
    """A server behind a Unix socket.

    Attributes:
        path: The socket.
        limit: Seconds for an answer.
        silence: Seconds without a line after which a stream counts as broken.
        who: Who listens there, as errors name it.
        forbidden: What it means that the socket may not even be opened.
    """

    path: Path
    limit: float = 60.0
    silence: float = 60.0
    who: str = "the daemon"
    forbidden: str = "the daemon does not answer this user"

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send one request; the document of the answer.

        Raises:
            ProaError: The server's own error, by its code; ``NOT_ALLOWED``, or ``DEVICE`` when it cannot be reached,
                goes away, or says what is no answer.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        with self._connected(self.limit) as connection:
            connection.request(method, path, data, headers)
            with connection.getresponse() as response:
                return _answer(response.read(MAX_ANSWER + 1))

    def lines(self, path: str) -> Iterator[dict[str, Any]]:
        """The documents of a stream, one a line, until the server ends it.

        Raises:
            ProaError: as :meth:`ask`; ``DEVICE`` also after ``silence``.
        """
        with self._connected(self.silence) as connection:
            connection.request("GET", path)
            with connection.getresponse() as response:  # it holds the socket once the connection is to be closed
                if response.status != http.HTTPStatus.OK:
                    _answer(response.read(MAX_ANSWER + 1))
                    raise ValueError(f"it answered with status {response.status}")
                while line := response.readline(MAX_ANSWER + 1):
                    yield _answer(line)

    def lost(self, why: object) -> ProaError:
        """The error for a server that cannot be reached."""
        if isinstance(why, PermissionError):
            return ProaError(Code.NOT_ALLOWED, self.forbidden, at=self.path)
        what = f"{self.who} cannot be reached: {why}"
        return ProaError(Code.DEVICE, what, at=self.path, hint="systemctl status proa-agent")

    @contextmanager
    def _connected(self, limit: float) -> Iterator[_Connection]:
        connection = _Connection(self.path, limit)
        try:
            yield connection
        except _LOST as error:
            raise self.lost(error) from error
        finally:
            connection.close()


def read_error(document: Mapping[str, Any]) -> ProaError:
    """The error that a document of ``proa.error/v1`` is; a code of a newer version counts as ``INTERNAL``."""
    code = Code.__members__.get(str(document.get("code")), Code.INTERNAL)
    message, at, hint = (str(document.get(key, "")) for key in ("message", "at", "hint"))
    return ProaError(code, message, at=at, hint=hint)


def _answer(data: bytes) -> dict[str, Any]:
    """The document that an answer is.

    Raises:
        ProaError: The error that it is instead.
        ValueError: When it is none of both.
    """
    if len(data) > MAX_ANSWER:
        raise ValueError(f"its answer has more than {MAX_ANSWER} bytes")
    document = json_value(data)
    if not isinstance(document, dict):
        raise ValueError("its answer is not a JSON object")
    if document.get("schema") == "proa.error/v1":
        raise read_error(document)
    return document
