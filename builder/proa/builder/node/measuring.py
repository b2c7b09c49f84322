"""Units that measure the boot into a TPM: a node has them only together with the libraries that they load at run time.

Debian's systemd only suggests those libraries (systemd(1) loads them by dlopen(3)), and its units start wherever the
firmware has a TPM 2.0 and the kernel came in a unified kernel image: without the libraries they fail there, and a
failed unit is what a trial is sent back for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from proa.builder.node.tree import Tree
from proa.builder.node.units import FOLDER

LIBRARIES: Final = ("libtss2-esys.so.0", "libtss2-mu.so.0", "libtss2-rc.so.0", "libtss2-tcti-device.so.0")
"""What systemd loads before it talks to a TPM (systemd 252 and 257, src/shared/tpm2-util.c)."""
_CALL: Final = re.compile(r"^Exec\w+=[-@:+!]*(?:/usr)?/lib/systemd/systemd-(?:pcr|tpm2)", re.MULTILINE)


def mask_without_libraries(tree: Tree) -> tuple[str, ...]:
    """Mask every unit that would measure, and its socket, unless the tree has all that they load; their names."""
    if all(_has(tree, name) for name in LIBRARIES):
        return ()
    names = tuple(sorted(_measuring(tree)))
    for name in names:
        tree.link(f"/etc/systemd/system/{name}", "/dev/null")
    return names


def _measuring(tree: Tree) -> Iterator[str]:
    for path in sorted(tree.path(FOLDER).glob("*.service")):
        if not path.is_symlink() and _CALL.search(path.read_text(errors="replace")):
            yield path.name
            socket = path.name.removesuffix(".service").removesuffix("@") + ".socket"
            if tree.exists(f"{FOLDER}/{socket}"):
                yield socket


def _has(tree: Tree, library: str) -> bool:
    """Whether a library is in one of the folders of ld.so(8); each architecture has its own."""
    return any(any(tree.path("/usr/lib").glob(pattern)) for pattern in (library, f"*/{library}"))
