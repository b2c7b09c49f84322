"""What is seen of the memory of a test cluster's nodes."""

from __future__ import annotations

import json

import pytest

from proa.vm.cluster.workloads import Memory


def answer(total: int, available: int) -> bytes:
    return json.dumps({"node": "a", "memory": {"MemTotal": total, "MemAvailable": available}}).encode()


def test_the_most_that_was_used_counts_by_node() -> None:
    memory = Memory()
    for used in (100, 300, 200):
        memory.hear("a", answer(900 << 10, (900 - used) << 10))
    memory.hear("b", answer(700 << 10, 650 << 10))
    assert memory.used == {"a": 300, "b": 50}
    assert memory.total == {"a": 900, "b": 700}


@pytest.mark.parametrize("said", [b"", b"hello", b"[]", b"{}", b'{"memory": {}}', b'{"memory": 3}'])
def test_an_answer_of_another_service_says_nothing(said: bytes) -> None:
    memory = Memory()
    memory.hear("a", said)
    assert memory.used == {}
