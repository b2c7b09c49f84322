"""Tiers of small commands: what is counted, and what is left when one fails or all is interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from upkeep import tiers
from upkeep.summary import Case, Result, read, summary, table
from upkeep.tiers import TIERS, Command, Runner, Tier

REPORT = """\
<testsuites><testsuite>
<testcase classname="a.tests.test_x" name="test_good" file="a/tests/test_x.py" time="1.5"/>
<testcase classname="a.tests.test_x" name="test_bad" file="a/tests/test_x.py" time="3"><failure/></testcase>
<testcase classname="a.tests.test_x" name="test_late" file="a/tests/test_x.py" time="1"/>
<testcase classname="a.tests.test_x" name="test_late" file="a/tests/test_x.py" time="0.25"><error/></testcase>
<testcase classname="a.tests.test_x" name="test_not" file="a/tests/test_x.py" time="0"><skipped/></testcase>
</testsuite></testsuites>"""


def command(name: str, script: str, report: bool = False) -> Command:
    argv = (sys.executable, "-c", script)
    return Command(name, argv, report=Path(f"build/test/{name}.xml") if report else None)


def leaves(report: str, status: int = 0) -> str:
    """A program that writes a report, as pytest does."""
    return f"import sys; open('build/test/run.xml', 'w').write({report!r}); sys.exit({status})"


def run(root: Path, said: list[str], **found: Tier) -> tuple[int, dict[str, Any]]:
    status = Runner(root, found, said.append).run(tuple(found))
    return status, dict(json.loads((root / "build/test/summary.json").read_bytes()))


def test_the_tests_of_a_report_are_counted(tmp_path: Path) -> None:
    one = Tier("one", (command("run", leaves(REPORT, 1), report=True),))
    status, document = run(tmp_path, [], one=one, two=Tier("two", (command("x", "pass"),)))
    assert status == 1
    assert (document["schema"], document["ok"], document["interrupted"]) == ("proa.test/v1", False, False)
    first, second = document["tiers"]
    assert (first["name"], first["ok"], first["passed"], first["failed"], first["skipped"]) == ("one", False, 1, 2, 1)
    assert (second["name"], second["ok"], second["passed"], second["failed"]) == ("two", True, 1, 0)
    assert document["slowest"][:2] == [
        {"tier": "one", "name": "a/tests/test_x.py::test_bad", "seconds": 3.0},
        {"tier": "one", "name": "a/tests/test_x.py::test_good", "seconds": 1.5},
    ]


@pytest.mark.parametrize("report", ["", "<testsuites><testsuite><testcase", "<testsuites/>"])
def test_a_run_that_fails_without_a_failed_test_is_one_failure(tmp_path: Path, report: str) -> None:
    status, document = run(tmp_path, [], one=Tier("one", (command("run", leaves(report, 4), report=True),)))
    assert status == 1
    assert [(one["ok"], one["passed"], one["failed"]) for one in document["tiers"]] == [(False, 0, 1)]


def test_the_report_of_an_earlier_run_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    (tmp_path / "build/test").mkdir(parents=True)
    (tmp_path / "build/test/run.xml").write_text(REPORT)
    _, document = run(tmp_path, [], one=Tier("one", (command("run", "raise SystemExit(2)", report=True),)))
    assert (document["tiers"][0]["passed"], document["tiers"][0]["failed"]) == (0, 1)
    assert document["slowest"] == []


def test_every_command_runs_even_when_one_fails(tmp_path: Path) -> None:
    commands = (command("first", "raise SystemExit(1)"), command("second", "open('done', 'w')"))
    for at_once in (1, 2):
        said: list[str] = []
        status, document = run(tmp_path, said, one=Tier("one", commands, at_once))
        assert status == 1
        assert (document["tiers"][0]["passed"], document["tiers"][0]["failed"]) == (1, 1)
        (tmp_path / "done").unlink()


def test_of_several_at_once_each_line_says_whose_it_is(tmp_path: Path) -> None:
    said: list[str] = []
    commands = (command("left", "print('one'); print('two')"), command("right", "print('three')"))
    run(tmp_path, said, one=Tier("one", commands, at_once=2))
    assert {"left: one", "left: two", "right: three"} <= set(said)


def test_processor_time_is_that_of_all_processes(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    _, document = run(tmp_path, [], busy=Tier("x", (command("x", script),)), idle=Tier("y", (command("y", "pass"),)))
    busy, idle = document["tiers"]
    assert busy["cpu_seconds"] >= 0.3 > idle["cpu_seconds"]


def test_how_long_a_tier_took_the_last_time_is_said(tmp_path: Path) -> None:
    one = Tier("a tier", (command("x", "pass"),))
    said: list[str] = []
    run(tmp_path, said, one=one)
    run(tmp_path, said, one=one)
    assert [("the last time" in line) for line in said if "a tier" in line] == [False, True]


def test_an_interruption_leaves_the_summary_and_begins_nothing_more(tmp_path: Path) -> None:
    """By the real program and a real signal; the command writes its report when it is interrupted, as pytest does."""
    waits = f"""
import pathlib, signal, sys, time
def end(*_):
    pathlib.Path('build/test/run.xml').write_text({REPORT!r})
    sys.exit(2)
