"""GRUB's script as text, and what it decides as bash runs it; GRUB itself is asked in vm-tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from proa.core.runtime import process
from proa.partition.boot import envblock, grubscript
from proa.partition.boot.bootstate import FIELDS, ROUNDS, ROUNDS_MAX, Slot, encode, pick, rounds
from proa.partition.boot.decisions import RULES, Decision, decide
from proa.partition.disk.layout import LayoutRequest, plan
from proa.partition.testing import statecases

SCRIPT = grubscript.script(Slot.A)
WIDTH = 80  # of the firmware's console


@pytest.mark.parametrize("default", Slot)
def test_grub_takes_it_for_a_script(tmp_path: Path, default: Slot) -> None:
    whole, cut = tmp_path / "grub.cfg", tmp_path / "cut.cfg"
    whole.write_text(grubscript.script(default))
    cut.write_text(grubscript.script(default).rpartition("}")[0])
    assert [process.run(["grub-script-check", one], check=False).status for one in (whole, cut)] == [0, 1]


def test_the_default_slot_is_the_only_difference() -> None:
    pairs = zip(SCRIPT.splitlines(), grubscript.script(Slot.B).splitlines(), strict=True)
    assert [(a, b) for a, b in pairs if a != b] == [
        tuple(f'  proa_decide "($proa_disk,gpt2)/env1" "($proa_disk,gpt2)/env2" {slot.value}' for slot in Slot)
    ]


def test_the_partition_numbers_are_those_of_the_layout() -> None:
    layout = plan(LayoutRequest(seed="seed"))
    assert layout["STATE"].number == grubscript.STATE_NUMBER
    assert {slot: layout[slot.uki_name].number for slot in Slot} == grubscript.UKI_NUMBERS


def test_every_rule_and_every_field_stands_in_it() -> None:
    for rule in RULES:
        assert f"set proa_rule={rule.name}\n" in SCRIPT
    for field in FIELDS:
        assert f"regexp -- '^{field.pattern}$' \"${field.name}\"" in SCRIPT


def test_the_file_can_set_nothing_but_the_variables_that_are_named() -> None:
    names = " ".join(field.name for field in FIELDS)
    loads = re.findall(r"load_env .*?;", SCRIPT)
    assert loads == [
        f'load_env --skip-sig --file "$1" {names};',
        *(f'load_env --skip-sig --file "$proa_file" {ROUNDS};' for _ in range(2)),
    ]


def test_it_never_ends() -> None:
    assert SCRIPT.endswith("\n  fi\ndone\n")
    assert SCRIPT.count("\nwhile true; do\n") == 1
    for command in ("break", "menuentry", "configfile", "normal", "exit", "halt", "read"):
        assert not re.search(rf"^\s*{command}\b", SCRIPT, re.MULTILINE)


def test_every_line_on_the_console_has_the_prefix_and_fits() -> None:
    longest = {"seq": "999999999", "rule": max((rule.name for rule in RULES), key=len), "disk": "hd99"}
    for text in re.findall(r'echo "(.*)"', SCRIPT):
        assert text.startswith(grubscript.PREFIX)
        shown = re.sub(r"\$proa_(\w+)", lambda match: longest.get(match[1], "a"), text)
        assert len(shown) < WIDTH or "cmdpath" in shown


def test_every_command_is_in_a_module() -> None:
    commands = {"load_env": "loadenv", "chainloader": "chain", "boot": "boot", "sleep": "sleep", "echo": "echo"}
    commands |= {"reboot": "reboot", "regexp": "regexp", "true": "true", "[": "test"}
    used = set(re.findall(r"(?:^|if |elif |then |while |; )\s*([a-z_\[]+)(?= |;|$)", SCRIPT, re.MULTILINE))
    known = {"set", "unset", "if", "elif", "else", "fi", "function", "while", "do", "done", "then", "save_env"}
    assert {word for word in used if not word.startswith("proa_")} - known <= set(commands)
    assert set(commands.values()) <= set(grubscript.MODULES)


GRUB_IN_BASH: Final = """\
function set { declare -g "$1"; }
function regexp { [[ $3 =~ $2 ]]; }
function load_env { [ -r "$3" ] && source "$3"; }
function save_env { [ "$writable" = y ] && text=$(<"$2") && printf %s "${text/LEFT=?/LEFT=$LEFT}" >"$2"; }
function ask {
  proa_decide "$1/1" "$1/2" b >"$1/said"
  echo "$proa_copy $proa_rule $proa_slot $proa_trial $proa_left $proa_fallback"
}
"""
"""GRUB's commands as functions of bash, which has the rest of the language. A whole copy is a script of assignments."""
CASES: Final = list(statecases.valid_cases())[::11]


def decided(decision: Decision, left: int) -> str:
    """What bash says when it has decided the same."""
    fallback = decision.fallback.value if decision.fallback else ""
    trial = "y" if decision.trial else "n"
    return f"{decision.copy} {decision.rule} {decision.slot.value} {trial} {left} {fallback}"


