"""What every command has in common, through a small command of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click
import pytest

from proa.core.runtime import cli, process
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.schema.model import Report, field
from proa.core.schema.output import tell


@dataclass(frozen=True)
class Toy(Report, schema="proa.toy/v1"):
    """What the command for tests reports."""

    facts: Mapping[str, Any] = field("What it was told.", others=True)


@click.group()
@click.version_option("1")
def toy() -> None:
    """A command for tests."""


@toy.command()
@cli.options(cli.json_option, cli.progress_option, cli.dry_run_option)
@click.option("--tries", type=click.IntRange(1, 3), default=1)
def install(as_json: bool, progress: str, dry_run: bool, tries: int) -> None:
    """Do as if."""
    if as_json:
        tell(Toy({"progress": progress, "dry_run": dry_run, "tries": tries}), as_json, str)


@toy.command()
@click.argument("how")
@cli.json_option
def fail(how: str, as_json: bool) -> int:
    """End in some way."""
    ways: dict[str, BaseException] = {
        "proa": ProaError(Code.SLOT_IN_USE, "b is booted", at="/dev/vda6"),
        "interrupt": KeyboardInterrupt(),
        "defect": ZeroDivisionError("by zero"),
        "pipe": BrokenPipeError(),
        "denied": PermissionError(13, "Permission denied", "/root/keys"),
        "full": OSError(28, "No space left on device"),
    }
    if how in ways:
        raise ways[how]
    return int(how)


@toy.command()
@click.option("--version", default="none", help="A value, no question.")
def build(version: str) -> None:
    """Say which version."""
    tell(Toy({"version": version}), True, str)


@dataclass
class Outcome:
    status: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*argv: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["proa-toy", *argv])
        with pytest.raises(SystemExit) as ended:
            cli.run_command(toy, "proa-toy")
        out, err = capfd.readouterr()
        return Outcome(int(ended.value.code or 0), out, err)

    return call


def test_a_report_is_one_document_with_its_schema_first(run: Run) -> None:
    done = run("install", "--json", "--dry-run")
    document: dict[str, Any] = json.loads(done.out)
    assert list(document)[:2] == ["schema", "proa"]
    assert document["schema"] == "proa.toy/v1"
    assert (document["progress"], document["dry_run"], document["tries"]) == ("auto", True, 1)
    assert (done.status, done.err) == (0, "")


def test_every_long_option_has_an_environment_twin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROA_INSTALL_TRIES", "3")
    monkeypatch.setenv("PROA_INSTALL_PROGRESS", "none")
    document = json.loads(run("install", "--json").out)
    assert (document["tries"], document["progress"]) == (3, "none")


def test_an_option_version_that_takes_a_value_has_its_twin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROA_BUILD_VERSION", "1.2")
    assert json.loads(run("build").out)["version"] == "1.2"


@pytest.mark.parametrize("name", ["PROA_VERSION", "PROA_HELP", "PROA_INSTALL_HELP"])
def test_questions_have_no_twin(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert json.loads(run("install", "--json").out)["tries"] == 1


@pytest.mark.parametrize("argv", [["--help"], ["install", "--help"]])
def test_help_is_no_error(run: Run, argv: list[str]) -> None:
    done = run(*argv)
    assert done.status == 0
    assert "Usage: proa-toy" in done.out


def test_without_a_verb_the_help_is_shown_as_an_error(run: Run) -> None:
    done = run()
    assert (done.status, done.out) == (2, "")
    assert "install" in done.err


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        (["instal"], "instal"),
        (["install", "--trys", "2"], "--tries"),
        (["install", "--tries", "4"], "4 is not in the range"),
        (["install", "extra"], "extra"),
        (["fail"], "HOW"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(run: Run, argv: list[str], what: str) -> None:
    done = run(*argv)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("proa-toy: error[USAGE]: ")
    assert what in done.err
    assert "--help'" in done.err


def test_an_error_goes_to_standard_error_as_text(run: Run) -> None:
    done = run("fail", "proa")
    assert (done.status, done.out) == (3, "")
    assert done.err.splitlines()[:2] == ["proa-toy: error[SLOT_IN_USE]: b is booted", "  at: /dev/vda6"]


def test_with_json_an_error_is_the_document(run: Run) -> None:
    done = run("fail", "proa", "--json")
    assert (done.status, done.err) == (3, "")
    document = json.loads(done.out)
    assert (document["schema"], document["code"], document["exit"]) == ("proa.error/v1", "SLOT_IN_USE", 3)


@pytest.mark.parametrize("value", ["0", "false"])
def test_an_environment_twin_can_say_no(run: Run, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PROA_FAIL_JSON", value)
    done = run("fail", "proa")
    assert (done.status, done.out) == (3, "")


def test_the_twin_of_another_verb_says_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROA_INSTALL_JSON", "1")
    assert run("fail", "proa").out == ""
    monkeypatch.setenv("PROA_FAIL_JSON", "1")
    assert json.loads(run("fail", "proa").out)["code"] == "SLOT_IN_USE"


@pytest.mark.parametrize("argv", [["install", "--tries", "9"], ["install", "--trys"], ["install", "extra"]])
def test_a_wrong_command_line_is_told_as_the_twin_says(
    run: Run, monkeypatch: pytest.MonkeyPatch, argv: list[str]
) -> None:
    monkeypatch.setenv("PROA_INSTALL_JSON", "1")
    assert json.loads(run(*argv).out)["code"] == "USAGE"
    monkeypatch.setenv("PROA_INSTALL_JSON", "0")
    assert run(*argv).out == ""


def test_a_twin_that_says_neither_is_a_usage_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROA_FAIL_JSON", "perhaps")
    assert "error[USAGE]" in run("fail", "proa").err


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [("interrupt", 130, "INTERRUPTED"), ("defect", 1, "INTERNAL"), ("0", 0, ""), ("7", 7, "")],
)
def test_every_end_has_its_status(run: Run, how: str, status: int, code: str) -> None:
    done = run("fail", how)
    assert done.status == status
    assert f"error[{code}]" in done.err if code else not done.err


def test_a_defect_shows_where_it_is(run: Run) -> None:
    done = run("fail", "defect")
    assert "Traceback" in done.err
    assert "error[INTERNAL]: ZeroDivisionError: by zero" in done.err


@pytest.mark.parametrize(("how", "code", "at"), [("denied", "FILE_DENIED", "/root/keys"), ("full", "DISK_FULL", "")])
def test_what_the_system_refuses_is_no_defect(run: Run, how: str, code: str, at: str) -> None:
    done = run("fail", how)
    assert done.status == 7
    assert "Traceback" not in done.err
    assert f"error[{code}]" in done.err
    assert at in done.err


def test_a_polite_request_to_end_is_an_interruption() -> None:
    script = (
        "import os, signal; from proa.core.runtime.cli import end_politely; end_politely();"
        " os.kill(os.getpid(), signal.SIGTERM)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert b"KeyboardInterrupt" in done.stderr


def test_a_reader_that_goes_away_is_no_noise() -> None:
    script = (
        "import sys, click; from proa.core.runtime import cli\n"
        "@click.command()\n"
        "def toy():\n"
        "    for _ in range(100000): click.echo('x' * 100)\n"
        "sys.argv = ['toy']; cli.run_command(toy, 'toy')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=process.environment()
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 1


@pytest.mark.parametrize("failing", [False, True])
def test_a_reader_of_progress_that_goes_away_changes_no_status(failing: bool) -> None:
    script = (
        "import sys, click; from proa.core.runtime import cli, errors, events, renderers\n"
        "@click.command()\n"
        "def toy():\n"
        "    monitor = renderers.monitor('plain')\n"
        "    for number in range(100000): monitor.emit(events.Note('x' * 100))\n"
        f"    if {failing}: raise errors.ProaError(errors.Code.BUSY)\n"
        "    click.echo('done')\n"
        "sys.argv = ['toy']; cli.run_command(toy, 'toy')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=process.environment()
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stderr.readline()
        child.stderr.close()
        assert child.stdout.read() == (b"" if failing else b"done\n")
    assert child.returncode == (Exit.BUSY if failing else Exit.DONE)


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_an_output_that_was_closed_changes_no_status(closed: str) -> None:
    script = (
        "import sys, click; from proa.core.runtime import cli, errors\n"
        "@click.command()\n"
        "def toy(): raise errors.ProaError(errors.Code.BUSY)\n"
        "sys.argv = ['toy']; cli.run_command(toy, 'toy')\n"
    )
    done = process.run(["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, script], check=False)
    assert done.status == Exit.BUSY
    assert b"Traceback" not in done.stderr
