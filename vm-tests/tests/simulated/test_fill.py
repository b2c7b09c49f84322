"""What a full cluster is stamped out of, without a server."""

from __future__ import annotations

import dataclasses

import pytest

from proa.core.orders.messages import NodeStatus
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import parse
from proa.vm.kube.etcd import batches
from proa.vm.simulated import documents
from proa.vm.simulated.documents import ATTACHED, Place, Seat, made_uid
from proa.vm.simulated.fill import Filling, Template


def test_a_template_is_stamped_where_something_is_its_own() -> None:
    value = b"\x0a\x09node-0000\x12\x24 node-0000 zone-0 \x00node-00"
    template = Template("/registry/minions/node-0000", value, {"name": "node-0000", "zone": "zone-0"})
    key, copy = template.stamp({"name": "node-0042", "zone": "zone-2"})
    assert key == "/registry/minions/node-0042"
    assert copy == b"\x0a\x09node-0042\x12\x24 node-0042 zone-2 \x00node-00"


def test_what_is_stamped_is_not_stamped_again() -> None:
    template = Template("/k", b"aa bb", {"one": "aa", "two": "bb"})
    assert template.stamp({"one": "bb", "two": "aa"})[1] == b"bb aa"


def test_a_template_must_hold_what_is_its_own() -> None:
    with pytest.raises(ProaError) as caught:
        Template("/k", b"nothing", {"name": "node-0000", "zone": "zone-0"})
    assert caught.value.code is Code.TOOL
    assert "its own name" in caught.value.message
    template = Template("/k", b"node-0000", {"name": "node-0000"})
    with pytest.raises(ProaError) as caught:
        template.stamp({"name": "node-00000"})
    assert "cannot become" in caught.value.message


def test_all_that_differs_is_of_one_length() -> None:
    places = [Place(number, 10) for number in (0, 7, 99, 100, 4999, 9999)]
    seats = [Seat(place, index) for place in places for index in (ATTACHED, 9, 99)]
    for texts in (
        {place.shape.name for place in places},
        {place.shape.address for place in places},
        {place.shape.machine_id for place in places},
        {place.said.boot_id for place in places},
        {seat.name for seat in seats},
        {seat.address for seat in seats},
    ):
        assert len({len(text) for text in texts}) == 1
        assert len(texts) in (len(places), len(seats))
    assert len({seat.namespace for seat in seats}) > 3
    assert len({len(seat.namespace) for seat in seats}) == 1


def test_ids_are_always_the_same() -> None:
    assert made_uid("node", 1) == made_uid("node", 1) != made_uid("node", 2)
    assert Place(1).uid == made_uid("node", 1)


def test_pods_belong_to_somebody() -> None:
    filling = Filling(nodes=3, pods=ATTACHED + 2)
    seats = list(filling.seats)
    assert len(seats) == 3 * (ATTACHED + 2)
    assert [seat.attached for seat in seats[: ATTACHED + 2]] == [True] * ATTACHED + [False] * 2
    attached, free = documents.pod(seats[0], "1"), documents.pod(seats[ATTACHED], "2")
    assert [pod["metadata"]["ownerReferences"][0]["kind"] for pod in (attached, free)] == ["DaemonSet", "ReplicaSet"]
    owners = list(documents.owners({"load-00": 4}))
    assert [item["kind"] for item in owners] == ["DaemonSet"] * ATTACHED + ["ReplicaSet", "PodDisruptionBudget"]
    assert owners[ATTACHED]["spec"]["replicas"] == 4


def test_what_a_node_says_can_be_read() -> None:
    place = Place(4)
    status = parse(NodeStatus, documents.os_status(place))
    assert status.booted is not None
    assert status.booted.boot_id == place.said.boot_id
    assert documents.node(place)["status"]["nodeInfo"]["bootID"] == place.said.boot_id


def test_a_seed_has_another_name_for_other_data() -> None:
    filling = Filling()
    assert filling.name.startswith("5000-50000-")
    assert filling.name == Filling().name
    others = {dataclasses.replace(filling, **{key: 4}).name for key in ("nodes", "pods", "zones")}
    assert len(others | {filling.name}) == 4


def test_batches() -> None:
    assert list(batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batches([], 2)) == []
