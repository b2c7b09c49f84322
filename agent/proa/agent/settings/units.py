"""Daemons that read settings: restarted by systemd, and seen to be up again; else their last lines say why not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from proa.core.runtime.clock import Clock
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.process import run

RESTART_LIMIT = 90.0
"""Seconds that systemctl may take to restart a unit: systemd's own default for a start."""
STEADY = 5.0
"""Seconds for which a restarted unit must stay up: a daemon that refuses its settings ends soon."""
LINES = 5
"""Lines of a daemon's journal that a reason names."""
_ASK = 20.0


def restart(units: Iterable[str], clock: Clock) -> None:
    """Restart the units that are running, and wait until they have stayed up for a while.

    Raises:
        ProaError: ``SETTINGS_FAILED`` with a unit's state and its last lines.
    """
    running = [name for name in units if _state(name) in ("active", "activating", "reloading", "failed")]
    counts = {name: _restarts(name) for name in running}
    for name in running:
        done = run(["systemctl", "restart", "--", name], check=False, timeout=RESTART_LIMIT)
        if done.status != 0:
            raise _failed(name, f"does not start: {done.stderr.decode(errors='replace').strip() or _state(name)}")
    if running:
        clock.sleep(STEADY)
    for name in running:
        if (state := _state(name)) != "active":
            raise _failed(name, f"is {state} after its restart")
        if _restarts(name) > counts[name]:
            raise _failed(name, "has ended by itself after its restart")


def require_argument(name: str, argument: str, proc: Path) -> None:
    """See that a daemon that runs was started with an argument, without which it never reads its settings.

    Args:
        name: The unit.
        argument: The argument.
        proc: ``/proc``.

    Raises:
        ProaError: ``SETTINGS_FAILED``.
    """
    words = ["systemctl", "show", "--property=MainPID", "--value", "--", name]
    number = run(words, check=False, timeout=_ASK).text.strip()
    try:
        given = (proc / number / "cmdline").read_bytes().split(b"\0") if number.isdigit() and number != "0" else None
    except OSError:
        given = None
    if given is not None and argument.encode() not in given:
        what = f"{name} runs without {argument}: it would not read the settings"
        raise ProaError(Code.SETTINGS_FAILED, what, at=name, hint=f"Add {argument} to its unit, and build a release.")


def reload_manager() -> None:
    """Let systemd read its own drop-ins again.

    Raises:
        ProaError: ``TOOL`` or ``TIMEOUT``.
    """
    run(["systemctl", "daemon-reload"], timeout=RESTART_LIMIT)


def _state(name: str) -> str:
    return run(["systemctl", "is-active", "--", name], check=False, timeout=_ASK).text.strip()


def _restarts(name: str) -> int:
    words = ["systemctl", "show", "--property=NRestarts", "--value", "--", name]
    told = run(words, check=False, timeout=_ASK).text.strip()
    return int(told) if told.isascii() and told.isdigit() else 0


def _failed(name: str, what: str) -> ProaError:
    words = ["journalctl", "--no-pager", "--output=cat", f"--lines={LINES}", f"--unit={name}", "--boot"]
    try:
        said = run(words, check=False, timeout=_ASK).text.strip().splitlines()[-LINES:]
    except ProaError:  # a machine without a journal
        said = []
    last = f"; its last lines: {' | '.join(said)}" if said else ""
    return ProaError(Code.SETTINGS_FAILED, f"{name} {what}{last}", at=name)
