"""Which orders are taken in, what is kept of them, and how long they may take."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from proa.agent.node import record as records
from proa.agent.node.order_book import MAX_NUMBER, AcceptedOrder, Moment, TimeSpent, check, take
from proa.agent.node.record import AgentRecord
from proa.core.orders.messages import Action, Order, OrderResult, Proof
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.schema.model import document, parse

RELEASE = "registry.example/os/node:2@sha256:" + "2" * 64
NOW = Moment("2026-01-01T00:00:00+00:00", "boot-1", 100)
LATER = Moment("2026-01-01T00:01:00+00:00", "boot-1", 160)
ORDER = Order(5, Action.STAGE, 3, RELEASE)
TAKEN = take(None, ORDER, NOW)


def order(**changes: Any) -> Order:
    return dataclasses.replace(ORDER, **changes)


class TestTake:
    def test_the_first_one(self) -> None:
        assert (TAKEN.order, TAKEN.running, TAKEN.digest) == (ORDER, True, "sha256:" + "2" * 64)
        assert (TAKEN.seen, TAKEN.boot_id, TAKEN.uptime) == (NOW.time, "boot-1", 100)

    def test_the_same_again_changes_nothing(self) -> None:
        done = TAKEN.ended(OrderResult.DONE)
        assert take(done, order(), LATER) is done

    @pytest.mark.parametrize("changes", [{"id": 6}, {"id": 6, "fence": 4}, {"id": 90, "fence": 3}])
    def test_a_later_one(self, changes: dict[str, int]) -> None:
        accepted = take(TAKEN.ended(OrderResult.FAILED, "NETWORK", "gone"), order(**changes), LATER)
        assert (accepted.running, accepted.code, accepted.uptime) == (True, "", 160)

    @pytest.mark.parametrize(
        ("changes", "at"),
        [
            ({"id": 6, "fence": 2}, "fence"),
            ({"fence": 2}, "fence"),
            ({"id": 4}, "id"),
            ({"id": 4, "fence": 9}, "id"),
            ({"fence": 9}, "id"),
            ({"action": Action.BOOT}, "id"),
            ({"timeout": "16m"}, "id"),
            ({"issued": "2026-01-01T00:00:00Z"}, "id"),
        ],
    )
    def test_a_stale_one(self, changes: dict[str, Any], at: str) -> None:
        with pytest.raises(ProaError) as caught:
            take(TAKEN, order(**changes), LATER)
        assert (caught.value.code, caught.value.exit, caught.value.at) == (Code.STALE_ORDER, Exit.REFUSED, at)

    @pytest.mark.parametrize(
        ("changes", "code", "at"),
        [
            ({"id": MAX_NUMBER + 1}, Code.CONFIG_VALUE, "id"),
            ({"fence": MAX_NUMBER + 1}, Code.CONFIG_VALUE, "fence"),
            ({"timeout": ""}, Code.CONFIG_VALUE, ""),
            ({"release": ""}, Code.CONFIG_VALUE, "release"),
            ({"release": "", "action": Action.BOOT}, Code.CONFIG_VALUE, "release"),
            ({"release": RELEASE.replace("example/os", "example:99999/os")}, Code.REFERENCE, RELEASE[:16]),
            ({"action": Action.COMMIT}, Code.CONFIG_VALUE, "trial"),
            ({"action": Action.COMMIT, "trial": Proof("", "a" * 64)}, Code.CONFIG_VALUE, "trial"),
            ({"action": Action.COMMIT, "trial": Proof("boot-1", "")}, Code.CONFIG_VALUE, "trial"),
        ],
    )
    def test_one_that_cannot_be_carried_out(self, changes: dict[str, Any], code: Code, at: str) -> None:
        with pytest.raises(ProaError) as caught:
            take(None, order(**changes), NOW)
        assert caught.value.code is code
        assert caught.value.at.startswith(at)

    @pytest.mark.parametrize("action", [Action.NONE, Action.ROLLBACK])
    def test_what_needs_no_release(self, action: Action) -> None:
        check(order(action=action, release=""))


class TestTime:
    """n11: an order's time runs while the node does, whatever its clock says."""

    @pytest.mark.parametrize(
        ("boot", "uptime", "elapsed"),
        [("boot-1", 160.5, 60.5), ("boot-1", 90.0, 0), ("boot-2", 20.0, 20), ("boot-2", 1000.0, 1000)],
    )
    def test_n11_it_runs_from_the_first_look(self, boot: str, uptime: float, elapsed: float) -> None:
        assert TAKEN.elapsed(boot, uptime) == pytest.approx(elapsed)
        assert TAKEN.limit == 900

    def test_n11_the_boots_are_added_up(self) -> None:
        one = TAKEN.counted("boot-1", 400.0)
        assert one.spent == TimeSpent("boot-1", 400, 300)
        two = one.counted("boot-2", 20.0)
        assert (two.spent, two.elapsed("boot-2", 50.0)) == (TimeSpent("boot-2", 20, 320), 350)
        three = two.counted("boot-3", 30.0)
        assert three.elapsed("boot-3", 30.0) == 350
        assert (three.boot_id, three.uptime, three.seen) == (TAKEN.boot_id, TAKEN.uptime, TAKEN.seen)

    def test_n11_it_is_written_down_now_and_then(self) -> None:
        assert TAKEN.counted("boot-1", 159.0) is TAKEN
        counted = TAKEN.counted("boot-1", 160.0)
        assert counted is not TAKEN
        assert counted.counted("boot-1", 219.0) is counted
        hour = dataclasses.replace(TAKEN, order=order(timeout="1h"))
        assert hour.counted("boot-1", 279.0) is hour

    def test_n11_a_node_that_goes_round_uses_the_time_up(self) -> None:
        accepted, late = TAKEN, []
        for number in range(2, 40):
            accepted = accepted.counted(f"boot-{number}", 30.0)
            late.append(accepted.elapsed(f"boot-{number}", 30.0) >= accepted.limit)
        assert late.index(True) == 900 // 30 - 1

    def test_what_was_begun_can_no_longer_be_refused(self) -> None:
        assert TAKEN.ended(OrderResult.REFUSED).result is OrderResult.REFUSED
        assert dataclasses.replace(TAKEN, begun=True).ended(OrderResult.REFUSED).result is OrderResult.FAILED


