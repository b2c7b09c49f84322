"""Whom a node believes: the folder ``/usr/lib/proa/trust`` inside the verified root, and how /etc may tighten it.

The folder holds public keys (``*.pub``, PEM) and ``trust.json``::

    {"schema": "proa.trust/v1", "threshold": 1, "compatible": "worker", "floor": 0, "deny": []}

``/etc/proa/trust.json`` has the same fields, all optional. It can raise the threshold and the floor and deny
more; it can neither add a key nor change what the node is compatible with.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors, replace
from proa.core.runtime.json_text import MAX_DOCUMENT, load_json
from proa.core.signing.bundle import check_threshold
from proa.core.signing.keys import PublicKey, load_public

SCHEMA: Final = "proa.trust/v1"
FOLDER: Final = Path("/usr/lib/proa/trust")
"""Where the keys of a release lie; verity protects them."""
LOCAL: Final = Path("/etc/proa/trust.json")
"""Where the owner of one node may tighten."""

_FILE: Final = "trust.json"
_FIELDS: Final = {"schema", "threshold", "compatible", "floor", "deny"}
_COMPATIBLE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+~-]{0,62}[A-Za-z0-9])?|")


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
    trust = Trust(keys, fields["threshold"], fields["compatible"], fields["floor"], fields["deny"])
    if local is not None and _is_there(local):
        more = _read(local)
        if more["compatible"] not in ("", trust.compatible):
            raise ProaError(Code.NO_TRUST, f"'compatible' cannot be changed to {more['compatible']!r}", at=local)
        trust = trust.tightened(more["threshold"], more["floor"], more["deny"])
    distinct = len({key.id for key in keys})
    if trust.threshold > distinct:
        wrong = f"{trust.threshold} signatures are demanded, {distinct} different keys are trusted"
        raise ProaError(Code.NO_TRUST, wrong, at=folder)
    return trust


def save(folder: Path, trust: Trust) -> None:
    """Write a trust folder, as it goes into a root image; equal trust is equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for key in trust.keys:
        replace(folder / f"{key.id[:16]}.pub", key.pem)
    document = {
        "schema": SCHEMA,
        "threshold": trust.threshold,
        "compatible": trust.compatible,
        "floor": trust.floor,
        "deny": list(trust.deny),
    }
    replace(folder / _FILE, (json.dumps(document, indent=1) + "\n").encode())


def _is_there(path: Path) -> bool:
    """Whether there is anything by that name, a link to nowhere too: what cannot be read must not be passed over."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        with os_errors(path), path.open("rb") as file:
            document = load_json(file.read(MAX_DOCUMENT + 1), Code.NO_TRUST)
    except ProaError as error:
        raise ProaError(Code.NO_TRUST, error.message, at=path) from error
    unknown = sorted(set(document) - _FIELDS)
    if document.get("schema") != SCHEMA or unknown:
        wrong = f"unknown field {unknown[0][:40]!r}" if unknown else f"'schema' is not {SCHEMA}"
        raise ProaError(Code.NO_TRUST, wrong, at=path)
    defaults: dict[str, Any] = {"threshold": 1, "compatible": "", "floor": 0, "deny": []}
    fields = defaults | document
    checks = {
        "threshold": type(fields["threshold"]) is int and fields["threshold"] >= 1,
        "compatible": isinstance(fields["compatible"], str) and bool(_COMPATIBLE.fullmatch(fields["compatible"])),
        "floor": type(fields["floor"]) is int and fields["floor"] >= 0,
        "deny": isinstance(fields["deny"], list) and all(isinstance(item, str) and item for item in fields["deny"]),
    }
    for name, good in checks.items():
        if not good:
            raise ProaError(Code.NO_TRUST, f"{name!r} cannot be {str(fields[name])[:40]!r}", at=path)
    return fields | {"deny": tuple(fields["deny"])}
