"""The initrd's shell functions against the Python model, under the shells that an initrd may have."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from proa.core.runtime import process
from proa.core.runtime.errors import ProaError
from proa.partition.boot import bootstate, decisions, envblock, initrdscript, statefile
from proa.partition.boot.bootstate import ROUNDS_MAX, SEQ_MAX, BootState, Slot, encode
from proa.partition.boot.statefile import ENV_OFFSETS, STATE_SIZE, StateFile
from proa.partition.testing import statecases

SHELLS = (["dash"], ["bash", "--posix"])
ANSWER = 'echo "$? $proa_copy $SEQ $GOOD $TRY $LEFT $ALT"'

Shell = Callable[[str], list[str]]


@pytest.fixture(params=SHELLS, ids=lambda shell: str(shell[0]))
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    functions = tmp_path / "proa-state.sh"
    functions.write_text(initrdscript.script())

    def run(text: str) -> list[str]:
        result = process.run([*request.param, "-uc", f". {functions}\n{text}"], cwd=tmp_path)
        assert not result.stderr
        return result.text.splitlines()

    return run


def answer(copy: int | None, state: BootState | None) -> str:
    values = list(state.variables().values())[:-1] if state else [""] * 5
    return " ".join(["1" if state is None else "0", str(copy or 0), *values])


def image(path: Path, copy1: bytes, copy2: bytes) -> StateFile:
    data = bytearray(STATE_SIZE)
    for offset, copy in zip(ENV_OFFSETS, (copy1, copy2), strict=True):
        data[offset : offset + len(copy)] = copy
    path.write_bytes(data)
    return StateFile(path)


def test_needs_nothing_but_dd_and_od(tmp_path: Path) -> None:
    script = initrdscript.script()
    assert "@" not in script.replace('"$@"', "")
    commands = {
        word for word in ("sed", "tr", "head", "awk", "grep", "cut", "cat", "expr", "seq") if f" {word} " in script
    }
    assert not commands


def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "script").write_text(initrdscript.script())
    assert process.run(["shellcheck", "-s", "sh", tmp_path / "script"], check=False).text == ""


def distinct_cases() -> list[tuple[bytes, bytes]]:
    """Every distinct copy alone, and a part of the pairs: a shell takes its time."""
    cases = [(case.copy1 or b"", case.copy2 or b"") for case in statecases.all_cases()]
    alone = {copy: None for pair in cases for copy in pair}
    return [*((copy, b"") for copy in alone), *(pair for pair in cases[::7] if all(pair))]


def test_agrees_with_the_model_on_every_case(shell: Shell, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    slow = request.node.callspec.id.startswith("bash")
    cases = distinct_cases()[:: 9 if slow else 1]
    calls = [f"ask '{copy1.hex(' ')}' '{copy2.hex(' ')}'\n" for copy1, copy2 in cases]
    (tmp_path / "cases").write_text("".join(calls))
    said = shell(f'ask() {{ proa_state_pick "$1" "$2"; {ANSWER}; }}; . ./cases')
    wrong = [(case, line) for case, line in zip(cases, said, strict=True) if line != answer(*bootstate.pick(*case))]
    assert not wrong


@pytest.mark.parametrize("case", list(statecases.valid_cases())[::60], ids=lambda case: str(case.name))
def test_reads_a_device(shell: Shell, tmp_path: Path, case: statecases.Case) -> None:
    file = image(tmp_path / "state", case.copy1 or b"", case.copy2 or b"")
    assert shell(f"proa_state_read state; {ANSWER}") == [answer(*bootstate.pick(*file.read()))]


def test_a_device_that_is_not_there(shell: Shell) -> None:
    assert shell(f"proa_state_read missing; {ANSWER}") == [answer(None, None)]


@pytest.mark.parametrize("slot", Slot)
def test_tells_whether_a_slot_is_on_trial(shell: Shell, tmp_path: Path, slot: Slot) -> None:
    states = list(statecases.states())
    (tmp_path / "cases").write_text("".join(f"ask '{encode(state).hex(' ')}'\n" for state in states))
    said = shell(f"ask() {{ proa_state_pick \"$1\" ''; proa_state_trial {slot.value}; echo $?; }}; . ./cases")
    assert said == ["0" if state.on_trial and state.trial is slot else "1" for state in states]


def healed(state: BootState, booted: Slot) -> BootState | None:
    try:
        return bootstate.heal(state) if state.good is booted else None
    except ProaError:
        return None


def test_heals_as_the_model_does(shell: Shell, tmp_path: Path) -> None:
    states = [*statecases.states(), BootState(SEQ_MAX, Slot.A, None, 0, alt=True)]
    calls = [f"ask {slot.value} '{encode(state).hex(' ')}'\n" for state in states for slot in Slot]
    (tmp_path / "cases").write_text("".join(calls))
    fakes = "proa_state_read() { proa_state_pick \"$one\" ''; }; proa_state_put() { written=$proa_block; }"
    ask = 'one=$2 written=none; proa_state_heal state "$1"; echo "$? $written"'
    said = shell(f"{fakes}; ask() {{ {ask}; }}; . ./cases")
    text = "\n".join(said)
    for state in states:
        for slot in Slot:
            new = healed(state, slot)
            wanted = "1 none" if new is None else "0 " + encode(new).decode().rstrip("#")
            assert text.startswith(wanted)
            text = text[len(wanted) :].lstrip("#").removeprefix("\n")
    assert not text


@pytest.mark.parametrize("counts", [1, 2])
def test_heals_a_device(shell: Shell, tmp_path: Path, counts: int) -> None:
    state = BootState(999, Slot.B, None, 2, alt=True)
    older = BootState(998, Slot.A, None, 0, alt=True)
    file = image(tmp_path / "state", *(encode(state if copy == counts else older) for copy in (1, 2)))
    assert shell("proa_state_heal state b; echo $?") == ["0"]
    new = bootstate.heal(state)
    assert file.read() == (encode(new), encode(new))
    assert shell("proa_state_heal state b; echo $?") == ["1"]
    assert file.read() == (encode(new), encode(new))


def test_heals_a_device_again_once_grub_has_used_the_try(shell: Shell, tmp_path: Path) -> None:
    file = image(tmp_path / "state", encode(BootState(7, Slot.B, None, 0, alt=True)), b"")
    for _ in range(2):
        assert shell("proa_state_heal state b; echo $?") == ["0"]
        tried = decisions.decide(*file.read(), default=Slot.A)
        assert tried.write is not None
        assert (tried.slot, tried.write[1].left) == (Slot.A, 0)
        image(file.path, encode(tried.write[1]), file.read().copy2)
        assert decisions.decide(*file.read(), default=Slot.A).slot is Slot.B


def test_writes_the_copy_that_does_not_count_first(shell: Shell, tmp_path: Path) -> None:
    state, older = BootState(9, Slot.A, None, 0, alt=True), BootState(8, Slot.A, None, 0, alt=True)
    fake = 'proa_state_put() { echo "put $2"; }'
    image(tmp_path / "one", encode(state), encode(older))
    image(tmp_path / "two", encode(older), encode(state))
    assert shell(f"{fake}; proa_state_heal one a") == ["put 2", "put 1"]
    assert shell(f"{fake}; proa_state_heal two a") == ["put 1", "put 2"]


def test_writes_nothing_but_the_copies(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "state"
    statefile.make_state_image(path, BootState(3, Slot.A, None, 0, alt=True))
    before = path.read_bytes()
    assert shell("proa_state_heal state a; echo $?") == ["0"]
    after = bytearray(path.read_bytes())
    for offset in ENV_OFFSETS:
        assert bootstate.decode(bytes(after[offset : offset + envblock.SIZE])) is not None
        after[offset : offset + envblock.SIZE] = before[offset : offset + envblock.SIZE]
    assert bytes(after) == before


def test_a_disk_that_cannot_be_written(shell: Shell, tmp_path: Path) -> None:
    image(tmp_path / "state", encode(BootState(3, Slot.A, None, 0, alt=True)), b"")
    fakes = tmp_path / "bin"
    fakes.mkdir()
    dd = fakes / "dd"
    dd.write_text(
        '#!/bin/sh\ncase $* in *of=*) cat >/dev/null ;; *) exec /bin/dd "$@" ;; esac\n'
    )  # loses what is written
    dd.chmod(dd.stat().st_mode | stat.S_IXUSR)
    assert shell(f"PATH={fakes}:$PATH; proa_state_heal state a; echo $?") == ["1"]


@pytest.mark.parametrize("counts", [1, 2])
def test_n21_rounds_are_counted_in_the_copy_that_counts(shell: Shell, tmp_path: Path, counts: int) -> None:
    state, older = BootState(9, Slot.A, None, 0, alt=True), BootState(8, Slot.A, None, 0, alt=True)
    file = image(tmp_path / "state", *(encode(state if copy == counts else older) for copy in (1, 2)))
    for number in range(1, ROUNDS_MAX + 1):
        assert shell("proa_state_round state; echo $?") == ["0"]
        assert (file.read().rounds, file.current()) == (number, state)
    before = file.read()
    assert shell("proa_state_round state; echo $?") == ["2"]
    assert file.read() == before


def test_n21_a_slot_that_is_armed_keeps_the_count(shell: Shell, tmp_path: Path) -> None:
    """Else two broken slots would hand the boot to each other for ever."""
    state = BootState(9, Slot.A, None, 0, alt=True)
    file = image(tmp_path / "state", encode(state), encode(state))
    assert shell("proa_state_round state; proa_state_round state; proa_state_heal state a; echo $?") == ["0"]
    assert (file.read().rounds, file.current()) == (2, bootstate.heal(state))
    assert len({*file.read()}) == 1


def test_n21_rounds_that_cannot_be_counted(shell: Shell, tmp_path: Path) -> None:
    image(tmp_path / "state", b"", b"")
    assert shell("proa_state_round state; echo $?; proa_state_round missing; echo $?") == ["1", "1"]
