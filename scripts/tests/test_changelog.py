"""CHANGELOG.md has the form that its readers and ``make release`` know."""

from __future__ import annotations

import pytest

from upkeep import changelog
from upkeep.lines import ROOT
from upkeep.version import read_version

TEXT = """\
# Changelog

Words of the top.

## [Unreleased]

### Fixed

- A thing.

## [0.2.0] - 2026-02-01

### Added

- One.
- Two.

### Fixed

- Three.

## [0.1.0] - 2026-01-01

### Added

- The first.
"""


def test_the_change_log_of_the_repository() -> None:
    assert changelog.check((ROOT / "CHANGELOG.md").read_text(), read_version(ROOT)) == []


def test_a_good_one() -> None:
    assert changelog.check(TEXT, "0.2.0") == []
    assert [section.version for section in changelog.parse(TEXT)] == ["Unreleased", "0.2.0", "0.1.0"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("- Two.", "- Two.\n  And more.", "line 17: neither a version"),
        ("- Two.", "- " + "x" * 119, "line 16: 121 characters"),
        ("### Fixed", "### Repaired", "line 7: neither a version"),
        ("- Three.", "", "0.2.0: nothing below Fixed"),
        ("## [0.1.0] - 2026-01-01", "## [0.3.0] - 2026-01-01", "0.2.0 stands above 0.3.0"),
        ("## [0.1.0] - 2026-01-01", "## [0.1.0] - 2026-03-01", "0.2.0 stands above 0.1.0"),
        ("## [0.1.0] - 2026-01-01", "## [0.1.0]", "0.1.0: neither [Unreleased] nor"),
        ("## [0.1.0] - 2026-01-01", "## [0.1] - 2026-01-01", "0.1: neither [Unreleased] nor"),
        ("## [Unreleased]\n\n### Fixed\n\n- A thing.\n", "", "the first section is not [Unreleased]"),
        ("### Added\n\n- One.", "### Security\n\n- One.", "0.2.0: its kinds of changes are not in the order"),
    ],
)
def test_what_is_wrong_is_told(old: str, new: str, problem: str) -> None:
    assert old in TEXT
    found = changelog.check(TEXT.replace(old, new, 1), "0.2.0")
    assert any(one.startswith(problem) for one in found), found


@pytest.mark.parametrize(("version", "right"), [("0.2.0", True), ("0.3.0", True), ("0.1.0", False), ("0.1.5", False)])
def test_the_newest_version_is_the_packages_or_the_next(version: str, right: bool) -> None:
    assert (changelog.check(TEXT, version) == []) is right


def test_a_newer_package_needs_unreleased_changes() -> None:
    text = TEXT.replace("### Fixed\n\n- A thing.\n", "", 1)
    assert changelog.check(text, "0.2.0") == []
    assert changelog.check(text, "0.3.0") == ["the package has version 0.3.0, and the newest here is 0.2.0"]


def test_notes_are_those_of_the_version() -> None:
    assert changelog.notes(TEXT, "0.2.0") == "# Proa 0.2.0\n\n## Added\n\n- One.\n- Two.\n\n## Fixed\n\n- Three.\n"


def test_notes_of_the_next_version_are_what_is_unreleased() -> None:
    assert changelog.notes(TEXT, "0.3.0") == "# Proa 0.3.0\n\n## Fixed\n\n- A thing.\n"


@pytest.mark.parametrize("version", ["0.1.5", "0.0.1"])
def test_no_notes_without_changes(version: str) -> None:
    with pytest.raises(changelog.ChangelogError, match=version):
        changelog.notes(TEXT, version)


def test_a_version_without_changes_has_no_notes() -> None:
    text = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-02-01\n\n## [0.1.0] - 2026-01-01\n"
    with pytest.raises(changelog.ChangelogError, match=r"no changes of version 0\.2\.0"):
        changelog.notes(text, "0.2.0")
