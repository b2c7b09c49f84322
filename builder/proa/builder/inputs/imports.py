"""What a program of Proa's imports, read from its source: nothing is run, and no list is kept by hand.

Every import counts, inside a function too: it comes late, and it comes. One under ``if TYPE_CHECKING`` does not count.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import replace
from proa.core.runtime.parsing import json_value

_OURS: Final = "proa"
_PLACES: Final = frozenset({"__file__", "__package__", "__path__", "__spec__"})
"""Names by which a module asks where it lies."""


@dataclass(frozen=True)
class Module:
    """A module of Proa's.

    Attributes:
        name: Its full name.
        path: Its source.
        code: The hash of its syntax tree: comments and blank lines are not in it.
        early: Modules that it imports when it is imported itself; the packages that it lies in are among them.
        late: Modules that its functions import.
        data: Files beside it, if its code asks where it lies: by ``__file__``, or by its package's resources.
    """

    name: str
    path: Path
    code: str
    early: frozenset[str]
    late: frozenset[str]
    data: frozenset[Path]

    @property
    def imports(self) -> frozenset[str]:
        """All that it imports."""
        return self.early | self.late

    @property
    def distributions(self) -> frozenset[str]:
        """The installed distributions that it imports something of."""
        return frozenset(one for name in self.imports for one in distributions(name))


@dataclass(frozen=True)
class _Facts:
    """What a source says by itself: the hash of its code, its imports, and whether it asks where it lies."""

    code: str
    early: Sequence[str]
    late: Sequence[str]
    asks: bool


_known: Final[dict[str, _Facts]] = {}
"""By the hash of package and source."""
_MOST_KNOWN: Final = 3000


@functools.cache
def module(name: str) -> Module | None:
    """A module of Proa's by its name; None for any other name."""
    path = _source(name)
    if path is None:
        return None
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    facts = _facts(package, path.read_bytes())
    beside = (file for file in path.parent.iterdir() if file.is_file() and file.suffix != ".py") if facts.asks else ()
    early = frozenset({*_packages(name), *facts.early})
    return Module(name, path, facts.code, early, frozenset(facts.late), frozenset(beside))


@contextmanager
def remembering(path: Path) -> Iterator[None]:
    """Take what was read from sources before from a file, and keep there what is read until the block ends.

    The same source says the same to the same reader, so that a file of other readers counts as empty, as a damaged one.
    """
    reader = hashlib.sha256(Path(__file__).read_bytes() + sys.version.encode()).hexdigest()
    known = _remembered(path, reader)
    _known.update(known)
    yield
    if _known.keys() - known.keys():
        kept = dict(list(_known.items())[-_MOST_KNOWN:])
        replace(
            path, json.dumps({"reader": reader, "found": {key: astuple(one) for key, one in kept.items()}}).encode()
        )


