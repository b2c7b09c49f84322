"""The last order that the book refused: in /run, so that ``status`` can tell a person why nothing is done."""

from __future__ import annotations

import json
from dataclasses import dataclass

from proa.agent.node.paths import Paths
from proa.core.runtime import files
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.schema.model import Document, document, field, parse
from proa.core.schema.values import CodeName, Time


@dataclass(frozen=True)
class RefusedOrder(Document, schema="proa.refused-order/v1"):
    """`/run/proa/refused-order.json`: why the last order was not taken in."""

    time: Time = field("When it came (RFC 3339).")
    code: CodeName = field("The error's code.")
    message: str = field("The error's text.")

    @property
    def warning(self) -> str:
        """What a person is told."""
        way = "`proa-agent orders forget` makes the node accept any order next"
        return f"an order was refused at {self.time}: {self.code}: {self.message}; {way}"


def load_refused(paths: Paths) -> RefusedOrder | None:
    """The refusal, unless an order was taken in since."""
    try:
        return parse(RefusedOrder, load_json(paths.refused_order.read_bytes(), Code.CONFIG_SYNTAX))
    except (OSError, ProaError):
        return None


def save_refused(paths: Paths, refused: RefusedOrder | None) -> None:
    """Write it down, or that there is none any more.

    Raises:
        ProaError: ``DEVICE`` or ``DISK_FULL``.
    """
    path = paths.refused_order
    if refused:
        files.replace(path, (json.dumps(document(refused), indent=1) + "\n").encode(), 0o600)
        return
    with files.os_errors(path):
        path.unlink(missing_ok=True)
