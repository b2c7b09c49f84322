"""Releases of simulated nodes: there are no bytes, so a reference says all there is to know."""

from __future__ import annotations

import hashlib
from typing import Final

FACTORY: Final = "registry.test/os:factory@sha256:" + "0" * 64
"""What nodes have at first."""


def release(version: str) -> str:
    """The reference of a release, always the same one for a version: ``registry.test/os:VERSION@sha256:...``."""
    return f"registry.test/os:{version}@sha256:{hashlib.sha256(version.encode()).hexdigest()}"


def digest_of(reference: str) -> str:
    """The digest in a reference."""
    return reference.rpartition("@")[2]


def root_hash_of(reference: str) -> str:
    """The root hash that a release has on every node. It is not the digest, which nobody is to take for it."""
    return hashlib.sha256(digest_of(reference).encode()).hexdigest()


def version_of(reference: str) -> str:
    """The version of a release: its tag, or the end of its digest."""
    name, _, digest = reference.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return tag or digest[-6:]
