"""Credentials for registries, from the files that docker and podman write (containers-auth.json(5))."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors
from proa.core.runtime.json_text import MAX_DOCUMENT
from proa.core.runtime.parsing import json_value

_HELPER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HELPER_SECONDS = 30.0
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True)
class Credentials:
    """A user with a password or a token. Printing it reveals neither."""

    username: str = field(repr=False)
    password: str = field(repr=False)


def find(host: str, name: str = "", auth_file: Path | None = None) -> Credentials | None:
    """The credentials for a repository, or None to ask anonymously.

    Looked at, the first that knows the host: ``auth_file`` alone if given; ``$REGISTRY_AUTH_FILE`` alone if set;
    ``$XDG_RUNTIME_DIR/containers/auth.json``, ``$XDG_CONFIG_HOME/containers/auth.json`` and
    ``$DOCKER_CONFIG/config.json`` (default ``~/.docker``).

    Args:
        host: The registry, with its port if it has one.
        name: The repository; an entry for a part of it is preferred, as podman does.
        auth_file: A file to read instead of the usual ones.

    Raises:
        ProaError: ``FILE_MISSING`` for a file that was named and is not there; ``AUTH`` for one that cannot be
            understood, or a credential helper that fails. Its content is never told.
    """
    named = auth_file or (Path(value) if (value := os.environ.get("REGISTRY_AUTH_FILE")) else None)
    for path in [named] if named else _usual_files():
        if named or path.is_file():
            document = _read(path)
            found = _from_helper(document, host, path) or _from_entries(document, host, name, path)
            if found:
                return found
    return None


def _usual_files() -> list[Path]:
    home = Path(os.environ.get("HOME") or "/root")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    docker = Path(os.environ.get("DOCKER_CONFIG") or home / ".docker")
    files = [config / "containers" / "auth.json", docker / "config.json"]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return [Path(runtime) / "containers" / "auth.json", *files] if runtime else files


def _read(path: Path) -> Mapping[str, Any]:
    with os_errors(path), path.open("rb") as file:
        data = file.read(MAX_DOCUMENT + 1)
    try:
        document = json_value(data)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("auths", {}), dict):
        raise ProaError(Code.AUTH_FILE, "the auth file does not have the format of docker or podman", at=path)
    return document


def _from_entries(document: Mapping[str, Any], host: str, name: str, path: Path) -> Credentials | None:
    entries = {_place(key): value for key, value in document.get("auths", {}).items()}
    for place in _places(host, name):
        entry = entries.get(place)
        if isinstance(entry, dict) and (found := _decode(entry, path)):
            return found
    return None


def _places(host: str, name: str) -> list[str]:
    """``host/a/b``, ``host/a``, ``host``: the most specific first."""
    hosts = _DOCKER_HUB if host in _DOCKER_HUB else (host,)
    parts = name.split("/") if name else []
    return ["/".join((known, *parts[:count])) for count in range(len(parts), -1, -1) for known in hosts]


def _place(key: str) -> str:
    """An entry's key without scheme and without the API's path, which docker writes for some registries."""
    bare = re.sub(r"^https?://", "", key)
    return re.sub(r"/v[12]/?$", "", bare).rstrip("/")


def _decode(entry: Mapping[str, Any], path: Path) -> Credentials | None:
    if entry.get("identitytoken"):
        raise ProaError(Code.AUTH_FILE, "identity tokens are not supported", at=path, hint="Log in with a password.")
    if entry.get("auth"):
        try:
            username, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        except (TypeError, ValueError, binascii.Error):
            colon = ""
        if not colon:
            raise ProaError(Code.AUTH_FILE, "an 'auth' entry is not base64 of USER:PASSWORD", at=path)
        return Credentials(username, password.rstrip("\0"))
    if entry.get("username"):
        return Credentials(str(entry["username"]), str(entry.get("password", "")))
    return None


def _from_helper(document: Mapping[str, Any], host: str, path: Path) -> Credentials | None:
    helpers = document.get("credHelpers")
    helper = helpers.get(host) if isinstance(helpers, dict) else None
    helper = helper or document.get("credsStore")
    if not helper:
        return None
    if not isinstance(helper, str) or not _HELPER.fullmatch(helper):
        raise ProaError(Code.AUTH_FILE, "the name of the credential helper is malformed", at=path)
    program = f"docker-credential-{helper}"
    # A helper may need what its cloud puts into the environment.
    done = process.run([program, "get"], stdin=host.encode(), check=False, env=os.environ, timeout=_HELPER_SECONDS)
    if done.status != 0:  # what it prints could hold a secret; the usual reason is that it does not know the host
        return None
    try:
        answer = json_value(done.stdout)
        return Credentials(str(answer["Username"]), str(answer["Secret"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ProaError(Code.AUTH_FILE, f"{program} did not answer like a credential helper", at=path) from error
