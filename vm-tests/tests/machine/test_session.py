"""Sessions over power cycles, told by a guest that is scripted, on a clock that jumps."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proa.core.runtime.clock import Deadline, VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.process import ProcessResult
from proa.vm.machine import ssh
from proa.vm.machine.qmp import QmpEvent, QmpEvents
from proa.vm.machine.session import GuestSession
from proa.vm.machine.ssh import LOST, Ssh
from proa.vm.support import background
from proa.vm.support.limits import TimeLimits


@dataclass
class ScriptedSsh(Ssh):
    """Answers from lists instead of from a network."""

    greetings: list[bool] = field(default_factory=lambda: [True])
    statuses: list[int] = field(default_factory=list)
    alive: bool = True
    log: list[str] = field(default_factory=list)

    def greets(self, seconds: float = 0.0) -> bool:
        return self.greetings.pop(0) if self.greetings else False

    def connect(self, deadline: Deadline) -> None:
        self.log.append("connect")
        self.alive = True

    @property
    def connected(self) -> bool:
        return self.alive

    def close(self) -> None:
        self.log.append("close")

    def run(self, command: str, deadline: Deadline, stdin: bytes | None = None) -> ProcessResult:
        self.log.append(command)
        status = self.statuses.pop(0) if self.statuses else 0
        if status == LOST:
            self.alive = False
        return ProcessResult((command,), status, b"out", b"err", 0.0)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def session(door: ScriptedSsh, clock: VirtualClock) -> GuestSession:
    return GuestSession(door, TimeLimits(), lambda deadline: deadline.check(), clock)


def scripted(
    folder: Path, *, greetings: tuple[bool, ...] = (True, True, True), statuses: tuple[int, ...] = ()
) -> ScriptedSsh:
    return ScriptedSsh(folder, 22, greetings=list(greetings), statuses=list(statuses))


def test_it_connects_once_the_server_greets(tmp_path: Path, clock: VirtualClock) -> None:
    door = scripted(tmp_path, greetings=(False, False, False, True))
    guest = session(door, clock)
    assert guest.execute("true", Deadline("x", 60, clock)).status == 0
    assert guest.execute("id", Deadline("x", 60, clock)).text == "out"
    assert door.log == ["connect", "true", "id"]
    assert len(clock.slept) == 3


def test_a_guest_that_never_greets_is_a_timeout(tmp_path: Path, clock: VirtualClock) -> None:
    door = scripted(tmp_path, greetings=())
    with pytest.raises(ProaError) as caught:
        session(door, clock).execute("true", Deadline("x", 60, clock))
    assert caught.value.code is Code.TIMEOUT
    assert clock.at == pytest.approx(60, abs=1)


def test_a_lost_connection_is_told_and_the_next_command_connects_again(tmp_path: Path, clock: VirtualClock) -> None:
    door = scripted(tmp_path, statuses=(0, LOST, 0))
    guest = session(door, clock)
    guest.execute("one", Deadline("x", 60, clock))
    with pytest.raises(ProaError) as caught:
        guest.execute("two", Deadline("x", 60, clock))
    assert caught.value.code is Code.NETWORK
    guest.execute("three", Deadline("x", 60, clock))
    assert door.log == ["connect", "one", "two", "connect", "three"]


def test_a_command_that_itself_ends_with_255_is_a_result(tmp_path: Path, clock: VirtualClock) -> None:
    class Odd(ScriptedSsh):
        def run(self, command: str, deadline: Deadline, stdin: bytes | None = None) -> ProcessResult:
            return ProcessResult((command,), LOST, b"", b"", 0.0)

    guest = session(Odd(tmp_path, 22), clock)
    assert guest.execute("exit 255", Deadline("x", 60, clock)).status == 255


def test_an_attempt_forgives_a_lost_connection_only(tmp_path: Path, clock: VirtualClock) -> None:
    door = scripted(tmp_path, greetings=(True,), statuses=(LOST,))
    guest = session(door, clock)
    assert guest.attempt("true", Deadline("x", 60, clock)) is None
    with pytest.raises(ProaError, match="not within"):
        guest.attempt("true", Deadline("x", 60, clock))


def test_an_order_may_cut_its_own_connection_but_must_not_fail(tmp_path: Path, clock: VirtualClock) -> None:
    guest = session(scripted(tmp_path, statuses=(LOST, 0, 1)), clock)
    guest.order("reboot", Deadline("x", 60, clock))
    guest.order("reboot", Deadline("x", 60, clock))
    with pytest.raises(ProaError) as caught:
        guest.order("reboot", Deadline("x", 60, clock))
    assert caught.value.code is Code.TOOL


def test_a_key_is_made_once_and_only_the_owner_reads_it(tmp_path: Path) -> None:
    public = ssh.make_key(tmp_path)
    assert public.startswith("ssh-ed25519 ")
    assert ssh.make_key(tmp_path) == public
    assert (tmp_path / "ssh.key").stat().st_mode & 0o777 == 0o600


def test_a_port_where_nobody_listens_does_not_greet(tmp_path: Path) -> None:
    assert not Ssh(tmp_path, 1).greets(1.0)


def test_a_failed_command_shows_its_last_lines() -> None:
    with pytest.raises(ProaError, match="status 3") as caught:
        ssh.check(ProcessResult(("x",), 3, b"", b"no space left\n", 0.0), "cp a b")
    assert caught.value.at == "cp a b"
    assert "no space left" in caught.value.message


def test_events_are_waited_for_behind_a_mark() -> None:
    events = QmpEvents()
    events.add(QmpEvent("RESET", {"reason": "guest-reset"}))
    mark = events.mark()
    events.add(QmpEvent("SHUTDOWN", {}))
    assert events.wait_for("RESET", Deadline("x", 300)).data == {"reason": "guest-reset"}
    assert events.wait_for("SHUTDOWN", Deadline("x", 300), since=mark).name == "SHUTDOWN"
    with pytest.raises(ProaError) as caught:
        events.wait_for("RESET", Deadline("x", 0.01), since=mark)
    assert caught.value.code is Code.TIMEOUT
    with pytest.raises(ProaError) as caught:
        events.wait_for("RESET", Deadline("x", 60), since=mark, alive=lambda: False)
    assert caught.value.code is Code.CONSOLE


def test_work_in_the_background_has_a_limit_and_keeps_its_errors() -> None:
    import asyncio

    async def slow() -> None:
        await asyncio.sleep(60)

    async def broken() -> None:
        raise FileNotFoundError(os.devnull)

    with pytest.raises(ProaError, match="the slow thing"):
        background.call(slow(), 0.01, "the slow thing")
    with pytest.raises(FileNotFoundError):
        background.call(broken(), 10, "the broken thing")
