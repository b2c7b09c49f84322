"""Installs from real servers that are far away, broken or hostile (numbers: the project's list of faults)."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from proa.agent.install.ahead import AT_ONCE
from proa.agent.install.install import install, plan_only
from proa.agent.install.order import InstallOrder
from proa.agent.testing.installs import refused, standby_is
from proa.agent.testing.node import Node
from proa.agent.testing.trials import warnings
from proa.agent.testing.world import World
from proa.core.release.document import BLOCK_SIZE, FRAME_SIZE
from proa.core.runtime.errors import Code
from proa.core.testing.served import Behave, Request, ServedLayout

pytestmark = pytest.mark.contract

SCATTERED = range(0, 12, 3)
"""Frames with a new block each, too far apart to be fetched as one."""


class Far:
    """A release of scattered changes against the factory's, and servers that have it."""

    def __init__(self, node: Node, world: World, folder: Any) -> None:
        self.node, self.world = node, world
        data = bytearray(world.factory.root.read_bytes())
        noise = random.Random(4)
        for number in SCATTERED:
            at = number * FRAME_SIZE
            data[at : at + BLOCK_SIZE] = noise.randbytes(BLOCK_SIZE)
        root = folder / "root"
        root.write_bytes(data)
        self.recipe = world.recipe("2", root=root)
        world.release(folder / "release", self.recipe)
        self.folder = folder / "release/oci"

    def serve(self, behave: Behave = lambda _: False, delay: float = 0.0) -> ServedLayout:
        return ServedLayout(self.folder, delay=delay, behave=behave)

    def mirrors(self, registry: ServedLayout, *mirrors: ServedLayout, more: str = "") -> None:
        """Let the node know them."""
        hosts = ", ".join(f'"{mirror.address}"' for mirror in mirrors)
        text = f'{more}\nsilence = 2\nconnect = 2\n[mirrors]\n"{registry.address}" = [{hosts}]\n'
        self.node.write("etc/proa/registry.toml", text)

    def install(self, registry: ServedLayout) -> dict[str, Any]:
        report = self.node.install(registry.reference())
        standby_is(self.node, self.world, self.recipe)
        return report


@pytest.fixture
def far(node: Node, world: World, tmp_path: Any) -> Far:
    return Far(node, world, tmp_path)


def flipped(request: Request) -> bool:
    """Other bytes for every part of a payload."""
    if not request.is_blob or request.asked is None:
        return False
    kind, data = request.server.content(request.path)
    request.send_part(kind, bytes(byte ^ 1 for byte in data or b""))
    return True


def status(number: int, **headers: Any) -> Behave:
    """An error for every part of a payload."""

    def behave(request: Request) -> bool:
        if not request.is_blob or request.asked is None:
            return False
        request.send(number, **headers)
        return True

    return behave


def whole(request: Request) -> bool:
    """No parts of blobs."""
    if request.is_blob and request.asked is not None:
        request.send(200, request.server.content(request.path)[1] or b"")
        return True
    return False


