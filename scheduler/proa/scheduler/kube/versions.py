"""Resource versions: handed back as they came, and compared where they are what Kubernetes has promised since 1.35.

Of one resource, a higher number is a later state (KEP-5504, "Comparable Resource Version"): a decimal number without
leading zeros. What is anything else, as an older or a foreign API server may have it, is compared with nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,38}")
"""Up to 128 bits."""


def version_of(item: Mapping[str, Any]) -> str:
    """The resource version of an object or a list, as it is handed back; empty where there is none."""
    metadata = item.get("metadata")
    return str(metadata.get("resourceVersion") or "") if isinstance(metadata, Mapping) else ""


def number_of(version: str) -> int:
    """What two versions are compared by; 0 for one that cannot be."""
    return int(version) if _NUMBER.fullmatch(version) else 0
