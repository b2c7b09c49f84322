"""``make bench-start``: what the commands of a node take to start, in CPU beyond what Python itself takes.

They run as on a node: of Proa and its distributions they find what a node gets, as bytecode, and nothing else. All
take turns in one run; a figure is the median. The rows go to ``build/bench/start.json`` (``proa.bench/v1``).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from proa.agent.api.jobs import EventLog, Jobs
from proa.agent.api.listen import listen
from proa.agent.api.routes import routes
from proa.agent.api.server import ApiServer, Gate
from proa.agent.node.paths import Paths
from proa.agent.node.view import Context
from proa.builder.testing.bare import PYTHON, Bare
from proa.core.runtime import process
from proa.core.runtime.errors import ProaError
from proa.core.runtime.events import SILENT
from proa.partition.disk import creating
from proa.partition.disk.layout import LayoutRequest, Sizes, plan
from proa.vm.support.figures import Figure, lines, missed, write

OUT: Final = Path("build/bench/start.json")
MIB: Final = 1 << 20
BUDGET: Final = 250.0
"""Milliseconds of CPU that ``proa-agent status`` may take beyond Python's own."""
Words = Sequence[str | Path]


def make_disk(path: Path) -> None:
    """A disk image without a release."""
    layout = plan(LayoutRequest("bench", Sizes(uki=48 * MIB, root=16 * MIB, persist=16 * MIB)))
    creating.create(path, layout, "bench", {}, SILENT)


@contextmanager
def answering(context: Context) -> Iterator[None]:
    """The API of a daemon, for the user that runs this."""
    server = ApiServer(listen(context.paths.socket), routes(context, Jobs(EventLog())), Gate(frozenset({os.getuid()})))
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield
    finally:
        server.stop()
        thread.join()


def cpu(words: Words) -> float:
    """Milliseconds of CPU that a program takes, with what it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process.run(words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def measure(work: Path, rounds: int) -> list[Figure]:
    """All of it."""
    disk, root = work / "disk.raw", work / "root"
    make_disk(disk)
    (work / "bare").mkdir()
    bare = Bare(work / "bare")
    agent, site = bare.folder / "proa-agent", str(bare.site)
    daemon = f"import sys; sys.path.insert(0, {site!r}); import proa.agent.daemon.daemon"
    programs: dict[str, Words] = {
        "python3 -IS": (*PYTHON, "-c", "pass"),
        "proa-agent status, answered by the daemon": (agent, "status", "--root", root),
        "proa-agent status of a disk image": (agent, "status", "--root", root, "--disk", disk),
        "proa-agent --help": (agent, "--help"),
        "the daemon, until it can serve": (*PYTHON, "-c", daemon),
        "proa-disk --help": (bare.folder / "proa-disk", "--help"),
        "proa-disk show of a disk image": (bare.folder / "proa-disk", "show", disk),
    }
    taken: dict[str, list[float]] = {name: [] for name in programs}
    with answering(Context(Paths(root, disk))):
        for number in range(rounds + 1):
            for name, words in programs.items():
                milliseconds = cpu(words)
                if number:  # the first round only fills the page cache
                    taken[name].append(milliseconds)
    return rows_of(taken)


def rows_of(taken: Mapping[str, Sequence[float]]) -> list[Figure]:
    """The table: Python itself, then what each program takes beyond it."""
    (python, bare), *programs = taken.items()
    floor = statistics.median(bare)
    rows = [Figure(python, floor, "ms"), Figure("  at most", max(bare), "ms")]
    for name, found in programs:
        most = BUDGET if "status" in name else None
        rows.append(Figure(f"{name}: beyond that", statistics.median(found) - floor, "ms", floor, most))
        rows.append(Figure("  at most", max(found) - floor, "ms"))
    return rows


def main() -> None:
    """Measure, print the table, write the JSON; with ``--check``, fail when a goal is missed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=20, help="how often all take turns (default: 20)")
    options.add_argument("--check", action="store_true", help="fail when a goal is missed")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="proa-bench-", dir="/var/tmp") as name:
        rows = measure(Path(name), given.rounds)
    print("\n".join(lines(rows)))
    write(OUT, (one.row for one in rows))
    print(f"written: {OUT}")
    if given.check and (bad := missed(rows)):
        sys.exit("missed goals:\n  " + "\n  ".join(bad))


if __name__ == "__main__":
    try:
        main()
    except ProaError as error:
        sys.exit(error.text("bench-start"))
