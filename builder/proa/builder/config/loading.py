"""Reads and checks proa.toml: every error at once, each with its place, what is allowed and the nearest name."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from proa.builder.config.image_settings import ReleaseConfig
from proa.builder.config.kinds import Listing, Refused
from proa.builder.config.places import Places, Way, find
from proa.builder.config.rules import RULES
from proa.builder.config.setting import UNSET, Section, Setting
from proa.builder.config.settings import SECTIONS, Config
from proa.core.runtime.errors import Code, ProaError, ProaErrors
from proa.core.runtime.files import os_errors
from proa.core.runtime.parsing import foreign, toml_table

_SYNTAX_PLACE: Final = re.compile(r" \(at line (\d+), column (\d+)\)$")
_THREE_NUMBERS: Final = re.compile(r"(\d{1,9})\.(\d{1,3})\.(\d{1,3})")


@dataclass(frozen=True)
class Loaded:
    """A configuration and where each of its values came from.

    Attributes:
        config: The configuration.
        path: The file.
        origins: Setting, as ``release.name`` or ``user[0].name``, to ``FILE:LINE:COLUMN``, ``default``,
            ``--version`` or ``derived``.
    """

    config: Config
    path: Path
    origins: Mapping[str, str]

    def place(self, setting: str) -> str:
        """Where a setting, or an item of a list as ``units.enable[0]``, stands in the file; empty if it does not."""
        name = setting
        while name not in self.origins and name.endswith("]"):
            name = name[: name.rindex("[")]
        found = self.origins.get(name, "")
        return found if found.startswith(f"{self.path}:") else ""


def load(path: Path, *, version: str = "") -> Loaded:
    """Read, check and complete a configuration.

    Args:
        path: The file; local paths in it start at its folder.
        version: Overrides ``release.version`` if given.

    Raises:
        ProaErrors: Every error of the file; ``FILE_MISSING`` and ``CONFIG_SYNTAX`` come alone.
    """
    with os_errors(path):
        data = path.read_bytes()
    try:
        text = data.decode()
        document = toml_table(text)
        with foreign(Code.CONFIG_SYNTAX, "its values are nested too deeply", f"{path}:1:1"):
            places = find(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ProaError(Code.CONFIG_SYNTAX, "not UTF-8", at=f"{path}:{line}:1") from error
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(path, str(error), text) from error
    except ValueError as error:
        raise ProaError(Code.CONFIG_SYNTAX, str(error), at=f"{path}:1:1") from error
    reading = _Reading(path, places)
    values = reading.document(document, version)
    if not reading.errors:
        values["release"] = _derive(reading, values["release"])
    if not reading.errors:
        config = Config(**values)
        for problem in (problem for rule in RULES for problem in rule(config, path.parent)):
            reading.refuse(problem.code, problem.path, problem.message, hint=problem.hint)
    if reading.errors:
        raise ProaErrors(sorted(reading.errors, key=_by_place))
    return Loaded(config, path, reading.origins)


def _syntax_error(path: Path, message: str, text: str) -> ProaError:
    match = _SYNTAX_PLACE.search(message)
    last = text.rstrip("\n")
    end = f"{last.count(chr(10)) + 1}:{len(last) - last.rfind(chr(10))}"
    return ProaError(
        Code.CONFIG_SYNTAX,
        (message[: match.start()] if match else message.removesuffix(" (at end of document)")),
        at=f"{path}:{match[1]}:{match[2]}" if match else f"{path}:{end}",
    )


def _by_place(error: ProaError) -> tuple[int, int]:
    line, column = error.at.rsplit(":", 2)[1:]
    return int(line), int(column)


@dataclass
class _Reading:
    """One pass over one file: collects errors and origins instead of stopping at the first."""

    path: Path
    places: Places
    errors: list[ProaError] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)

    def at(self, path: Way, *, key: bool = False) -> str:
        line, column = self.places.of(path, key=key)
        return f"{self.path}:{line}:{column}"

    def refuse(self, code: Code, path: Way, message: str, *, key: bool = False, hint: str = "") -> None:
        self.errors.append(ProaError(code, message, at=self.at(path, key=key), hint=hint))

    def document(self, document: Mapping[str, Any], version: str) -> dict[str, Any]:
        known = {section.name: section for section in SECTIONS}
        for name in document:
            if name not in known:
                self.unknown((name,), name, "section", known)
        release = document.get("release", {})
        if version and isinstance(release, dict):
            document = dict(document) | {"release": release | {"version": version}}
        values: dict[str, Any] = {}
        for section in SECTIONS:
            value = document.get(section.name, [] if section.many else {})
            values[section.name] = self.many(section, value) if section.many else self.one(section, value)
        if version:
            self.origins["release.version"] = "--version"
        return values

    def many(self, section: Section, value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.refuse(
                Code.CONFIG_VALUE, (section.name,), f"'{section.name}' must be written as [[{section.name}]]", key=True
            )
            return ()
        return tuple(self.table(section, (section.name, number), item) for number, item in enumerate(value))

    def one(self, section: Section, value: object) -> Any:
        if not isinstance(value, dict):
            self.refuse(
                Code.CONFIG_VALUE, (section.name,), f"'{section.name}' must be written as [{section.name}]", key=True
            )
            return None
        return self.table(section, (section.name,), value)

    def table(self, section: Section, path: Way, values: Mapping[str, Any]) -> Any:
        known = {setting.key: setting for setting in section.settings}
        for key in values:
            if key not in known:
                self.unknown((*path, key), f"{section.name}.{key}", "key", known)
        found: dict[str, Any] = {}
        before = len(self.errors)
        for setting in known.values():
            where = (*path, setting.key)
            name = f"{_show(path)}.{setting.key}"
            if setting.key in values:
                self.origins[name] = self.at(where, key=True)
                found[setting.key] = self.value(setting, where, values[setting.key])
            elif setting.required:
                allowed = f"it is {setting.kind.allowed}"
                self.refuse(Code.CONFIG_MISSING, path, f"'{setting.name}' is missing; {allowed}", key=True)
            else:
                self.origins[name] = "default"
        return section.type(**found) if len(self.errors) == before else None

    def value(self, setting: Setting, path: Way, value: object) -> Any:
        """The value as the builder uses it; a list is read item by item, so that each has its place."""
        kind = setting.kind
        if isinstance(kind, Listing) and isinstance(value, list):
            items: list[Any] = []
            if len(value) < kind.least:
                self.refuse(Code.CONFIG_VALUE, path, f"'{setting.name}' is not {kind.allowed}")
            for number, item in enumerate(value):
                self.origins[f"{_show(path)}[{number}]"] = self.at((*path, number))
                try:
                    read = kind.of.read(item)
                    if read in items:
                        raise Refused(f'"{item}" is in the list twice')
                    items.append(read)
                except Refused as refused:
                    self.refuse(Code.CONFIG_VALUE, (*path, number), f"'{setting.name}': {refused}")
            return tuple(items)
        try:
            return kind.read(value)
        except Refused as refused:
            self.refuse(Code.CONFIG_VALUE, path, f"'{setting.name}': {refused}")
            return None

    def unknown(self, path: Way, name: str, what: str, known: Iterable[str]) -> None:
        key = str(path[-1])
        near = difflib.get_close_matches(key, list(known), 1, 0.6)
        elsewhere = [section.name for section in SECTIONS if any(setting.key == key for setting in section.settings)]
        if near:
            hint = f"Did you mean '{near[0]}'?"
        elif elsewhere:
            hint = f"'{key}' belongs in [{elsewhere[0]}]."
        else:
            hint = f"Known here: {', '.join(known)}."
        self.refuse(Code.CONFIG_UNKNOWN_KEY, path, f"there is no {what} called '{name}'", key=True, hint=hint)


def _derive(reading: _Reading, release: ReleaseConfig) -> ReleaseConfig:
    """Fill in what follows from the rest."""
    changes: dict[str, Any] = {}
    match = _THREE_NUMBERS.fullmatch(release.version)
    if not release.version:
        reading.refuse(
            Code.CONFIG_MISSING,
            ("release",),
            "'release.version' is missing",
            key=True,
            hint="Add it, or pass --version.",
        )
    elif release.serial == UNSET and match is None:
        reading.refuse(
            Code.CONFIG_MISSING,
            ("release", "version"),
            f"'release.serial' is missing, and cannot be derived from version \"{release.version}\", "
            "which is not X.Y.Z",
        )
    elif release.serial == UNSET and match is not None:
        changes["serial"] = int(match[1]) * 1_000_000 + int(match[2]) * 1000 + int(match[3])
    if not release.compatible:
        changes["compatible"] = release.name
    reading.origins.update({f"release.{key}": "derived" for key in changes})
    return dataclasses.replace(release, **changes)


def _show(path: Way) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
