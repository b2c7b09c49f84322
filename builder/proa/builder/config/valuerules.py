"""Rules for values that are well formed and yet would have no effect, or never the one that is meant."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proa.builder.config import preseed
from proa.builder.config.near import did_you_mean
from proa.builder.config.problems import Problem, Rule, readable
from proa.builder.config.settings import Config
from proa.core.runtime.errors import Code, ProaError
from proa.core.signing.keys import load_public

ARMOR: Final = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
"""How an OpenPGP keyring begins that is text (RFC 9580, section 6.2)."""
_PACKET: Final = frozenset({0x98, 0x99, 0xC6})
"""First byte of a binary one: a public-key packet, old and new format (RFC 9580, section 4.2)."""
_TYPES: Final = tuple(
    f".{kind}" for kind in ("service", "socket", "target", "timer", "path", "mount", "automount", "swap", "slice")
)


def time_zones_exist(config: Config, folder: Path) -> Iterator[Problem]:
    """A time zone of the tz database; where this machine has none of it, the build asks the tree."""
    zone, known = config.system.timezone, zoneinfo.available_timezones()
    if zone != "UTC" and known and zone not in known:
        hint = did_you_mean(zone, known, "See tzselect(8).")
        yield Problem(("system", "timezone"), f"there is no time zone '{zone}'", hint=hint)


def programs_can_start(config: Config, folder: Path) -> Iterator[Problem]:
    """What is neither a script with a first line nor an ELF program cannot be run: no trial would ever pass."""
    for number, check in enumerate(config.check):
        key = "source" if check.source else "content"
        if check.source and not readable(folder / check.source):
            continue
        start = (check.content or "").encode() if not check.source else _start(folder / check.source)
        if start and not _can_start(start):
            what = f"the check '{check.name}' begins neither with '#!' nor as an ELF program, so it cannot be run"
            yield Problem(("check", number, key), what, hint="Begin with #!/bin/sh.")
    for number, hook in enumerate(config.hook):
        if readable(folder / hook.run) and not _can_start(_start(folder / hook.run)):
            what = f"{hook.run} begins neither with '#!' nor as an ELF program, so it cannot be run"
            yield Problem(("hook", number, "run"), what, hint="Begin with #!/bin/sh.")


def checks_end_in_time(config: Config, folder: Path) -> Iterator[Problem]:
    """A check that may take as long as the whole trial is never answered."""
    if config.health.timeout >= config.health.deadline:
        what = f"a check may take {config.health.timeout} s, but the whole trial has {config.health.deadline} s"
        yield Problem(("health", "timeout"), what)


def keyrings_are_keyrings(config: Config, folder: Path) -> Iterator[Problem]:
    """Apt passes over what is no OpenPGP keyring, and then says that a signature cannot be verified."""
    for number, source in enumerate(config.source):
        path = folder / source.signed_by
        if source.signed_by and readable(path) and not is_keyring(_start(path)):
            what = f"{source.signed_by} is not an OpenPGP keyring"
            yield Problem(("source", number, "signed_by"), what, hint="Use the file that the mirror's owner publishes.")


def answers_are_answers(config: Config, folder: Path) -> Iterator[Problem]:
    """Debconf passes over what it does not understand, and the package asks nobody."""
    for number, name in enumerate(config.system.preseed):
        text = (folder / name).read_text(errors="replace") if readable(folder / name) else ""
        for line, what, hint in preseed.mistakes(text):
            yield Problem(("system", "preseed", number), f"{name}:{line}: {what}", hint=hint)


def enough_different_keys(config: Config, folder: Path) -> Iterator[Problem]:
    """One key in two files signs once."""
    seen: dict[str, str] = {}
    for number, name in enumerate(config.trust.keys):
        try:
            key = load_public(folder / name) if readable(folder / name) else None
        except ProaError:  # told by another rule
            continue
        if key is not None and key.id in seen:
            yield Problem(("trust", "keys", number), f"{name} is the same key as {seen[key.id]}", Code.KEY)
        elif key is not None:
            seen[key.id] = name


def units_have_a_type(config: Config, folder: Path) -> Iterator[Problem]:
    """Systemctl adds ``.service`` where the type is missing, but health checks and masks do not."""
    lists = {("units", key): getattr(config.units, key) for key in ("enable", "disable", "mask")}
    lists["health", "required"] = config.health.required
    for path, names in lists.items():
        for number, name in enumerate(names):
            if not name.endswith(_TYPES):
                stem, dot, kind = name.rpartition(".")
                near = did_you_mean(f".{kind}", _TYPES).replace("'.", f"'{stem}.") if dot else ""
                hint = near or f"Did you mean '{name}.service'?"
                yield Problem((*path, number), f"'{name}' does not end in the type of a unit", hint=hint)


def is_keyring(start: bytes) -> bool:
    """Whether a file that begins so is one that apt reads."""
    return start.lstrip().startswith(ARMOR) or bool(start and start[0] in _PACKET)


def _can_start(start: bytes) -> bool:
    return start.startswith((b"#!", b"\x7fELF"))


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def encryption_was_tried(config: Config, folder: Path) -> Iterator[Problem]:
    """What a TPM gives depends on each suite's boot chain and on its systemd, as nothing else does."""
    if config.persist.encryption != "none" and config.system.suite != "bookworm":
        what = f"PERSIST can be encrypted on nodes of bookworm, not yet on those of {config.system.suite}"
        yield Problem(("persist", "encryption"), what)


VALUE_RULES: Final[tuple[Rule, ...]] = (
    time_zones_exist,
    programs_can_start,
    checks_end_in_time,
    keyrings_are_keyrings,
    answers_are_answers,
    enough_different_keys,
    units_have_a_type,
    encryption_was_tried,
)
"""Every rule of this module."""
