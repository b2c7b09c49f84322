"""What an API server said no to, or why there was no answer: typed, so that nobody reads messages.

Errors of an API server are ``Status`` documents (Kubernetes, "API Conventions", section "Response Status Kind"), but
what stands before it answers in plain text or HTML: a body is read only when its content type says what it is.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from proa.core.oci.failures import causes, words
from proa.core.oci.retry import retry_after
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.parsing import json_value
from proa.core.runtime.printable import one_line

MAX_MESSAGE: Final = 600
"""Characters of a message that are kept: the API server repeats whole objects in some."""
MAX_BODY: Final = 256 * 1024
_CODES: Final[Mapping[int, Code]] = {
    400: Code.CLUSTER_INVALID,
    401: Code.CLUSTER_AUTH,
    403: Code.CLUSTER_FORBIDDEN,
    404: Code.CLUSTER_MISSING,
    409: Code.CLUSTER_CONFLICT,
    410: Code.CLUSTER_EXPIRED,
    422: Code.CLUSTER_INVALID,
    429: Code.CLUSTER_BUSY,
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One of the causes of a refusal.

    Attributes:
        reason: In a word, such as ``DisruptionBudget``.
        message: In a sentence.
        field: Of the object.
    """

    reason: str
    message: str
    field: str = ""


class ApiError(ProaError):
    """A request that did not come out well.

    Attributes:
        status: The HTTP status; 0 where there was no answer.
        reason: The API server's word for it, such as ``AlreadyExists``; empty where somebody else has answered.
        causes: Why in detail.
        retry_after: How many seconds the server wants to be left alone; none if it does not say.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        reason: str = "",
        causes: tuple[Cause, ...] = (),
        retry_after: float | None = None,
        at: str = "",
    ) -> None:
        self.status = status
        self.reason = reason
        self.causes = causes
        self.retry_after = retry_after
        super().__init__(_CODES.get(status, Code.CLUSTER_ERROR if status else Code.CLUSTER), message, at=at)

    @property
    def is_away(self) -> bool:
        """Whether the API server, or the way to it, is in trouble: the same request may come out well later."""
        return self.status == 0 or self.status == 429 or self.status >= 500


def of_response(status: int, headers: Mapping[str, str], body: bytes, at: str, now: datetime) -> ApiError:
    """The error that an answer is.

    Args:
        status: The HTTP status.
        headers: The answer's headers.
        body: What was sent, or its beginning.
        at: The request, as ``METHOD PATH``.
        now: The wall clock: a ``Retry-After`` may be a date.
    """
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    document = _status_document(body) if kind == "application/json" else None
    after = retry_after(headers.get("Retry-After"), now)
    if document is not None:
        return of_status(document, at, status, after)
    said = f": {one_line(body.decode(errors='replace'), 200)}" if kind == "text/plain" and body else ""
    what = "a redirect to another address" if 300 <= status < 400 else "but not as an API server does"
    return ApiError(status, f"answered {status}{said or f', {what}'}", retry_after=after, at=at)


def of_status(document: Mapping[str, Any], at: str, status: int = 0, after: float | None = None) -> ApiError:
    """The error that a ``Status`` document stands for.

    Args:
        document: The document.
        at: The request.
        status: The HTTP status, if there was one; an event of a watch has none.
        after: What a ``Retry-After`` asks for.
    """
    details = document.get("details")
    details = details if isinstance(details, Mapping) else {}
    given = details.get("causes")
    found = tuple(
        Cause(*(one_line(str(cause.get(key) or ""), MAX_MESSAGE) for key in ("reason", "message", "field")))
        for cause in (given if isinstance(given, list) else ())
        if isinstance(cause, Mapping)
    )
    code, wait = document.get("code"), details.get("retryAfterSeconds")
    if not status:
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
    if after is None and isinstance(wait, (int, float)) and wait > 0:
        after = float(wait)
    message = one_line(str(document.get("message") or ""), MAX_MESSAGE) or f"answered {status}"
    reason = one_line(str(document.get("reason") or ""), 80)
    return ApiError(status, message, reason=reason, causes=found, retry_after=after, at=at)


def of_failure(error: Exception, at: str) -> ApiError:
    """What a request comes to that had no answer. The library's own words are not used: they may hold secrets."""
    chain = list(causes(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ApiError(0, f"its certificate is not trusted: {cause.verify_message}", at=at)
        if isinstance(cause, ssl.SSLError):
            return ApiError(0, f"TLS failed: {one_line(cause.reason or 'no reason given', 80)}", at=at)
    return ApiError(0, words(chain), at=at)


def _status_document(body: bytes) -> Mapping[str, Any] | None:
    try:
        document = json_value(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) and document.get("kind") == "Status" else None
