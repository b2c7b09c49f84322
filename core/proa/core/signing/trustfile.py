"""The file ``trust.json`` without the keys beside it: what a node asks of releases that are signed already."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors
from proa.core.runtime.json_text import MAX_DOCUMENT, load_json
from proa.core.schema.model import Document, field, parse
from proa.core.schema.values import Count, Positive

FILE: Final = "trust.json"
"""Its name in the folder of a release's keys."""


@dataclass(frozen=True)
class TrustFile(Document, schema="proa.trust/v1", received=True):
    """`trust.json`: whom a node believes, besides the keys in the folder; in `/etc/proa` it can only tighten."""

    threshold: Positive = field("How many different keys must have signed.", default=1)
    compatible: str = field(
        "The only `compatible` that a release may have; empty for any.",
        default="",
        pattern="^([A-Za-z0-9]([A-Za-z0-9._+~-]{0,62}[A-Za-z0-9])?)?$",
    )
    floor: Count = field("The lowest serial that may be installed.", default=0)
    deny: tuple[str, ...] = field(
        "What must never be installed: versions, root hashes and manifest digests.", default=(), items={"minLength": 1}
    )


def load(folder: Path, local: Path | None) -> TrustFile:
    """The file of a release, tightened by the node's own if there is one.

    Raises:
        ProaError: ``NO_TRUST`` when anything is not as it must be (fail closed).
    """
    fields = _read(folder / FILE)
    if local is None or not _is_there(local):
        return fields
    more = _read(local)
    if more.compatible not in ("", fields.compatible):
        raise ProaError(Code.NO_TRUST, f"'compatible' cannot be changed to {more.compatible!r}", at=local)
    return dataclasses.replace(
        fields,
        threshold=max(fields.threshold, more.threshold),
        floor=max(fields.floor, more.floor),
        deny=tuple(dict.fromkeys((*fields.deny, *more.deny))),
    )


def _is_there(path: Path) -> bool:
    """Whether there is anything by that name, a link to nowhere too: what cannot be read must not be passed over."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _read(path: Path) -> TrustFile:
    try:
        with os_errors(path), path.open("rb") as file:
            found = load_json(file.read(MAX_DOCUMENT + 1), Code.NO_TRUST)
        return parse(TrustFile, found, strict=True)
    except ProaError as error:
        raise ProaError(Code.NO_TRUST, error.message, at=path) from error
