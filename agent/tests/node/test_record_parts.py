"""Each part of the record fails alone, and what another version of the agent wrote stays in the file (n16)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Final

import pytest

from proa.agent.node import record as records
from proa.agent.node.order_book import Moment, take
from proa.agent.node.paths import Paths
from proa.agent.node.record import AgentRecord, SlotRecord
from proa.agent.testing.records import FULL, NOTES, NOW, RECORD, recorded
from proa.agent.trial.traces import load_try
from proa.agent.trial.trial import TrialBoot, TrialNotes, load_notes, save_notes
from proa.core.orders.messages import Action, Order, OrderResult
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document, keys
from proa.partition.boot.bootstate import Slot

DATA: Final = Path(__file__).parent / "data"
FORMATS: Final = sorted(path.name.removeprefix("agent-").removesuffix(".json") for path in DATA.glob("agent-*.json"))
"""The versions of which a record is kept."""


def changed(where: str, value: Any) -> dict[str, Any]:
    """``RECORD`` as it is written, with one value changed."""
    written = document(RECORD)
    *path, name = where.split(".")
    place: Any = written
    for step in path:
        place = place[int(step)] if isinstance(place, list | tuple) else place[step]
    place[name] = value
    return written


def without(part: str) -> AgentRecord:
    """``RECORD`` without a part, or without a slot."""
    if part in ("a", "b"):
        left = {slot: one for slot, one in RECORD.slots.items() if slot.value != part}
        return dataclasses.replace(RECORD, slots=left)
    return dataclasses.replace(RECORD, **{part: getattr(AgentRecord(), part)})


BAD: Final = [
    ("trial.slot", "c"),
    ("trial.slot", "ab"),
    ("trial.armed", "yesterday"),
    ("trial.armed", "2026-01-01T00:00:00"),
    ("trial.seq", -1),
    ("trial.seq", "7"),
    ("trial.tries", True),
    ("trial", "text"),
    ("slots", []),
    ("slots.b", []),
    ("slots.b.salt", "zz"),
    ("slots.b.salt", "abc"),
    ("slots.b.root_hash", "no hash"),
    ("slots.b.root_size", -4096),
    ("slots.b.root_size", 1 << 70),
    ("slots.b.complete", 1),
    ("slots.a.version", None),
    ("last.time", "now"),
    ("last.details", []),
    ("returned", "text"),
    ("returned.failures", {}),
    ("returned.failures.0.why", None),
    ("returned.kernel", [1]),
    ("returned.etc", {"kept": "/k"}),
    ("returned.code", "so much"),
    ("returned.slot", "c"),
    ("floor", -1),
    ("floor", True),
    ("floor", "0"),
    ("layout", "1"),
    ("loader", None),
]


@pytest.mark.parametrize(("where", "value"), BAD)
def test_n16_a_part_that_cannot_be_read_fails_alone_and_stays(tmp_path: Path, where: str, value: Any) -> None:
    path, written = tmp_path / "agent.json", changed(where, value)
    path.write_text(json.dumps(written))
    record, warning = records.load(path)
    part, *rest = where.split(".")
    assert record == without(rest[0] if part == "slots" and rest else part)
    assert (where in warning) or (part in warning)
    records.save(path, dataclasses.replace(record, order=None))
    assert json.loads(path.read_text()) == written | {"order": None}, "what was not understood stays as it was"
    assert list(tmp_path.iterdir()) == [path]


def test_n16_what_takes_the_place_of_such_a_part_stands(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    for where, value in (("slots.b.salt", "zz"), ("trial.slot", "c"), ("floor", "high")):
        path.write_text(json.dumps(changed(where, value)))
        records.save(path, RECORD)
        assert records.load(path) == (RECORD, "")


ORDER: Final[dict[str, Any]] = {"id": 9, "fence": 4, "action": "Stage", "release": ""}
STRANGE: Final = [
    ("order.order.action", "Defragment"),
    ("order.order.timeout", "two weeks"),
    ("order.order.trial", {"bootID": 7}),
    ("order.result", "Postponed"),
    ("order.code", "e-17"),
    ("order.seen", "lately"),
    ("order.slot", "c"),
]


@pytest.mark.parametrize(("where", "value"), STRANGE)
def test_n16_an_order_of_a_newer_agent_costs_nothing_else_and_still_bars_older_ones(
    tmp_path: Path, where: str, value: Any
) -> None:
    path, written = tmp_path / "agent.json", changed(where, value)
    path.write_text(json.dumps(written))
    record, warning = records.load(path)
    assert "order" in warning
    assert (record.slots, record.trial, record.floor) == (RECORD.slots, RECORD.trial, 3)
    assert record.order is not None
    assert record.order.result is OrderResult.FAILED, "nobody works on it"
    for stale in (Order(6, Action.NONE, 3), Order(8, Action.NONE, 2), Order(7, Action.COMMIT, 3)):
        with pytest.raises(ProaError):
            take(record.order, stale, Moment(NOW, "boot", 1))
    records.save(path, dataclasses.replace(record, floor=5))
    assert json.loads(path.read_text()) == written | {"floor": 5}
    taken = take(record.order, Order(8, Action.NONE, 3), Moment(NOW, "boot", 1))
    records.save(path, dataclasses.replace(record, order=taken))
    assert records.load(path)[0].order == taken


@pytest.mark.parametrize("order", [7, {}, {"order": 7}, {"order": {"id": 0, "fence": 1}}, {"order": {"id": True}}])
def test_n16_an_order_without_numbers_is_none(tmp_path: Path, order: Any) -> None:
    path = tmp_path / "agent.json"
    path.write_text(json.dumps(changed("order", order)))
    record, warning = records.load(path)
    assert (record, "order" in warning) == (without("order"), True)


@pytest.mark.parametrize("where", ["future", "slots.c", "slots.b.more", "trial.more", "returned.more", "last.more"])
def test_n16_keys_of_a_newer_agent_are_kept_at_every_depth(tmp_path: Path, where: str) -> None:
    path, written = tmp_path / "agent.json", changed(where, {"deep": [1]})
    path.write_text(json.dumps(written))
    record, _ = records.load(path)
    failed = {slot: dataclasses.replace(one, failed=True) for slot, one in record.slots.items()}
    records.save(path, dataclasses.replace(record, floor=4, slots=failed))
    for slot in failed:
        written["slots"][slot.value]["failed"] = True
    assert json.loads(path.read_text()) == written | {"floor": 4}


def test_n16_they_go_with_what_they_belong_to(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    for where in ("slots.b.more", "trial.more", "returned.more", "last.more", "order.more"):
        path.write_text(json.dumps(changed(where, 1)))
        other = SlotRecord("3", "c" * 64, "5a", 4096)
        new = dataclasses.replace(RECORD.with_slot(Slot.B, other), trial=None, returned=None, last=None, order=None)
        records.save(path, new)
        assert json.loads(path.read_text()) == document(new)


@pytest.mark.parametrize("version", FORMATS)
def test_n16_a_record_of_every_released_format_is_read_whole_and_kept(tmp_path: Path, version: str) -> None:
    old = (DATA / f"agent-{version}.json").read_text()
    path = tmp_path / "agent.json"
    path.write_text(old)
    record, warning = records.load(path)
    assert (warning, record.floor, record.slots[Slot.B].root_hash) == ("", 3, "a" * 64)
    assert record.slots[Slot.B].complete
    assert record.trial is not None
    assert record.returned is not None
    assert record.last is not None
    assert record.order is not None
    assert record.order.order.id == 7
    records.save(path, dataclasses.replace(record, floor=4))
    kept = json.loads(path.read_text())
    assert {key: kept[key] for key in json.loads(old)} == json.loads(old) | {"floor": 4}


def written_keys(value: object, found: dict[type, set[str]]) -> dict[type, set[str]]:
    """The keys that are written of each dataclass in a value."""
    if isinstance(value, dict | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            written_keys(one, found)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        found.setdefault(type(value), set()).update(document(value))
        for one in dataclasses.fields(value):
            written_keys(getattr(value, one.name), found)
    return found


@pytest.mark.parametrize(("name", "full"), [("agent", FULL), ("trial", NOTES)])
def test_n16_what_this_version_writes_is_recorded_with_every_field(name: str, full: AgentRecord | TrialNotes) -> None:
    for kind, written in written_keys(full, {}).items():
        assert set(keys(kind)) <= written, f"give {kind.__name__} a value in each field in proa.agent.testing.records"
    kept = (DATA / f"{name}-unreleased.json").read_text()
    assert kept == recorded(name), "run .venv/bin/python -m proa.agent.testing.records"


@pytest.mark.parametrize("version", FORMATS)
def test_n16_what_a_trial_of_every_released_format_wrote_down_is_read(tmp_path: Path, version: str) -> None:
    paths = Paths(tmp_path)
    for place, name in ((paths.trial, "trial"), (paths.last_try, "try")):
        place.parent.mkdir(parents=True)
        place.write_text((DATA / f"{name}-{version}.json").read_text())
    notes, last = load_notes(paths), load_try(paths)
    assert notes is not None
    assert [(boot.boot_id, boot.failures[0].what, boot.code) for boot in notes.boots] == [
        ("boot-2", "unit x", "TRIAL_RETURNED")
    ]
    assert last is not None
    assert (last.seq, last.cause) == (7, "deadline")


def test_n16_the_note_of_a_boot_that_cannot_be_read_costs_no_other(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    boots = tuple(TrialBoot(f"boot-{number}", number, NOW) for number in range(3))
    save_notes(paths, TrialNotes("ab" * 32, 7, boots))
    paths.trial.write_text(paths.trial.read_text().replace('"left": 1', '"left": "one"'))
    assert load_notes(paths) == TrialNotes("ab" * 32, 7, (boots[0], boots[2]))


@pytest.mark.parametrize("code", ["TPM2_LOCKED", "X" * 64])
def test_n16_codes_and_causes_of_a_newer_agent_are_read(tmp_path: Path, code: str) -> None:
    path = tmp_path / "agent.json"
    path.write_text(json.dumps(changed("returned.code", code)))
    assert records.load(path)[1] == ""
    path.write_text(json.dumps(changed("returned.cause", "no-tpm2")))
    assert records.load(path)[1] == ""


def test_n16_an_agent_refuses_no_code_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    for code in Code:
        path.write_text(json.dumps(changed("returned.code", code.name)))
        assert records.load(path)[1] == ""
