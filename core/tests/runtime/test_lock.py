"""Locks on files."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.lock import is_held, locked


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "deep/lock"
    with locked(path):
        assert path.stat().st_mode & 0o777 == 0o600
        assert is_held(path)
        with pytest.raises(ProaError) as caught, locked(path, busy="somebody has it"):
            raise AssertionError
        assert (caught.value.code, caught.value.message, caught.value.at) == (Code.BUSY, "somebody has it", str(path))
    assert not is_held(path)
    with locked(path, busy="somebody has it"):
        pass


def test_many_may_share_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with locked(path, shared=True, create=False), locked(path, busy="alone", shared=True, create=False):
        assert is_held(path)
        with pytest.raises(ProaError, match="alone"), locked(path, busy="alone"):
            raise AssertionError
    assert not is_held(path)


def test_who_waits_gets_it_when_it_is_given_back(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", list[str]()

    def wait() -> None:
        with locked(path):
            order.append("second")

    thread = threading.Thread(target=wait)
    with locked(path):
        thread.start()
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def test_a_file_that_was_taken_away_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path) as old:
        path.unlink()
        with locked(path, busy="held") as new:
            assert os.fstat(new).st_ino == path.stat().st_ino
            assert not os.path.samestat(os.fstat(old), os.fstat(new))


def test_where_there_is_no_file_nobody_holds_it(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "none")
    with pytest.raises(ProaError) as caught, locked(tmp_path / "none", create=False):
        raise AssertionError
    assert caught.value.code is Code.FILE_MISSING


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with pytest.raises(ProaError), locked(tmp_path / "link"):
        raise AssertionError
    assert not (tmp_path / "other").exists()
