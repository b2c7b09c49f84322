"""Paths of a node as they are once its links are followed: two spellings of one place must not pass for two places."""

from __future__ import annotations

import posixpath
from typing import Final

_LINKS: Final = {
    "/var/run": "/run",
    "/var/lock": "/run/lock",
    **{f"/{name}": f"/usr/{name}" for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32")},
}
"""The folders that are links on every node: merged /usr (file-hierarchy(7)), and what Debian's base-files makes."""


def canonical(path: str) -> str:
    """The place that an absolute path names."""
    plain = "/" + posixpath.normpath(path).lstrip("/")
    for link, target in _LINKS.items():
        if plain == link or plain.startswith(link + "/"):
            return target + plain.removeprefix(link)
    return plain


def is_below(path: str, folder: str) -> bool:
    """Whether a path names a folder, or something in it, however both are written."""
    place, around = canonical(path), canonical(folder)
    return place == around or place.startswith(around.rstrip("/") + "/")
