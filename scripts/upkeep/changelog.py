"""CHANGELOG.md: how it is written (https://keepachangelog.com/en/1.1.0), and the notes of a release taken from it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

KINDS: Final = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
"""The headings below a version, in this order."""
MAX_LINE: Final = 120
UNRELEASED: Final = "Unreleased"
_VERSION: Final = re.compile(r"## \[(?P<version>[^]]+)\](?: - (?P<date>\d{4}-\d{2}-\d{2}))?")
_NUMBERS: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")


class ChangelogError(Exception):
    """The change log has no such form, or not what is asked of it."""


@dataclass
class Section:
    """What changed with one version.

    Attributes:
        version: ``Unreleased``, or MAJOR.MINOR.PATCH.
        date: The day of the release, as ``YYYY-MM-DD``; empty for what is not released.
        changes: The changes of each kind, in the order of the file.
    """

    version: str
    date: str
    changes: dict[str, list[str]] = field(default_factory=dict)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version as numbers; higher than any for what is not released, empty if it is no version."""
        if self.version == UNRELEASED:
            return (1 << 31,)
        match = _NUMBERS.fullmatch(self.version)
        return tuple(int(part) for part in match.groups()) if match else ()


def parse(text: str) -> tuple[Section, ...]:
    """The sections, in the order of the file.

    Raises:
        ChangelogError: With every line that has no place in it, one a line of the message.
    """
    sections: list[Section] = []
    wrong = [f"line {number}: {what}" for number, what in _read(text, sections)]
    if wrong:
        raise ChangelogError("\n".join(wrong))
    return tuple(sections)


def _read(text: str, sections: list[Section]) -> Iterator[tuple[int, str]]:
    """Fill the sections, and tell each line that is wrong."""
    changes: list[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if match := _VERSION.fullmatch(line):
            sections.append(Section(match["version"], match["date"] or ""))
            changes = None
        elif not sections or not line:
            continue
        elif line.startswith("### ") and line[4:] in KINDS and line[4:] not in sections[-1].changes:
            changes = sections[-1].changes.setdefault(line[4:], [])
        elif line.startswith("- ") and changes is not None:
            changes.append(line[2:])
            if len(line) > MAX_LINE:
                yield number, f"{len(line)} characters; a change has one line of at most {MAX_LINE}"
        else:
            yield number, f"neither a version, nor one of {', '.join(KINDS)}, nor a change of one line: {line!r}"


def check(text: str, version: str) -> list[str]:
    """What is wrong with the change log of a package.

    Args:
        text: The change log.
        version: The package's version.
    """
    try:
        sections = parse(text)
    except ChangelogError as error:
        return str(error).splitlines()
    return [*_order(sections), *_newest(sections, version)]


def _order(sections: tuple[Section, ...]) -> Iterator[str]:
    if not sections or sections[0].version != UNRELEASED:
        yield f"the first section is not [{UNRELEASED}]"
    for section in sections:
        if bool(section.date) == (section.version == UNRELEASED) or not section.numbers:
            yield f"{section.version}: neither [{UNRELEASED}] nor [MAJOR.MINOR.PATCH] - YYYY-MM-DD"
        kinds = list(section.changes)
        if kinds != sorted(kinds, key=KINDS.index):
            yield f"{section.version}: its kinds of changes are not in the order {', '.join(KINDS)}"
        yield from (f"{section.version}: nothing below {kind}" for kind in kinds if not section.changes[kind])
    for newer, older in itertools.pairwise(sections):
        if newer.numbers <= older.numbers or (newer.date or "9") < older.date:
            yield f"{newer.version} stands above {older.version}"


def _newest(sections: tuple[Section, ...], version: str) -> Iterator[str]:
    """The newest version is the package's; what is to become of it may stand as unreleased until its first release."""
    released = [section for section in sections if section.version != UNRELEASED]
    newest = released[0].version if released else ""
    if newest != version and not _is_coming(sections, version):
        yield f"the package has version {version}, and the newest here is {newest or 'none'}"


def _is_coming(sections: tuple[Section, ...], version: str) -> bool:
    """Whether the unreleased changes are those of ``version``: it is newer than all that is released."""
    mine = Section(version, "").numbers
    return bool(sections) and bool(sections[0].changes) and all(mine > one.numbers for one in sections[1:])


def notes(text: str, version: str) -> str:
    """The notes of a release, as Markdown.

    Args:
        text: The change log.
        version: The release. Without a section of its own it has the unreleased changes, if it is newer than the rest.

    Raises:
        ChangelogError: If the change log does not have it, or has no changes for it.
    """
    sections = parse(text)
    found = next((section for section in sections if section.version == version), None)
    if found is None and _is_coming(sections, version):
        found = sections[0]
    if found is None or not found.changes:
        raise ChangelogError(f"CHANGELOG.md has no changes of version {version}")
    return "\n".join([f"# Proa {version}", *_blocks(found.changes)]) + "\n"


def _blocks(changes: Mapping[str, list[str]]) -> Iterator[str]:
    for kind, lines in changes.items():
        yield f"\n## {kind}\n"
        yield from (f"- {line}" for line in lines)
