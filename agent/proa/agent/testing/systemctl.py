"""Programs ``systemctl`` and ``systemd-run`` that write down what they are asked."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SYSTEMCTL: Final = """#!/bin/sh
here=${0%/*}/answers status=0 verb=$1
echo "$*" >>"$here/calls"
case $* in *NRestarts*) verb=restarts ;; esac
[ -e "$here/$verb" ] && cat "$here/$verb"
[ -e "$here/$verb.status" ] && read -r status <"$here/$verb.status"
exit "$status"
"""
_SYSTEMD_RUN: Final = """#!/bin/sh
# Does at once what would be done in a moment.
while [ "$1" != systemctl ]; do shift; done
exec "$@"
"""


@dataclass
class Systemctl:
    """A program ``systemctl`` on PATH that writes down what it is asked and answers from files."""

    folder: Path

    @property
    def calls(self) -> list[str]:
        """What it was asked to do, in order; what it was asked to list is no deed."""
        log = self.folder / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if not line.startswith(("list-units ", "show --property=Id,"))]

    def log(self, call: str) -> None:
        """As if it had been asked for something."""
        with (self.folder / "calls").open("a") as file:
            file.write(call + "\n")

    def restarts(self, **counts: int) -> None:
        """How often each service was restarted, from now on."""
        self.services(**{name: f"NRestarts={count}" for name, count in counts.items()})

    def services(self, **properties: str) -> None:
        """The properties of each service, a line each, from now on."""
        self.answer("restarts", "\n\n".join(f"Id={name}.service\n{one}" for name, one in properties.items()))

    def answer(self, verb: str, text: str, status: int = 0) -> None:
        """What it says from now on when it is asked for a verb."""
        (self.folder / verb).write_text(text)
        (self.folder / f"{verb}.status").write_text(str(status))


def make_systemctl(programs: Path) -> Systemctl:
    """Put the programs into the folder ``programs``, which is to come first on PATH; the system is healthy."""
    (programs / "answers").mkdir(parents=True)
    for name, script in (("systemctl", _SYSTEMCTL), ("systemd-run", _SYSTEMD_RUN)):
        program = programs / name
        program.write_text(script)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    made = Systemctl(programs / "answers")
    made.answer("is-system-running", "running\n")
    return made
