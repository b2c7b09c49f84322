"""What must hold between settings, and between settings and the files that they name. One small function a rule."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.builder.config.disklayout import layout
from proa.builder.config.paths import canonical, is_below
from proa.builder.config.setting import UNSET
from proa.builder.config.settings import Check, Config, File
from proa.builder.config.vocabulary import SSH_KEY
from proa.builder.inputs import localfiles
from proa.builder.inputs.localfiles import FileKind
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import os_errors
from proa.core.signing.keys import load_public
from proa.partition.disk.layout import NAMES

_KEPT_FOLDERS: Final = ("/var", "/home", "/root", "/opt/cni", "/run", "/tmp", "/proc", "/sys", "/dev", "/persist")  # noqa: S108
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
_OWN_PATHS: Final = (
    "/usr/lib/proa",
    "/etc/machine-id",
    "/usr/lib/os-release",
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow",
)


@dataclass(frozen=True)
class Problem:
    """A rule that does not hold, and the setting to look at."""

    path: tuple[str | int, ...]
    message: str
    code: Code = Code.CONFIG_VALUE
    hint: str = ""


Rule = Callable[[Config, Path], Iterator[Problem]]


def floor_not_above_serial(config: Config, folder: Path) -> Iterator[Problem]:
    """A release that forbids itself could never be booted."""
    if config.release.floor > config.release.serial:
        what = f"'release.floor' {config.release.floor} is above the release's own serial {config.release.serial}"
        yield Problem(("release", "floor"), what)


def content_or_source(config: Config, folder: Path) -> Iterator[Problem]:
    """A file is either written out in the configuration or copied, and what is copied is there."""
    kinds: tuple[tuple[str, tuple[File | Check, ...]], ...] = (("file", config.file), ("check", config.check))
    for name, items in kinds:
        for number, item in enumerate(items):
            if (item.content is not None) == bool(item.source):
                yield Problem((name, number), f"a [[{name}]] needs either 'content' or 'source'")
            elif item.source:
                yield from _missing(folder, item.source, (name, number, "source"))


def named_files_are_there(config: Config, folder: Path) -> Iterator[Problem]:
    """Keys, keyrings and hooks that are named are there."""
    for number, key in enumerate(config.trust.keys):
        yield from _no_file(folder, key, ("trust", "keys", number))
    for number, source in enumerate(config.source):
        if source.signed_by:
            yield from _no_file(folder, source.signed_by, ("source", number, "signed_by"))
    for number, user in enumerate(config.user):
        for which, key in enumerate(user.ssh_key_files):
            yield from _no_file(folder, key, ("user", number, "ssh_key_files", which))
    for number, hook in enumerate(config.hook):
        yield from _no_file(folder, hook.run, ("hook", number, "run"))
        if _readable(folder / hook.run) and not os.access(folder / hook.run, os.X_OK):
            yield Problem(("hook", number, "run"), f"{hook.run} is not executable", hint=f"chmod +x {hook.run}")


def files_go_where_a_release_may_write(config: Config, folder: Path) -> Iterator[Problem]:
    """What lies on PERSIST or is made at boot is no part of a release."""
    seen: dict[str, int] = {}
    for number, file in enumerate(config.file):
        path: tuple[str | int, ...] = ("file", number, "path")
        kept = (*_KEPT_FOLDERS, *config.persist.keep)
        places = tuple(_destinations(file, folder))
        if lost := next((name for name in places if any(is_below(name, one) for one in kept)), ""):
            hint = "Create it on the node instead, with a tmpfiles.d(5) line in /usr/lib/tmpfiles.d."
            yield Problem(path, f"{lost} is on the node's own file systems, not in the release", hint=hint)
        if ours := next((name for name in places if any(is_below(name, own) for own in _OWN_PATHS)), ""):
            yield Problem(path, f"the builder writes {ours} itself")
        place = canonical(file.path)
        if place in seen:
            yield Problem(path, f"{file.path} is listed twice, first in [[file]] number {seen[place] + 1}")
        seen[place] = number


def _destinations(file: File, folder: Path) -> Iterator[str]:
    """Where a [[file]] puts something: itself, and all that is in the folder that is copied."""
    yield file.path
    if file.source and (folder / file.source).is_dir():
        for item in localfiles.walk(folder / file.source):
            if item.kind is not FileKind.FOLDER:
                yield f"{file.path}/{item.name}".replace("//", "/")


def nothing_lies_below_a_file(config: Config, folder: Path) -> Iterator[Problem]:
    """What is a file cannot be a folder too."""
    for number, file in enumerate(config.file):
        for other, above in enumerate(config.file):
            apart = canonical(file.path) != canonical(above.path)
            if apart and is_below(file.path, above.path) and _is_one_file(above, folder):
                what = f"{file.path} cannot be below {above.path}, which [[file]] number {other + 1} makes a file"
                yield Problem(("file", number, "path"), what)


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
        for other in (*_KEPT_FOLDERS, *config.persist.keep[:number]):
            if is_below(name, other) or is_below(other, name):
                yield Problem(place, f"one of {name} and {other} contains the other")


def trusted_keys_are_keys(config: Config, folder: Path) -> Iterator[Problem]:
    """Every key that is named can be read."""
    for number, name in enumerate(config.trust.keys):
        if _readable(folder / name):
            try:
                load_public(folder / name)
            except ProaError as error:
                yield Problem(("trust", "keys", number), f"{name}: {error.message}", error.code)


def ssh_key_files_hold_keys(config: Config, folder: Path) -> Iterator[Problem]:
    """Every line of the files is a public key: a private one named by mistake must not get into an image."""
    for number, user in enumerate(config.user):
        for which, name in enumerate(user.ssh_key_files):
            for line, text in enumerate(_ssh_lines(folder / name), 1):
                if text.strip() and not text.startswith("#") and not re.fullmatch(SSH_KEY.pattern, text):
                    yield Problem(("user", number, "ssh_key_files", which), f"{name}:{line} is not {SSH_KEY.what}")
                    break


def _ssh_lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if _readable(path) else []


def _missing(folder: Path, name: str, path: tuple[str | int, ...]) -> Iterator[Problem]:
    file = folder / name
    try:
        with os_errors(file):
            mode = file.stat().st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                os.close(os.open(file, os.O_RDONLY | os.O_CLOEXEC))
    except ProaError as error:
        if error.code is Code.FILE_MISSING:
            hint = "Paths are relative to the folder of proa.toml."
            yield Problem(path, f"{name} does not exist", Code.FILE_MISSING, hint)
        else:
            yield Problem(path, f"{name} cannot be read: {error.message}", error.code, error.hint)
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        yield Problem(path, f"{name} is neither a file nor a folder")


def _no_file(folder: Path, name: str, path: tuple[str | int, ...]) -> Iterator[Problem]:
    problems = list(_missing(folder, name, path))
    yield from problems
    if not problems and (folder / name).is_dir():
        yield Problem(path, f"{name} is a folder, but must be a file")


def _readable(file: Path) -> bool:
    """Whether it is a file to look into; what is none has been told of already."""
    return os.access(file, os.R_OK, effective_ids=True) and file.is_file()


def _is_one_file(file: File, folder: Path) -> bool:
    return file.content is not None or _readable(folder / file.source)


RULES: Final[tuple[Rule, ...]] = (
    floor_not_above_serial,
    content_or_source,
    named_files_are_there,
    files_go_where_a_release_may_write,
    nothing_lies_below_a_file,
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
)
"""Every rule."""
