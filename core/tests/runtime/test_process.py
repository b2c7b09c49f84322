"""The gateway to other programs, with small real ones."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from proa.core.runtime import process
from proa.core.runtime.clock import Deadline
from proa.core.runtime.errors import Code, Exit, ProaError


def shell(script: str, *, stdin: bytes | None = None, timeout: float | None = None, keep: int | None = None) -> str:
    result = process.run(["sh", "-c", script], stdin=stdin, timeout=timeout, keep=keep)
    return result.text


def gone(pid: int) -> bool:
    """Whether a process has ended; what became an orphan may wait a moment as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def ends(pid: int) -> bool:
    """Whether a process ends, for what gets a signal takes its time; it is waited for."""
    deadline = Deadline(f"process {pid} ends", 300)
    while not gone(pid):
        deadline.check()
        time.sleep(0.01)
    return True


def cut_off(script: str, note: Path) -> tuple[ProaError, list[int]]:
    """The error of a program that its limit ends, and the processes in its note: by then it has to have written it."""
    limit = 0.1
    while not note.exists():
        limit *= 2
        with pytest.raises(ProaError, match=re.escape(f"did not finish within {limit:g} s")) as caught:
            shell(script, timeout=limit)
    return caught.value, [int(pid) for pid in note.read_text().split()]


def test_output_and_status_come_back() -> None:
    result = process.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (result.status, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    assert result.argv == ("sh", "-c", "echo out; echo err >&2; exit 3")
    assert result.seconds > 0


def test_output_need_not_be_text() -> None:
    assert shell(r"printf 'a\377b'") == "a\N{REPLACEMENT CHARACTER}b"


def test_input_is_empty_unless_given() -> None:
    assert shell("cat") == ""
    assert shell("cat", stdin=b"") == ""
    assert shell("cat", stdin=b"given") == "given"


def test_much_goes_in_and_out_at_once() -> None:
    much = os.urandom(1 << 20)
    assert process.run(["cat"], stdin=much).stdout == much


def test_input_that_nobody_reads_is_no_error() -> None:
    assert shell("exec <&-; echo done", stdin=bytes(1 << 20)) == "done\n"


def test_a_failure_shows_the_last_lines_and_a_command_to_paste() -> None:
    with pytest.raises(ProaError) as caught:
        process.run(["sh", "-c", "seq 30 >&2; exit 4"])
    assert caught.value.code is Code.TOOL
    assert caught.value.at == "sh -c 'seq 30 >&2; exit 4'"
    assert "exited with status 4" in caught.value.message
    assert caught.value.message.endswith("\n    30")
    assert "\n    15\n" not in caught.value.message


def test_a_failure_on_standard_output_is_shown_too() -> None:
    with pytest.raises(ProaError, match="said here"):
        shell("echo said here; exit 1")
    with pytest.raises(ProaError, match="no output"):
        shell("exit 1")


@pytest.mark.parametrize("said", ["cp: error writing 'x': No space left on device", "mcopy: Disk full"])
@pytest.mark.parametrize("stream", [1, 2])
@pytest.mark.parametrize("code", [Code.TOOL, Code.PACKAGES])
def test_a_program_without_room_is_a_full_disk(said: str, stream: int, code: Code) -> None:
    result = process.run(["sh", "-c", f'echo "$0" >&{stream}; echo more >&2; exit 1', said], check=False)
    error = process.failure(result, code)
    assert (error.code, error.exit) == (Code.DISK_FULL, Exit.DEVICE)
    assert "exited with status 1" in error.message


def test_a_signal_is_named() -> None:
    with pytest.raises(ProaError, match="was killed by SIGSEGV"):
        shell("kill -SEGV $$")


def test_a_program_that_is_not_there_names_its_package() -> None:
    with pytest.raises(ProaError) as caught:
        process.find("proa-no-such-program", "some-package")
    assert caught.value.code is Code.TOOL_MISSING
    assert caught.value.hint.endswith("apt-get install some-package")
    with pytest.raises(ProaError):
        process.run(["proa-no-such-program"])


def test_a_program_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    with pytest.raises(ProaError, match="could not be started") as caught:
        process.run([broken])
    assert caught.value.code is Code.TOOL
    with pytest.raises(ProaError, match="could not be started"):
        process.run(["true"], cwd=tmp_path / "nowhere")


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("LANG", "de_DE")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    found = process.environment({"EXTRA": "2"})
    assert {"LD_PRELOAD", "LANG"}.isdisjoint(found)
    assert (found["LC_ALL"], found["TZ"]) == ("C.UTF-8", "UTC")
    assert (found["SOURCE_DATE_EPOCH"], found["EXTRA"]) == ("1", "2")
    assert found["PATH"] == f"{tmp_path}:/usr/bin:/bin:/usr/sbin:/sbin"
    assert process.run(["env"], env={"EXTRA": "2"}).text.splitlines().count("EXTRA=2") == 1


def test_without_a_path_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert process.environment()["PATH"] == "/usr/sbin:/usr/bin:/sbin:/bin"


def test_programs_on_the_path_are_preferred(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "sfdisk"
    fake.write_text('#!/bin/sh\necho fake "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert process.run(["sfdisk", "--json", tmp_path]).text == f"fake --json {tmp_path}\n"


def test_it_runs_where_it_is_told(tmp_path: Path) -> None:
    assert process.run(["pwd"], cwd=tmp_path).text.strip() == str(tmp_path)


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    error, pids = cut_off(f"sleep 1000 & echo $! $$ > {note}.new; mv {note}.new {note}; sleep 1000", note)
    assert error.code is Code.TIMEOUT
    assert len(pids) == 2
    assert all(ends(pid) for pid in pids)


def test_a_program_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "_GRACE", 0.1)
    note = tmp_path / "pid"
    script = f"trap '' TERM; echo $$ > {note}.new; mv {note}.new {note}; while :; do sleep 1000; done"
    (pid,) = cut_off(script, note)[1]
    assert gone(pid)


def test_a_daemon_that_keeps_the_output_open_is_not_waited_for(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    assert shell(f"sleep 1000 & echo $! > {note}; echo done") == "done\n"
    pid = int(note.read_text())
    assert not gone(pid)
    os.kill(pid, signal.SIGKILL)


def test_an_interrupt_ends_the_program(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def interrupt() -> None:
        while not note.exists():
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    main = threading.main_thread().ident or 0
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        shell(f"echo $$ > {note}.new; mv {note}.new {note}; sleep 1000")
    thread.join()
    assert gone(int(note.read_text()))


def test_an_interrupt_that_comes_while_a_program_starts_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        """The interrupt comes when the program is there, and before anybody knows of it."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        shell("sleep 1000")
    assert started[0].returncode == -signal.SIGTERM
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_only_the_end_of_a_long_output_is_kept() -> None:
    assert shell("seq 200000; echo the end", keep=13) == "00000\nthe end\n"[-13:]
    assert shell("echo short", keep=100) == "short\n"


def test_no_handle_is_left_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        process.run([sys.executable, "-c", ""], stdin=b"x")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_command_is_shown_without_passwords() -> None:
    argv = ["fetch", "http://user:s3@cret@mirror.example.net/debian", "--mail", "a@b.example"]
    assert process.pasteable(argv) == "fetch http://***@mirror.example.net/debian --mail a@b.example"
