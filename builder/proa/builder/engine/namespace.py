"""Namespaces for work on a tree: own mounts, processes and name, and root's rights over the files, but nothing outside.

As root a mount and a process namespace are enough. Anybody else gets a user namespace on top, in which the
subordinate ids of /etc/subuid and /etc/subgid stand for the tree's users. Whatever runs in the room dies with the
program that opened it, and no mount outlives it. The machine's name is ``localhost`` there, which packages' scripts
like to write down, and the umask is 022.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Final

from proa.core.runtime.errors import Code, ProaError

_ROOM: Final = Path(__file__).with_name("room.sh")
_NEEDED_IDS: Final = 65536


def enter(*, network: bool, uid: int | None = None) -> tuple[str, ...]:
    """The words to put before a command of ours, so that it runs in a namespace that sees the machine's files.

    Args:
        network: Whether the command sees the machine's network; if not it has none at all.
        uid: The user who runs it, this process's if not given.

    Raises:
        ProaError: ``TOOL_MISSING`` if the user has no subordinate ids.
    """
    plain = 'umask 022 && hostname localhost && exec "$@"'
    return (*_unshared(network=network, uid=uid), "sh", "-c", plain, "sh")


def room(scratch: Path, *, show: Iterable[Path] = (), change: Iterable[Path] = ()) -> tuple[str, ...]:
    """The words to put before a command that runs what strangers wrote: packages' scripts, hooks, a target's tools.

    It has no network, and a root of its own: of this machine the system's programs to read and what is named, no more.
    A chroot would be left through ``/proc/1/root``, which leads to keys and homes.

    Args:
        scratch: A folder for what is passing; the room's /tmp is in it.
        show: What the command reads, at the same place.
        change: What it writes besides.

    Raises:
        ProaError: ``TOOL_MISSING`` if the user has no subordinate ids.
    """
    shown, changed = ([str(path.absolute()) for path in paths] for paths in (show, change))
    return (*_unshared(network=False), "sh", str(_ROOM), str(scratch.absolute()), *shown, "--", *changed, "--")


def own_code() -> tuple[Path, ...]:
    """What has to be shown for :func:`python`: the interpreter, and all that it imports from.

    Not the folder that somebody works in, which ``python -m`` puts first.
    """
    found = [Path(sys.prefix), Path(sys.base_prefix), *(Path(name) for name in sys.path if name)]
    shown = dict.fromkeys(path for path in found if path.exists() and not path.is_relative_to("/usr"))
    return tuple(path for path in shown if path.absolute() != Path.cwd())


def _unshared(*, network: bool, uid: int | None = None) -> tuple[str, ...]:
    user = os.geteuid() if uid is None else uid
    words = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--uts", "--ipc"]
    words += ["--pid", "--fork", "--kill-child", "--mount-proc"]
    if not network:
        words.append("--net")
    if user != 0:
        _check_subordinate_ids(user)
        words += ["--map-auto", "--map-root-user"]
    return tuple(words)


def python(module: str, *arguments: str | Path) -> tuple[str, ...]:
    """The words that run a module of ours with this interpreter; for use after :func:`enter` or :func:`room`."""
    return (sys.executable, "-B", "-m", module, *(str(word) for word in arguments))


def remove(folder: Path) -> Sequence[str]:
    """The command that takes a tree away whose files may belong to subordinate ids."""
    return (*enter(network=True), "rm", "-rf", "--one-file-system", "--", str(folder))


def _check_subordinate_ids(user: int) -> None:
    account = getpass.getuser()
    if lacking := lacks_ids({str(user), account}):
        raise ProaError(
            Code.TOOL_MISSING,
            f"{account} has no range of {_NEEDED_IDS} subordinate ids",
            at=lacking,
            hint=f"As root: {add_ids(account)}",
        )


def lacks_ids(names: Set[str], folder: Path = Path("/etc")) -> Path | None:
    """The file, of subuid(5) and subgid(5), in which a user has too few ids for a build; none if both have enough.

    Args:
        names: The user's name and number.
        folder: Where the files are.
    """
    for path in (folder / "subuid", folder / "subgid"):
        lines = path.read_text().splitlines() if path.exists() else []
        entries = [line.split(":") for line in lines if line.count(":") == 2]
        if not any(name in names and count.isdigit() and int(count) >= _NEEDED_IDS for name, _, count in entries):
            return path
    return None


def add_ids(account: str) -> str:
    """The command that gives a user enough of them."""
    return f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {account}"
