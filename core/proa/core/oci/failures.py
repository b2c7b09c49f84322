"""What went wrong with a request, in words without secrets, and whether another try may mend it."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import requests
import urllib3

from proa.core.oci.connection import wire_of
from proa.core.oci.headers import date
from proa.core.oci.retry import Temporary, retry_after
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.parsing import json_value
from proa.core.runtime.printable import one_line

_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_LOGIN_HINT: Final = "Log in with 'docker login' or 'podman login', or name the auth file."
_PROXY_DENIED: Final = 407
_MALFORMED: Final = (
    requests.exceptions.InvalidProxyURL,
    requests.exceptions.InvalidURL,
    urllib3.exceptions.LocationValueError,
    UnicodeError,
)
"""What the libraries raise for hosts and ports that cannot be."""
_MAX_TEXT: Final = 16 * 1024
_EXPIRED: Final = 10
_OUT_OF_TIME: Final = frozenset({9, _EXPIRED})
"""OpenSSL's codes for a certificate that is not valid yet, and not any more."""
_TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3})\b", re.ASCII)
"""What the library raises where a proxy refuses CONNECT."""
_SAID_SECONDS: Final = 5.0
"""How long the registry's own words are waited for."""


def safe_url(url: str) -> str:
    """A URL without user, password, query and fragment, which may hold secrets, as they do in signed links."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "(a malformed URL)"
    host = f"[{host}]" if ":" in host else host
    return one_line(f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}", 300)


def network_failure(error: Exception, url: str, now: datetime) -> Temporary | ProaError:
    """The error that a failed connection amounts to: a wrong certificate stays wrong, most other failures may pass.

    The library's own text is never used: it holds whole URLs, and proxies with their passwords.

    Args:
        error: What was raised.
        url: Who was to be reached.
        now: The wall clock, which may be why a certificate is not valid.
    """
    at = safe_url(url)
    chain = list(causes(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = f"the certificate is not trusted: {cause.verify_message}"
            return ProaError(Code.NETWORK, why, at=at, hint=_certificate_hint(getattr(cause, "verify_code", 0), now))
        if isinstance(cause, OSError) and (refused := _TUNNEL.match(str(cause))):
            return _refused_tunnel(int(refused[1]), at)
        if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
            return ProaError(Code.PLAIN_HTTP, "the registry does not speak TLS", at=at)
        if isinstance(cause, ssl.SSLError) and (cause.reason or "").startswith(("TLSV", "SSLV")):
            hint = _certificate_hint(_EXPIRED, now) if "EXPIRED" in str(cause.reason) else ""
            return ProaError(Code.NETWORK, f"the server refused the TLS connection: {cause.reason}", at=at, hint=hint)
    if isinstance(error, _MALFORMED):
        return ProaError(Code.NETWORK, "the URL of the registry or of the proxy is malformed", at=at)
    return Temporary(ProaError(Code.NETWORK, words(chain), at=at))


def status_failure(response: requests.Response, url: str, *, own: bool, now: datetime) -> Temporary | ProaError | None:
    """The error that a status amounts to; None for one below 400.

    Args:
        response: The answer.
        url: Who gave it.
        own: Whether that was the registry itself. Another host was reached by a link, and links expire.
        now: The wall clock, for a server that does not tell its own.
    """
    status = response.status_code
    at = safe_url(url)
    if status < 400:
        return None
    said = _said(response)
    if status in _BUSY:
        after = retry_after(response.headers.get("Retry-After"), date(response.headers.get("Date")) or now)
        return Temporary(ProaError(Code.REGISTRY, f"answered {status}{said}", at=at), after)
    if not own:
        return Temporary(ProaError(Code.REGISTRY, f"the linked storage answered {status}", at=at))
    if status in (401, 403):
        return ProaError(Code.AUTH, f"answered {status}{said}", at=at, hint=_LOGIN_HINT)
    if status == _PROXY_DENIED:
        return _refused_tunnel(status, at)
    return ProaError(Code.REGISTRY, f"answered {status}{said}", at=at)


def _certificate_hint(code: int, now: datetime) -> str:
    if code not in _OUT_OF_TIME:
        return "Name the registry's CA with --ca-file."
    return f"This machine's clock says {now:%Y-%m-%d %H:%M} UTC: set it if that is wrong, else renew the certificate."


def _refused_tunnel(status: int, at: str) -> Temporary | ProaError:
    """What a proxy's refusal comes to."""
    if status == _PROXY_DENIED:
        hint = "Put USER:PASSWORD@ before the proxy's host: 'proxy' of registry.toml, --proxy or https_proxy."
        return ProaError(Code.NETWORK, "the proxy requires a login, or rejects the one it got", at=at, hint=hint)
    error = ProaError(
        Code.NETWORK,
        f"the proxy did not allow the connection: it answered {status}",
        at=at,
        hint="Allow the host on the proxy, or name it in no_proxy.",
    )
    return Temporary(error) if status in _BUSY else error


def no_login(host: str, at: str) -> ProaError:
    """The registry wants a login, and there is none."""
    return ProaError(
        Code.AUTH, f"{host} requires a login, and there are no credentials for it", at=at, hint=_LOGIN_HINT
    )


def bad_login(host: str, at: str) -> ProaError:
    """The login was refused."""
    return ProaError(Code.AUTH, f"{host} rejects the credentials", at=at, hint=_LOGIN_HINT)


def _said(response: requests.Response) -> str:
    """The registry's own words (distribution-spec, "Error Codes"), if it has any."""
    try:
        with wire_of(response).within(_SAID_SECONDS):
            data = response.raw.read1(_MAX_TEXT) if response.raw is not None else b""
        first = json_value(data)["errors"][0]
        return f": {one_line(str(first.get('code') or ''), 40)} {one_line(str(first.get('message') or ''))}".rstrip()
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    except (urllib3.exceptions.HTTPError, OSError):
        return ""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it wraps, and what caused it."""
    seen: set[int] = set()
    stack = [error]
    while stack:
        found = stack.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        inner = [item for item in found.args if isinstance(item, BaseException)]
        reason = getattr(found, "reason", None)
        stack += [found.__context__, found.__cause__, reason if isinstance(reason, BaseException) else None, *inner]


_WORDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (socket.gaierror, "the host name cannot be resolved"),
    (ConnectionRefusedError, "the connection was refused"),
    (TimeoutError, "no answer in time"),
    (ConnectionResetError, "the connection was interrupted"),
    (urllib3.exceptions.ProxyError, "the proxy did not allow the connection"),
    (urllib3.exceptions.ReadTimeoutError, "no answer in time"),
    (urllib3.exceptions.NewConnectionError, "the connection could not be established"),
    (requests.Timeout, "no answer in time"),
)
"""What a failure is called, the first that is found in it: the libraries wrap them in many ways."""


def words(chain: Sequence[BaseException]) -> str:
    """A name for the failure of a connection, derived from its :func:`causes`."""
    for kind, words in _WORDS:
        if any(isinstance(cause, kind) for cause in chain):
            return words
    told = next((cause.strerror for cause in chain if isinstance(cause, OSError) and cause.strerror), "")
    return f"the connection failed: {told}" if told else "the connection was interrupted"
