"""What the agent keeps and reads: record, settings, the initrd's report, the lock."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from proa.agent.node import record as records
from proa.agent.node.bookkeeping import amend
from proa.agent.node.boot import BootReport, boot_report, booted_release, disagreement
from proa.agent.node.cancel import Cancel
from proa.agent.node.failure import HealthFailure
from proa.agent.node.lock import held, locked, owner, stop_owner
from proa.agent.node.paths import Paths
from proa.agent.node.record import AgentRecord, TrialRecord
from proa.agent.node.settings import (
    ClusterSettings,
    Commit,
    HealthSettings,
    cluster_settings,
    health_settings,
    registry_mirrors,
    registry_settings,
    transfer_limits,
)
from proa.agent.node.view import Context
from proa.agent.testing.records import NOW, RECORD
from proa.agent.trial.trial import TrialBoot, TrialNotes, load_notes, save_notes
from proa.agent.verbs.status import status
from proa.core.oci.access import Access
from proa.core.oci.limits import DEFAULT_LIMITS
from proa.core.oci.mirrors import Mirror
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document
from proa.partition.boot.bootstate import BootState, Slot


def test_the_record_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep/agent.json"
    records.save(path, RECORD)
    assert records.load(path) == (RECORD, "")
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_record_is_an_empty_one(tmp_path: Path) -> None:
    assert records.load(tmp_path / "none") == (AgentRecord(), "")


def test_f60_what_a_newer_agent_wrote_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    written = document(RECORD) | {"future": [1]}
    written["slots"]["b"]["more"] = True
    path.write_text(json.dumps(written))
    record, warning = records.load(path)
    assert (record.slots, warning) == (RECORD.slots, "")
    records.save(path, dataclasses.replace(record, floor=4))
    assert json.loads(path.read_text())["future"] == [1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": "other/v1", "floor": 0, "slots": {}}',
        '{"schema": "proa.agent-state/v1", "floor": 0, "floor": 0, "slots": {}}',
    ],
)
def test_a_damaged_record_counts_as_empty_and_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agent.json"
    path.write_text(text)
    record, warning = records.load(path)
    assert record == AgentRecord()
    assert "damaged" in warning


NOTES = TrialNotes(
    "ab" * 32, 7, (TrialBoot("boot", 1, NOW, (HealthFailure("unit x", "bad"),), "ended", "TRIAL_RETURNED"),)
)


def test_a_record_is_changed_by_one_at_a_time(tmp_path: Path) -> None:
    context = Context(Paths(tmp_path))

    def count() -> None:
        for _ in range(20):
            amend(context, lambda record: dataclasses.replace(record, floor=record.floor + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert records.load(context.paths.record)[0].floor == 80


def test_a_change_that_changes_nothing_saves_nothing(tmp_path: Path) -> None:
    context = Context(Paths(tmp_path))
    amend(context, lambda record: record)
    assert not context.paths.record.exists()


def test_notes_of_a_trial_come_back_as_they_were(tmp_path: Path) -> None:
    save_notes(Paths(tmp_path), NOTES)
    assert load_notes(Paths(tmp_path)) == NOTES


@pytest.mark.parametrize(("old", "new"), [('"seq": 7', '"seq": null'), ("[", "{"), ("v1", "v2")])
def test_notes_of_values_that_cannot_be_are_none(tmp_path: Path, old: str, new: str) -> None:
    paths = Paths(tmp_path)
    save_notes(paths, NOTES)
    paths.trial.write_text(paths.trial.read_text().replace(old, new))
    assert load_notes(paths) is None


def test_a_disk_beside_the_running_node_has_places_of_its_own(tmp_path: Path) -> None:
    node, one, two = Paths(), Paths(disk=tmp_path / "one"), Paths(disk=tmp_path / "two")
    for place in ("state", "run", "record", "trial", "lock", "socket", "leaving", "boot"):
        assert len({getattr(paths, place) for paths in (node, one, two)}) == 3
    assert (one.usr, one.etc) == (node.usr, node.etc), "whom it believes is the same"
    named = Paths(tmp_path, tmp_path / "one")
    assert named.record == tmp_path / "var/lib/proa/agent.json", "a root that is named belongs to the disk"


def test_an_image_is_worked_on_by_one(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.touch()
    with locked(Paths(tmp_path / "one", image)):
        with pytest.raises(ProaError) as caught, locked(Paths(tmp_path / "two", image)):
            pass
        assert (caught.value.code, caught.value.at) == (Code.BUSY, str(image))
    with locked(Paths(tmp_path / "two", image)):
        pass


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_settings_of_the_owner_stand_over_those_of_the_release(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    write(paths.usr / "agent.toml", '[health]\ndeadline = 100\nunits = ["a.service"]\n')
    write(paths.etc / "agent.toml", "[health]\ndeadline = 200.5\n")
    assert health_settings(paths) == HealthSettings(deadline=200.5, units=("a.service",))
    write(paths.etc / "registry.toml", 'ca_file = "/ca"\nplain_http = true\n')
    assert registry_settings(paths) == Access(plain_http=True, ca_file=Path("/ca"))


def test_n07_limits_of_the_line_are_settings(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert transfer_limits(paths) == DEFAULT_LIMITS
    write(paths.usr / "registry.toml", "minimum_rate = 512\nsilence = 120\nmaximum_rate = 65536\n")
    write(paths.etc / "registry.toml", 'minimum_rate = 256\npatience = 3600\nca_file = "/ca"\n')
    wanted = dataclasses.replace(DEFAULT_LIMITS, minimum_rate=256, silence=120, patience=3600, maximum_rate=65536)
    assert transfer_limits(paths) == wanted
    assert registry_settings(paths) == Access(ca_file=Path("/ca"))


def test_f33_mirrors_are_settings_and_the_owners_stand_over_those_of_the_release(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert registry_mirrors(paths) == {}
    write(paths.usr / "registry.toml", 'silence = 120\n[mirrors]\n"a.test" = ["m.test"]\n')
    assert registry_mirrors(paths) == {"a.test": (Mirror("m.test"),)}
    write(paths.etc / "registry.toml", '[mirrors]\n"b.test:5000" = ["http://10.0.0.1/cache", "m.test"]\n')
    assert registry_mirrors(paths) == {"b.test:5000": (Mirror("10.0.0.1", "cache", plain_http=True), Mirror("m.test"))}
    assert transfer_limits(paths).silence == 120
    assert registry_settings(paths) == Access()


@pytest.mark.parametrize("text", ['mirrors = "m.test"', '[mirrors]\n"a.test" = ["ftp://m.test"]'])
def test_mirrors_that_are_none_are_refused_with_their_file(tmp_path: Path, text: str) -> None:
    paths = Paths(tmp_path)
    write(paths.etc / "registry.toml", text)
    with pytest.raises(ProaError) as caught:
        registry_mirrors(paths)
    assert caught.value.code is Code.CONFIG_VALUE
    assert str(caught.value.at).startswith(str(paths.etc / "registry.toml"))


@pytest.mark.parametrize(
    "line",
    [
        "minimum_rate = 0",
        "silence = 0.5",
        "patience = true",
        'connect = "1"',
        "answer = -1",
        "maximum_rate = 65535",
        "maximum_rate = -1",
    ],
)
def test_n07_limits_that_would_end_every_transfer_are_refused(tmp_path: Path, line: str) -> None:
    paths = Paths(tmp_path)
    write(paths.etc / "registry.toml", line)
    with pytest.raises(ProaError) as caught:
        transfer_limits(paths)
    assert caught.value.code is Code.CONFIG_VALUE
    assert line.split()[0] in caught.value.text("x")


def test_n13_a_proxy_is_a_setting(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    write(paths.usr / "registry.toml", 'proxy = "http://proxy.test:3128"\nno_proxy = "a.test"\n')
    write(paths.etc / "registry.toml", 'no_proxy = "b.test"\n')
    assert registry_settings(paths) == Access(proxy="http://proxy.test:3128", no_proxy="b.test")


def test_s03_who_is_asked_to_stop_ends_what_is_waited_for() -> None:
    cancel, ended = Cancel(), []
    with cancel.calling(lambda: ended.append("first")):
        assert ended == []
        cancel.ask(Code.TIMEOUT)
        cancel.ask()
    with cancel.calling(lambda: ended.append("later")):
        pass
    assert ended == ["first", "later"]
    with pytest.raises(ProaError) as caught:
        cancel.check()
    assert caught.value.code is Code.TIMEOUT


def test_settings_of_the_cluster(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert cluster_settings(paths) == ClusterSettings(None, Commit.CHECKS)
    write(paths.usr / "agent.toml", '[health]\ndeadline = 100\n[cluster]\ngroup = 4711\ncommit = "order"\n')
    write(paths.etc / "agent.toml", "[cluster]\ngroup = 4712\n")
    assert cluster_settings(paths) == ClusterSettings(4712, Commit.ORDER)
    assert health_settings(paths).deadline == 100


@pytest.mark.parametrize(
    "line",
    [
        "group = 0",
        "group = true",
        "group = 4294967295",
        'group = "root"',
        'commit = "dance"',
        "commit = 1",
        "commit = []",
    ],
)
def test_wrong_settings_of_the_cluster(tmp_path: Path, line: str) -> None:
    paths = Paths(tmp_path)
    write(paths.etc / "agent.toml", f"[cluster]\n{line}\n")
    with pytest.raises(ProaError) as caught:
        cluster_settings(paths)
    assert caught.value.code is Code.CONFIG_VALUE
    assert caught.value.at.endswith(line.split()[0])


def test_no_settings_are_the_defaults(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert health_settings(paths).resolved(paths).deadline == 540
    assert registry_settings(paths) == Access()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[health\n", Code.CONFIG_SYNTAX),
        ("[helth]\n", Code.CONFIG_UNKNOWN_KEY),
        ("[health]\ndeadlin = 1\n", Code.CONFIG_UNKNOWN_KEY),
        ("[health]\ndeadline = true\n", Code.CONFIG_VALUE),
        ("[health]\ndeadline = -1\n", Code.CONFIG_VALUE),
        ('[health]\nunits = "a"\n', Code.CONFIG_VALUE),
        ("health = 1\n", Code.CONFIG_VALUE),
        ("#" * 70_000, Code.CONFIG_SYNTAX),
        ("a = " + "[" * 5000 + "]" * 5000, Code.CONFIG_SYNTAX),
        ("[health]\nunits" + ".a" * 5000 + " = 1", Code.CONFIG_VALUE),
        ("[health]\nunits = [{a" + ".a" * 5000 + " = 1}]", Code.CONFIG_VALUE),
    ],
)
def test_wrong_settings_name_their_file(tmp_path: Path, text: str, code: Code) -> None:
    paths = Paths(tmp_path)
    write(paths.etc / "agent.toml", text)
    with pytest.raises(ProaError) as caught:
        health_settings(paths)
    assert caught.value.code is code
    assert "agent.toml" in caught.value.at


def test_what_runs_is_read_from_the_signed_line(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert booted_release(paths) is None
    write(paths.cmdline, "quiet proa.root_hash=AB proa.salt=5a proa.data_blocks=3 notproa.salt=x\n")
    write(paths.release, '{"version": "7", "floor": 2, "serial": "no number"}')
    found = booted_release(paths)
    assert found is not None
    assert (found.root_hash, found.salt, found.root_size, found.version, found.floor) == ("ab", "5a", 12288, "7", 2)
    assert found.serial == 0


@pytest.mark.parametrize("text", ["", "{}", '{"schema": "proa.boot/v1", "slot": "c", "left": 0, "root_hash": ""}'])
def test_a_report_that_is_none_blocks(tmp_path: Path, text: str) -> None:
    paths = Paths(tmp_path)
    write(paths.boot, text)
    with pytest.raises(ProaError) as caught:
        boot_report(paths)
    assert caught.value.code is Code.HANDSHAKE


TRIAL = TrialRecord("b", "2", "a" * 64, 2, 1, NOW)


@pytest.mark.parametrize(
    ("report", "booted", "state", "leaving", "agrees"),
    [
        (BootReport(Slot.A, "", False, 0), Slot.A, BootState(1, Slot.A, None, 0, False), False, True),
        (BootReport(Slot.B, "", True, 1), Slot.B, BootState(1, Slot.A, Slot.B, 1, False), False, True),
        (BootReport(Slot.B, "", True, 2), Slot.B, BootState(1, Slot.A, Slot.B, 2, False), False, False),
        (BootReport(Slot.B, "", True, 1), Slot.B, BootState(1, Slot.B, None, 0, True), False, True),
        (BootReport(Slot.B, "", True, 1), Slot.B, BootState(1, Slot.A, None, 0, False), False, False),
        (BootReport(Slot.B, "", True, 1), Slot.B, BootState(1, Slot.A, None, 0, False), True, True),
        (BootReport(Slot.B, "", False, 0), Slot.B, BootState(1, Slot.A, None, 0, False), False, False),
        (BootReport(Slot.B, "", False, 0), Slot.B, BootState(1, Slot.A, None, 0, True), False, True),
        (BootReport(Slot.A, "", False, 0), Slot.B, BootState(1, Slot.B, None, 0, True), False, False),
        (None, Slot.A, BootState(1, Slot.A, None, 0, False), False, False),
    ],
)
def test_the_handshake(report: BootReport, booted: Slot, state: BootState, leaving: bool, agrees: bool) -> None:
    assert (disagreement(report, booted, state, TRIAL, leaving=leaving) == "") is agrees


def test_the_lock_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "run/lock"
    assert owner(path) is None
    with held(path):
        with pytest.raises(ProaError) as caught, held(path):
            pass
        assert caught.value.code is Code.BUSY
        assert str(os.getpid()) in caught.value.message
        found = owner(path)
        assert found is not None
        assert found.number == os.getpid()
        os.close(found.handle)
    assert owner(path) is None


def test_nobody_is_stopped_who_is_not_there_or_is_oneself(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert stop_owner(path) == 0
    with held(path):
        assert stop_owner(path) == 0


def test_f26_a_long_wait_ends_when_it_is_cancelled() -> None:
    """A registry may say Retry-After with minutes in it."""
    clock, activation = VirtualClock(), Cancel()
    waking = activation.clock(clock)
    waking.sleep(100)
    assert waking.monotonic() == pytest.approx(100)
    assert waking.now() == clock.now()
    activation.ask()
    with pytest.raises(ProaError) as caught:
        waking.sleep(100)
    assert caught.value.code is Code.CANCELLED
    assert clock.at < 101


def test_a_status_says_that_another_process_works(node: Any) -> None:
    with held(node.paths.lock):
        assert "holds the lock" in status(node.context).warnings[0]
    assert status(node.context).warnings == ()


def test_a_number_in_the_lock_file_that_is_not_its_holders_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path):
        path.write_text("1\n")
        assert owner(path) is None
        assert stop_owner(path) == 0
