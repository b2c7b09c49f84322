"""What must hold between settings, and between settings and the files that they name. One small function a rule."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proa.builder.config.allowrules import settings_can_be_allowed
from proa.builder.config.disklayout import layout
from proa.builder.config.filerules import FILE_RULES, KEPT_FOLDERS
from proa.builder.config.kinds import Refused
from proa.builder.config.paths import is_below
from proa.builder.config.problems import Problem, Rule, missing, no_file, readable
from proa.builder.config.setting import UNSET
from proa.builder.config.settings import Config
from proa.builder.config.valuerules import VALUE_RULES
from proa.builder.config.vocabulary import SSH_KEY
from proa.core.runtime.errors import ProaError
from proa.core.signing.keys import load_public
from proa.partition.disk.layout import NAMES

_NEVER_KEPT: Final = ("/usr", "/etc", "/boot", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_OURS: Final = (
    "proa.",
    "root=",
    "rootfstype=",
    "roothash=",
    "init=",
    "rdinit=",
    "rd.break",
    "systemd.verity",
    "systemd.gpt_auto",
    "panic=",
)


def floor_not_above_serial(config: Config, folder: Path) -> Iterator[Problem]:
    """A release that forbids itself could never be booted."""
    if config.release.floor > config.release.serial:
        what = f"'release.floor' {config.release.floor} is above the release's own serial {config.release.serial}"
        yield Problem(("release", "floor"), what)


def named_files_are_there(config: Config, folder: Path) -> Iterator[Problem]:
    """Keys, keyrings and hooks that are named are there."""
    for number, key in enumerate(config.trust.keys):
        yield from no_file(folder, key, ("trust", "keys", number))
    for number, name in enumerate(config.system.debs):
        place = ("system", "debs", number)
        problems = list(missing(folder, name, place))
        yield from problems
        if not problems and not any((folder / name).glob("*.deb")):
            yield Problem(place, f"{name} is not a folder with .deb files")
    for number, name in enumerate(config.system.preseed):
        yield from no_file(folder, name, ("system", "preseed", number))
    for number, source in enumerate(config.source):
        if source.signed_by:
            yield from no_file(folder, source.signed_by, ("source", number, "signed_by"))
    for number, user in enumerate(config.user):
        for which, key in enumerate(user.ssh_key_files):
            yield from no_file(folder, key, ("user", number, "ssh_key_files", which))
    for number, hook in enumerate(config.hook):
        yield from no_file(folder, hook.run, ("hook", number, "run"))
        if readable(folder / hook.run) and not os.access(folder / hook.run, os.X_OK):
            yield Problem(("hook", number, "run"), f"{hook.run} is not executable", hint=f"chmod +x {hook.run}")


def accounts_are_distinct(config: Config, folder: Path) -> Iterator[Problem]:
    """No account and no number is given twice, and root is 0."""
    names: set[str] = set()
    numbers: set[int] = set()
    for number, user in enumerate(config.user):
        if user.name in names:
            yield Problem(("user", number, "name"), f"there are two accounts '{user.name}'")
        if user.uid != UNSET and user.uid in numbers:
            yield Problem(("user", number, "uid"), f"two accounts have the number {user.uid}")
        if (user.name == "root") != (user.uid == 0) and user.uid != UNSET:
            yield Problem(("user", number, "uid"), "only root may have the number 0")
        names.add(user.name)
        numbers.add(user.uid)


def checks_are_distinct(config: Config, folder: Path) -> Iterator[Problem]:
    """Two checks of one name would be one file."""
    names = [check.name for check in config.check]
    for number, name in enumerate(names):
        if name in names[:number]:
            yield Problem(("check", number, "name"), f"there are two checks '{name}'")


def checks_are_programs(config: Config, folder: Path) -> Iterator[Problem]:
    """A program without a line cannot be run: no trial would ever pass."""
    for number, check in enumerate(config.check):
        if check.content == "":
            yield Problem(("check", number, "content"), f"the check '{check.name}' is empty, but must be a program")


def trust_can_be_met(config: Config, folder: Path) -> Iterator[Problem]:
    """More signatures than keys could never be had."""
    keys = len(config.trust.keys)
    if keys and config.trust.threshold > keys:
        what = f"{config.trust.threshold} keys must sign, but only {keys} are listed"
        yield Problem(("trust", "threshold"), what)


def orders_can_come(config: Config, folder: Path) -> Iterator[Problem]:
    """A trial that waits for an order which nobody may give would always come back."""
    if config.cluster.commit == "order" and config.cluster.group == UNSET:
        what = "'cluster.commit' is \"order\", but without 'cluster.group' nobody can give an order"
        yield Problem(("cluster", "commit"), what, hint="Set it to the group of the scheduler's proxy.")


def command_line_stays_ours(config: Config, folder: Path) -> Iterator[Problem]:
    """Arguments that would take the root away from verity are not for users."""
    for number, argument in enumerate(config.kernel.arguments):
        if argument.startswith(_OURS):
            yield Problem(("kernel", "arguments", number), f"the builder sets '{argument}' itself")


def units_agree(config: Config, folder: Path) -> Iterator[Problem]:
    """A unit is enabled or disabled or masked."""
    for key, units, other in (
        ("disable", config.units.disable, config.units.enable),
        ("mask", config.units.mask, config.units.enable),
        ("mask", config.units.mask, config.units.disable),
    ):
        for number, unit in enumerate(units):
            if unit in other:
                yield Problem(("units", key, number), f"'{unit}' is in two of the lists")


def partitions_fit(config: Config, folder: Path) -> Iterator[Problem]:
    """The disk can be laid out; sizes that are derived count for their least."""
    try:
        layout(config, {})
    except ProaError as error:
        key = error.at.lower().partition("-")[0] if error.at in NAMES else "size"
        yield Problem(("disk", key), error.message, error.code, error.hint)


def kept_folders_are_words(config: Config, folder: Path) -> Iterator[Problem]:
    """The initrd's shell reads the list of kept folders word by word."""
    for number, name in enumerate(config.persist.keep):
        if any(character.isspace() or character in "#*?[\\" for character in name):
            yield Problem(
                ("persist", "keep", number), f"'{name}' contains a blank or a character that a shell would interpret"
            )


