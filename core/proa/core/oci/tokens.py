"""Logging in to a registry, as its challenge asks for (RFC 9110 section 11.6.1; distribution's token protocol).

oras does the talking; the rules here are what it may say to whom.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import requests

from proa.core.oci import authfile
from proa.core.oci.authfile import Credentials
from proa.core.oci.failures import bad_login, no_login
from proa.core.runtime.errors import Code, ProaError

TokenCall = Callable[[str, Mapping[str, str]], tuple[int, bytes]]
"""Does a GET on a token service: URL and headers in, status and body out."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,65536}")


class Authenticator:
    """Holds what proves to one registry who asks, and gets it when the registry wants it.

    Nothing is sent unasked; a token is thrown away as soon as the registry does not take it any more.

    Args:
        host: The registry.
        name: The repository.
        auth_file: Where credentials are, instead of the usual places.
        call: How token services are asked.
    """

    def __init__(self, host: str, name: str, auth_file: Path | None, call: TokenCall) -> None:
        self._host = host
        self._name = name
        self._auth_file = auth_file
        self._call = call
        self._header: dict[str, str] = {}

    def header(self) -> Mapping[str, str]:
        """The ``Authorization`` header, or nothing as long as nobody asked for one."""
        return self._header

    def answer(self, challenge: str, at: str) -> None:
        """Log in as the registry's ``WWW-Authenticate`` asks for.

        Raises:
            ProaError: ``AUTH``.
            Temporary: When the token service does not answer.
        """
        self._header = {}
        credentials = authfile.find(self._host, self._name, self._auth_file)
        schemes = {word.lower() for word in re.findall(r"(?:^|,)\s*([A-Za-z]+)(?:\s|$)", challenge)}
        if "bearer" in schemes:
            self._header = self._bearer(challenge, credentials, at)
        elif "basic" in schemes:
            if credentials is None:
                raise no_login(self._host, at)
            self._header = _basic(credentials)
        else:
            raise ProaError(Code.AUTH, "the registry requires an unsupported kind of login, or refuses all", at=at)

    def _bearer(self, challenge: str, credentials: Credentials | None, at: str) -> dict[str, str]:
        backend = _backend("token", _TokenSession(self._call))
        if credentials:
            backend.set_basic_auth(credentials.username, credentials.password)
        asked = requests.Response()
        asked.headers["Www-Authenticate"] = re.sub(r"^.*?(?=bearer\s)", "", challenge, flags=re.I | re.S)
        try:
            header, done = backend.authenticate_request(asked, {}, refresh=True)
        except (ValueError, TypeError, AttributeError) as error:
            raise ProaError(Code.AUTH, "the challenge or the token service's answer is malformed", at=at) from error
        if not done:
            raise bad_login(self._host, at) if credentials else no_login(self._host, at)
        if not _TOKEN.fullmatch(str(backend.token)):
            raise ProaError(Code.AUTH, "the token service returned no usable token", at=at)
        return {"Authorization": str(header["Authorization"])}


def _basic(credentials: Credentials) -> dict[str, str]:
    backend = _backend("basic", None)
    backend.set_basic_auth(credentials.username, credentials.password)
    return dict(backend.get_auth_header())


def _backend(kind: str, session: _TokenSession | None) -> Any:
    from oras.auth import get_auth_backend  # here: many registries need no login, and every import costs memory
    from oras.logger import logger

    logger.set_level(logging.CRITICAL + 1)  # it would print, with what a token service answered
    return get_auth_backend(kind, session=session)


class _TokenSession:
    """What oras takes for a session of ``requests``: it asks token services by our rules."""

    def __init__(self, call: TokenCall) -> None:
        self._call = call

    def get(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        verify: Any = None,
    ) -> requests.Response:
        full = requests.Request("GET", url, params=dict(params or {})).prepare().url
        response = requests.Response()
        response.status_code, data = self._call(str(full), dict(headers or {}))
        response.raw = io.BytesIO(data)
        return response

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        if method != "GET":
            raise ValueError(method)
        return self.get(url, **options)
