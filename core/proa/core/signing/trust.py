"""Whom a node believes: the folder ``/usr/lib/proa/trust`` inside the verified root, and how /etc may tighten it.

The folder holds public keys (``*.pub``, PEM) and ``trust.json``::

    {"schema": "proa.trust/v1", "threshold": 1, "compatible": "worker", "floor": 0, "deny": []}

``/etc/proa/trust.json`` has the same fields, all optional. It can raise the threshold and the floor and deny
more; it can neither add a key nor change what the node is compatible with.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors, replace
from proa.core.runtime.json_text import MAX_DOCUMENT, load_json
from proa.core.schema.model import Document, document, field, parse
from proa.core.schema.values import Count, Positive
from proa.core.signing.bundle import check_threshold
from proa.core.signing.keys import PublicKey, load_public

FOLDER: Final = Path("/usr/lib/proa/trust")
"""Where the keys of a release lie; verity protects them."""
LOCAL: Final = Path("/etc/proa/trust.json")
"""Where the owner of one node may tighten."""

_FILE: Final = "trust.json"


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


@dataclass(frozen=True)
class Trust:
    """What must hold before a release is believed.

    Attributes:
        keys: The keys that may sign.
        threshold: How many different ones of them must have signed.
        compatible: The only ``compatible`` a release may have; empty for any.
        floor: The lowest serial that may be installed.
        deny: Versions, root hashes and manifest digests that are never installed.
    """

    keys: tuple[PublicKey, ...]
    threshold: int = 1
    compatible: str = ""
    floor: int = 0
    deny: tuple[str, ...] = ()

    def check(self, bundles: Iterable[bytes], manifest_digest: str) -> tuple[str, ...]:
        """The ids of the keys that signed; see :func:`proa.core.signing.bundle.check_threshold` for the errors."""
        return check_threshold(bundles, manifest_digest, self.keys, self.threshold)

    def tightened(self, threshold: int = 1, floor: int = 0, deny: Iterable[str] = ()) -> Trust:
        """The same trust, asking for at least this much more."""
        return dataclasses.replace(
            self,
            threshold=max(self.threshold, threshold),
            floor=max(self.floor, floor),
            deny=tuple(dict.fromkeys((*self.deny, *deny))),
        )


def load(folder: Path = FOLDER, local: Path | None = LOCAL) -> Trust:
    """The trust of a node: its release's folder, tightened by the node's own file if there is one.

    Args:
        folder: The folder with ``*.pub`` and ``trust.json``.
        local: The file that may tighten; None to look at none.

    Raises:
        ProaError: ``NO_TRUST`` when there is no key or anything is not as it must be (fail closed), ``KEY``.
    """
    keys = tuple(load_public(path) for path in sorted(folder.glob("*.pub")))
    if not keys:
        raise ProaError(Code.NO_TRUST, at=folder)
    fields = _read(folder / _FILE)
    trust = Trust(keys, fields.threshold, fields.compatible, fields.floor, fields.deny)
    if local is not None and _is_there(local):
        more = _read(local)
        if more.compatible not in ("", trust.compatible):
            raise ProaError(Code.NO_TRUST, f"'compatible' cannot be changed to {more.compatible!r}", at=local)
        trust = trust.tightened(more.threshold, more.floor, more.deny)
    distinct = len({key.id for key in keys})
    if trust.threshold > distinct:
        wrong = f"{trust.threshold} signatures are required, but only {distinct} different keys are trusted"
        raise ProaError(Code.NO_TRUST, wrong, at=folder)
    return trust


def save(folder: Path, trust: Trust) -> None:
    """Write a trust folder, as it goes into a root image; equal trust is equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for key in trust.keys:
        replace(folder / f"{key.id[:16]}.pub", key.pem)
    file = TrustFile(trust.threshold, trust.compatible, trust.floor, trust.deny)
    replace(folder / _FILE, (json.dumps(document(file), indent=1) + "\n").encode())


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
