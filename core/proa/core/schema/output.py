"""Reports on standard output: for programs or for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

from proa.core.runtime.output import say
from proa.core.schema.model import Report, document

Kind = TypeVar("Kind", bound=Report)


def tell(report: Kind, as_json: bool, text: Callable[[Kind], str]) -> None:
    """Print a report as one JSON document, or for people as ``text`` renders it."""
    say(json.dumps(document(report), indent=2) if as_json else text(report))
