"""Objects as plain JSON, and a watch of them: events as they come, one line of JSON each.

It is read by ``read1``, which gives what is there: a reader that fills its buffer first would keep the last event back
until the next one comes (Kubernetes, "API Concepts", "Efficient detection of changes").

Resource versions are handed back as they came, and compared where they are what Kubernetes has promised since 1.35: of
one resource, a higher number is a later state (KEP-5504, "Comparable Resource Version"), a decimal number without
leading zeros. What is anything else, as an older or a foreign API server may have it, is compared with nothing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Self

import urllib3
from urllib3.exceptions import HTTPError

from proa.core.runtime.parsing import json_value
from proa.scheduler.kube.apierror import ApiError, of_failure, of_status

MAX_LINE: Final = 16 * 1024 * 1024
"""Bytes of one event; etcd takes objects of 1.5 MiB."""
Object = dict[str, Any]
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,38}")
"""Up to 128 bits."""


class Event(NamedTuple):
    """One event.

    Attributes:
        type: ``ADDED``, ``MODIFIED``, ``DELETED`` or ``BOOKMARK``.
        object: The object.
    """

    type: str
    object: Object


def part(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object within another one; empty if there is none."""
    found = item.get(key)
    return found if isinstance(found, Mapping) else {}


def parts(item: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """A list of objects within an object; empty if there is none."""
    found = item.get(key)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def whole(value: object, otherwise: int = 0) -> int:
    """A whole number that is not negative; ``otherwise`` for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise


def version_of(item: Mapping[str, Any]) -> str:
    """The resource version of an object or a list, as it is handed back; empty where there is none."""
    metadata = item.get("metadata")
    return str(metadata.get("resourceVersion") or "") if isinstance(metadata, Mapping) else ""


def number_of(version: str) -> int:
    """What two versions are compared by; 0 for one that cannot be."""
    return int(version) if _NUMBER.fullmatch(version) else 0


class Stream:
    """One thread goes through it; any other may :meth:`stop` it.

    Args:
        response: The answer, not read yet.
        at: The request, for errors.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse, at: str) -> None:
        self._response = response
        self._at = at
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()

    def __iter__(self) -> Iterator[Event]:
        """Every event, until the server ends the stream or it is stopped.

        Raises:
            ApiError: When the stream breaks, falls silent for too long, or ends with an error of the server, such as
                410.
        """
        parts: list[bytes] = []
        size = 0
        while data := self._read():
            head, newline, rest = data.partition(b"\n")
            parts.append(head)
            size += len(head)
            if size > MAX_LINE:
                raise ApiError(0, f"it sent an event of more than {MAX_LINE} bytes", at=self._at)
            while newline:
                yield self._event(b"".join(parts))
                head, newline, rest = rest.partition(b"\n")
                parts, size = [head], len(head)
        if any(parts) and not self._stopped:
            raise ApiError(0, "the connection was interrupted within an event", at=self._at)

    def stop(self) -> None:
        """End it, from any thread, also while another one waits for the next event."""
        self._stopped = True
        # It may have ended already, or be closed at this very moment.
        with contextlib.suppress(ValueError, RuntimeError, TypeError, OSError):
            self._response.shutdown()

    def _read(self) -> bytes:
        try:
            return self._response.read1()
        except (HTTPError, OSError, ValueError) as error:
            if self._stopped:
                return b""
            raise of_failure(error, self._at) from error

    def _event(self, line: bytes) -> Event:
        try:
            document = json_value(line)
            kind, found = document["type"], document["object"]
            if kind == "ERROR":
                raise of_status(found, self._at)
            if not isinstance(found["metadata"], dict):
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ApiError(0, "it sent something that is not an event", at=self._at) from error
        return Event(kind, found)
