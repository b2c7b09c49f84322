"""Who owns which field of an object, as the API server keeps it in ``metadata.managedFields``.

A field is the path of its keys; lists are owned as a whole, as most of those that we write are (Kubernetes,
"Server-Side Apply", section "Field management").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar, cast

from proa.scheduler.kube.stream import Object

Field = tuple[str, ...]
T = TypeVar("T")
_IDENTITY: Final = frozenset({("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")})
"""Owned by nobody: they say which object is meant."""
_SERVERS: Final = frozenset({"uid", "resourceVersion", "generation", "managedFields", "creationTimestamp"})
"""Keys of ``metadata`` that are the API server's own."""


def copied(value: T) -> T:
    """A copy of JSON values, for which ``copy.deepcopy`` is too careful: tests make ten thousands."""
    found: Any = value
    if isinstance(value, Mapping):
        found = {key: copied(one) for key, one in value.items()}
    elif isinstance(value, (list, tuple)):
        found = [copied(one) for one in value]
    return cast(T, found)


def merged(old: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7396)."""
    if not isinstance(patch, Mapping):
        return copied(patch)
    found = dict(old) if isinstance(old, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def leaves(item: Mapping[str, Any], above: Field = ()) -> Iterator[tuple[Field, Any]]:
    """The fields of an object that somebody may own, and their values."""
    for key, value in item.items():
        field = (*above, key)
        if field in _IDENTITY or (above == ("metadata",) and key in _SERVERS):
            continue
        if isinstance(value, Mapping) and value:
            yield from leaves(value, field)
        else:
            yield field, value


def value_of(item: Any, field: Field) -> Any:
    """What an object has there; none where it has nothing."""
    for key in field:
        item = item.get(key) if isinstance(item, Mapping) else None
    return item


def put(item: Object, field: Field, value: Any) -> None:
    """Set a field."""
    for key in field[:-1]:
        item = item.setdefault(key, {})
    item[field[-1]] = copied(value)


def take(item: Object, field: Field) -> None:
    """Take a field away, and what is empty without it; ``metadata`` and ``spec`` stay."""
    holders = [item]
    for key in field[:-1]:
        inside = holders[-1].get(key)
        if not isinstance(inside, dict):
            return
        holders.append(inside)
    holders[-1].pop(field[-1], None)
    for depth in range(len(holders) - 1, 1, -1):
        if not holders[depth]:
            del holders[depth - 1][field[depth - 1]]


class Owners:
    """The owners of an object's fields, read from it; :meth:`write` puts them back."""

    def __init__(self, item: Mapping[str, Any]) -> None:
        self._of: dict[tuple[str, str], set[Field]] = {}
        for entry in item.get("metadata", {}).get("managedFields", ()):
            key = entry.get("manager", ""), entry.get("operation", "Update")
            self._of[key] = set(_read(entry.get("fieldsV1", {})))

    def applied(self, manager: str) -> set[Field]:
        """What a manager has applied."""
        return set(self._of.get((manager, "Apply"), ()))

    def others(self, manager: str, field: Field) -> list[str]:
        """Who else owns a field than this manager by its applies."""
        return [name for (name, how), owned in self._of.items() if field in owned and (name, how) != (manager, "Apply")]

    def apply(self, manager: str, owned: set[Field], lost: set[Field]) -> None:
        """A manager owns just these by its applies, and the others have lost some."""
        for fields in self._of.values():
            fields -= lost
        self._of[manager, "Apply"] = owned

    def update(self, manager: str, changed: set[Field]) -> None:
        """A manager has changed these by a write that is no apply: they are nobody else's any more."""
        for fields in self._of.values():
            fields -= changed
        self._of.setdefault((manager, "Update"), set()).update(changed)

    def write(self, item: Object) -> None:
        """Put them into an object."""
        entries = [
            {"manager": name, "operation": how, "fieldsType": "FieldsV1", "fieldsV1": _tree(owned)}
            for (name, how), owned in sorted(self._of.items())
            if owned
        ]
        item["metadata"].pop("managedFields", None)
        if entries:
            item["metadata"]["managedFields"] = entries


def _read(tree: Mapping[str, Any], above: Field = ()) -> Iterator[Field]:
    for key, below in tree.items():
        if key.startswith("f:"):
            field = (*above, key.removeprefix("f:"))
            if below:
                yield from _read(below, field)
            else:
                yield field


def _tree(owned: set[Field]) -> Object:
    tree: Object = {}
    for field in sorted(owned):
        below = tree
        for key in field:
            below = below.setdefault(f"f:{key}", {})
    return tree
