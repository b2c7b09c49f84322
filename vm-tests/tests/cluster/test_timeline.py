"""The timeline: the parts of a node's turn, from what the API server tells."""

from __future__ import annotations

import dataclasses

from proa.vm.cluster.timeline import Sight, turns

BASE = Sight(
    ready=True,
    cordoned=False,
    order="",
    result="",
    phase="Idle",
    version="1",
    slot="a",
    committed=True,
    boot_id="one",
    kubelet_boot="one",
    standby="",
    root_hash="h",
    error="",
)


def changes(*steps: tuple[float, dict[str, object]]) -> list[tuple[float, Sight]]:
    """One sight after the other, each with something changed."""
    found, now = [(0.0, BASE)], BASE
    for at, what in steps:
        now = dataclasses.replace(now, **what)  # type: ignore[arg-type]
        found.append((at, now))
    return found


UPDATE = changes(
    (1, {"order": "Stage#1"}),
    (2, {"result": "Running"}),
    (30, {"result": "Done"}),
    (31, {"cordoned": True}),
    (40, {"order": "Boot#2", "result": ""}),
    (60, {"ready": False}),
    (100, {"boot_id": "two", "slot": "b", "version": "2", "committed": False}),
    (110, {"ready": True, "phase": "Trial"}),
    (125, {"order": "Commit#3"}),
    (128, {"result": "Done", "committed": True}),
    (129, {"cordoned": False}),
)


def test_an_update_has_all_its_parts() -> None:
    assert turns({"n": UPDATE}, 0, 200) == {
        "n": {"stage": 29, "drain": 9, "reboot": 60, "ready": 25, "commit": 3, "uncordon": 1}
    }


def test_only_what_was_between_the_two_times_counts() -> None:
    assert turns({"n": UPDATE}, 0, 35) == {"n": {"stage": 29}}
    assert turns({"n": UPDATE}, 130, 200) == {}


def test_what_is_the_first_to_change_counts_too() -> None:
    assert turns({"n": UPDATE}, 0.5, 35) == {"n": {"stage": 29}}


def test_of_two_turns_the_last_one_counts() -> None:
    again = [
        (at + 200, dataclasses.replace(sight, boot_id=sight.boot_id + "'", order=sight.order.replace("#", "#9")))
        for at, sight in UPDATE
    ]
    found = turns({"n": [*UPDATE, *again[1:]]}, 0, 1000)
    assert found["n"]["reboot"] == 60


def test_a_sight_is_told_in_one_line() -> None:
    assert BASE.text == "a:1 committed Idle"
    assert UPDATE[6][1].text == "a:1 committed Idle Boot#2 NotReady cordoned"
