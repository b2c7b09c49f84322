"""The words of QEMU's options."""

from __future__ import annotations

from pathlib import Path


def escape(path: Path) -> str:
    """A path as the value of a key: a comma ends a value, and two stand for one (QEMU, qemu(1))."""
    return str(path).replace(",", ",,")


def switch(on: bool) -> str:
    """On or off."""
    return "on" if on else "off"