signal.signal(signal.SIGINT, end)
print('waits', flush=True)
while True:  # a signal that comes right before signal.pause() is not seen by it
    time.sleep(0.05)
"""
    script = f"""
import sys, pathlib
from upkeep import tiers
run = tiers.Command('run', (sys.executable, '-c', {waits!r}), report=pathlib.Path('build/test/run.xml'))
never = tiers.Command('never', (sys.executable, '-c', "open('never', 'w')"))
found = dict(one=tiers.Tier('one', (run, never)), two=tiers.Tier('two', (never,)))
runner = tiers.Runner(pathlib.Path({str(tmp_path)!r}), found)
tiers.listen(runner)
sys.exit(runner.run(tuple(found)))
"""
    with subprocess.Popen([sys.executable, "-u", "-c", script], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        while "waits" not in program.stdout.readline():
            assert program.poll() is None
        program.send_signal(signal.SIGTERM)
        rest = program.stdout.read()
    assert program.returncode == 130
    assert "Interrupted" in rest
    document = json.loads((tmp_path / "build/test/summary.json").read_bytes())
    assert (document["ok"], document["interrupted"]) == (False, True)
    assert [(one["name"], one["passed"], one["failed"]) for one in document["tiers"]] == [("one", 1, 2)]
    assert not (tmp_path / "never").exists()


def test_what_does_not_end_when_it_is_interrupted_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "END_SECONDS", 0.0)
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); open('up', 'w'); time.sleep(600)"
    found = {"one": Tier("one", (command("deaf", deaf),))}
    runner = Runner(tmp_path, found, lambda line: None)

    def stop_once_it_is_up() -> None:
        until = time.monotonic() + 120
        while not (tmp_path / "up").exists() and time.monotonic() < until:
            time.sleep(0.01)
        runner.stop()

    stopper = threading.Thread(target=stop_once_it_is_up)
    stopper.start()
    assert runner.run(("one",)) == 130
    stopper.join()


def test_tiers_run_one_after_the_other(tmp_path: Path) -> None:
    """The second finds what the first has left when it ended."""
    found = {
        "contract": Tier("c", (command("contract", "import time; time.sleep(0.2); open('c', 'w')"),)),
        "vm": Tier("v", (command("vm", "open('c')"),)),
    }
    status, document = run(tmp_path, [], **found)
    assert status == 0
    assert [one["name"] for one in document["tiers"]] == ["contract", "vm"]


def test_the_slowest_are_the_twenty_slowest_of_all_tiers() -> None:
    many = [Case(f"t{number}", float(number), "passed") for number in range(30)]
    document = summary([Result("a", True, 1.0, 1.0, many[::2]), Result("b", True, 1.0, 1.0, many[1::2])], 2.0)
    assert [one["seconds"] for one in document["slowest"]] == [float(number) for number in range(29, 9, -1)]
    assert {one["tier"] for one in document["slowest"]} == {"a", "b"}
    assert any("passed" in line and "CPU" in line for line in table(document))


def test_a_report_that_is_not_there_has_no_tests(tmp_path: Path) -> None:
    assert read(tmp_path / "nothing.xml") == []


def test_an_unknown_tier_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert tiers.main(["unit", "units"]) == 2
    assert "no such tier: units; there are: lint, unit, coverage, rollouts, contract, vm" in capsys.readouterr().err


def test_every_folder_with_tests_is_in_the_unit_tier() -> None:
    folders = {path.parent.name for path in tiers.ROOT.glob("*/tests") if path.is_dir()}
    assert {one.argv[-1].removesuffix("/tests") for one in TIERS["unit"].commands} == folders
    assert {one.argv[-1] for one in TIERS["lint"].commands if one.argv[0] == "mypy"} == folders - {"docs"}


def test_no_folder_of_tests_is_passed_over(pytestconfig: pytest.Config) -> None:
    """By default pytest never looks into folders called `build`, and says nothing of it."""
    skipped = pytestconfig.getini("norecursedirs")
    folders = {file.parent.relative_to(tiers.ROOT) for file in tiers.ROOT.glob("*/tests/**/test_*.py")}
    assert Path("builder/tests/build") in folders
    assert [folder for folder in folders if any(fnmatch(part, one) for part in folder.parts for one in skipped)] == []


def test_only_files_that_speak_of_a_marker_are_collected(tmp_path: Path) -> None:
    for name, text in (("a/tests/x/test_one.py", "@pytest.mark.vm"), ("b/tests/test_two.py", "pytest.mark.contract")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    assert tiers.marked("vm", tmp_path) == ("a/tests/x/test_one.py",)
    assert tiers.marked("contract", tmp_path) == ("b/tests/test_two.py",)
    assert {"docs/tests/test_pages.py", "vm-tests/tests/node/test_returns_early.py"} <= set(tiers.marked("vm"))


def test_what_takes_longest_begins_first() -> None:
    files = [Path(file).name for file in tiers.marked("vm")]
    assert files[:2] == ["test_proof.py", "test_returns_running.py"]
    known = {file.name for file in tiers.ROOT.glob("*/tests/**/test_*.py")}
    assert set(tiers._LONGEST) <= known


def test_every_report_of_the_tiers_has_a_name_of_its_own() -> None:
    reports = [one.report for tier in TIERS.values() for one in tier.commands if one.report]
    assert len(reports) == len(set(reports))
