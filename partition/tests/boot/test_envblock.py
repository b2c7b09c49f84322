"""The environment block against GRUB's own tool for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from proa.core.runtime import process
from proa.partition.boot import envblock
from proa.partition.boot.bootstate import BootState, Slot, encode
from proa.partition.testing.statecases import DAMAGES

BLOCK = encode(BootState(41, Slot.A, Slot.B, 3, alt=False))
READABLE = {name: block for name, damage in DAMAGES.items() if (block := damage(BLOCK)) is not None}


def test_formats_what_it_parses() -> None:
    block = envblock.format_block({"one": "1", "two": "", "three": "3 3"})
    assert len(block) == envblock.SIZE
    assert envblock.parse(block) == {b"one": b"1", b"two": b"", b"three": b"3 3"}


@pytest.mark.contract
def test_formats_as_grub_does(tmp_path: Path) -> None:
    (tmp_path / "env").write_bytes(envblock.format_block({}))
    process.run(["grub-editenv", tmp_path / "env", "set", "one=1", "two=2"])
    assert (tmp_path / "env").read_bytes() == envblock.format_block({"one": "1", "two": "2"})


@pytest.mark.contract
def test_parses_as_grub_does(tmp_path: Path) -> None:
    wrong = {}
    for name, block in READABLE.items():
        (tmp_path / "env").write_bytes(block)
        listed = process.run(["grub-editenv", tmp_path / "env", "list"], check=False).stdout
        ours = b"".join(key + b"=" + value + b"\n" for key, value in envblock.assignments(block))
        if ours != listed:
            wrong[name] = (listed, ours)
    assert not wrong


@pytest.mark.contract
def test_assigns_as_grub_does(tmp_path: Path) -> None:
    wrong = {}
    for number, (name, block) in enumerate(READABLE.items()):
        value = "1" if number % 3 else "22"
        path = tmp_path / "env"
        path.write_bytes(block)
        done = process.run(["grub-editenv", path, "set", f"LEFT={value}"], check=False)
        theirs = path.read_bytes() if done.status == 0 else None
        if theirs != envblock.assign(block, "LEFT", value):
            wrong[name] = (theirs, done.stderr)
    assert not wrong


def test_appends_where_there_is_no_such_line() -> None:
    block = envblock.format_block({"one": "1"})
    changed = envblock.assign(block, "two", "2")
    assert changed == envblock.format_block({"one": "1", "two": "2"})


def test_a_full_block_takes_no_more() -> None:
    block = DAMAGES["full"](BLOCK)
    assert block is not None
    assert envblock.assign(block, "MORE", "x") is None
    assert envblock.assign(block, "LEFT", "22") is None
    assert envblock.assign(block, "LEFT", "2") == block.replace(b"LEFT=3", b"LEFT=2")
