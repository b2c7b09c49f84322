"""Answers and programs that are used before packages are set up: in the key, checked, and told by their own names."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest

from proa.builder.config import preseed
from proa.builder.config.build_settings import Hook
from proa.builder.config.image_settings import SystemConfig
from proa.builder.engine import debconf
from proa.builder.engine.context import BuildContext
from proa.builder.steps import beforehand
from proa.builder.steps.packages import DATA
from proa.builder.steps.root import shaping
from proa.core.runtime.errors import Code, ProaErrors

ANSWERS = """\
# A comment.
openssh-server openssh-server/password-authentication boolean false

tzdata tzdata/Areas select Europe
app app/long string one \\
  two
app app/empty string
app app/empty seen true
"""
TEMPLATES = """\
Name: openssh-server/password-authentication
Default: true
Description: Allow password authentication?
Type: boolean
Owners: openssh-server/password-authentication

Name: tzdata/Areas
Choices: Africa, Europe, Etc
Description: Geographic area:
Type: select

Name: app/free
Choices: ${choices}
Description: Which one?
Type: select

Name: vendor/never-asked
Owners: vendor/never-asked
Type: string
"""


@pytest.fixture
def context(step_context: BuildContext) -> BuildContext:
    for name in ("first", "second"):
        (step_context.folder / name).write_text(f"#!/bin/sh\necho {name}\n")
    (step_context.folder / "answers").write_text(ANSWERS)
    hooks = Hook("packages-before", "first"), Hook("tree-after", "x"), Hook("packages-before", "second")
    config = dataclasses.replace(step_context.config, system=SystemConfig(preseed=("answers",)), hook=hooks)
    return dataclasses.replace(step_context, config=config)


def test_answers_are_read_as_debconf_reads_them() -> None:
    assert list(preseed.mistakes(ANSWERS)) == []
    found = [(one.line, one.question, one.kind, one.value) for one in preseed.answers(ANSWERS)]
    assert found == [
        (2, "openssh-server/password-authentication", "boolean", "false"),
        (4, "tzdata/Areas", "select", "Europe"),
        (5, "app/long", "string", "one   two"),
        (7, "app/empty", "string", ""),
    ]


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        ("only two", "is not OWNER QUESTION TYPE VALUE", "debconf-set-selections"),
        ("a a/b strng x", "there is no type 'strng'", "'string'"),
        ("a a/b boolean yes", "'yes' is neither true nor false", ""),
        ("a a/b seen no", "'no' is neither true nor false", ""),
        ("a a/b password secret", "a password would be in the release", "credential"),
    ],
)
def test_a_line_that_has_no_meaning_is_told_with_its_number(line: str, said: str, hint: str) -> None:
    ((number, what, help_),) = preseed.mistakes(f"# first\n{line}\n")
    assert (number, said in what, hint in help_) == (2, True, True)


def test_an_answer_that_nobody_asked_for_is_told(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("x app/free select whatever\nx tzdata/Areas select Europe\n")
    debconf.check({"good": tmp_path / "good"}, TEMPLATES)
    (tmp_path / "bad").write_text(
        "x tzdata/Area select Europe\nx vendor/never-asked string x\n"
        "x tzdata/Areas select Europa\nx tzdata/Areas string Etc\n"
    )
    with pytest.raises(ProaErrors) as raised:
        debconf.check({"good": tmp_path / "good", "bad": tmp_path / "bad"}, TEMPLATES)
    assert {error.at for error in raised.value.errors} == {"system.preseed[1]"}
    found = [(error.message, error.hint) for error in raised.value.errors]
    assert found[3][0] == "bad:4: 'tzdata/Areas' is a select, not a string"
    assert found[:3] == [
        ("bad:1: no package asks 'tzdata/Area'", "Did you mean 'tzdata/Areas'?"),
        ("bad:2: no package asks 'vendor/never-asked'", "Add the package that asks it to system.packages."),
        ("bad:3: 'Europa' is not an answer to 'tzdata/Areas'", "Did you mean 'Europe'?"),
    ]


@pytest.mark.parametrize("name", ["answers", "first", "second"])
def test_what_is_used_before_is_in_the_packages_key_and_shapes_nothing_else(context: BuildContext, name: str) -> None:
    before = beforehand.inputs(context)
    (context.folder / name).write_text("#!/bin/sh\nother\n")
    assert beforehand.inputs(context) != before
    without = dataclasses.replace(context.config, system=SystemConfig())
    assert shaping(context.config) == shaping(without)


def test_the_order_of_programs_is_in_the_key(context: BuildContext) -> None:
    hooks = tuple(reversed(context.config.hook))
    other = dataclasses.replace(context, config=dataclasses.replace(context.config, hook=hooks))
    assert beforehand.inputs(other) != beforehand.inputs(context)


def test_without_any_nothing_is_run(step_context: BuildContext) -> None:
    assert beforehand.prepare(step_context, step_context.scratch, DATA / "before.sh") == []
    assert beforehand.failed_hook(step_context) is None


@pytest.fixture
def tree(context: BuildContext) -> Path:
    """A tree, and a `chroot` that changes into it and nothing else."""
    tree, fakes = context.scratch / "tree", context.scratch / "fakes"
    for folder in (tree / "tmp", tree / "etc", fakes):
        folder.mkdir(parents=True)
    (fakes / "chroot").write_text(
        '#!/bin/sh\ncd "$1" || exit 1\nshift\n'
        "case $1 in debconf-set-selections) cat >answers; exit;; esac\n"
        'while [ "$1" != /tmp/hook ]; do shift; done\nexec ./tmp/hook\n'
    )
    (fakes / "chroot").chmod(0o755)
    return tree


def run(context: BuildContext, tree: Path, out: Path) -> int:
    """Runs what mmdebstrap is told, as it does."""
    ((option, _, command),) = (word.partition("=") for word in beforehand.prepare(context, out, DATA / "before.sh"))
    assert option == "--essential-hook"
    path = f"{context.scratch / 'fakes'}:{os.environ['PATH']}"
    words = ["sh", "-c", command, "exec", str(tree)]
    return subprocess.run(words, env={"PATH": path, "SOURCE_DATE_EPOCH": "1"}, check=False).returncode


def test_answers_come_first_and_then_programs_in_order(context: BuildContext, tree: Path, tmp_path: Path) -> None:
    (tree / "etc/there").write_text("x")
    (context.folder / "first").write_text("#!/bin/sh\n[ -s answers ] && echo 1 >>etc/new && echo 1 >etc/one\n")
    (context.folder / "second").write_text("#!/bin/sh\necho 2 >>etc/new; rm etc/one; echo y >etc/there\n")
    assert run(context, tree, tmp_path) == 0
    assert beforehand.failed_hook(context) is None
    assert (tree / "answers").read_text() == f"{ANSWERS}\n"
    assert (tree / "etc/new").read_text() == "1\n2\n"
    assert list((tree / "tmp").iterdir()) == []
    beforehand.write_hooked(context, tmp_path)
    assert json.loads((tmp_path / beforehand.HOOKED).read_text()) == {
        "/etc/new": "hook second",
        "/etc/one": "hook first",
        "/etc/there": "hook second",
    }
    assert not list(tmp_path.glob("hook-*"))


def test_a_program_that_fails_is_told_by_its_own_name(context: BuildContext, tree: Path, tmp_path: Path) -> None:
    (context.folder / "second").write_text("#!/bin/sh\necho the reason >&2\nexit 3\n")
    assert run(context, tree, tmp_path) != 0
    error = beforehand.failed_hook(context)
    assert error is not None
    assert (error.code, error.message, error.at) == (
        Code.HOOK,
        "second failed:\n    the reason",
        str(context.folder / "second"),
    )
