"""Logging in to a registry, as its challenge asks for (RFC 9110 section 11.6.1; distribution's token protocol)."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

from proa.core.oci import authfile
from proa.core.oci.authfile import Credentials
from proa.core.oci.failures import bad_login, no_login
from proa.core.oci.headers import Challenge, challenges
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json

TokenCall = Callable[[str, Mapping[str, str]], tuple[int, bytes]]
"""Does a GET on a token service: URL and headers in, status and body out."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,65536}")
_OK: Final = 200


class Authenticator:
    """Holds the credentials for one registry, and logs in when the registry asks for it.

    Nothing is sent unasked; a token is thrown away as soon as the registry does not take it any more.

    Args:
        host: The registry.
        name: The repository.
        auth_file: Where credentials are, instead of the usual places.
    """

    def __init__(self, host: str, name: str, auth_file: Path | None) -> None:
        self._host = host
        self._name = name
        self._auth_file = auth_file
        self._header: dict[str, str] = {}
        self._lock = threading.Lock()

    def header(self) -> Mapping[str, str]:
        """The ``Authorization`` header; empty until the registry has asked for one."""
        return self._header

    def answer(self, challenge: str, at: str, call: TokenCall, sent: Mapping[str, str] | None = None) -> None:
        """Log in as the registry's ``WWW-Authenticate`` asks for: with a token where it takes one.

        Args:
            challenge: The field.
            at: Who sent it.
            call: How token services are asked.
            sent: The header that was refused; if another request has brought a new one meanwhile, that is taken.

        Raises:
            ProaError: ``AUTH``.
            Temporary: When the token service does not answer.
        """
        with self._lock:
            if sent is None or sent == self._header:
                self._header = {}
                self._header = self._login(challenge, at, call)

    def _login(self, challenge: str, at: str, call: TokenCall) -> dict[str, str]:
        credentials = authfile.find(self._host, self._name, self._auth_file)
        offered = challenges(challenge)
        services = [url for one in offered if one.scheme == "bearer" and (url := _token_url(one))]
        if services:
            return {"Authorization": f"Bearer {self._token(services[0], credentials, at, call)}"}
        if any(one.scheme == "basic" for one in offered):
            if credentials is None:
                raise no_login(self._host, at)
            return _basic(credentials)
        raise ProaError(Code.AUTH, _no_way(offered), at=at)

    def _token(self, url: str, credentials: Credentials | None, at: str, call: TokenCall) -> str:
        status, data = call(url, _basic(credentials) if credentials else {})
        if status != _OK:
            raise bad_login(self._host, at) if credentials else no_login(self._host, at)
        answer = load_json(data, Code.AUTH, at)
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise ProaError(Code.AUTH, "the token service returned no usable token", at=at)
        return token


def _token_url(challenge: Challenge) -> str:
    """Where a token can be got; empty if the challenge names no such place."""
    realm = challenge.parameters.get("realm", "").partition("#")[0]
    try:
        parts = urlsplit(realm)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        return ""
    asked = {key: value for key in ("service", "scope") if (value := challenge.parameters.get(key))}
    return realm + (f"{'&' if parts.query else '?'}{urlencode(asked)}" if asked else "")


def _no_way(offered: Sequence[Challenge]) -> str:
    if any(one.scheme == "bearer" for one in offered):
        return "the registry's challenge names no usable token service"
    return "the registry requires an unsupported kind of login, or refuses all"


def _basic(credentials: Credentials) -> dict[str, str]:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
