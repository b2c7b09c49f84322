"""What looks like a secret: it has no place in a document that the cluster stores and shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_SECRET: Final = re.compile(
    r"-----BEGIN"
    r"|\b(?:eyJ[A-Za-z0-9_-]{8,}\.|AKIA[0-9A-Z]{16}|AIza[A-Za-z0-9_-]{30,}|xox[abeprs]-|gh[pousr]_[A-Za-z0-9]{20,})"
    r"|\b(?:github_pat_|glpat-|npm_[A-Za-z0-9]{30}|hf_[A-Za-z0-9]{30}|dckr_pat_|[a-z0-9]{6}\.[a-z0-9]{16}\b)"
    r"|(?i:\b(?:bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}|(?:passwo?r?d|passphrase|secret|token|api[_-]?key)\s*[=:]\s*\S)"
    r"|://[^/@\s]*:[^/@\s]*@"
)
"""Private keys, JSON web tokens, well-known access tokens, Kubernetes' bootstrap tokens, and passwords by their name or
in URLs."""


def looks_secret(value: Any) -> bool:
    """Whether a value, or a part of it, looks like a key, a token or a password."""
    if isinstance(value, Mapping):
        return any(looks_secret(one) for one in value.values())
    if isinstance(value, list | tuple):
        return any(looks_secret(one) for one in value)
    return isinstance(value, str) and _SECRET.search(value) is not None
