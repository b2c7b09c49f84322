"""The journal of a trial that came back is kept and can be read."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from proa.agent.node.paths import Paths
from proa.agent.testing.node import Node
from proa.agent.testing.systemctl import Systemctl
from proa.agent.testing.trials import unhealthy, warnings
from proa.agent.trial.journal import KEPT, between, keep_journal
from proa.partition.boot.bootstate import Slot

PROGRAM = """#!/bin/sh
here=${0%/*}/journals
echo "$*" >>"$here/calls"
for word; do
    case $word in
    --list-boots) exec cat "$here/boots" ;;
    --boot=*) exec cat "$here/${word#--boot=}" ;;
    esac
done
exit 1
"""


class Journal:
    """A program ``journalctl`` on PATH, and what it says of each boot."""

    def __init__(self, folder: Path, paths: Paths) -> None:
        self.folder = folder / "journals"
        self.folder.mkdir(parents=True)
        paths.journal.mkdir(parents=True)
        program = folder / "journalctl"
        program.write_text(PROGRAM)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def write(self, **boots: str) -> None:
        lines = [f"{number - len(boots) + 1:3} {boot} Mon 2001-01-01 UTC" for number, boot in enumerate(boots)]
        (self.folder / "boots").write_text("\n".join(lines) + "\n")
        for boot, text in boots.items():
            (self.folder / boot).write_text(text)


@pytest.fixture
def journal(systemctl: Systemctl, trial: Node) -> Journal:
    return Journal(systemctl.folder.parent, trial.paths)


@pytest.mark.parametrize(
    ("boots", "found"),
    [
        (["a", "b", "c", "d"], ["b", "c"]),
        (["x", "a", "b", "d", "e"], ["b"]),
        (["a", "d"], []),
        (["b", "c", "d"], []),
        (["a", "b", "c"], ["b", "c"]),
        ([], []),
    ],
)
def test_the_boots_of_a_trial_are_told_by_their_ids(boots: list[str], found: list[str]) -> None:
    assert list(between(boots, "a", "d")) == found


def test_the_journal_of_a_trial_that_returned_is_kept_and_named(
    trial: Node, systemctl: Systemctl, journal: Journal
) -> None:
    journal.write(boot1="armed\n", boot2="bad.service: \x1b[31mfailed\nthe end\n", boot3="now\n")
    unhealthy(trial, systemctl)
    assert trial.reboot() is Slot.A
    kept = trial.paths.returned_journal
    assert trial.returned.journal == str(kept)
    assert kept.read_text() == "-- boot boot2 --\nbad.service: \x1b[31mfailed\nthe end\n"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_journal_of_any_length_is_cut_at_a_line(trial: Node, journal: Journal) -> None:
    line = "x" * 99 + "\n"
    journal.write(boot1="", boot2=line * (2 * KEPT // 100), boot3="")
    kept = keep_journal(trial.paths, "boot-1", "boot-3")
    assert kept is not None
    head, *lines = kept.read_text().splitlines()
    assert head == "-- boot boot2 --"
    assert set(lines) == {"x" * 99}
    assert kept.stat().st_size <= KEPT + 100


def test_a_journal_that_cannot_be_read_does_not_hide_the_return(
    trial: Node, systemctl: Systemctl, journal: Journal
) -> None:
    (journal.folder / "boots").unlink(missing_ok=True)
    unhealthy(trial, systemctl)
    assert trial.reboot() is Slot.A
    assert trial.returned.journal == ""
    assert "journal cannot be kept" in warnings(trial)


def test_a_node_without_a_journal_has_none(trial: Node, systemctl: Systemctl) -> None:
    assert keep_journal(trial.paths, "boot-1", "boot-3") is None
