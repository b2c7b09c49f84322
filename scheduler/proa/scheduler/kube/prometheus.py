"""Prometheus: one question, with limits on everything (its HTTP API, "Instant queries").

Only an answer that says so counts as empty: one that is partial, of another kind, too late, too long or no answer at
all does not. The token goes to the address that was given and to no other, and never into a message.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from proa.core import VERSION
from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.parsing import json_value
from proa.core.runtime.printable import one_line
from proa.scheduler.kube.apierror import of_failure

MAX_ANSWER: Final = 1 << 20
"""Bytes of an answer that are read."""
MAX_TOKEN: Final = 1 << 16
_CONNECT: Final = 5.0
_SHOWN: Final = 3
"""Series of a result that a sentence names."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class UnansweredError(Exception):
    """There is no answer that counts; the message says why."""


@dataclass(frozen=True)
class PrometheusAccess:
    """Where Prometheus is, and how it is asked.

    Attributes:
        url: Its address, without ``/api/v1``.
        secret: A folder with ``ca.crt``, which alone is trusted then, and ``token``; either may be missing. They are
            read for every question, as they may be renewed at any time. None for no such folder.
    """

    url: str
    secret: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be asked.

        Raises:
            ProaError: ``USAGE``.
        """
        try:
            parts, port = urlsplit(self.url), urlsplit(self.url).port
        except ValueError:
            raise _wrong("it is not an address", "Write it as https://prometheus.monitoring.svc:9090.") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise _wrong("it is not an http or https address", "Write it as https://prometheus.monitoring.svc:9090.")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise _wrong(
                "it must not contain a password or a query", "Put a token into the folder --prometheus-secret."
            )

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read what is sent."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" or parts.hostname in _LOOPBACK

    def token(self) -> str:
        """The token; empty if there is none.

        Raises:
            UnansweredError: When it cannot be read, or would be sent for all to see.
        """
        found = self._read("token", MAX_TOKEN)
        if found and not self.is_private:
            raise UnansweredError("the token is sent over https only: use an https address")
        if not all(char.isascii() and char.isprintable() for char in found):
            raise UnansweredError("the token contains characters that no token may have")
        return found

    def context(self) -> ssl.SSLContext | None:
        """What its certificate is judged by; none without TLS.

        Raises:
            UnansweredError: When ``ca.crt`` cannot be read.
        """
        if not self.url.startswith("https"):
            return None
        trusted = self._read("ca.crt", MAX_ANSWER)
        try:
            return ssl.create_default_context(cadata=trusted or None)
        except (ssl.SSLError, ValueError):
            raise UnansweredError("ca.crt contains no certificate") from None

    def _read(self, name: str, most: int) -> str:
        if self.secret is None:
            return ""
        try:
            with (self.secret / name).open(encoding="ascii") as file:
                return file.read(most).strip()
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            raise UnansweredError(f"{name} cannot be read: {type(error).__name__}") from None


def ask(access: PrometheusAccess, query: str, seconds: float, clock: Clock = SYSTEM) -> tuple[str, ...]:
    """The series that a query gives now, each in a few words: none if its result is empty.

    Args:
        access: Where.
        query: What, in PromQL.
        seconds: How long the whole answer may take.
        clock: The clock.

    Raises:
        UnansweredError: For anything but a whole answer.
    """
    until, token = clock.monotonic() + seconds, access.token()
    headers = {"User-Agent": f"proa-scheduler/{VERSION}", "Accept": "application/json"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    target = f"{access.url.rstrip('/')}/api/v1/query?{urlencode({'query': query, 'timeout': f'{seconds:.0f}s'})}"
    timeout = urllib3.Timeout(connect=min(_CONNECT, seconds), read=seconds)
    try:
        with urllib3.PoolManager(ssl_context=access.context(), retries=False, timeout=timeout) as pool:
            response = pool.request("GET", target, headers=headers, redirect=False, preload_content=False)
            with response:
                body = b"".join(_chunks(response, until, clock))
        return tuple(_series(response.status, body))
    except (HTTPError, OSError) as error:
        raise UnansweredError(of_failure(error, "").message) from None
    except UnansweredError as error:  # what a server says may repeat what it was sent
        raise UnansweredError(str(error).replace(token, "(token)") if token else str(error)) from None


def _chunks(response: urllib3.BaseHTTPResponse, until: float, clock: Clock) -> Iterator[bytes]:
    """The body as it comes, so that neither a trickle nor a flood is read to its end, and nothing is unpacked."""
    size = 0
    while chunk := response.read1(1 << 16, decode_content=False):
        size += len(chunk)
        if size > MAX_ANSWER:
            raise UnansweredError(f"its answer is longer than {MAX_ANSWER} bytes")
        if clock.monotonic() > until:
            raise UnansweredError("it did not answer in time")
        yield chunk


def _series(status: int, body: bytes) -> Iterator[str]:
    """What an answer tells.

    Raises:
        UnansweredError: If it is not a whole result of a kind that can be empty.
    """
    try:
        told = json_value(body)
    except ValueError:
        told = None
    if not isinstance(told, dict) or told.get("status") not in ("success", "error"):
        raise UnansweredError(f"it answered {status}, but not as Prometheus does")
    if status != 200 or told["status"] != "success":
        raise UnansweredError(f"it answered {status}: {one_line(str(told.get('error') or 'no reason given'), 200)}")
    if told.get("warnings"):
        raise UnansweredError(f"its answer may be incomplete: {one_line(str(told['warnings']), 200)}")
    data = told.get("data")
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(data, dict) or data.get("resultType") != "vector" or not isinstance(result, list):
        raise UnansweredError(
            "the query gives no instant vector, so its result is never empty: compare it, as in 'x > 0'"
        )
    return (_words(one.get("metric") if isinstance(one, dict) else None) for one in result)


def _words(labels: object) -> str:
    """A series in a few words: its alert and what that is about."""
    known: Mapping[str, Any] = labels if isinstance(labels, dict) else {}
    name = known.get("alertname") or known.get("__name__") or "a series"
    about = [f"{key}={known[key]}" for key in ("namespace", "node", "instance", "job") if key in known]
    return one_line(" ".join((str(name), *about)), 120)


def shown(series: tuple[str, ...]) -> str:
    """A result for a sentence."""
    more = f" and {len(series) - _SHOWN} more" if len(series) > _SHOWN else ""
    return ", ".join(series[:_SHOWN]) + more


def _wrong(what: str, hint: str) -> ProaError:
    return ProaError(Code.USAGE, f"Prometheus cannot be queried there: {what}", at="--prometheus", hint=hint)
