"""Devices that fail, lie or stall under an install."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proa.agent.node.states import NodeState
from proa.agent.testing.installs import refused
from proa.agent.testing.node import Node
from proa.agent.testing.world import MIB
from proa.agent.verbs.verbs import scrub_slot
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import DirectFile
from proa.partition.boot.bootstate import Slot


class Faulty(DirectFile):
    """A device that fails, lies or stalls from some write on."""

    failing: Callable[[Faulty, int, Any], bool] = lambda *_: False
    writes = 0

    def write(self, offset: int, data: Any) -> None:
        type(self).writes += 1
        if not type(self).failing(self, offset, data):
            super().write(offset, data)


def faulty(fail: Callable[[Faulty, int, Any], bool]) -> Callable[[Path, bool], DirectFile]:
    """Devices whose ``fail`` is called instead of each write; it returns whether the write is to be left out."""
    kind = type("FaultyNow", (Faulty,), {"failing": staticmethod(fail), "writes": 0})

    def opener(path: Path, writable: bool) -> DirectFile:
        found: DirectFile = kind(path, writable=writable)
        return found

    return opener


class TestDevices:
    """F34 to F37: a device that fails costs the install, never the good slot; the next install works."""

    def fails(self, node: Node, reference: str, opener: Any, code: Code) -> None:
        refused(node, reference, code, opener=opener)
        assert not node.record.slots[Slot.B].complete
        assert node.view.node_state() is NodeState.GOOD
        assert node.install(reference)["slot"] == "b"
        assert scrub_slot(node.context, "b").ok

    @pytest.mark.parametrize(
        ("number", "error", "code"),
        [(1, 5, Code.DEVICE), (2, 5, Code.DEVICE), (4, 5, Code.DEVICE), (2, 28, Code.DISK_FULL), (1, 30, Code.DEVICE)],
    )
    def test_f34_a_write_that_fails(self, node: Node, release2: str, number: int, error: int, code: Code) -> None:
        def fail(device: Faulty, offset: int, data: Any) -> bool:
            if type(device).writes == number:
                from proa.core.runtime.files import os_errors

                with os_errors(device.path):
                    raise OSError(error, os.strerror(error))
            return False

        self.fails(node, release2, faulty(fail), code)

    def test_f35_a_write_that_is_lost(self, node: Node, release2: str) -> None:
        self.fails(node, release2, faulty(lambda device, *_: type(device).writes == 3), Code.READ_BACK)

    def test_f36_a_bit_that_flips_on_its_way(self, node: Node, release2: str) -> None:
        def flip(device: Faulty, offset: int, data: Any) -> bool:
            if type(device).writes != 3:
                return False
            with DirectFile.buffer(len(data)) as other:
                other[:] = data
                other[77] ^= 4
                DirectFile.write(device, offset, other)
            return True

        self.fails(node, release2, faulty(flip), Code.READ_BACK)

    def test_f37_a_flush_that_fails(self, node: Node, release2: str) -> None:
        class Unflushed(DirectFile):
            def flush(self) -> None:
                raise ProaError(Code.DEVICE, "Input/output error", at=self.path)

        self.fails(node, release2, lambda path, writable: Unflushed(path, writable=writable), Code.DEVICE)

    def test_f34_a_read_that_fails(self, node: Node, release2: str) -> None:
        class Unread(DirectFile):
            def read_into(self, offset: int, data: Any) -> None:
                raise ProaError(Code.DEVICE, "Input/output error", at=self.path)

        self.fails(node, release2, lambda path, writable: Unread(path, writable=writable), Code.DEVICE)

    def test_f42_a_partition_shorter_than_the_table_says(self, node: Node, release2: str) -> None:
        os.truncate(node.part("ROOT-B"), MIB // 2)
        written: list[int] = []

        def ends(device: Faulty, offset: int, data: Any) -> bool:
            """What a block device says to a write behind its end."""
            written.append(offset)
            if offset + len(data) > MIB // 2:
                raise ProaError(Code.DISK_FULL, "there is no space left at the end", at=device.path)
            return False

        refused(node, release2, Code.DISK_FULL, opener=faulty(ends))
        assert written
        assert not node.record.slots[Slot.B].complete

    def test_a_device_that_is_read_only(self, node: Node, release2: str) -> None:
        asked: list[str] = []

        def read_only(path: Path, writable: bool) -> DirectFile:
            asked.append(path.name)
            raise ProaError(Code.DEVICE, "Read-only file system", at=path)

        refused(node, release2, Code.DEVICE, opener=read_only)
        assert asked == ["ROOT-B"]

    @pytest.mark.parametrize("filled", [True, False])
    def test_a_standby_that_cannot_be_read_is_written_anew(self, node: Node, release2: str, filled: bool) -> None:
        if filled:
            node.install(release2)
        os.truncate(node.part("ROOT-B"), MIB // 2)
        assert node.install(release2)["bytes"]["keep"] == 0
        assert scrub_slot(node.context, "b").ok

    def test_a_good_slot_that_cannot_be_read_is_told(self, node: Node, release2: str) -> None:
        os.truncate(node.part("ROOT-A"), MIB // 2)
        refused(node, release2, Code.DEVICE)

    def test_a_file_that_became_another_device_is_not_written(self, node: Node, release2: str) -> None:
        class Other(DirectFile):
            number = "7:9"

        error = refused(node, release2, Code.AMBIGUOUS, opener=lambda path, writable: Other(path, writable=writable))
        assert "7:9, but the partition is 254:6" in error.message

    def test_f40_a_state_folder_that_cannot_be_written(self, node: Node, release2: str) -> None:
        before = node.states.read()
        node.write("var/lib/proa", "no folder")
        with pytest.raises(ProaError):
            node.install(release2)
        assert node.states.read() == before, "the slot was disarmed though nothing can be recorded"
