"""HTTP with one registry, by rules that hold for every request: see :class:`Session`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import BaseAdapter

from proa.core import VERSION
from proa.core.oci.access import Access
from proa.core.oci.body import read_all
from proa.core.oci.connection import Adapter
from proa.core.oci.failures import network_failure, safe_url, status_failure
from proa.core.oci.limits import DEFAULT_LIMITS, TransferLimits
from proa.core.oci.pace import Pace
from proa.core.oci.proxy import proxies
from proa.core.oci.reference import is_loopback
from proa.core.oci.retry import Patience
from proa.core.oci.tokens import Authenticator
from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.stop import NEVER, Stop

MAX_TOKEN_ANSWER: Final = 256 * 1024
"""Bytes of a token service's answer beyond which it is refused."""

_ALWAYS: Final = {"User-Agent": f"proa/{VERSION}", "Accept-Encoding": "identity", "Accept": "*/*"}
_API_HOSTS: Final = {"docker.io": "registry-1.docker.io"}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD: Final = frozenset({307, 308})
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))
"""What goes into a request's target as it is."""

Body = Callable[[], Iterable[bytes]]
"""A request's body, read afresh for every try."""


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        method: ``GET`` and so on.
        url: Absolute.
        headers: Sent wherever the request is led to. Nothing secret.
        body: What to send.
        size: Bytes of the body.
        understood: Error statuses of the registry that the caller makes sense of itself.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    size: int = 0
    understood: Collection[int] = (404, 405, 416)


