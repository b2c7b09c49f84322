"""What must hold between settings."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from proa.builder.config.loading import load
from proa.builder.config.paths import canonical
from proa.builder.config.rules import RULES
from proa.core.runtime.errors import Code, ProaErrors
from proa.core.signing.keys import Algorithm

HEAD = '[release]\nname = "node"\nversion = "1.0.0"\n'

BROKEN = {
    "floor_not_above_serial": ("floor = 2000000\n", "4:9", "above the release's own serial 1000000"),
    "content_or_source": ('[[file]]\npath = "/etc/x"\n', "4:3", "either 'content' or 'source'"),
    "special_bits_are_asked_for": (
        '[[file]]\npath = "/usr/bin/x"\nsource = "lends"\n',
        "6:10",
        "lends has the set-user-ID bit, which the copy would lose",
    ),
    "time_zones_exist": (
        '[system]\ntimezone = "Europe/Berln"\n',
        "5:12",
        "there is no time zone 'Europe/Berln'",
    ),
    "programs_can_start": (
        '[[check]]\nname = "a"\ncontent = "exit 0"\n',
        "6:11",
        "begins neither with '#!' nor as an ELF program",
    ),
    "checks_end_in_time": (
        '[health]\ntimeout = "10 min"\n',
        "5:11",
        "a check may take 600 s, but the whole trial has 600 s",
    ),
    "keyrings_are_keyrings": (
        '[[source]]\nuri = "http://x/y"\nsuites = ["a"]\nsigned_by = "release.pub"\n',
        "7:13",
        "release.pub is not an OpenPGP keyring",
    ),
    "answers_are_answers": (
        '[system]\npreseed = ["answers"]\n',
        "5:12",
        "answers:1: it is not OWNER QUESTION TYPE VALUE",
    ),
    "enough_different_keys": (
        '[trust]\nkeys = ["release.pub", "again.pub"]\n',
        "5:24",
        "again.pub is the same key as release.pub",
    ),
    "units_have_a_type": ('[units]\nenable = ["a.servcie"]\n', "5:11", "'a.servcie' does not end in the type"),
    "encryption_was_tried": (
        '[system]\nsuite = "trixie"\n[persist]\nencryption = "tpm2"\n',
        "7:14",
        "PERSIST can be encrypted on nodes of bookworm",
    ),
    "named_files_are_there": ('[trust]\nkeys = ["gone.pub"]\n', "5:9", "gone.pub does not exist"),
    "files_go_where_a_release_may_write": (
        '[[file]]\npath = "/var/lib/x"\ncontent = "x"\n',
        "5:8",
        "/var/lib/x is on the node's own file systems",
    ),
    "nothing_lies_below_a_file": (
        '[[file]]\npath = "/etc/x/y"\ncontent = "x"\n[[file]]\npath = "/etc/x"\ncontent = ""\n',
        "5:8",
        "/etc/x/y cannot be below /etc/x, which [[file]] number 2 makes a file",
    ),
    "accounts_are_distinct": ('[[user]]\nname = "a"\n[[user]]\nname = "a"\n', "7:8", "two accounts 'a'"),
    "checks_are_distinct": (
        '[[check]]\nname = "a"\ncontent = "#!x"\n[[check]]\nname = "a"\ncontent = "#!x"\n',
        "8:8",
        "two checks 'a'",
    ),
    "checks_are_programs": ('[[check]]\nname = "a"\ncontent = ""\n', "6:11", "the check 'a' is empty"),
    "trust_can_be_met": ('[trust]\nkeys = ["release.pub"]\nthreshold = 2\n', "6:13", "only 1 are listed"),
    "orders_can_come": ('[cluster]\ncommit = "order"\n', "5:10", "without 'cluster.group' nobody can give an order"),
    "settings_can_be_allowed": ('[settings]\nsysctl = ["vm.swapiness"]\n', "5:11", "did you mean 'vm.swappiness'?"),
    "command_line_stays_ours": ('[kernel]\narguments = ["quiet", "root=/dev/sda1"]\n', "5:23", "the builder sets"),
    "units_agree": ('[units]\nenable = ["a.service"]\nmask = ["a.service"]\n', "6:9", "in two of the lists"),
    "partitions_fit": ('[disk]\nsize = "1 GiB"\n', "5:8", "the disk has 1073741824"),
    "kept_folders_are_words": ('[persist]\nkeep = ["/srv/a b"]\n', "5:9", "contains a blank"),
    "kept_folders_lie_apart": (
        '[persist]\nkeep = ["/srv/a", "/srv"]\n',
        "5:19",
        "one of /srv and /srv/a contains the other",
    ),
    "trusted_keys_are_keys": (
        '[trust]\nkeys = ["proa.toml"]\n',
        "5:9",
        "proa.toml: the file must contain exactly one PEM block",
    ),
    "ssh_key_files_hold_keys": (
        '[[user]]\nname = "a"\nssh_key_files = ["proa.toml"]\n',
        "6:18",
        'proa.toml:1: "[release]" is not an SSH public key',
    ),
}
MORE = [
    ('[[file]]\npath = "/etc/machine-id"\ncontent = "x"\n', "the builder writes"),
    ('[[file]]\npath = "/boot/grub/grub.cfg"\ncontent = "x"\n', "nothing boots or reads /boot/grub/grub.cfg"),
    ('[[file]]\npath = "/efi/x"\ncontent = "x"\n', "the kernel is not in the root"),
    ('[[file]]\npath = "/etc/fstab"\ncontent = "/dev/sda1 /var ext4"\n', "it mounts something on /var"),
    ('[[file]]\npath = "/etc/fstab"\ncontent = "# x\\n\\nLABEL=x / ext4\\n"\n', "it mounts something on /,"),
    ('[[file]]\npath = "/etc/a"\ncontent = "x"\n[[file]]\npath = "/etc/a"\ncontent = "x"\n', "is listed twice"),
    ('[[file]]\npath = "/etc/a"\nsource = "gone"\n', "gone does not exist"),
    ('[[file]]\npath = "/etc/a"\ncontent = ""\nsource = "proa.toml"\n', "either 'content' or 'source'"),
    (
        '[[file]]\npath = "/etc/a"\nsource = "proa.toml"\n[[file]]\npath = "/etc/a/b"\ncontent = "x"\n',
        "/etc/a/b cannot be below /etc/a",
    ),
    ('[[hook]]\nat = "tree-after"\nrun = "proa.toml"\n', "proa.toml is not executable"),
    ('[[hook]]\nat = "tree-after"\nrun = "."\n', ". is a folder"),
    ('[[hook]]\nat = "tree-after"\nrun = "pipe"\n', "pipe is neither a file nor a folder"),
    ('[[file]]\npath = "/etc/a"\nsource = "pipe"\n', "pipe is neither a file nor a folder"),
    ('[trust]\nkeys = ["."]\n', ". is a folder"),
    ('[[user]]\nname = "a"\nssh_key_files = ["."]\n', ". is a folder"),
    ('[[user]]\nname = "a"\nuid = 0\n', "only root may have the number 0"),
    ('[[user]]\nname = "a"\nuid = 5\n[[user]]\nname = "b"\nuid = 5\n', "two accounts have the number 5"),
    ('[[user]]\nname = "a"\nssh_key_files = ["gone.pub"]\n', "gone.pub does not exist"),
    ('[disk]\nboot = "256 MiB"\n', "at least 260 MiB"),
    ('[[file]]\npath = "/usr/bin"\nsource = "lending"\n', "lending/x has the set-user-ID bit"),
    ('[[hook]]\nat = "tree-after"\nrun = "lends"\n', "lends begins neither with '#!'"),
    ('[[file]]\npath = "/etc/ssh/ssh_host_rsa_key"\ncontent = "x"\n', "each node makes its own"),
    ('[[file]]\npath = "/mnt/x"\ncontent = "x"\n', "a folder that is empty in a release"),
    ("[disk]\npersist = 0\n", "0 is not a size"),
    *((f'[persist]\nkeep = ["{name}"]\n', "a part of the release") for name in ("/usr", "/etc/app", "/lib")),
    *((f'[persist]\nkeep = ["{name}"]\n', "contains the other") for name in ("/persist", "/var/lib", "/proc", "/opt")),
    ('[[source]]\nuri = "http://x/y"\nsuites = []\n', "a list of at least 1"),
    ('[[source]]\nuri = "http://x/y"\nsuites = ["a"]\nsigned_by = "gone.gpg"\n', "gone.gpg does not exist"),
]


def messages(folder: Path, text: str) -> list[tuple[str, str]]:
    path = folder / "proa.toml"
    path.write_text(HEAD + text)
    for name, data in dict.fromkeys(("release.pub", "again.pub"), Algorithm.ED25519.generate().public.pem).items():
        (folder / name).write_bytes(data)
    path.chmod(0o644)
    (folder / "answers").write_text("one word\n")
    os.mkfifo(folder / "pipe")
    (folder / "lending").mkdir()
    for lends in (folder / "lends", folder / "lending/x"):
        lends.touch()
        lends.chmod(0o4755)
    with pytest.raises(ProaErrors) as raised:
        load(path)
    return [(error.at.removeprefix(f"{path}:"), error.message) for error in raised.value.errors]


@pytest.mark.parametrize("rule", [rule.__name__ for rule in RULES])
def test_every_rule_speaks_up(tmp_path: Path, rule: str) -> None:
    text, place, part = BROKEN[rule]
    ((at, message),) = messages(tmp_path, text)
    assert (at, part in message) == (place, True), message


@pytest.mark.parametrize(("text", "part"), MORE)
def test_what_else_they_find(tmp_path: Path, text: str, part: str) -> None:
    assert any(part in message for _, message in messages(tmp_path, text))


def test_a_table_of_mounts_may_be_copied_and_have_other_places(tmp_path: Path) -> None:
    (tmp_path / "fstab").write_text("server:/export /srv/data nfs\n")
    text = '[[file]]\npath = "/etc/fstab"\nsource = "fstab"\n'
    (tmp_path / "proa.toml").write_text(HEAD + text)
    assert load(tmp_path / "proa.toml").config.file[0].path == "/etc/fstab"
    (tmp_path / "fstab").write_text("LABEL=x /persist/ ext4\n")
    assert any("it mounts something on /persist," in message for _, message in messages(tmp_path, text))


def test_files_may_lie_in_a_folder_that_is_copied(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    path = tmp_path / "proa.toml"
    more = '[[file]]\npath = "/etc/a"\nsource = "tree"\n[[file]]\npath = "/etc/a/b"\ncontent = ""\n'
    path.write_text(HEAD + more)
    assert [file.path for file in load(path).config.file] == ["/etc/a", "/etc/a/b"]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('[[user]]\nname = "a"\nssh_key_files = ["closed", "shut/a"]\n', ["6:18", "6:28"]),
        ('[trust]\nkeys = ["closed", "shut/a"]\n', ["5:9", "5:19"]),
        ('[[hook]]\nat = "tree-after"\nrun = "shut/a"\n', ["6:7"]),
        ('[[file]]\npath = "/etc/a"\nsource = "closed"\n[[file]]\npath = "/etc/a/b"\ncontent = ""\n', ["6:10"]),
        ('[[check]]\nname = "a"\nsource = "shut"\n', ["6:10"]),
    ],
)
def test_a_file_that_may_not_be_read_is_told_at_the_setting_that_names_it(text: str, places: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own is for root alone
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "closed").write_text("ssh-ed25519 AAAA\n")
        (folder / "closed").chmod(0)
        (folder / "shut").mkdir(mode=0)
        (folder / "proa.toml").write_text(HEAD + text)
        with as_nobody(), pytest.raises(ProaErrors) as raised:
            load(folder / "proa.toml")
    assert [(one.code, one.at.split(":", 1)[1]) for one in raised.value.errors] == [
        (Code.FILE_DENIED, place) for place in places
    ]


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read all: be an ordinary user for a moment."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize(
    "path",
    [
        "/lib/proa/trust/x.pub",
        "/lib//proa/trust/x.pub",
        "/usr/./lib/proa/x",
        "/lib/os-release",
        "/usr/share/../lib/proa/x",
        "/etc/./passwd",
    ],
)
def test_s14_a_place_is_ours_however_it_is_written(tmp_path: Path, path: str) -> None:
    (tmp_path / "proa.toml").write_text(f'{HEAD}[[file]]\npath = "{path}"\ncontent = "x"\n')
    with pytest.raises(ProaErrors) as caught:
        load(tmp_path / "proa.toml")
    assert any("the builder writes" in error.message or "path" in error.message for error in caught.value.errors)


@pytest.mark.parametrize(
    ("path", "inside"),
    [("/lib", "proa/trust/x.pub"), ("/usr", "lib/proa/x"), ("/etc", "passwd"), ("/bin/..", "lib/proa/x")],
)
def test_s14_a_folder_that_is_copied_brings_nothing_to_a_place_that_is_ours(
    tmp_path: Path, path: str, inside: str
) -> None:
    file = tmp_path / "files" / inside
    file.parent.mkdir(parents=True)
    file.write_text("x")
    (tmp_path / "proa.toml").write_text(f'{HEAD}[[file]]\npath = "{path}"\nsource = "files"\n')
    with pytest.raises(ProaErrors):
        load(tmp_path / "proa.toml")


def test_s14_two_spellings_of_one_path_are_one(tmp_path: Path) -> None:
    files = "".join(f'[[file]]\npath = "{path}"\ncontent = "x"\n' for path in ("/lib/a", "/usr/lib/a"))
    (tmp_path / "proa.toml").write_text(HEAD + files)
    with pytest.raises(ProaErrors, match="listed twice"):
        load(tmp_path / "proa.toml")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/lib", "/usr/lib"),
        ("/lib64/x", "/usr/lib64/x"),
        ("/library", "/library"),
        ("//sbin//x/", "/usr/sbin/x"),
        ("/var/run/x", "/run/x"),
        ("/", "/"),
    ],
)
def test_s14_a_path_has_one_canonical_form(path: str, place: str) -> None:
    assert canonical(path) == place