def kept_folders_lie_apart(config: Config, folder: Path) -> Iterator[Problem]:
    """What is kept hides what the release has there: never what boots it, and each folder once."""
    for number, name in enumerate(config.persist.keep):
        place = ("persist", "keep", number)
        if any(is_below(name, other) or is_below(other, name) for other in _NEVER_KEPT):
            yield Problem(place, f"{name} would hide a part of the release")
        for other in (*KEPT_FOLDERS, *config.persist.keep[:number]):
            if is_below(name, other) or is_below(other, name):
                yield Problem(place, f"one of {name} and {other} contains the other")


def trusted_keys_are_keys(config: Config, folder: Path) -> Iterator[Problem]:
    """Every key that is named can be read."""
    for number, name in enumerate(config.trust.keys):
        if readable(folder / name):
            try:
                load_public(folder / name)
            except ProaError as error:
                yield Problem(("trust", "keys", number), f"{name}: {error.message}", error.code)


def ssh_key_files_hold_keys(config: Config, folder: Path) -> Iterator[Problem]:
    """Every line of the files is a public key: a private one named by mistake must not get into an image."""
    for number, user in enumerate(config.user):
        for which, name in enumerate(user.ssh_key_files):
            for line, text in enumerate(_ssh_lines(folder / name), 1):
                if not text.strip() or text.startswith("#"):
                    continue
                try:
                    SSH_KEY.read(text)
                except Refused as refused:
                    yield Problem(("user", number, "ssh_key_files", which), f"{name}:{line}: {refused}")
                    break


def _ssh_lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if readable(path) else []


RULES: Final[tuple[Rule, ...]] = (
    floor_not_above_serial,
    *FILE_RULES,
    *VALUE_RULES,
    named_files_are_there,
    accounts_are_distinct,
    checks_are_distinct,
    checks_are_programs,
    trust_can_be_met,
    orders_can_come,
    command_line_stays_ours,
    units_agree,
    partitions_fit,
    kept_folders_are_words,
    kept_folders_lie_apart,
    trusted_keys_are_keys,
    ssh_key_files_hold_keys,
    settings_can_be_allowed,
)
"""Every rule."""
