"""The command: its verbs, documents and exit statuses, on a disk image and through a daemon."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from proa.agent.api.client import Client
from proa.agent.api.requests import CancelRequest, ScrubRequest
from proa.agent.cli.main import _follow, cli, main
from proa.agent.daemon.daemon import Daemon
from proa.agent.node.paths import Paths
from proa.agent.node.record import save
from proa.agent.node.reports import Scrubbed, StartedJob, Status
from proa.agent.testing import records
from proa.agent.testing.node import Node
from proa.agent.testing.world import World
from proa.core import VERSION
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.runtime.events import SILENT
from proa.core.runtime.process import run
from proa.partition.boot.bootstate import Slot
from proa.partition.boot.statefile import StateFile


class Command:
    """``proa-agent --root ... --disk ...`` in this process."""

    def __init__(self, root: Path, disk: Path | None, capsys: Any, monkeypatch: Any) -> None:
        self.root, self.disk, self.capsys, self.monkeypatch = root, disk, capsys, monkeypatch
        self.stderr = ""

    def __call__(self, *words: str, status: int = 0) -> str:
        disk = ["--disk", str(self.disk)] if self.disk else []
        self.monkeypatch.setattr(sys, "argv", ["proa-agent", "--root", str(self.root), *disk, *words])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        told = self.capsys.readouterr()
        self.stderr = told.err
        assert ended.value.code == status, told
        return str(told.out)

    def json(self, *words: str, status: int = 0) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self(*words, "--json", status=status))
        return document


@pytest.fixture
def image(node: Node, world: World, tmp_path: Path) -> Path:
    """A whole disk image, as a factory has it."""
    path = tmp_path / "image"
    run(["cp", "--sparse=always", world.disk, path])
    with path.open("r+b") as disk:
        for name in ("STATE", "ROOT-A", "UKI-A"):
            disk.seek(world.layout[name].start)
            disk.write(node.part(name).read_bytes())
    return path


@pytest.fixture
def agent(node: Node, image: Path, capsys: Any, monkeypatch: Any) -> Command:
    return Command(node.root, image, capsys, monkeypatch)


def content(image: Path, world: World, name: str) -> bytes:
    with image.open("rb") as disk:
        disk.seek(world.layout[name].start)
        return disk.read(world.layout[name].size)


def test_a_factory_fills_the_second_slot_of_an_image(agent: Command, image: Path, world: World, release2: str) -> None:
    plan = agent.json("install", release2, "--activate", "--dry-run")
    assert list(plan)[:2] == ["schema", "proa"]
    assert (plan["schema"], plan["proa"]) == ("proa.install-plan/v1", VERSION)
    assert set(plan["bytes"]) == {"fetch", "copy", "keep", "write"}
    before = {name: content(image, world, name) for name in ("UKI-A", "ROOT-A", "PERSIST")}
    result = agent.json("install", release2)
    assert result["schema"] == "proa.install/v1"
    assert {"bytes", "seconds", "peak_memory"} <= set(result)
    assert {name: content(image, world, name) for name in before} == before
    assert content(image, world, "ROOT-B").startswith(world.recipe("2").root.read_bytes())
    assert agent.json("activate", "--tries", "2")["state"] == "armed"
    state_file = StateFile.within(image, world.layout["STATE"].start)
    assert (state_file.current().trial, state_file.current().left) == (Slot.B, 2)
    assert agent.json("scrub", "b")["schema"] == "proa.scrub/v1"
    assert agent.json("deactivate")["state"] == "staged"
    status = agent.json("status")
    assert (status["schema"], status["booted"], status["good"]) == ("proa.status/v1", None, "a")


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (("commit",), Exit.STATE, "NO_TRIAL"),
        (("rollback",), Exit.STATE, "NOT_GOOD"),
        (("activate",), Exit.STATE, "NOT_STAGED"),
        (("deactivate",), Exit.STATE, "NO_TRIAL"),
        (("cancel",), Exit.STATE, "NOTHING_RUNNING"),
        (("scrub", "b"), Exit.STATE, "NOT_STAGED"),
        (("install", "no reference"), Exit.USAGE, "REFERENCE"),
        (("install", "oci:/none:1"), Exit.USAGE, "FILE_MISSING"),
        (("install", "oci:/none", "--reboot"), Exit.USAGE, "USAGE"),
        (("install", "oci:/none", "--activate", "--reboot"), Exit.USAGE, "USAGE"),
        (("activate", "--tries", "4"), Exit.USAGE, "USAGE"),
        (("scrub", "c"), Exit.USAGE, "USAGE"),
        (("nothing",), Exit.USAGE, "USAGE"),
    ],
)
def test_errors_as_documents(agent: Command, words: tuple[str, ...], status: Exit, code: str) -> None:
    document = agent.json(*words, status=status)
    assert (document["schema"], document["code"], document["exit"]) == ("proa.error/v1", code, status)
    assert document["hint"]


def test_errors_for_people(agent: Command) -> None:
    assert agent("commit", status=Exit.STATE) == ""
    assert agent.stderr.startswith("proa-agent: error[NO_TRIAL]: ")
    assert "\n  hint: " in agent.stderr


def test_a_disk_that_is_none(agent: Command, tmp_path: Path) -> None:
    agent.disk = tmp_path / "empty"
    agent.disk.write_bytes(bytes(1 << 20))
    assert agent.json("status", status=Exit.DEVICE)["code"] == "NO_DISK"


@pytest.mark.parametrize("verb", ["install oci:/none", "activate", "deactivate", "commit", "rollback", "scrub"])
def test_nothing_is_left_on_a_machine_that_is_no_node(agent: Command, tmp_path: Path, verb: str) -> None:
    agent.disk = tmp_path / "empty"
    agent.disk.write_bytes(bytes(1 << 20))
    before = sorted(tmp_path.rglob("*"))
    assert agent.json(*verb.split(), status=Exit.DEVICE)["code"] == "NO_DISK"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("verb", sorted(cli.commands))
def test_every_verb_has_help_with_an_example(tmp_path: Path, capsys: Any, monkeypatch: Any, verb: str) -> None:
    text = Command(tmp_path, None, capsys, monkeypatch)(verb, "--help")
    assert f"Example: proa-agent {verb}" in text
    assert "--root" in text


def test_people_read_what_happened(agent: Command, release2: str) -> None:
    assert "1. disarm slot b" in agent("install", release2, "--dry-run")
    told = agent("install", release2, "--progress", "plain")
    assert "test 2 is in slot b" in told
    assert "root -> b" in agent.stderr
    assert "slot b  2                    staged" in agent("status")
    assert "arm the other slot for 3 attempts" in agent("activate")
    assert "armed" in agent("status")


def test_every_option_has_an_environment_twin(agent: Command, release2: str) -> None:
    agent.monkeypatch.setenv("PROA_INSTALL_ACTIVATE", "1")
    agent.monkeypatch.setenv("PROA_INSTALL_TRIES", "1")
    agent.monkeypatch.setenv("PROA_DISK", str(agent.disk))
    agent.disk = None
    assert agent.json("install", release2)["activated"]


def test_progress_as_lines_of_json(agent: Command, release2: str) -> None:
    agent("install", release2, "--progress", "json")
    events = [json.loads(line)["event"] for line in agent.stderr.splitlines()]
    assert {"StepStarted", "StepFinished", "Progress"} <= set(events)


def test_the_verbs_talk_to_the_daemon(node: Node, release2: str, capsys: Any, monkeypatch: Any, systemctl: Any) -> None:
    with daemon_of(node):
        agent = Command(node.root, None, capsys, monkeypatch)
        assert agent.json("status")["booted"] == "a"
        monkeypatch.chdir(Path(release2.removeprefix("oci:")).parent)
        result = agent.json("install", "oci:oci", "--activate", "--progress", "plain")
        assert (result["schema"], result["slot"]) == ("proa.install/v1", "b")
        assert "root -> b" in agent.stderr
        assert agent.json("deactivate")["schema"] == "proa.change/v1"
        assert agent.json("scrub", "b")["ok"]
        assert agent.json("cancel", status=Exit.STATE)["code"] == "NOTHING_RUNNING"
        agent("serve", status=Exit.BUSY)
        assert "error[BUSY]" in agent.stderr


@contextmanager
def daemon_of(node: Node) -> Iterator[Client]:
    """A daemon that serves the node, and a client of it."""
    daemon = Daemon(node.context, allowed=frozenset({os.getuid()}))
    thread = threading.Thread(target=daemon.run)
    thread.start()
    client = Client(node.paths.socket)
    try:
        while not client.is_running:
            assert thread.is_alive()
        yield client
    finally:
        daemon.context.cancel.ask()
        thread.join(300)


def test_no_daemon_serves_a_disk_beside_the_node(agent: Command) -> None:
    agent.root = Path("/")
    agent("serve", status=Exit.USAGE)
    assert "--root" in agent.stderr


def test_a_daemon_for_an_image_leaves_the_nodes_own_its_socket(node: Node, agent: Command, systemctl: Any) -> None:
    with daemon_of(node) as client:
        agent("serve", status=Exit.BUSY)
        assert client.get(Status, "/v1/status").booted is Slot.A


class Interrupted:
    """A client whose user presses Ctrl-C as soon as a job is followed; then the job goes on to its end."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.posted: list[Any] = []
        self.pressed = False

    def follow(self, kind: Any, job: Any, monitor: Any) -> Any:
        if not self.pressed:
            self.pressed = True
            raise KeyboardInterrupt
        return self.client.follow(kind, job, monitor)

    def post(self, kind: Any, path: str, body: Any) -> Any:
        self.posted.append((path, body))
        return self.client.post(kind, path, body)


