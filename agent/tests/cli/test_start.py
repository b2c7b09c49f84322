"""What the commands and the daemon import before they work: each import costs a node CPU and memory at every start."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from proa.agent.api.jobs import EventLog, Jobs
from proa.agent.api.listen import listen
from proa.agent.api.routes import routes
from proa.agent.api.server import ApiServer, Gate
from proa.agent.testing.node import Node
from proa.agent.testing.world import World
from proa.core.runtime.process import run

HEAVY: Final = frozenset(
    (
        *("cryptography", "jsonschema", "kubernetes", "oras", "parted", "pyudev", "requests", "urllib3", "yaml"),
        *("zstandard", "asyncio", "concurrent", "logging", "multiprocessing", "unittest", "xml"),
    )
)
"""What only an install, a registry or another place needs."""
WORK: Final = (
    "proa.agent.daemon.daemon",
    "proa.agent.install",
    "proa.agent.trial",
    "proa.agent.verbs",
    "proa.core.signing",
)
"""What the daemon does for whoever asks it."""


def imported(*words: str | Path) -> set[str]:
    """The modules that Python imports for a command, early or late."""
    done = run([sys.executable, "-X", "importtime", *words])
    names = re.findall(r"^import time: .*\| +(\S+)$", done.stderr.decode(), re.MULTILINE)
    assert "dataclasses" in names
    return set(names)


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.fixture
def answering(node: Node) -> Iterator[None]:
    """The daemon's API, on the node's socket."""
    served = routes(node.context, Jobs(EventLog()))
    server = ApiServer(listen(node.paths.socket), served, Gate(frozenset({os.getuid()})))
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield
    server.stop()
    thread.join()


@pytest.mark.usefixtures("answering")
def test_a_status_that_the_daemon_tells_needs_neither_the_work_nor_its_libraries(node: Node) -> None:
    names = imported("-m", "proa.agent.cli.main", "status", "--json", "--root", node.root)
    assert tops(names) & HEAVY == set()
    assert [name for name in names if name.startswith(WORK)] == []


def test_a_status_of_a_disk_image_needs_no_library_of_an_install(node: Node, world: World, tmp_path: Path) -> None:
    image = tmp_path / "image"
    shutil.copyfile(world.disk, image)
    with image.open("r+b") as disk:
        disk.seek(world.layout["STATE"].start)
        disk.write(node.part("STATE").read_bytes())
    names = imported("-m", "proa.agent.cli.main", "status", "--root", tmp_path / "root", "--disk", image)
    assert "proa.agent.verbs.status" in names
    assert tops(names) & HEAVY == set()


@pytest.mark.parametrize("verb", ["--help", "install"])
def test_help_needs_no_work(verb: str) -> None:
    names = imported("-m", "proa.agent.cli.main", *dict.fromkeys((verb, "--help")))
    assert tops(names) & HEAVY == set()
    assert [name for name in names if name.startswith(WORK)] == []


def test_the_daemon_serves_without_the_command_line_and_without_what_only_an_install_needs() -> None:
    names = imported("-c", "import proa.agent.daemon.daemon")
    assert tops(names) & {*HEAVY, "click"} == set()
    assert not [name for name in names if name.startswith(("proa.agent.cli", "proa.agent.install.install"))]
