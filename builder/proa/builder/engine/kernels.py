"""Which of the kernels in a tree is the one that boots: the only one, or the one that the configuration names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Final

from proa.builder.engine import sources
from proa.core.runtime.errors import Code, ProaError

_ALTERNATIVE: Final = re.compile(r"[,|]")
_SETTING: Final = "kernel.package"


def choose(status: str, versions: Collection[str], package: str) -> str:
    """The version of the kernel that boots.

    Args:
        status: dpkg's database of the tree.
        versions: The versions that lie in /boot, as in ``vmlinuz-VERSION``.
        package: What ``kernel.package`` names, with or without a version; empty if it is not set.

    Raises:
        ProaError: ``PACKAGES`` if there is none, or several of which none is named.
    """
    if not versions:
        raise ProaError(Code.PACKAGES, "the packages contain no kernel", at=_SETTING, hint=_hint(()))
    name = package.partition("=")[0]
    wanted = _named(status, versions, name) if name else set(versions)
    if len(wanted) == 1:
        return wanted.pop()
    there = sorted(versions)
    if not name:
        what = f"the packages contain several kernels: {', '.join(there)}"
        raise ProaError(Code.PACKAGES, what, at=_SETTING, hint="Name the one that boots with kernel.package.")
    what = f"{name} contains {'several of the' if wanted else 'none of the'} kernels: {', '.join(there)}"
    raise ProaError(
        Code.PACKAGES, what, at=_SETTING, hint=_hint(difflib.get_close_matches(name, _images(there), 1, 0.3))
    )


def _named(status: str, versions: Collection[str], name: str) -> set[str]:
    """Kernels that a package has, or that the packages have which it depends on (a meta package depends on one)."""
    packages: Mapping[str, str] = {
        fields["Package"]: fields.get("Depends", "")
        for fields in sources.stanzas(status)
        if fields.get("Status", "").endswith(" installed")
    }
    own = {version for version in versions if version == _version(name)}
    depends = {
        _version(word.split()[0].partition(":")[0])
        for word in _ALTERNATIVE.split(packages.get(name, ""))
        if word.strip()
    }
    return own or {version for version in versions if version in depends}


def _version(package: str) -> str:
    """The version in the name of a kernel's package; Debian's builds from unsigned sources end in ``-unsigned``."""
    return package.removeprefix("linux-image-").removeprefix("unsigned-").removesuffix("-unsigned")


def _images(versions: Collection[str]) -> list[str]:
    return [f"linux-image-{version}" for version in versions]


def _hint(near: Collection[str]) -> str:
    return f"Did you mean {next(iter(near))}?" if near else "Name a package with a kernel, such as linux-image-amd64."
