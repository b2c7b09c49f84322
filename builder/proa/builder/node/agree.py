"""Whether a finished tree has what the configuration names: units, shells, interpreters, folders.

What is named and not there would have no effect, and be noticed on a node. Errors name the setting as in
``units.enable[0]``; the caller that knows the file puts its place there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from proa.builder.config.near import did_you_mean
from proa.builder.config.settings import Config
from proa.builder.node.tree import Tree
from proa.core.runtime.errors import Code, ProaError, ProaErrors

_FOLDERS: Final = ("/etc/systemd/system", "/usr/lib/systemd/system", "/usr/local/lib/systemd/system")
_INSTALL: Final = re.compile(r"^\[Install\]\s*$", re.MULTILINE)
_TRANSIENT: Final = ("dev-", "sys-", "run-")
"""Units that exist on a node alone: its devices, and what is mounted at boot."""


def check_units(tree: Tree, config: Config) -> None:
    """Look for the units that are to be enabled, disabled and masked, before that is done.

    Raises:
        ProaErrors: ``CONFIG_VALUE`` for each that is not there, or that cannot be enabled.
    """
    _tell(error for key in ("enable", "disable", "mask") for error in _units(tree, f"units.{key}", config))


def check(tree: Tree, config: Config) -> None:
    """Look for all else, when hooks have run.

    Raises:
        ProaErrors: ``CONFIG_VALUE`` for each setting that names what is not there.
    """
    required = _units(tree, "health.required", config)
    _tell([*required, *_shells(tree, config), *_programs(tree, config), *_kept(tree, config)])


def _tell(errors: Iterable[ProaError]) -> None:
    if found := list(errors):
        raise ProaErrors(found)


def _units(tree: Tree, setting: str, config: Config) -> Iterator[ProaError]:
    known = {name for folder in _FOLDERS for name in _entries(tree, folder)}
    known |= {f"{name}.service" for name in _entries(tree, "/etc/init.d")}
    section, _, key = setting.partition(".")
    for number, name in enumerate(getattr(getattr(config, section), key)):
        at = f"{setting}[{number}]"
        if not _exists(name, known):
            yield _missing(f"the tree has no unit '{name}'", at, name, known)
        elif setting == "units.enable" and not _can_enable(tree, name):
            what = f"'{name}' has no [Install] section, so that enabling it has no effect"
            yield ProaError(Code.CONFIG_VALUE, what, at=at, hint="Add a unit or a drop-in that wants it.")


def _exists(name: str, known: set[str]) -> bool:
    return name in known or _template(name) in known or name.startswith(_TRANSIENT)


def _template(name: str) -> str:
    """``getty@tty1.service`` is made from ``getty@.service`` (systemd.unit(5))."""
    return re.sub(r"@.*(\.[a-z]+)$", r"@\1", name)


def _can_enable(tree: Tree, name: str) -> bool:
    places = [f"{folder}/{one}" for folder in _FOLDERS for one in (name, _template(name))]
    texts = [tree.read(place) for place in places if tree.path(place).is_file()]
    drop_ins = [path.read_text() for place in places for _, path in tree.files(f"{place}.d") if path.is_file()]
    return not texts or any(_INSTALL.search(text) for text in [*texts, *drop_ins])


def _shells(tree: Tree, config: Config) -> Iterator[ProaError]:
    known = {line for line in tree.read("/etc/shells").splitlines() if line.startswith("/")}
    for number, user in enumerate(config.user):
        if not _is_program(tree, user.shell):
            yield _missing(f"the tree has no shell '{user.shell}'", f"user[{number}].shell", user.shell, known)


def _programs(tree: Tree, config: Config) -> Iterator[ProaError]:
    """The interpreters of health checks."""
    for number, one in enumerate(config.check):
        with tree.path(f"/usr/lib/proa/health.d/{one.name}").open("rb") as file:
            first = file.readline(512).decode(errors="replace").strip()
        words = first.removeprefix("#!").split() if first.startswith("#!") else []
        if words and not _is_program(tree, words[0]):
            what = f"the check '{one.name}' is run by '{words[0]}', which the tree does not have"
            at = f"check[{number}].{'source' if one.source else 'content'}"
            yield _missing(what, at, words[0], (name for name, _ in tree.files("/usr/bin")))


def _kept(tree: Tree, config: Config) -> Iterator[ProaError]:
    for number, name in enumerate(config.persist.keep):
        if not tree.path(name).is_dir() or tree.path(name).is_symlink():
            what = f"{name} is not a folder of the tree, so that it cannot be kept"
            yield ProaError(Code.CONFIG_VALUE, what, at=f"persist.keep[{number}]")


def _is_program(tree: Tree, name: str) -> bool:
    """Whether a path, links followed within the tree, is a file that can be run."""
    path = tree.path(name)
    for _ in range(40):
        if not path.is_symlink():
            break
        name = str(PurePosixPath(name).parent / path.readlink())
        path = tree.path(name)
    return path.is_file() and bool(path.stat().st_mode & 0o111)


def _entries(tree: Tree, folder: str) -> Iterator[str]:
    place = tree.path(folder)
    for path in sorted(place.iterdir()) if place.is_dir() else ():
        if not path.is_dir() or path.is_symlink():
            yield path.name


def _missing(what: str, at: str, name: str, known: Iterable[str]) -> ProaError:
    hint = did_you_mean(name, known, "Add the package that has it to system.packages.")
    return ProaError(Code.CONFIG_VALUE, what, at=at, hint=hint)