def ask_bash(folder: Path, *, writable: bool) -> list[str]:
    """What the script decides of each case, and that a refused write is told of."""
    for number, case in enumerate(CASES):
        (folder / str(number)).mkdir()
        for name, copy in (("1", case.copy1), ("2", case.copy2)):
            if copy is not None:
                (folder / str(number) / name).write_bytes(copy)
    calls = f"writable={'y' if writable else 'n'}\nfor number in {{0..{len(CASES) - 1}}}; do ask $number; done\n"
    script = "\n".join([grubscript.decision_script(), GRUB_IN_BASH, calls])
    return process.run(["bash", "-c", script], cwd=folder).text.splitlines()


def test_it_decides_as_the_model_does(tmp_path: Path) -> None:
    said = ask_bash(tmp_path, writable=True)
    for number, (case, line) in enumerate(zip(CASES, said, strict=True)):
        copies = (case.copy1 or b"", case.copy2 or b"")
        _, state = pick(*copies)
        decision = decide(*copies, default=Slot.B)
        assert state is not None, case.name
        left = decision.write[1].left if decision.write else state.left
        assert line == decided(decision, left), case.name
        if decision.write:
            copy, written = decision.write
            assert (tmp_path / str(number) / str(copy)).read_bytes() == encode(written), case.name


def test_a_try_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    said = ask_bash(tmp_path, writable=False)
    refused = 0
    for case, line in zip(CASES, said, strict=True):
        copies = (case.copy1 or b"", case.copy2 or b"")
        _, state = pick(*copies)
        decision = decide(*copies, default=Slot.B)
        assert state is not None, case.name
        assert line == decided(decision.unwritten or decision, state.left), case.name
        refused += decision.unwritten is not None
    assert refused > 5


def test_a_copy_without_its_end_is_none(tmp_path: Path) -> None:
    state = next(statecases.states())
    (tmp_path / "1").write_bytes(encode(state).replace(b"END=41", b"END=40"))
    (tmp_path / "2").write_bytes(encode(state).replace(b"END=41\n", b"#######"))
    script = "\n".join([grubscript.decision_script(), GRUB_IN_BASH, "ask ."])
    assert process.run(["bash", "-c", script], cwd=tmp_path).text.split()[:3] == ["0", RULES[-1].name, "b"]


ROUND_IN_BASH: Final = """\
function set { declare -g "$1"; }
function load_env { [ -r "$3" ] && source <(grep "^$4=" "$3"); true; }
function save_env { [ "$writable" = y ] && sed -i "/^$3=/d; s/^#/&/" "$2" && echo "$3=${!3}" >>"$2"; }
"""
"""``--skip-sig --file FILE NAME`` and ``--file FILE NAME`` for one variable, in a file of assignments."""


def count_rounds(folder: Path, start: str, *, writable: bool = True, copy: str = "1") -> str:
    """What ``proa_round`` says of another round, and what it leaves in the file."""
    (folder / "env").write_text(start)
    words = f"writable={'y' if writable else 'n'}\nproa_copy={copy}\nproa_file=env\nproa_round >said\n"
    whole = SCRIPT[SCRIPT.index("function proa_round") : SCRIPT.index("if regexp --set")].rpartition(
        "set proa_trial=n"
    )[0]
    done = process.run(["bash", "-c", f"{ROUND_IN_BASH}{whole}\n{words}echo $proa_again; cat env"], cwd=folder)
    return " ".join(done.text.split())


def test_n21_rounds_in_which_nothing_boots_are_counted_and_end(tmp_path: Path) -> None:
    said = count_rounds(tmp_path, "")
    for number in range(1, ROUNDS_MAX + 1):
        assert said == f"y {ROUNDS}={number}"
        said = count_rounds(tmp_path, f"{ROUNDS}={number}\n")
    assert said == f"n {ROUNDS}={ROUNDS_MAX}"


@pytest.mark.parametrize("nonsense", ["0", "99", "-1", "x"])
def test_n21_a_number_of_rounds_that_cannot_be_is_none(tmp_path: Path, nonsense: str) -> None:
    assert count_rounds(tmp_path, f"{ROUNDS}={nonsense}\n") == f"y {ROUNDS}=1"


@pytest.mark.parametrize(("writable", "copy"), [(False, "1"), (True, "0"), (True, "")])
def test_n21_what_cannot_be_counted_is_not_begun(tmp_path: Path, writable: bool, copy: str) -> None:
    assert count_rounds(tmp_path, "", writable=writable, copy=copy) == "n"


@pytest.mark.parametrize("number", range(1, ROUNDS_MAX + 1))
def test_n21_rounds_are_read_back_and_change_nothing_of_the_state(number: int) -> None:
    state = next(statecases.states())
    block = envblock.assign(encode(state), ROUNDS, str(number))
    assert block is not None
    assert rounds(block) == number
    assert pick(block, b"") == (1, state)
    assert rounds(encode(state)) == 0
    for nonsense in ("", "0", str(ROUNDS_MAX + 1), "²", "1 "):
        wrong = block.replace(f"{ROUNDS}={number}".encode(), f"{ROUNDS}={nonsense}".encode())
        assert rounds(wrong) == 0