FULL = AcceptedOrder(
    Order(7, Action.COMMIT, 3, timeout="1h", trial=Proof("boot-1", "a" * 64), issued="2026-01-01T00:00:00Z"),
    NOW.time,
    "boot-1",
    100,
    OrderResult.FAILED,
    "TRIAL_RETURNED",
    "so",
    begun=True,
    slot="b",
    spent=TimeSpent("boot-2", 20, 320),
)


@pytest.mark.parametrize("accepted", [TAKEN, FULL])
def test_it_is_kept_as_it_was(tmp_path: Path, accepted: AcceptedOrder) -> None:
    records.save(tmp_path / "agent.json", AgentRecord(order=accepted))
    assert records.load(tmp_path / "agent.json") == (AgentRecord(order=accepted), "")


def test_what_a_newer_agent_keeps_besides_is_passed_over() -> None:
    kept = document(FULL) | {"more": 1}
    kept["order"] |= {"more": 1}
    assert parse(AcceptedOrder, json.loads(json.dumps(kept))) == FULL


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("order", None),
        ("order", []),
        ("order.id", 0),
        ("order.id", MAX_NUMBER + 1),
        ("order.action", "Dance"),
        ("order.fence", -1),
        ("order.timeout", "15 min"),
        ("order.release", "somewhere"),
        ("order.trial", None),
        ("order.trial.rootHash", "a"),
        ("seen", "yesterday"),
        ("uptime", -1),
        ("uptime", 1.5),
        ("boot_id", 1),
        ("result", "Pondering"),
        ("code", "not a code"),
        ("message", None),
        ("begun", 1),
        ("slot", "c"),
    ],
)
def test_an_order_in_the_record_that_cannot_be_is_not_carried_out(tmp_path: Path, where: str, value: Any) -> None:
    path = tmp_path / "agent.json"
    kept = json.loads(json.dumps(document(AgentRecord(order=FULL))))
    *folders, name = where.split(".")
    place = kept["order"]
    for folder in folders:
        place = place[folder]
    place[name] = value
    path.write_text(json.dumps(kept))
    record, warning = records.load(path)
    assert record.order is None or not record.order.running
    assert "order" in warning


@pytest.mark.parametrize("code", Code)
def test_every_code_can_be_kept(tmp_path: Path, code: Code) -> None:
    record = AgentRecord(order=TAKEN.ended(OrderResult.FAILED, code.name, code.value.summary))
    records.save(tmp_path / "agent.json", record)
    assert records.load(tmp_path / "agent.json") == (record, "")


@pytest.mark.parametrize("missing", ["order", "seen", "boot_id", "uptime"])
def test_an_order_without_something_is_none(missing: str) -> None:
    kept = document(FULL)
    del kept[missing]
    with pytest.raises(ProaError):
        parse(AcceptedOrder, kept)
