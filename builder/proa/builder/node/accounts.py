"""Users and groups, and the numbers that they keep from release to release.

Debian gives system users their numbers in the order in which packages happen to be set up, and files on a node's
PERSIST belong to numbers. So the first build writes every number down (``proa.users.lock`` beside proa.toml) and
later builds take them from there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proa.builder.config.image_settings import User
from proa.builder.config.near import did_you_mean
from proa.builder.config.setting import UNSET
from proa.builder.node.tree import Tree
from proa.core.runtime.errors import Code, ProaError

LOCK: Final = "proa.users.lock"
_HEAD: Final = (
    "# Numbers of users and groups, written by proa-build. Keep this file next to proa.toml, under "
    "version control:\n# files on your nodes belong to these numbers.\n"
)
_STATIC: Final = range(100)
"""Numbers that Debian gives out by hand (Debian Policy, section 9.2.2)."""
_SYSTEM: Final = range(999, 99, -1)
"""Numbers given out as packages are installed, the way Debian goes through them."""
_FIRST_PERSON: Final = 1000
_CAPABILITY: Final = "security.capability"
_NOBODY: Final = 65534


@dataclass(frozen=True)
class Numbers:
    """Names to numbers: users to theirs and to that of their group, groups to theirs."""

    users: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """As the lock file has it."""
        groups = [f"group {name} {number}\n" for name, number in sorted(self.groups.items())]
        users = [f"user {name} {uid} {gid}\n" for name, (uid, gid) in sorted(self.users.items())]
        return _HEAD + "".join(groups + users)

    def over(self, earlier: Numbers) -> Numbers:
        """These, and what only the earlier ones name: a number is never given to another name."""
        return Numbers({**earlier.users, **self.users}, {**earlier.groups, **self.groups})


def read_lock(path: Path) -> Numbers:
    """The lock file; no numbers if there is none.

    Raises:
        ProaError: ``USERS_CHANGED`` if it is not as it was written, with the line.
    """
    return read_lock_text(path.read_text() if path.exists() else "", path)


def read_lock_text(text: str, at: object = LOCK) -> Numbers:
    """The same from the file's text."""
    users: dict[str, tuple[int, int]] = {}
    groups: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match line.split():
            case ["group", name, gid] if gid.isdigit():
                groups[name] = int(gid)
            case ["user", name, uid, gid] if uid.isdigit() and gid.isdigit():
                users[name] = (int(uid), int(gid))
            case [] | ["#", *_]:
                pass
            case _:
                raise ProaError(Code.USERS_CHANGED, "not a line of this file", at=f"{at}:{number}:1")
    return Numbers(users, groups)


def read_tree(passwd: str, group: str) -> Numbers:
    """The numbers in a tree's /etc/passwd and /etc/group."""
    users = {fields[0]: (int(fields[2]), int(fields[3])) for fields in _lines(passwd)}
    return Numbers(users, {fields[0]: int(fields[2]) for fields in _lines(group)})


def assign(tree: Numbers, wanted: Sequence[User], lock: Numbers) -> Numbers:
    """The numbers of a release: those of the lock, else those of the tree, else the next free ones.

    Args:
        tree: What the packages' scripts gave out.
        wanted: The configuration's users.
        lock: The numbers of earlier releases.

    Raises:
        ProaError: ``USERS_CHANGED``, with every name whose number can't be kept.
    """
    people = {user.name: user.uid for user in wanted if user.name not in tree.users}
    changed: list[str] = []
    locked = dict(lock.groups)
    for name, (uid, _) in lock.users.items():
        if people.get(name, UNSET) not in (UNSET, uid):
            changed.append(f"user {name} was {uid} and would be {people[name]}")
    groups = _give(tree.groups, locked, "group", changed)
    uids = _give(
        {name: uid for name, (uid, _) in tree.users.items()},
        {n: u for n, (u, _) in lock.users.items()},
        "user",
        changed,
    )
    if changed:
        hint = "Give them their old numbers back, or remove the lock file and provision the nodes again."
        raise ProaError(Code.USERS_CHANGED, "; ".join(changed), hint=hint)
    moved = {tree.groups[name]: gid for name, gid in groups.items()}
    users = {name: (uids[name], moved.get(gid, gid)) for name, (_, gid) in tree.users.items()}
    own_uids = {**{n: u for n, (u, _) in lock.users.items()}, **uids}
    own_gids = {**locked, **groups}
    for name, uid in people.items():
        number = lock.users[name][0] if name in lock.users else uid
        if number == UNSET:
            taken = {uid for uid, _ in (*users.values(), *lock.users.values())} | set(people.values())
            taken |= {*groups.values(), *locked.values()}
            number = next(free for free in range(_FIRST_PERSON, _NOBODY) if free not in taken)
        groups.setdefault(name, locked.get(name, number))
        users[name] = (number, groups[name])
        changed += _taken("user", name, number, own_uids) + _taken("group", name, groups[name], own_gids)
    if changed:
        raise ProaError(Code.USERS_CHANGED, "; ".join(changed), hint="Choose another uid, or omit it.")
    return Numbers(users, groups)


