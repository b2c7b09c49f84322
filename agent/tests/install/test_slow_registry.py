"""s03: a registry that says nothing holds neither a cancel nor an order's timeout up."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from proa.agent.install.install import install
from proa.agent.install.order import InstallOrder
from proa.agent.node.cancel import Cancel
from proa.agent.node.lock import locked
from proa.agent.testing.node import Node
from proa.agent.testing.trials import refused
from proa.core.oci.access import Access
from proa.core.runtime.clock import SYSTEM
from proa.core.runtime.errors import Code

pytestmark = pytest.mark.contract


@pytest.fixture
def silent() -> Iterator[str]:
    """A registry that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("code", [Code.CANCELLED, Code.TIMEOUT, Code.INTERRUPTED])
def test_s03_an_install_that_waits_for_a_registry_ends_within_a_second(node: Node, silent: str, code: Code) -> None:
    cancel = Cancel()
    context = dataclasses.replace(node.context, cancel=cancel, clock=SYSTEM)
    order = InstallOrder(f"{silent}/os/node@sha256:{'0' * 64}", registry=Access(plain_http=True))
    asked: list[float] = []

    def ask() -> None:
        asked.append(time.monotonic())
        cancel.ask(code)

    timer = threading.Timer(0.5, ask)
    timer.start()
    error = refused(install, context, order)
    assert time.monotonic() - asked[0] < 1.0
    assert error.code is code
    with locked(node.paths):
        timer.join()
