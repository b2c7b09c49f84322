"""What labels look like (Kubernetes, "Labels and Selectors", section "Syntax and character set")."""

from __future__ import annotations

import re
from typing import Final

CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"
"""The label of nodes of the control plane."""
NAME: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
"""A label of a DNS name (RFC 1123), as names of objects are made of."""
SUBDOMAIN: Final = rf"{NAME}(\.{NAME})*"
"""Several of them, with dots between."""
KEY: Final = rf"^({SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$"
"""A key: a name, with the domain of its owner before it or without."""
VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
"""A value; it may be empty."""
_MAX_DOMAIN: Final = 253


def is_key(text: str) -> bool:
    """Whether a text can be the key of a label."""
    return re.fullmatch(KEY, text) is not None and len(text.rpartition("/")[0]) <= _MAX_DOMAIN


def is_value(text: str) -> bool:
    """Whether a text can be the value of a label."""
    return re.fullmatch(VALUE, text) is not None
