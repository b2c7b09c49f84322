"""s01: what strangers wrote runs where there is nothing of this machine to read, to write or to talk to."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from proa.builder.engine import namespace
from proa.core.runtime.process import run

pytestmark = pytest.mark.contract
LIMIT = 60.0


def inside(script: str, *, show: tuple[Path, ...] = (), change: tuple[Path, ...] = ()) -> str:
    """What a script says in a room; it runs to its end whatever fails."""
    with TemporaryDirectory() as scratch:
        argv = (*namespace.room(Path(scratch), show=show, change=change), "sh", "-c", script)
        return run(argv, timeout=LIMIT, check=False).text


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "keys/release.key"
    path.parent.mkdir(mode=0o700)
    path.write_text("PRIVATE KEY")
    return path


@pytest.mark.parametrize(
    "way",
    [
        "cat {path}",
        "cat /proc/1/root{path}",
        "cat /proc/self/root{path}",
        "cat /proc/$PPID/root{path}",
        "for id in /proc/[0-9]*; do cat $id/root{path} $id/cwd/{path} $id/cwd/release.key; done",
        "cd /; i=0; while [ $i -lt 40 ]; do cd ..; i=$((i + 1)); done; cat .{path}",
        "mkdir -p /tmp/a; chroot /tmp/a true; cat ../../../..{path}",
        "mkdir -p /tmp/a; umount -l /; mount --bind / /tmp/a; cat /tmp/a{path} {path}",
        "for fd in /proc/*/fd/*; do cat $fd{path} $fd/..{path}; done",
        "nsenter --target 1 --mount cat {path}",
        "mount --move /proc /mnt; umount -l /usr; cat {path}",
    ],
)
def test_s01_no_way_leads_to_a_key(secret: Path, tmp_path: Path, way: str) -> None:
    (tmp_path / "out").mkdir()
    told = inside(way.replace("{path}", str(secret)), change=(tmp_path / "out",))
    assert "PRIVATE" not in told


def test_s01_what_is_named_is_there_to_read_or_to_write(secret: Path, tmp_path: Path) -> None:
    read, write = tmp_path / "read", tmp_path / "write"
    for folder in (read, write):
        folder.mkdir()
    (read / "a b").write_text("named")
    script = f"cat '{read}/a b'; echo; echo x >{read}/b; echo done >{write}/c; ls {tmp_path}"
    assert inside(script, show=(read / "a b",), change=(write,)).split() == ["named", "read", "write"]
    assert (sorted(path.name for path in read.iterdir()), (write / "c").read_text()) == (["a b"], "done\n")


def test_s01_the_system_cannot_be_written(tmp_path: Path) -> None:
    told = inside(
        f"for name in /usr /usr/bin /etc/passwd; do test -w $name && echo $name; done; touch /usr/{tmp_path.name}"
    )
    assert told == ""


def test_s01_nobody_else_is_there(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        told = inside(f"ls -d /proc/[0-9]*; kill -0 {other.pid} && echo reached; grep : /proc/net/dev; ls /home")
        assert "reached" not in told
        assert len([line for line in told.splitlines() if line.startswith("/proc/")]) < 5
        assert [line.split(":")[0].strip() for line in told.splitlines() if ":" in line] == ["lo"]
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_b01_a_program_may_talk_to_itself() -> None:
    """postfix is set up only where there is an address that it can listen on."""
    heard = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
    assert inside(f'python3 -c "{heard}; print(s.accept()[1][0])"').split() == ["127.0.0.1"]


def test_s01_there_is_no_terminal_to_type_into() -> None:
    assert inside("test -e /dev/tty || echo none; (: </dev/tty) 2>/dev/null || echo shut").split() == ["none", "shut"]


def test_s01_what_is_left_running_ends_with_it(tmp_path: Path) -> None:
    inside(f"(sleep 1; touch {tmp_path}/late) >/dev/null 2>&1 &", change=(tmp_path,))
    run(["sleep", "1.5"])
    assert not (tmp_path / "late").exists()


def test_s01_our_own_code_runs_there_from_what_is_shown(tmp_path: Path) -> None:
    words = namespace.python("proa.builder.cli.main", "--version")
    assert run((*namespace.room(tmp_path, show=namespace.own_code()), *words), timeout=LIMIT, check=False).status in (
        0,
        1,
    )
    words = (words[0], "-c", "import proa.builder.node.assemble as one; print(one.__name__)")
    told = run((*namespace.room(tmp_path, show=namespace.own_code()), *words), timeout=LIMIT).text
    assert told.strip() == "proa.builder.node.assemble"
