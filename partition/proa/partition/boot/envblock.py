"""GRUB's environment block, read and changed exactly as GRUB does it, damaged blocks included.

The format is that of ``grub-core/lib/envblk.c`` (GRUB 2.06): a signature line, then ``name=value`` lines in which
a backslash takes the next byte literally, then ``#`` up to the end. Nothing here knows what the variables mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

SIZE = 1024
"""Bytes of a block as GRUB and we make it. GRUB itself reads a block of any size."""

SIGNATURE = b"# GRUB Environment Block\n"

_NEWLINE, _BACKSLASH, _COMMENT, _EQUALS = b"\n"[0], b"\\"[0], b"#"[0], b"="[0]

_LINE = re.compile(rb"(?:[^\\\n]+|\\.?)*", re.DOTALL)


def format_block(variables: Mapping[str, str]) -> bytes:
    """A block of ``SIZE`` bytes that holds the variables, in their order.

    The values must hold neither backslash nor newline.
    """
    body = "".join(f"{name}={value}\n" for name, value in variables.items())
    return (SIGNATURE + body.encode("ascii")).ljust(SIZE, b"#")


def parse(block: bytes) -> dict[bytes, bytes]:
    """The variables of a block; the last assignment of a name wins, as with ``load_env``."""
    return dict(assignments(block))


def assignments(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every assignment of a block in its order, as with ``grub-editenv list``.

    Parsing ends, with what was found so far, where GRUB finds the block "broken": at a name without ``=`` and at
    a value without its newline. Names and values end at a NUL byte, as strings in C do.
    """
    if len(block) <= len(SIGNATURE) or not block.startswith(SIGNATURE):
        return
    at = len(SIGNATURE)
    while at < len(block):
        if block[at] != _COMMENT:
            equals = block.find(b"=", at)
            end = _line_end(block, equals + 1) if equals >= 0 else len(block)
            if equals < 0 or end >= len(block):
                return
            yield _string(block[at:equals]), _string(_unescape(block[equals + 1 : end]))
            at = end
        at = _line_end(block, at) + 1


def assign(block: bytes, name: str, value: str) -> bytes | None:
    """The block after ``save_env`` has set one variable, or None where GRUB refuses to.

    GRUB changes the *first* line of that name in place, appends one if there is none, and refuses when the padding
    does not follow a newline or has no room. ``value`` must hold neither backslash nor newline.
    """
    if len(block) <= len(SIGNATURE) or not block.startswith(SIGNATURE):
        return None
    space = len(block.rstrip(b"#"))
    if block[space - 1] != _NEWLINE:
        return None
    room = len(block) - space
    key, new = name.encode("ascii") + b"=", value.encode("ascii")
    at = _find(block, key, space)
    if at is None:
        line = key + new + b"\n"
        return block[:space] + line + block[space + len(line) :] if len(line) <= room else None
    return _replace(block, at + len(key), new, room)


def _find(block: bytes, key: bytes, space: int) -> int | None:
    """Where the first line that begins with ``key`` starts, looking no further than the padding."""
    at = len(SIGNATURE)
    while at + len(key) < space:
        if block.startswith(key, at):
            return at
        at = _line_end(block, at) + 1
    return None


def _replace(block: bytes, start: int, new: bytes, room: int) -> bytes | None:
    """The block with another value at ``start``; what follows moves, the size stays."""
    end = _line_end(block, start)
    if end >= len(block) or room < len(new) - (end - start):
        return None
    changed = (block[:start] + new + block[end:])[: len(block)]
    space = len(block) - room - max(0, len(block) - len(changed))
    return changed[:space].ljust(len(block), b"#") if len(changed) < len(block) else changed


def _line_end(block: bytes, at: int) -> int:
    """Where the next newline is that no backslash hides; the block's size or more if there is none."""
    found = _LINE.match(block, at)
    return found.end() if found else at


def _unescape(value: bytes) -> bytes:
    out = bytearray()
    at = 0
    while at < len(value):
        at += value[at] == _BACKSLASH
        out.append(value[at])
        at += 1
    return bytes(out)


def _string(data: bytes) -> bytes:
    return data.split(b"\0", 1)[0]