def _remembered(path: Path, reader: str) -> dict[str, _Facts]:
    try:
        document = json_value(path.read_bytes())
        if document["reader"] != reader:
            return {}
        return {key: _Facts(code, early, late, asks) for key, (code, early, late, asks) in document["found"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _facts(package: str, source: bytes) -> _Facts:
    key = hashlib.sha256(f"{package}\0".encode() + source).hexdigest()
    if key not in _known:
        tree = ast.parse(source)
        found = {late: set[str]() for late in (False, True)}
        for statement, late in _statements(tree):
            found[late] |= set(_named(statement, package))
        code = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
        _known[key] = _Facts(code, sorted(found[False]), sorted(found[True]), _asks(tree))
    return _known[key]


def reached(*names: str, without: Iterable[str] = ()) -> dict[str, Module]:
    """Modules of Proa's and all of Proa's that these import, directly or not, by name.

    Args:
        names: Where to begin.
        without: Modules to leave out, with what only they import.
    """
    found: dict[str, Module] = {}
    waiting, left_out = list(names), frozenset(without)
    while waiting:
        name = waiting.pop()
        if name not in found and name not in left_out and (one := module(name)) is not None:
            found[name] = one
            waiting += one.imports
    return dict(sorted(found.items()))


def folder(package: str) -> Path:
    """Where a package of Proa's lies here.

    Raises:
        ProaError: ``INTERNAL`` if it is not installed.
    """
    found = module(package)
    if found is None:
        raise _not_installed(package)
    return found.path.parent


def files(entries: Iterable[str], lock: Path) -> dict[str, Path]:
    """What a place must have of Proa to run some modules: the paths below a site folder, and where each file lies here.

    A module that imports at once what the place does not have can never be imported there, and is left out, as is
    what only such modules import: code that imports one of them late has to be ready to miss it.

    Args:
        entries: The modules that are started there.
        lock: pip's lock with the distributions that the place has.

    Raises:
        ProaError: ``INTERNAL`` for an entry that is not there or could not be imported at that place, and for an
            import of a distribution that is not installed here.
    """
    names = tuple(entries)
    known = reached(*names)
    missing = _unimportable(known, locked(lock))
    for name in names:
        if name not in known:
            raise _not_installed(name)
        if name in missing:
            raise ProaError(Code.INTERNAL, f"{name} imports {missing[name]}, which is not in {lock.name}")
    kept = reached(*names, without=missing).values()
    found = {name: path for one in kept for name, path in _files(one)}
    return dict(sorted(found.items()))


def locked(lock: Path) -> frozenset[str]:
    """The names, in canonical form, of the distributions in pip's lock."""
    return frozenset(map(canonical, re.findall(r"^([\w.-]+)==", lock.read_text(), re.MULTILINE | re.ASCII)))


def canonical(name: str) -> str:
    """A distribution's name as it compares (Python packaging user guide, "Name normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions(name: str) -> tuple[str, ...]:
    """The installed distributions that a module comes from; none for the standard library's and for Proa's own."""
    top = name.partition(".")[0]
    if top == _OURS or top in sys.stdlib_module_names:
        return ()
    return tuple(_by_module().get(top, ()))


_by_module: Final = functools.cache(metadata.packages_distributions)


def _unimportable(modules: dict[str, Module], there: frozenset[str]) -> dict[str, str]:
    """Modules that a place with these distributions cannot import, each with what it misses."""
    found: dict[str, str] = {}
    wanted = {name for one in modules.values() for name in one.early if not _is_ours(name)}
    missing = {name: name for name in wanted if not _is_there(name, there)}
    while missing:
        more = {one.name: missing[name] for one in modules.values() for name in sorted(one.early & missing.keys())}
        missing = {name: what for name, what in more.items() if name not in found}
        found |= missing
    return found


def _is_there(name: str, there: frozenset[str]) -> bool:
    """Whether a module is of the standard library, or of one of these distributions."""
    top = name.partition(".")[0]
    found = distributions(top)
    if not found and top not in sys.stdlib_module_names:
        raise _not_installed(top)
    return not found or any(canonical(one) in there for one in found)


def _not_installed(name: str) -> ProaError:
    return ProaError(Code.INTERNAL, f"{name} is not installed", hint="Install proa[builder].")


def _files(one: Module) -> Iterator[tuple[str, Path]]:
    folder = Path(*one.name.split("."))
    if one.path.name != "__init__.py":
        folder = folder.parent
    for path in (one.path, *one.data):
        yield str(folder / path.name), path


def _source(name: str) -> Path | None:
    spec = _spec(name) if _is_ours(name) else None
    return Path(spec.origin) if spec is not None and spec.origin and spec.has_location else None


def _spec(name: str) -> ModuleSpec | None:
    """Where a module lies: as :func:`importlib.util.find_spec`, which runs the packages above it, and this does not."""
    package = name.rpartition(".")[0]
    if not package:
        return PathFinder.find_spec(name)
    above = _spec(package)
    places = above.submodule_search_locations if above is not None else None
    return PathFinder.find_spec(name, places) if places is not None else None


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == _OURS


def _packages(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


def _statements(node: ast.AST, *, late: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """The import statements of a piece of code, each with whether it stands in a function."""
    for child in _run(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, late
        elif not isinstance(child, ast.expr):
            yield from _statements(child, late=late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a piece of code that may run."""
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        yield from node.orelse
    else:
        yield from ast.iter_child_nodes(node)


def _named(statement: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    """What a statement may import: ``from a import b`` gives ``a`` and ``a.b``, whichever ``b`` is."""
    if isinstance(statement, ast.Import):
        names = [alias.name for alias in statement.names]
    else:
        start = importlib.util.resolve_name("." * statement.level + (statement.module or ""), package)
        names = [start, *(f"{start}.{alias.name}" for alias in statement.names)]
    for name in names:
        yield from (name, *_packages(name))


def _asks(tree: ast.AST) -> bool:
    """Whether a module asks where it lies: it is there to read the files beside it, whatever it calls them."""
    return bool({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & _PLACES)
