"""Who must have signed a release, as options of a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proa.core.runtime.cli import Function, options

if TYPE_CHECKING:
    from proa.core.signing.trust import Trust


def key_options(*, required: bool) -> Callable[[Function], Function]:
    """Options for public keys, and for how many of them must have signed; :func:`trust` takes them together.

    Args:
        required: Whether a key must be named.
    """
    words: dict[str, Any] = {"type": click.Path(path_type=Path), "multiple": True, "required": required}
    return options(
        click.option(
            "--key", "key_files", help="A public key that must have signed the release; may be repeated.", **words
        ),
        click.option(
            "--threshold",
            type=click.IntRange(1, 16),
            default=1,
            show_default=True,
            help="How many different keys of these must have signed.",
        ),
    )


def trust(choices: dict[str, Any]) -> Trust:
    """What the options say; they are taken out of the choices.

    Raises:
        ProaError: ``KEY`` for a file that is no public key.
    """
    from proa.core.signing.keys import load_public  # only here: most starts of a command need no cryptography
    from proa.core.signing.trust import Trust

    files, threshold = choices.pop("key_files"), choices.pop("threshold")
    return Trust(tuple(load_public(path) for path in files), threshold)
