"""A room for work on a tree: own mounts, processes and name, and root's rights over the files, but nothing outside.

As root a mount and a process namespace are enough. Anybody else gets a user namespace on top, in which the
subordinate ids of /etc/subuid and /etc/subgid stand for the tree's users. Whatever runs in the room dies with the
program that opened it, and no mount outlives it. The machine's name is ``localhost`` there, which packages' scripts
like to write down, and the umask is 022.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proa.core.runtime.errors import Code, ProaError

_NEEDED_IDS: Final = 65536


def enter(*, network: bool, uid: int | None = None) -> tuple[str, ...]:
    """The words to put before a command, so that it runs in a room.

    Args:
        network: Whether the command sees the machine's network; if not it has none at all.
        uid: The user who runs it, this process's if not given.

    Raises:
        ProaError: ``TOOL_MISSING`` if the user has no subordinate ids.
    """
    user = os.geteuid() if uid is None else uid
    words = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--uts"]
    words += ["--pid", "--fork", "--kill-child", "--mount-proc"]
    if not network:
        words.append("--net")
    if user != 0:
        _check_subordinate_ids(user)
        words += ["--map-auto", "--map-root-user"]
    return (*words, "sh", "-c", 'umask 022 && hostname localhost && exec "$@"', "sh")


def python(module: str, *arguments: str | Path) -> tuple[str, ...]:
    """The words that run a module of ours with this interpreter; for use after :func:`enter`."""
    return (sys.executable, "-B", "-m", module, *(str(word) for word in arguments))


def remove(folder: Path) -> Sequence[str]:
    """The command that takes a tree away whose files may belong to subordinate ids."""
    return (*enter(network=True), "rm", "-rf", "--one-file-system", "--", str(folder))


def _check_subordinate_ids(user: int) -> None:
    names = {str(user), getpass.getuser()}
    for path in (Path("/etc/subuid"), Path("/etc/subgid")):
        lines = path.read_text().splitlines() if path.exists() else []
        entries = [line.split(":") for line in lines if line.count(":") == 2]
        if not any(name in names and count.isdigit() and int(count) >= _NEEDED_IDS for name, _, count in entries):
            account = getpass.getuser()
            raise ProaError(
                Code.TOOL_MISSING,
                f"{account} has no range of {_NEEDED_IDS} subordinate ids",
                at=path,
                hint=f"As root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {account}",
            )
