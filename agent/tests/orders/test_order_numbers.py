"""Numbers of strangers: jumps are refused, root finds a way out, and an order names a registry (s02, s10)."""

from __future__ import annotations

import dataclasses

import pytest

from proa.agent.cli.text import describe_forgotten, describe_status
from proa.agent.node.order_book import MAX_JUMP, MAX_NUMBER, AcceptedOrder, Moment, check, take
from proa.agent.testing.orders import Site
from proa.agent.testing.trials import refused
from proa.agent.verbs.forgetting import forget
from proa.agent.verbs.status import status
from proa.core.orders.messages import Action, Order, OrderResult
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import document, parse

NOW = Moment("2026-01-01T00:00:00+00:00", "boot-1", 100)
DIGEST = "sha256:" + "2" * 64
LAST = take(None, Order(7, Action.NONE, 3), NOW).ended(OrderResult.DONE)


class TestJumps:
    @pytest.mark.parametrize("number", [7 + MAX_JUMP + 1, MAX_NUMBER, 1 << 40])
    def test_s02_an_id_that_jumps_is_refused(self, number: int) -> None:
        error = refused(take, LAST, Order(number, Action.NONE, 3), NOW)
        assert (error.code, error.at) == (Code.CONFIG_VALUE, "id")

    @pytest.mark.parametrize("fence", [3 + MAX_JUMP + 1, 999_999_999_999_999_999, MAX_NUMBER])
    def test_s02_a_fence_that_jumps_is_refused(self, fence: int) -> None:
        error = refused(take, LAST, Order(8, Action.NONE, fence), NOW)
        assert (error.code, error.at) == (Code.CONFIG_VALUE, "fence")

    def test_s02_the_first_order_of_a_node_is_bounded_too(self) -> None:
        assert refused(take, None, Order(MAX_NUMBER, Action.NONE, 0), NOW).at == "id"
        assert refused(take, None, Order(1, Action.NONE, MAX_NUMBER), NOW).at == "fence"

    def test_s02_a_node_that_was_away_for_long_takes_the_next_one(self) -> None:
        assert take(LAST, Order(7 + MAX_JUMP, Action.NONE, 3 + MAX_JUMP), NOW).order.id == 7 + MAX_JUMP

    @pytest.mark.parametrize("last", [None, LAST], ids=["first", "made anew"])
    def test_s02_an_object_that_was_made_anew_begins_with_the_time(self, last: AcceptedOrder | None) -> None:
        """What the scheduler does: its next ids and fences are ahead of all before, by months."""
        later = Moment("2026-11-30T18:14:41+00:00", "boot-2", 5)
        seconds = 28_836_881
        assert take(last, Order(seconds, Action.NONE, seconds - 300), later).order.id == seconds
        assert refused(take, last, Order(seconds + MAX_JUMP + 1, Action.NONE, 3), later).at == "id"
        unset = Moment("1970-01-01T00:01:00+00:00", "boot-2", 60)
        assert take(last, Order(seconds, Action.NONE, seconds), unset).order.id == seconds
        assert refused(take, last, Order(MAX_NUMBER, Action.NONE, 3), unset).at == "id"


class TestForget:
    def test_s02_any_other_order_is_taken_then_and_the_last_one_is_not_begun_again(self) -> None:
        forgotten = dataclasses.replace(LAST, forgotten=True)
        assert take(forgotten, LAST.order, NOW) is forgotten
        stage = Order(7, Action.STAGE, 3, f"r.example/a@{DIGEST}")
        for order in (Order(1, Action.NONE, 0), Order(7, Action.NONE, 0), stage):
            taken = take(forgotten, order, NOW)
            assert (taken.order, taken.forgotten) == (order, False)
        assert refused(take, forgotten, Order(1 + MAX_JUMP, Action.NONE, 0), NOW).at == "id"

    def test_s02_it_is_kept_and_left_out_where_it_is_not_so(self) -> None:
        assert "forgotten" not in document(LAST)
        forgotten = dataclasses.replace(LAST, forgotten=True)
        assert parse(type(LAST), document(forgotten)) == forgotten

    def test_s02_a_node_that_refuses_all_orders_says_so_and_is_freed(self, site: Site) -> None:
        agent = site.agent()
        for step in range(1, 4):
            agent.order(step * MAX_JUMP, "None", fence=step * MAX_JUMP)
        with pytest.raises(ProaError) as caught:
            agent.order(8, "Stage", site.new)
        assert caught.value.code is Code.STALE_ORDER
        told = status(site.node.context)
        assert any("STALE_ORDER" in one and "orders forget" in one for one in told.warnings)
        assert "orders forget" in describe_status(told)
        assert told.order is not None
        assert (told.order.fence, told.order.forgotten) == (3 * MAX_JUMP, False)
        assert "would be forgotten" in describe_forgotten(forget(site.node.context, dry_run=True))
        with pytest.raises(ProaError):
            agent.order(8, "Stage", site.new)
        assert "are forgotten" in describe_forgotten(forget(site.node.context))
        told = status(site.node.context)
        assert told.warnings == ()
        assert told.order is not None
        assert told.order.forgotten
        assert agent.order(8, "Stage", site.new).phase == "Staged"

    def test_s02_there_is_nothing_to_forget_on_a_new_node(self, site: Site) -> None:
        assert describe_forgotten(forget(site.node.context)) == "no order has been given yet"
        assert site.node.record.order is None

    def test_s02_an_order_that_is_taken_ends_the_warning(self, site: Site) -> None:
        agent = site.agent()
        with pytest.raises(ProaError):
            agent.order(MAX_NUMBER, "None")
        assert status(site.node.context).warnings
        agent.order(1, "None")
        assert status(site.node.context).warnings == ()


class TestRegistryOnly:
    @pytest.mark.parametrize(
        "place", ["oci:/root/release", "oci:/root", "oci:/var/lib/x:tag", "oci:relative/x", "oci:/proc/1/root/mnt/x:1"]
    )
    @pytest.mark.parametrize("action", [Action.STAGE, Action.BOOT, Action.ROLLBACK, Action.NONE])
    def test_s10_a_folder_of_the_node_is_refused(self, place: str, action: Action) -> None:
        error = refused(check, Order(1, action, 0, f"{place}@{DIGEST}"))
        assert error.code is Code.REFERENCE
        assert "registry" in error.message

    def test_s10_it_changes_nothing(self, site: Site) -> None:
        agent = site.agent()
        before = site.node.record
        with pytest.raises(ProaError) as caught:
            agent.worker.put({"id": 1, "action": "Stage", "fence": 1, "release": f"oci:/root/x@{DIGEST}"})
        assert caught.value.code is Code.REFERENCE
        assert site.node.record == before

    @pytest.mark.parametrize("place", ["registry.example/os/node", "127.0.0.1:5000/os/node:2", "[::1]:5000/x"])
    def test_s10_a_registry_is_taken(self, place: str) -> None:
        check(Order(1, Action.STAGE, 0, f"{place}@{DIGEST}"))
