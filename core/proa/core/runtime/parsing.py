"""The one wall between text of strangers and the parsers of the libraries: whatever those raise comes out as one error.

What a parser may raise is nobody's contract: nesting ends in ``RecursionError``, a number of 5,000 digits in a
``ValueError`` of its own, a field of another type in ``AttributeError`` or ``TypeError``. So nothing is
guessed per call.
"""

from __future__ import annotations

import binascii
import json
import struct
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from proa.core.runtime.errors import Code, ProaError

_DEFECTS: Final = (
    ValueError,  # UnicodeError and the decoders' own errors among them
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    RecursionError,
    struct.error,
    binascii.Error,
)
"""What text may make a parser raise; errors of the system are not among them."""


@contextmanager
def foreign(code: Code, what: str, at: object = "") -> Iterator[None]:
    """Let the block take text of a stranger apart.

    Args:
        code: What it comes to when the text is not as it must be.
        what: The sentence for it.
        at: Where the text is from.

    Raises:
        ProaError: ``code``, or what the block itself raises.
    """
    try:
        yield
    except _DEFECTS as error:
        raise ProaError(code, f"{what}{_why(error)}", at=at) from error


def json_value(data: bytes | str) -> Any:
    """A value of JSON, of any kind.

    Raises:
        ValueError: It is none, whatever is wrong with it.
    """
    return _alone(json.loads, data)


def toml_table(text: str) -> dict[str, Any]:
    """The table that a text of TOML is.

    Raises:
        ValueError: It is none, whatever is wrong with it; ``tomllib.TOMLDecodeError`` where there is a place to name.
    """
    found: dict[str, Any] = _alone(tomllib.loads, text)
    return found


def _alone(parse: Callable[[Any], Any], text: bytes | str) -> Any:
    try:
        return parse(text)
    except ValueError:
        raise
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error
    except _DEFECTS as error:
        raise ValueError("it cannot be read") from error


def _why(error: Exception) -> str:
    """What is added to the sentence: a parser's own words where they are for people."""
    return f": {error}" if isinstance(error, ValueError) and str(error) else ""
