"""The databases of users and groups, merged by entry: a release's own and the node's, so that neither hides the other.

They are files of lines, fields apart by colons (passwd(5), group(5), shadow(5), gshadow(5), subuid(5)). What the node
changed is told from the release that its file was copied from (the base). Numbers are always the release's. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

Entries = Mapping[str, tuple[str, ...]]
"""Fields by the entry's key."""


@dataclass(frozen=True)
class Database:
    """A kind of file.

    Attributes:
        name: The file in /etc.
        numbers: Fields that hold numbers, which are the release's.
        members: Fields that are lists of names.
        keys: Fields, from the first on, that name an entry.
        changed: Whether a difference counts as the node's where no base is known.
    """

    name: str
    numbers: tuple[int, ...] = ()
    members: tuple[int, ...] = ()
    keys: int = 1
    changed: bool = False

    def key(self, fields: tuple[str, ...]) -> str:
        """What names an entry."""
        return ":".join(fields[: self.keys])


DATABASES: Final = (
    Database("passwd", numbers=(2, 3)),
    Database("group", numbers=(2,), members=(3,)),
    Database("shadow", changed=True),
    Database("gshadow", members=(2, 3), changed=True),
    Database("subuid", keys=3),
    Database("subgid", keys=3),
)
NAMES: Final = tuple(one.name for one in DATABASES)


@dataclass(frozen=True)
class Merged:
    """What a merge came to: the texts by name, and what could not both hold."""

    texts: Mapping[str, str]
    clashes: tuple[str, ...] = ()


def merge(release: Mapping[str, str], base: Mapping[str, str] | None, node: Mapping[str, str]) -> Merged:
    """Merge all databases.

    Args:
        release: The texts of the release that runs; one that it lacks is missing.
        base: Those of the release that the node's were copied from; none if that is not known.
        node: The node's own texts; one that it never changed is missing.
    """
    found = dict[str, list[tuple[str, ...]]]()
    clashes = list[str]()
    for database in DATABASES:
        lower, name = _entries(database, release.get(database.name, "")), database.name
        before = _entries(database, base[name]) if base is not None and name in base else None
        own = _entries(database, node[name]) if name in node else lower
        found[name] = list(_merged(database, lower, before, own))
        clashes += _clashes(database, lower, before, own)
    _drop_orphans(found, "shadow", "passwd")
    _drop_orphans(found, "gshadow", "group")
    texts = {name: "".join(":".join(fields) + "\n" for fields in lines) for name, lines in found.items()}
    return Merged({name: text for name, text in texts.items() if name in node or name in release}, tuple(clashes))


def _entries(database: Database, text: str) -> dict[str, tuple[str, ...]]:
    """By key; of two entries of one key the first, as for everybody who reads such a file.

    Only a line feed ends a line: what else ends one in Python may stand in a field, as in a person's name.
    """
    found: dict[str, tuple[str, ...]] = {}
    for line in text.split("\n"):
        if line.strip():
            fields = tuple(line.split(":"))
            found.setdefault(database.key(fields), fields)
    return found


def _merged(database: Database, lower: Entries, base: Entries | None, own: Entries) -> Iterator[tuple[str, ...]]:
    """The release's entries with what the node changed of them, then those that are the node's alone."""
    for key, fields in lower.items():
        mine = own.get(key)
        known = base.get(key) if base is not None else _guess(database, fields if database.changed else mine)
        yield _entry(database, fields, known or fields, mine) if mine else fields
    for key, fields in own.items():
        if key not in lower and (base is None or key not in base):
            yield fields


def _guess(database: Database, fields: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """What an entry may have been before, where nobody knows: of lists of names, nothing counts as taken out."""
    if fields is None:
        return None
    return tuple("" if number in database.members else field for number, field in enumerate(fields))


def _entry(database: Database, lower: tuple[str, ...], base: tuple[str, ...], mine: tuple[str, ...]) -> tuple[str, ...]:
    if not len(lower) == len(base) == len(mine):
        return lower
    return tuple(_field(database, number, *one) for number, one in enumerate(zip(lower, base, mine, strict=True)))


def _field(database: Database, number: int, lower: str, base: str, mine: str) -> str:
    if number in database.numbers:
        return lower
    if number in database.members:
        added = [name for name in mine.split(",") if name and name not in base.split(",") + lower.split(",")]
        removed = [name for name in base.split(",") if name not in mine.split(",")]
        return ",".join([name for name in lower.split(",") if name and name not in removed] + added)
    return lower if mine == base else mine


def _clashes(database: Database, lower: Entries, base: Entries | None, own: Entries) -> Iterator[str]:
    """What the release and the node both claim: a name with two numbers, or a number with two names."""
    if not database.numbers:
        return
    place = database.numbers[0]
    taken = {fields[place]: key for key, fields in lower.items() if len(fields) > place}
    for key, fields in own.items():
        if len(fields) <= place or (base is not None and key in base):
            continue
        if key in lower and lower[key][place] != fields[place]:
            yield (
                f"{database.name}: '{key}' is {fields[place]} on this node and {lower[key][place]} in the release; "
                "the release's number counts"
            )
        elif key not in lower and fields[place] in taken:
            other = taken[fields[place]]
            yield f"{database.name}: {fields[place]} is '{key}' of this node and '{other}' of the release"


def _drop_orphans(found: dict[str, list[tuple[str, ...]]], name: str, owner: str) -> None:
    names = {fields[0] for fields in found[owner]}
    found[name] = [fields for fields in found[name] if fields[0] in names]
