"""Text from strangers (registries, releases, disks, programs), fit to be shown on a terminal and to be written."""

from __future__ import annotations

import re


def printable(text: str) -> str:
    r"""The text with control characters and lone surrogates as escapes such as ``\x1b``; line breaks stay."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else _escape(char) for char in text)


def one_line(text: str, limit: int = 200) -> str:
    """The text on one line of at most ``limit`` characters, without what cannot be printed."""
    return re.sub(r"\s+", " ", "".join(char if char.isprintable() else " " for char in text))[:limit].strip()


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