def _taken(what: str, name: str, number: int, owners: Mapping[str, int]) -> list[str]:
    """That a number belongs to somebody else, in words; nothing if it does not."""
    other = next((owner for owner, own in owners.items() if own == number and owner != name), None)
    return [] if other is None else [f"{what} {name} would be {number}, which belongs to {other}"]


def _give(tree: Mapping[str, int], lock: Mapping[str, int], what: str, changed: list[str]) -> dict[str, int]:
    """Numbers for the tree's names; none that the lock has for another name."""
    given: dict[str, int] = {}
    for name, number in tree.items():
        if name in lock:
            given[name] = lock[name]
            if lock[name] != number and (number in _STATIC or lock[name] in _STATIC):
                changed.append(f"{what} {name} was {lock[name]} and is now {number}")
    taken = set(lock.values()) | {number for number in tree.values() if number in _STATIC or number >= _FIRST_PERSON}
    for name, number in tree.items():
        if name in given:
            continue
        if number in _SYSTEM and number in taken:
            number = next(free for free in _SYSTEM if free not in taken and free not in tree.values())
        given[name] = number
        taken.add(number)
    return given


def check(final: Numbers, numbers: Numbers, lock: Numbers) -> Numbers:
    """What a finished tree has: the numbers that were assigned, and accounts that hooks added with those of the lock.

    Raises:
        ProaError: ``USERS_CHANGED``, with the names.
    """
    expected = numbers.over(lock)
    changed = [
        f"user {name} was {expected.users[name][0]} and is now {uid}"
        for name, (uid, _) in final.users.items()
        if name in expected.users and expected.users[name][0] != uid
    ]
    changed += [
        f"group {name} was {expected.groups[name]} and is now {gid}"
        for name, gid in final.groups.items()
        if name in expected.groups and expected.groups[name] != gid
    ]
    own_uids = {name: uid for name, (uid, _) in expected.users.items()}
    for name, (uid, _) in final.users.items():
        changed += _taken("user", name, uid, own_uids) if name not in expected.users else []
    for name, gid in final.groups.items():
        changed += _taken("group", name, gid, expected.groups) if name not in expected.groups else []
    if changed:
        raise ProaError(Code.USERS_CHANGED, "; ".join(changed), hint="Give them other numbers in the hook.")
    return final


def owner(tree: Tree, text: str, at: str = "") -> tuple[int, int]:
    """``USER:GROUP``, names or numbers, as numbers of the tree.

    Raises:
        ProaError: ``CONFIG_VALUE`` for a name that the tree does not have.
    """
    own = read_tree(tree.read("/etc/passwd"), tree.read("/etc/group"))
    user, group = text.split(":")
    uids = {name: uid for name, (uid, _) in own.users.items()}
    found = []
    for what, name, known in (("user", user, uids), ("group", group, own.groups)):
        if not name.isdigit() and name not in known:
            hint = did_you_mean(name, known, "Add it as a [[user]], or use a number.")
            raise ProaError(Code.CONFIG_VALUE, f"owner '{text}': the tree has no {what} '{name}'", at=at, hint=hint)
        found.append(int(name) if name.isdigit() else known[name])
    return found[0], found[1]


