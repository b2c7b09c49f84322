"""``make play-cluster`` can be ended at any time, and nothing of it stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proa.core.runtime.errors import Exit
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract


def programs(folder: Path) -> list[str]:
    """What runs with the empty cache in its environment: each with its id."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            mine = f"XDG_CACHE_HOME={folder}".encode() in (path / "environ").read_bytes().split(b"\0")
            name = (path / "cmdline").read_bytes().split(b"\0")[0].decode()
        except OSError:
            continue
        if mine and name:
            found.append(f"{path.name} {Path(name).name}")
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_p04_a_build_of_the_control_plane_is_ended_with_what_it_has_started(tmp_path: Path, number: int) -> None:
    """The cache is empty, so that a build begins."""
    cache = tmp_path / "cache"
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "GOCACHE": str(tmp_path / "go")}
    with subprocess.Popen(
        [sys.executable, "-m", "proa.vm.simulated.play"],
        env=environment,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as playing:
        until(lambda: any(one.endswith(" go") for one in programs(cache)), "the build to begin", 60)
        playing.send_signal(number)
        _, said = playing.communicate(timeout=30)
    assert (playing.returncode, "INTERRUPTED" in said) == (Exit.INTERRUPTED, True)
    until(lambda: programs(cache) == [], "everything to be gone", 10)
