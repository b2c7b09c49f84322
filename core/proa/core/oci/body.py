"""Reading the bodies of answers: never more than allowed, never slower than allowed, and only what was meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import requests
import urllib3

from proa.core.oci.connection import wire_of
from proa.core.oci.failures import network_failure, safe_url
from proa.core.oci.headers import media_type
from proa.core.oci.retry import Patience, Temporary
from proa.core.runtime.errors import Code, ProaError

_READ: Final = 256 * 1024
_CONTENT_RANGE = re.compile(r"bytes[ \t]+([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)", re.I)
_PARTIAL: Final = 206
_RANGE_REFUSED: Final = 416


def read_chunks(response: requests.Response, limit: int, patience: Patience, url: str) -> Iterator[bytes]:
    """At most ``limit`` bytes of a body, as they come. A longer one is cut off and its connection closed.

    Raises:
        Temporary: When the connection fails, or is too slow.
        ProaError: ``NETWORK`` when the time is up.
    """
    left = limit
    try:
        while True:
            try:
                # A wait ends with the first byte of content: what comes around it, chunk sizes or trailers, is silence.
                with patience.waiting(), wire_of(response).within(min(patience.limits.silence, patience.left)):
                    # read1 comes back after each packet, so that a trickle is noticed.
                    chunk = response.raw.read1(min(_READ, left) if left else 1)
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                raise network_failure(error, url, patience.clock.now()) from error
            if not chunk or not left:
                break
            left -= len(chunk)
            patience.got(len(chunk))
            yield chunk
    finally:
        response.close()


def read_all(response: requests.Response, limit: int, patience: Patience, url: str) -> bytes:
    """A small body, whole.

    Raises:
        Temporary: When the connection fails, or ends before the body does.
        ProaError: ``REGISTRY`` when it is longer than ``limit``.
    """
    check_encoding(response, url)
    data = b"".join(read_chunks(response, limit + 1, patience, url))
    length = _length(response)
    if len(data) > limit or (length or 0) > limit:
        raise ProaError(Code.REGISTRY, f"the answer has more than {limit} bytes", at=safe_url(url))
    if length is not None and len(data) != length:
        raise Temporary(
            ProaError(Code.NETWORK, f"the answer ended after {len(data)} of {length} bytes", at=safe_url(url))
        )
    return data


def check_encoding(response: requests.Response, url: str) -> None:
    """Refuse a body that a middleman compressed, or a web page in its place.

    Raises:
        Temporary: Another try may get past the middleman.
    """
    headers = response.headers
    at = safe_url(url)
    if headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise Temporary(ProaError(Code.REGISTRY, "the body is compressed, which was not requested", at=at))
    if headers.get("Transfer-Encoding", "chunked").strip().lower() not in ("chunked", "identity"):
        raise Temporary(ProaError(Code.REGISTRY, "the body has an unknown transfer encoding", at=at))
    if media_type(headers.get("Content-Type")) in ("text/html", "application/xhtml+xml"):
        what = "the answer is a web page instead of the content"
        raise Temporary(ProaError(Code.REGISTRY, what, at=at, hint="Check for a proxy or a captive portal on the way."))


def check_range(response: requests.Response, size: int, start: int, stop: int, url: str) -> tuple[int, int]:
    """What the body of an answer to a (range) request holds.

    Args:
        response: The answer: 200 with the whole blob, or 206 with a part.
        size: The blob's signed size.
        start: The first byte that was asked for.
        stop: The byte after the last one that was asked for.
        url: Where it was asked for.

    Returns:
        The number of bytes to leave out at its beginning, and how many it has in all.

    Raises:
        Temporary: When it is not what was asked for; ``DIGEST`` within if the size is not the signed one.
    """
    at = safe_url(url)
    if response.status_code == _RANGE_REFUSED:
        raise Temporary(ProaError(Code.DIGEST, f"bytes {start} to {stop} are outside a blob of {size} bytes", at=at))
    check_encoding(response, url)
    length = _length(response)
    if response.status_code != _PARTIAL:
        if length is not None and length != size:
            raise Temporary(ProaError(Code.DIGEST, f"it has {length} bytes, but {size} are signed", at=at))
        return start, size
    part = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if not part:
        raise Temporary(ProaError(Code.REGISTRY, "the registry sent a part without saying which", at=at))
    first, last = int(part[1]), int(part[2])
    if part[3] not in ("*", str(size)):
        raise Temporary(ProaError(Code.DIGEST, f"it has {part[3]} bytes, but {size} are signed", at=at))
    if first != start or not start <= last < stop or length not in (None, last - first + 1):
        raise Temporary(
            ProaError(
                Code.REGISTRY, f"the registry sent bytes {first} to {last} instead of {start} to {stop - 1}", at=at
            )
        )
    return 0, last - first + 1


def _length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text[:16]) if text.isascii() and text.isdigit() else None