def renumber(tree: Tree, numbers: Numbers) -> None:
    """Give the tree's own users and groups their numbers, in /etc and on every file."""
    own = read_tree(tree.read("/etc/passwd"), tree.read("/etc/group"))
    uids = {uid: numbers.users[name][0] for name, (uid, _) in own.users.items() if uid != numbers.users[name][0]}
    gids = {gid: numbers.groups[name] for name, gid in own.groups.items() if gid != numbers.groups[name]}
    if not uids and not gids:
        return
    _rewrite(tree, "/etc/passwd", lambda f: [*f[:2], _to(uids, f[2]), _to(gids, f[3]), *f[4:]])
    _rewrite(tree, "/etc/group", lambda f: [*f[:2], _to(gids, f[2]), *f[3:]])
    for path in (tree.root, *tree.root.rglob("*")):
        status = path.lstat()
        uid, gid = uids.get(status.st_uid, status.st_uid), gids.get(status.st_gid, status.st_gid)
        if (uid, gid) != (status.st_uid, status.st_gid):
            _chown(path, uid, gid)


def _chown(path: Path, uid: int, gid: int) -> None:
    """Change the owner; the kernel takes set-user-ID bits and capabilities away when it does (chown(2))."""
    mode = path.lstat().st_mode
    if path.is_symlink():
        os.chown(path, uid, gid, follow_symlinks=False)
        return
    capability = os.getxattr(path, _CAPABILITY) if _CAPABILITY in os.listxattr(path) else b""
    os.chown(path, uid, gid)
    path.chmod(mode & 0o7777)
    if capability:
        os.setxattr(path, _CAPABILITY, capability)


def add(tree: Tree, users: Sequence[User], numbers: Numbers, ssh_keys: Mapping[str, Sequence[str]]) -> None:
    """Add the configuration's users, with locked passwords.

    Args:
        tree: The tree.
        users: Whom to add; one who is there already gets the shell, the groups and the keys.
        numbers: Their numbers.
        ssh_keys: Who may log in with which keys.

    Raises:
        ProaError: ``CONFIG_VALUE`` for a group that the tree does not have.
    """
    for place, user in enumerate(users):
        uid, gid = numbers.users[user.name]
        if user.name not in {fields[0] for fields in _lines(tree.read("/etc/passwd"))}:
            home = f"/home/{user.name}"
            if user.name not in {fields[0] for fields in _lines(tree.read("/etc/group"))}:
                tree.append("/etc/group", f"{user.name}:x:{gid}:")
                tree.append("/etc/gshadow", f"{user.name}:!::")
            tree.append("/etc/passwd", f"{user.name}:x:{uid}:{gid}::{home}:{user.shell}")
            tree.append("/etc/shadow", f"{user.name}:*:::::::")
            tree.append("/usr/lib/tmpfiles.d/proa-users.conf", f"d {home} 0700 {uid} {gid} -")
        else:
            _rewrite(tree, "/etc/passwd", lambda f, u=user: [*f[:6], u.shell] if f[0] == u.name else f)  # type: ignore[misc]
        for number, name in enumerate(user.groups):
            _join(tree, user.name, name, f"user[{place}].groups[{number}]")
        keys = ssh_keys.get(user.name)
        if keys:
            tree.write(f"/etc/ssh/authorized_keys.d/{user.name}", "".join(f"{key}\n" for key in keys))


def _join(tree: Tree, user: str, group: str, at: str) -> None:
    known = {fields[0] for fields in _lines(tree.read("/etc/group"))}
    if group not in known:
        what = f"user '{user}' should be in group '{group}', which no package creates"
        raise ProaError(Code.CONFIG_VALUE, what, at=at, hint=did_you_mean(group, known))

    def member(fields: list[str]) -> list[str]:
        members = [name for name in fields[3].split(",") if name]
        return [*fields[:3], ",".join(dict.fromkeys([*members, user]))] if fields[0] == group else fields

    _rewrite(tree, "/etc/group", member)
    _rewrite(tree, "/etc/gshadow", member)


def forget_days(tree: Tree) -> None:
    """Empty the day of the last change in /etc/shadow: a day of the building machine has no meaning on a node."""
    _rewrite(tree, "/etc/shadow", lambda fields: [*fields[:2], "", *fields[3:]])


def _lines(text: str) -> Iterator[list[str]]:
    return (line.split(":") for line in text.splitlines() if line.count(":") >= 2)


def _rewrite(tree: Tree, inside: str, change: Callable[[list[str]], list[str]]) -> None:
    path = tree.path(inside)
    if path.exists():
        path.write_text("".join(":".join(change(fields)) + "\n" for fields in _lines(path.read_text())))


def _to(numbers: Mapping[int, int], text: str) -> str:
    return str(numbers.get(int(text), int(text)))