def test_an_interrupt_after_the_end_tells_the_jobs_own_result(node: Node, release2: str, systemctl: Any) -> None:
    with daemon_of(node) as client:
        done = client.post(StartedJob, "/v1/scrub", ScrubRequest("a"))
        client.follow(Scrubbed, done, SILENT)
        hurried: Any = Interrupted(client)
        assert _follow(Scrubbed, hurried, done, SILENT).ok
        assert hurried.posted == [("/v1/cancel", CancelRequest(done.job))]


def test_an_interrupt_waits_for_the_end_of_its_job() -> None:
    class Stopping:
        def post(self, kind: Any, path: str, body: Any) -> None:
            """Asked to stop."""

        def follow(self, kind: Any, job: Any, monitor: Any) -> Any:
            raise ProaError(Code.CANCELLED)

    hurried: Any = Interrupted(Stopping())
    with pytest.raises(ProaError) as caught:
        _follow(Scrubbed, hurried, StartedJob(7, "scrub", 1), SILENT)
    assert (caught.value.code, caught.value.exit) == (Code.CANCELLED, Exit.INTERRUPTED)
    assert hurried.posted == [("/v1/cancel", CancelRequest(7))]


def test_cancel_reaches_a_command_that_works_by_itself(
    node: Node, systemctl: Any, capsys: Any, monkeypatch: Any
) -> None:
    with daemon_of(node):
        script = (
            "import sys, signal; from pathlib import Path; from proa.agent.node.lock import held\n"
            "with held(Path(sys.argv[1])): print(flush=True); signal.pause()\n"
        )
        with subprocess.Popen([sys.executable, "-c", script, node.paths.lock], stdout=subprocess.PIPE) as other:
            assert other.stdout
            other.stdout.readline()
            report = Command(node.root, None, capsys, monkeypatch).json("cancel")
            assert report["job"] == other.pid
            assert other.wait(300) == -signal.SIGTERM


def test_a_returned_trial_and_its_journal(agent: Command, tmp_path: Path) -> None:
    assert agent.json("returned", status=Exit.STATE)["code"] == "NO_TRIAL"
    kept = tmp_path / "journal"
    kept.write_text("bad.service: \x1b[31mfailed\n")
    known = records.RECORD.returned
    assert known is not None
    for journal in ("", str(kept)):
        back = dataclasses.replace(known, journal=journal)
        record = dataclasses.replace(records.RECORD, trial=None, returned=back)
        save(Paths(agent.root, agent.disk).record, record)
        assert agent.json("returned")["returned"]["journal"] == journal
        assert "returned: 1: why" in agent("returned")
    told = agent("returned", "--journal")
    assert "bad.service" in told
    assert "\x1b" not in told, "what a release wrote is foreign text"
    kept.unlink()
    assert "FILE_MISSING" in agent("returned", "--journal", status=Exit.USAGE) + agent.stderr
