"""The reflector against the real API server: whatever becomes of a watch, what is there is seen, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import SYSTEM
from proa.scheduler.kube import access, paths
from proa.scheduler.kube.api import Api, ApiLimits
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.reflector import Reflector
from proa.scheduler.kube.stream import Object, Stream
from proa.scheduler.objects import reading
from proa.scheduler.planning.views import NodeView
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.kube.etcd import Etcd
from proa.vm.kube.wipe import definitions
from proa.vm.support.waiting import until

pytestmark = pytest.mark.contract
EVENT = 600.0
"""Seconds within which an event shows."""
RETURN = 600.0
"""Seconds within which a reflector has come back; its longest pause is 30."""


def requests(api: Api, verb: str) -> int:
    """How often it was asked so."""
    return sum(count for asked, count in api.tally.counts().items() if asked.verb == verb)


@dataclass
class Way:
    """The way to the API server: it can be cut, and watches over it may be short."""

    api: Api
    seconds: str = ""
    open: bool = True
    asked: list[Mapping[str, str]] = field(default_factory=list)

    def pages(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Object]:
        self._check()
        return self.api.pages(path, query, size=2)

    def stream(self, path: str, query: Mapping[str, str] | None = None) -> Stream:
        self._check()
        asked = dict(query or {}) | ({"timeoutSeconds": self.seconds} if self.seconds else {})
        self.asked.append(asked)
        return self.api.stream(path, asked)

    def _check(self) -> None:
        if not self.open:
            raise ApiError(0, "the way is cut")


@pytest.fixture
def api(cluster: ControlPlane) -> Iterator[Api]:
    made = Api(access.find(str(cluster.kubeconfig)))
    yield made
    made.close()


Start = Callable[..., Reflector[NodeView]]


@pytest.fixture
def follow() -> Iterator[Start]:
    """Start reflectors of nodes; they end with the test."""
    started: list[Reflector[NodeView]] = []

    def start(source: Any, **words: Any) -> Reflector[NodeView]:
        made = Reflector(source, paths.NODES, reading.node, ChangeSignal(), **words)
        started.append(made)
        made.start()
        until(lambda: made.synced, "all to be seen", RETURN)
        return made

    yield start
    for one in started:
        one.stop()
    for one in started:
        assert one.join(300), "a reflector does not end"


def make(plane: ControlPlane, *names: str) -> None:
    for name in names:
        plane.api.post(paths.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})


def hold(plane: ControlPlane, name: str, why: str) -> None:
    plane.api.patch(f"{paths.NODES}/{name}", {"metadata": {"annotations": {"proa.dev/hold": why}}})


def sees(reflector: Reflector[NodeView], *names: str, seconds: float = EVENT) -> None:
    until(lambda: set(reflector.objects) == set(names), f"{names} to be seen", seconds)


def test_all_comes_in_one_stream(cluster: ControlPlane, api: Api, follow: Start) -> None:
    make(cluster, "n1", "n2")
    reflector = follow(api)
    sees(reflector, "n1", "n2")
    assert requests(api, "list") == 0
    assert requests(api, "watch") == reflector.restarts == 1
    count = reflector.changed.count
    make(cluster, "n3")
    sees(reflector, "n1", "n2", "n3")
    hold(cluster, "n2", "debugging")
    until(lambda: reflector.objects["n2"].hold == "debugging", "a change to be seen", EVENT)
    cluster.api.delete(f"{paths.NODES}/n1")
    sees(reflector, "n2", "n3")
    assert reflector.changed.count >= count + 3
    assert reflector.stale_since is None
    version = int(cluster.api.get(f"{paths.NODES}/n2")["metadata"]["resourceVersion"])
    assert reflector.reached >= version


def test_a_node_made_anew_is_another_one(cluster: ControlPlane, api: Api, follow: Start) -> None:
    make(cluster, "n1")
    reflector = follow(api)
    old = reflector.objects["n1"].uid
    cluster.api.delete(f"{paths.NODES}/n1")
    make(cluster, "n1")
    until(lambda: "n1" in reflector.objects and reflector.objects["n1"].uid != old, "the new one to be seen", EVENT)
    assert reflector.objects["n1"].uid == cluster.api.get(f"{paths.NODES}/n1")["metadata"]["uid"]


def test_one_name_alone_is_followed(cluster: ControlPlane, api: Api, follow: Start) -> None:
    make(cluster, "n1", "n2")
    reflector = follow(api, fields="metadata.name=n2")
    make(cluster, "n3")
    hold(cluster, "n2", "debugging")
    until(lambda: reflector.objects["n2"].hold == "debugging", "a change to be seen", EVENT)
    assert set(reflector.objects) == {"n2"}


def test_a_watch_goes_on_where_the_api_server_was_killed(cluster: ControlPlane, api: Api, follow: Start) -> None:
    make(cluster, "n1", "n2")
    way = Way(api)
    reflector = follow(way)
    seen = reflector.objects
    cluster.kill_apiserver()
    until(lambda: reflector.stale_since is not None, "the watch to end", EVENT)
    until(lambda: reflector.problem, "the trouble to be told", RETURN)
    assert reflector.objects is seen, "what was seen is forgotten"
    cluster.start_apiserver()
    until(lambda: reflector.stale_since is None, "the watch to be back", RETURN)
    assert reflector.problem == ""
    assert reflector.objects is seen, "what has not changed was read again"
    make(cluster, "n3")
    sees(reflector, "n1", "n2", "n3")
    assert "sendInitialEvents" not in way.asked[-1]
    assert way.asked[-1]["resourceVersion"]


def test_changes_that_nobody_watched_are_seen_afterwards(cluster: ControlPlane, api: Api, follow: Start) -> None:
    make(cluster, "n1", "n2")
    way = Way(api)
    reflector = follow(way)
    with cut(cluster, way, reflector):
        make(cluster, "n3")
        cluster.api.delete(f"{paths.NODES}/n1")
        assert set(reflector.objects) == {"n1", "n2"}, "what happened meanwhile was seen"
    sees(reflector, "n2", "n3", seconds=RETURN)


def test_what_etcd_has_forgotten_is_listed_anew(cluster: ControlPlane, api: Api, follow: Start) -> None:
    make(cluster, "n1", "n2")
    way = Way(api)
    reflector = follow(way)
    with cut(cluster, way, reflector):
        make(cluster, "n3")
        cluster.api.delete(f"{paths.NODES}/n1")
        cluster.kill_apiserver()
        with Etcd(cluster.parts.etcd_access) as etcd:
            etcd.compact()
        cluster.start_apiserver()
        begun = len(way.asked)
    sees(reflector, "n2", "n3", seconds=RETURN)
    asked = way.asked[begun:]
    assert "resourceVersion" in asked[0], "it did not try to go on"
    assert any("sendInitialEvents" in one for one in asked[1:]), "it did not list anew"
    make(cluster, "n4")
    sees(reflector, "n2", "n3", "n4")


@contextmanager
def cut(plane: ControlPlane, way: Way, reflector: Reflector[NodeView]) -> Iterator[None]:
    """The API server runs, and the reflector does not get there."""
    way.open = False
    plane.kill_apiserver()
    until(lambda: reflector.stale_since is not None, "the watch to end", EVENT)
    plane.start_apiserver()
    yield
    way.open = True


def test_bookmarks_tell_how_far_a_quiet_part_is_known(cluster: ControlPlane, api: Api, follow: Start) -> None:
    make(cluster, "n1", "n2")
    way = Way(api, seconds="4")
    reflector = follow(way, fields="metadata.name=n1")
    seen, count = reflector.reached, reflector.changed.count
    hold(cluster, "n2", "something happens elsewhere")
    until(lambda: reflector.reached > seen, "a bookmark", RETURN)
    assert reflector.changed.count == count, "a bookmark is no news"
    until(lambda: len(way.asked) > 1, "the next watch", RETURN)
    assert int(way.asked[1]["resourceVersion"]) > seen, "the next watch does not begin at the bookmark"


def test_watches_that_end_by_themselves_are_begun_again_without_haste(
    cluster: ControlPlane, api: Api, follow: Start
) -> None:
    make(cluster, "n1")
    way = Way(api, seconds="1")
    follow(way)
    began = SYSTEM.monotonic()
    until(lambda: len(way.asked) >= 4, "some watches", RETURN)
    assert SYSTEM.monotonic() - began > 3, "watches are begun too often"
    assert requests(api, "list") == 0


def test_an_api_server_that_stands_still_is_noticed(cluster: ControlPlane, follow: Start) -> None:
    make(cluster, "n1")
    impatient = Api(access.find(str(cluster.kubeconfig)), limits=ApiLimits(connect=1, read=2, silence=3))
    reflector = follow(impatient)
    cluster.pause_apiserver()
    until(lambda: reflector.stale_since is not None, "the silence to be noticed", EVENT)
    cluster.resume_apiserver()
    until(lambda: reflector.stale_since is None, "the watch to be back", RETURN)
    assert set(reflector.objects) == {"n1"}, "what was seen is forgotten"
    make(cluster, "n2")
    sees(reflector, "n1", "n2")


def test_an_end_does_not_wait_for_the_next_event(cluster: ControlPlane, api: Api, follow: Start) -> None:
    reflector = follow(api)
    reflector.stop()
    assert reflector.join(EVENT), "no event comes, and a watch lasts longer than that"


def test_a_server_that_cannot_stream_lists_is_asked_for_pages(tmp_path: Path, follow: Start) -> None:
    without = {"kube-apiserver": ["--feature-gates=WatchList=false"]}
    with ControlPlane(tmp_path / "old", controllers=(), before=definitions(), extra=without) as plane:
        make(plane, *(f"n{number}" for number in range(5)))
        api = Api(access.find(str(plane.kubeconfig)))
        way = Way(api)
        reflector = follow(way)
        sees(reflector, *(f"n{number}" for number in range(5)))
        assert requests(api, "list") == 3
        make(plane, "n5")
        sees(reflector, *(f"n{number}" for number in range(6)))
        reflector.stop()
        assert reflector.join(300)