def cut(request: Request) -> bool:
    """A connection that ends after some bytes of each part."""
    if not request.is_blob or (asked := request.asked) is None:
        return False
    data = request.server.content(request.path)[1] or b""
    request.send_response(206)
    request.send_header("Content-Length", str(len(asked)))
    request.send_header("Content-Range", f"bytes {asked.start}-{asked.stop - 1}/{len(data)}")
    request.end_headers()
    request.wfile.write(data[asked.start : asked.start + len(asked) // 2])
    request.close_connection = True
    return True


def silent(request: Request) -> bool:
    """An answer that never comes."""
    if request.is_blob and request.asked is not None:
        time.sleep(4)
        request.close_connection = True
        return True
    return False


def longer(request: Request) -> bool:
    """More bytes than were asked for, which the head says nothing of."""
    if not request.is_blob or (asked := request.asked) is None:
        return False
    data = request.server.content(request.path)[1] or b""
    told = f"bytes {asked.start}-{asked.stop - 1}/{len(data)}"
    request.send(206, data[asked.start : asked.stop] + bytes(1 << 16), Content_Range=told)
    return True


BROKEN: dict[str, Behave] = {
    "F26 429": status(429, Retry_After=3600),
    "F26 503": status(503, Retry_After=3600),
    "F24 401": status(401),
    "F25 404": status(404),
    "F27 cut": cut,
    "F28 200 to a range": whole,
    "F28 416": status(416),
    "F29 an expired link": status(403),
    "F30 other bytes": flipped,
    "F30 more than is signed": longer,
    "F31 a captive portal": status(200, Content_Type="text/html"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_f24_to_f33_a_broken_mirror_costs_no_byte_of_a_release(far: Far, name: str) -> None:
    with far.serve() as registry, far.serve(BROKEN[name]) as mirror:
        far.mirrors(registry, mirror)
        report = far.install(registry)
        assert [mirror.address in told for told in report["mirrors_left"]] == [True]
        assert report["mirrors_left"][0] in warnings(far.node)
        assert registry.blobs > 0


def test_f27_f33_a_mirror_that_says_nothing_is_left_within_its_limits(far: Far) -> None:
    with far.serve() as registry, far.serve(silent) as mirror:
        far.mirrors(registry, mirror, more="answer = 1")
        started = time.monotonic()
        far.install(registry)
        assert time.monotonic() - started < 20


def test_f33_one_mirror_lies_and_another_one_is_good(far: Far) -> None:
    with far.serve() as registry, far.serve(flipped) as bad, far.serve() as good:
        far.mirrors(registry, bad, good)
        far.install(registry)
        assert registry.blobs == 0 < good.blobs


def test_f33_the_registry_is_not_there_and_a_mirror_has_all(far: Far) -> None:
    with far.serve() as registry, far.serve() as mirror:
        far.mirrors(registry, mirror)
        registry.stop()
        report = far.install(registry)
        assert report["mirrors_left"] == []


def test_f23_f33_a_mirror_that_is_not_there_is_left(far: Far) -> None:
    with far.serve() as registry, far.serve() as mirror:
        far.mirrors(registry, mirror)
        mirror.stop()
        report = far.install(registry)
        assert [mirror.address in told for told in report["mirrors_left"]] == [True]


def test_f27_f46_ten_tries_that_come_no_further_leave_nothing_that_a_good_one_could_not_finish(far: Far) -> None:
    with far.serve(status(500)) as registry:
        far.mirrors(registry)
        for _ in range(10):
            refused(far.node, registry.reference(), Code.REGISTRY)
        registry.behave = lambda _: False
        far.install(registry)


def test_f24_logins_that_expire_are_renewed_while_several_requests_are_under_way(far: Far) -> None:
    issued: list[float] = []

    def behave(request: Request) -> bool:
        if request.path.startswith("/token"):
            issued.append(time.monotonic())
            request.send(200, json.dumps({"token": f"t{len(issued)}"}).encode())
            return True
        sent = request.headers.get("Authorization", "").removeprefix("Bearer t")
        if sent.isdigit() and time.monotonic() - issued[int(sent) - 1] < 0.2:
            return False
        request.send(401, WWW_Authenticate=f'Bearer realm="http://{registry.address}/token"')
        return True

    with far.serve(behave, delay=0.05) as registry:
        far.mirrors(registry)
        far.install(registry)
    assert 1 < len(issued) < registry.blobs


def test_f30_other_bytes_from_everywhere_are_refused(far: Far) -> None:
    with far.serve(flipped) as registry, far.serve(flipped) as mirror:
        far.mirrors(registry, mirror)
        refused(far.node, registry.reference(), Code.DIGEST)


def test_requests_are_under_way_together_and_all_is_as_planned(far: Far) -> None:
    with far.serve(delay=0.02) as registry:
        far.mirrors(registry)
        planned = plan_only(far.node.context, InstallOrder(registry.reference())).bytes
        report = far.install(registry)
        assert 1 < registry.most <= AT_ONCE
    assert report["bytes"]["fetch"] == planned.fetch


@pytest.mark.parametrize(("own", "ordered"), [(128, 0), (0, 128), (128, 900), (900, 128)])
def test_the_smaller_rate_holds_with_several_requests(far: Far, own: int, ordered: int) -> None:
    """In KiB: that of the node, and that of the rollout."""
    with far.serve() as registry, far.serve() as mirror:
        far.mirrors(registry, mirror, more=f"maximum_rate = {own << 10}")
        started = far.node.clock.monotonic()
        report = install(far.node.context, InstallOrder(registry.reference(), rate=ordered << 10))
        seconds = far.node.clock.monotonic() - started
    assert seconds >= report.bytes.fetch / (128 << 10) - 1.1  # what may be made up for after a pause