class RegistrySession:
    """HTTP with one registry.

    Credentials and the client's certificate go to the registry's own origin and nowhere else; a redirect never
    leads from TLS to plain HTTP; plain HTTP is asked about at every hop; nothing waits longer than the limits, whatever
    dribbles; no cookies, no ``.netrc``; bodies are never decompressed; links are followed as they were sent; what an
    error tells holds neither header, query nor password.

    Args:
        host: The registry, with its port if it has one.
        name: The repository.
        access: How it may be reached.
        plain_http: Whether the registry itself is spoken to in plain HTTP; says nothing of other hosts.
        limits: Time limits.
        clock: Whose time counts.
        stop: Who may want an exchange to end.
        transport: What carries requests instead of the network: for tests.
        pace: A limit on bytes per second that other sessions share; by default one of its own.
    """

    def __init__(
        self,
        host: str,
        name: str,
        access: Access,
        *,
        plain_http: bool = False,
        limits: TransferLimits = DEFAULT_LIMITS,
        clock: Clock = SYSTEM,
        stop: Stop = NEVER,
        transport: BaseAdapter | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.limits = limits
        self.clock = clock
        self.access = access
        self._pace = pace or Pace(limits.maximum_rate, clock)
        plain = access.plain_http or plain_http
        self.base = f"{'http' if plain else 'https'}://{_API_HOSTS.get(host, host)}"
        self._own = transport or Adapter(lambda: access.context(client=True), stop)
        # Other hosts, such as the storage behind a registry, are met without the client's certificate.
        self._foreign = transport or Adapter(lambda: access.context(client=False), stop)
        self._authenticator = Authenticator(host, name, access.auth_file)

    def close(self) -> None:
        """Give back all connections."""
        self._own.close()
        self._foreign.close()

    def patience(self, size: int = 0) -> Patience:
        """The time and the tries for one transfer of ``size`` bytes."""
        return Patience(self.limits, size, self.clock, pace=self._pace)

    def exchange(self, call: Call, patience: Patience) -> requests.Response:
        """Send a request to the registry, log in if it asks for that, follow its redirects.

        The body of the response is not read yet: close it. Its status is below 400 or one that the
        call understands.

        Args:
            call: The request.
            patience: The time that there is.

        Raises:
            Temporary: What another try may mend: connection, 408, 429, 5xx, expired links.
            ProaError: ``AUTH``, ``REGISTRY`` or ``NETWORK``.
        """
        with patience.waiting():
            return self._exchange(call, patience)

    def _exchange(self, call: Call, patience: Patience) -> requests.Response:
        sent = self._authorization(call.url)
        response, url = self._follow(call, sent, patience)
        if self._is_own(url) and _asks_for_login(response):
            response.close()
            self._authenticator.answer(
                response.headers.get("WWW-Authenticate", ""),
                safe_url(url),
                lambda where, headers: self._ask_token_service(where, headers, patience),
                sent,
            )
            response, url = self._follow(call, self._authorization(call.url), patience)
        if self._is_own(url) and response.status_code in call.understood:
            return response
        failure = status_failure(response, url, own=self._is_own(url), now=self.clock.now())
        if failure:
            response.close()
            raise failure
        return response

    def _is_own(self, url: str) -> bool:
        return _origin(url) == _origin(self.base)

    def _authorization(self, url: str) -> Mapping[str, str]:
        return self._authenticator.header() if self._is_own(url) else {}

    def _follow(self, call: Call, secrets: Mapping[str, str], patience: Patience) -> tuple[requests.Response, str]:
        """The answer and who gave it. ``secrets`` are headers for the origin of the call and no other."""
        url = call.url
        for _ in range(self.limits.redirects + 1):
            same_origin = _origin(url) == _origin(call.url)
            response = self._send(call, url, secrets if same_origin else {}, patience)
            if response.status_code not in _REDIRECTS:
                return response, url
            with response:
                url = _redirect(call, url, response)
        raise ProaError(Code.REGISTRY, f"more than {self.limits.redirects} redirects", at=safe_url(call.url))

    def _send(self, call: Call, url: str, secrets: Mapping[str, str], patience: Patience) -> requests.Response:
        self._check_plain(url)
        adapter = self._own if self._is_own(url) else self._foreign
        request = _prepared(call, url, secrets)
        limits = (self.limits.connect, self.limits.silence)
        seconds = patience.head(call.size)
        try:
            if isinstance(adapter, Adapter):
                return adapter.exchange(request, seconds, limits, proxies(url, self.access))
            return adapter.send(request, stream=True, timeout=limits, verify=True)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise network_failure(error, url, self.clock.now()) from error

    def _check_plain(self, url: str, *, allowed: bool | None = None) -> None:
        """Refuse plain HTTP to a host to which nobody has allowed it: that it is allowed to another says nothing.

        Raises:
            ProaError: ``PLAIN_HTTP``.
        """
        parts = urlsplit(url)
        allowed = self.access.plain_http if allowed is None else allowed
        within = is_loopback(parts.hostname or "") and is_loopback(urlsplit(self.base).hostname or "")
        if parts.scheme != "https" and not allowed and not within:
            what = "the registry points to another machine without TLS, which could read everything that is sent"
            raise ProaError(Code.PLAIN_HTTP, what, at=safe_url(url))

    def _ask_token_service(self, url: str, headers: Mapping[str, str], patience: Patience) -> tuple[int, bytes]:
        """GET what the registry's challenge named, which may be on another host; status and body.

        Plain HTTP that is allowed to the registry is allowed to no other host, which may get the password.

        Raises:
            ProaError: ``PLAIN_HTTP``, before anything is sent.
        """
        host = urlsplit(url).hostname
        if self.access.plain_http and host != urlsplit(self.base).hostname and not is_loopback(host or ""):
            self._check_plain(url, allowed=False)
        response, last = self._follow(Call("GET", url), headers, patience)
        with response:
            failure = status_failure(response, last, own=True, now=self.clock.now())
            if failure and response.status_code not in (400, _UNAUTHORIZED, _FORBIDDEN):
                raise failure
            return response.status_code, b"" if failure else read_all(response, MAX_TOKEN_ANSWER, patience, last)


def _prepared(call: Call, url: str, secrets: Mapping[str, str]) -> requests.PreparedRequest:
    """The request as the library takes it, its target as the link was sent: what signs a link may sign its spelling.

    Raises:
        ProaError: ``REGISTRY``.
    """
    try:
        request = requests.Request(call.method, url, headers={**_ALWAYS, **call.headers, **secrets}).prepare()
        ready, asked = urlsplit(str(request.url)), urlsplit(url)
        target = (quote(asked.path, safe=_PRINTABLE), quote(asked.query, safe=_PRINTABLE))
        request.url = urlunsplit((ready.scheme, ready.netloc, target[0] or "/", target[1], ""))
    except (requests.RequestException, ValueError) as error:
        raise ProaError(Code.REGISTRY, "a malformed URL", at=safe_url(url)) from error
    if call.body is not None:
        request.headers["Content-Length"] = str(call.size)
        request.body = call.body()  # type: ignore[assignment] # an iterable, which the type does not know
    return request


def _asks_for_login(response: requests.Response) -> bool:
    status = response.status_code
    return status == _UNAUTHORIZED or (status == _FORBIDDEN and "WWW-Authenticate" in response.headers)


def linked(url: str, location: str) -> str:
    """The absolute URL of a location that an answer from ``url`` gave.

    Raises:
        ProaError: ``REGISTRY`` when that is nowhere, or leads from TLS to plain HTTP.
    """
    try:
        target = urljoin(url, location)
        scheme, host, _ = _origin(target)
    except ValueError:
        target, scheme, host = "", "", ""
    if scheme not in ("http", "https") or not host:
        raise ProaError(Code.REGISTRY, "the registry sent a malformed link", at=safe_url(url))
    if scheme == "http" and urlsplit(url).scheme == "https":
        raise ProaError(
            Code.REGISTRY, "the registry redirects from TLS to plain HTTP, which is refused", at=safe_url(target)
        )
    return target


def _redirect(call: Call, url: str, response: requests.Response) -> str:
    """Where a redirect leads, if it may be followed."""
    target = linked(url, response.headers.get("Location", ""))
    if target == url:
        raise ProaError(Code.REGISTRY, "the registry sent a malformed link", at=safe_url(url))
    if call.method not in ("GET", "HEAD") and response.status_code not in _SAME_METHOD:
        raise ProaError(
            Code.REGISTRY, f"the registry redirects a {call.method} request, which is refused", at=safe_url(url)
        )
    return target


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)
