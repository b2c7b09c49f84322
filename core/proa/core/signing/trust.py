"""Whom a node believes: the folder ``/usr/lib/proa/trust`` inside the verified root, and how /etc may tighten it.

The folder holds public keys (``*.pub``, PEM) and ``trust.json``::

    {"schema": "proa.trust/v1", "threshold": 1, "compatible": "worker", "floor": 0, "deny": []}

``/etc/proa/trust.json`` has the same fields, all optional. It can raise the threshold and the floor and deny
more; it can neither add a key nor change what the node is compatible with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import replace
from proa.core.schema.model import document
from proa.core.signing import trustfile
from proa.core.signing.bundle import check_threshold
from proa.core.signing.keys import PublicKey, load_public
from proa.core.signing.trustfile import FILE, TrustFile

FOLDER: Final = Path("/usr/lib/proa/trust")
"""Where the keys of a release lie; verity protects them."""
LOCAL: Final = Path("/etc/proa/trust.json")
"""Where the owner of one node may tighten."""


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
    fields = trustfile.load(folder, local)
    trust = Trust(keys, fields.threshold, fields.compatible, fields.floor, fields.deny)
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
    replace(folder / FILE, (json.dumps(document(file), indent=1) + "\n").encode())
