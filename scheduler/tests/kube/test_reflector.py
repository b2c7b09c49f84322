"""The reflector: what it shows, what it asks for, and how it bears a server that fails in every way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proa.core.runtime.backoff import LONGEST_REQUEST, Backoff
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube.api import Api
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.paths import NODES, PODS
from proa.scheduler.kube.reflector import Reflector
from proa.scheduler.kube.server import Query
from proa.scheduler.kube.stream import Event
from proa.scheduler.testing.served import HttpServer, Reply, Request
from proa.scheduler.testing.server import NoServer

END = {"k8s.io/initial-events-end": "true"}
Step = Event | ApiError | Callable[[], None]


def item(name: str, version: int, value: object = 0, namespace: str = "") -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"metadata": {"name": name, "resourceVersion": str(version), **place}, "value": value}


def bookmark(version: int, end: bool = False) -> Event:
    return Event("BOOKMARK", {"metadata": {"resourceVersion": str(version), "annotations": END if end else {}}})


def added(*items: dict[str, Any]) -> list[Step]:
    return [Event("ADDED", one) for one in items]


def project(found: Mapping[str, Any], before: object) -> object:
    return found["value"]


class Script:
    """A watch that plays what was written down for it."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps
        self.stopped = False

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None: ...

    def stop(self) -> None:
        self.stopped = True

    def __iter__(self) -> Iterator[Event]:
        for step in self._steps:
            if isinstance(step, ApiError):
                raise step
            if isinstance(step, Event):
                yield step
            else:
                step()


@dataclass
class FakeSource(NoServer):
    """Plays a watch after the other; a refusal instead of one is raised."""

    watches: list[list[Step] | ApiError] = field(default_factory=list)
    lists: list[list[dict[str, Any]] | ApiError] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def stream(self, path: str, query: Mapping[str, str] | None = None) -> Script:
        self.asked.append(("watch", dict(query or {})))
        given = self.watches.pop(0) if self.watches else []
        if isinstance(given, ApiError):
            raise given
        return Script(given)

    def pages(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        self.asked.append(("list", dict(query or {})))
        given = self.lists.pop(0)
        if isinstance(given, ApiError):
            raise given
        yield from given


@dataclass
class Case:
    """A reflector, its server and its clock; nothing happens but by :meth:`go`."""

    source: FakeSource = field(default_factory=FakeSource)
    clock: VirtualClock = field(default_factory=VirtualClock)
    changed: ChangeSignal = field(default_factory=ChangeSignal)

    def __post_init__(self) -> None:
        self.reflector: Reflector[object] = Reflector(
            self.source, NODES, project, self.changed, clock=self.clock, random=lambda: 1.0
        )

    def go(self, *watches: list[Step] | ApiError) -> float:
        """Play these watches, one after the other; the last pause."""
        self.source.watches += watches
        pause = 0.0
        for _ in watches:
            pause = self.reflector.cycle()
        return pause

    def later(self, seconds: float) -> Callable[[], None]:
        return lambda: self.clock.sleep(seconds)

    @property
    def shown(self) -> dict[str, object]:
        return dict(self.reflector.objects)


@pytest.fixture
def case() -> Case:
    return Case()


# the list and the watch in one stream


def test_it_asks_for_all_in_one_stream(case: Case) -> None:
    case.go([*added(item("n1", 5), item("n2", 3)), bookmark(9, end=True)])
    ((verb, query),) = case.source.asked
    assert verb == "watch"
    assert query["sendInitialEvents"] == "true"
    assert query["resourceVersionMatch"] == "NotOlderThan"
    assert "resourceVersion" not in query
    assert 300 <= int(query["timeoutSeconds"]) <= 600


def test_nothing_is_shown_before_all_is_there(case: Case) -> None:
    seen: list[object] = []
    look: Step = lambda: seen.append((case.shown, case.reflector.synced, case.reflector.reached))  # noqa: E731
    case.go([*added(item("n1", 5)), look, bookmark(7), look, bookmark(9, end=True), look])
    assert seen == [({}, False, 0), ({}, False, 0), ({"n1": 0}, True, 9)]
    assert case.changed.count == 1


def test_an_empty_collection_is_news_once(case: Case) -> None:
    case.go([bookmark(9, end=True)])
    assert (case.reflector.synced, case.shown, case.changed.count) == (True, {}, 1)


def test_changes_follow(case: Case) -> None:
    case.go(
        [
            *added(item("n1", 5), item("n2", 3)),
            bookmark(9, end=True),
            Event("MODIFIED", item("n1", 10, 1)),
            Event("DELETED", item("n2", 11)),
            Event("ADDED", item("n3", 12)),
        ]
    )
    assert (case.shown, case.reflector.reached, case.changed.count) == ({"n1": 1, "n3": 0}, 12, 4)


def test_what_was_deleted_while_it_was_listed_is_gone(case: Case) -> None:
    case.go([*added(item("n1", 5)), Event("DELETED", item("n1", 6)), bookmark(9, end=True)])
    assert case.shown == {}


def test_a_heartbeat_wakes_nobody(case: Case) -> None:
    """What is kept of the object is the same; that everything up to it was seen is known all the same."""
    case.go([*added(item("n1", 5, [1])), bookmark(9, end=True)])
    before = case.reflector.objects
    case.go([Event("MODIFIED", item("n1", 10, [1])), bookmark(20)])
    assert case.reflector.objects is before
    assert (case.changed.count, case.reflector.reached) == (1, 20)


def test_what_was_written_counts_as_seen_only_once_it_shows() -> None:
    reached: list[int] = []

    def look(found: Mapping[str, Any], before: object) -> object:
        reached.append(reflector.reached)
        return project(found, before)

    first, second = [*added(item("n1", 5)), bookmark(9, end=True)], [Event("MODIFIED", item("n1", 10, 1))]
    source = FakeSource(watches=[first, list[Step](second)])
    reflector: Reflector[object] = Reflector(source, NODES, look, ChangeSignal(), clock=VirtualClock())
    reflector.cycle()
    reflector.cycle()
    assert (reached, reflector.reached, dict(reflector.objects)) == ([0, 9], 10, {"n1": 1})


def test_a_mapping_that_was_given_does_not_change(case: Case) -> None:
    case.go([*added(item("n1", 5)), bookmark(9, end=True)])
    before = case.reflector.objects
    case.go([Event("DELETED", item("n1", 10))])
    assert (dict(before), case.shown) == ({"n1": 0}, {})
    with pytest.raises(TypeError):
        before["n1"] = 1  # type: ignore[index]  # that is what is tested


def test_what_does_not_matter_is_not_kept() -> None:
    source = FakeSource()
    reflector: Reflector[int] = Reflector(
        source, NODES, lambda found, before: found["value"] or None, clock=VirtualClock()
    )
    source.watches = [
        [
            *added(item("n1", 5, 1), item("n2", 6, 0)),
            bookmark(9, end=True),
            Event("MODIFIED", item("n1", 10, 0)),
            Event("MODIFIED", item("n2", 11, 1)),
        ]
    ]
    reflector.cycle()
    assert dict(reflector.objects) == {"n2": 1}


def test_what_has_a_namespace_is_named_with_it() -> None:
    source = FakeSource([[*added(item("web", 5, 1, "shop"), item("web", 6, 2, "blog")), bookmark(9, end=True)]])
    reflector: Reflector[object] = Reflector(source, PODS, project, fields="spec.nodeName=n1", clock=VirtualClock())
    reflector.cycle()
    assert dict(reflector.objects) == {"shop/web": 1, "blog/web": 2}
    assert source.asked[0][1]["fieldSelector"] == "spec.nodeName=n1"


# going on


def test_the_next_watch_goes_on_where_the_last_one_ended(case: Case) -> None:
    case.go([*added(item("n1", 5)), bookmark(9, end=True), bookmark(12)], [Event("MODIFIED", item("n1", 13, 1))], [])
    assert [query.get("resourceVersion") for _, query in case.source.asked] == [None, "12", "13"]
    assert "sendInitialEvents" not in case.source.asked[1][1]
    assert case.shown == {"n1": 1}


@pytest.mark.parametrize("where", ["answer", "event"])
def test_a_version_that_is_gone_means_all_again(case: Case, where: str) -> None:
    case.go([*added(item("n1", 5, [1]), item("n2", 6)), bookmark(9, end=True)])
    kept = case.reflector.objects["n1"]
    gone = ApiError(410, "too old resource version")
    case.go(gone if where == "answer" else [gone])
    assert (case.shown, case.reflector.synced) == ({"n1": [1], "n2": 0}, True)
    case.go([*added(item("n1", 15, [1]), item("n3", 16)), bookmark(19, end=True)])
    assert case.source.asked[-1][1]["sendInitialEvents"] == "true"
    assert case.shown == {"n1": [1], "n3": 0}
    assert case.reflector.objects["n1"] is kept
    assert case.changed.count == 2


def test_the_same_all_again_is_no_news(case: Case) -> None:
    case.go([*added(item("n1", 5)), bookmark(9, end=True)], ApiError(410, "gone"))
    before = case.reflector.objects
    case.go([*added(item("n1", 5)), bookmark(99, end=True)])
    assert case.reflector.objects is before
    assert (case.changed.count, case.reflector.reached) == (1, 99)


def test_a_list_that_breaks_off_shows_nothing_of_itself(case: Case) -> None:
    case.go([*added(item("n1", 5)), bookmark(9, end=True)], ApiError(410, "gone"))
    case.go([*added(item("n2", 15)), ApiError(0, "cut")])
    assert case.shown == {"n1": 0}


def test_a_watch_that_breaks_off_after_its_list_says_nothing_against_streams(case: Case) -> None:
    case.go([*added(item("n1", 5)), bookmark(9, end=True), ApiError(0, "cut")], ApiError(410, "gone"))
    case.go([bookmark(19, end=True)])
    assert [verb for verb, _ in case.source.asked] == ["watch"] * 3


# a server that cannot stream lists


def test_a_stream_that_ends_before_its_list_is_told_of_and_followed_by_pages(case: Case) -> None:
    case.source.lists = [[{"metadata": {"resourceVersion": "9"}, "items": [item("n1", 5)]}]]
    case.go(added(item("n1", 5)))
    assert case.reflector.problem
    assert not case.reflector.synced
    case.go([])
    assert [verb for verb, _ in case.source.asked] == ["watch", "list", "watch"]
    assert case.shown == {"n1": 0}


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_the_stream_is_asked_for_pages(case: Case, status: int) -> None:
    case.source.lists = [
        [
            {"metadata": {"resourceVersion": "9", "continue": "x"}, "items": [item("n1", 5)]},
            {"metadata": {"resourceVersion": "9"}, "items": [item("n2", 6)]},
        ]
    ]
    case.go(ApiError(status, "sendInitialEvents is forbidden"), [Event("DELETED", item("n1", 10))])
    assert [verb for verb, _ in case.source.asked] == ["watch", "list", "watch"]
    assert case.source.asked[-1][1]["resourceVersion"] == "9"
    assert (case.shown, case.reflector.synced) == ({"n2": 0}, True)


def test_a_stream_that_never_comes_to_the_end_of_its_list_is_given_up(case: Case) -> None:
    """An old server passes over what it does not know: it sends all there is, and then changes only."""
    case.source.lists = [[{"metadata": {"resourceVersion": "9"}, "items": []}]]
    case.go([*added(item("n1", 5)), ApiError(0, "no answer in time")], [])
    assert [verb for verb, _ in case.source.asked] == ["watch", "list", "watch"]
    assert case.reflector.synced


@pytest.mark.parametrize("status", [0, 403, 429, 500])
def test_a_server_that_is_only_in_trouble_is_asked_for_the_stream_again(case: Case, status: int) -> None:
    case.go(ApiError(status, "no"), ApiError(status, "no"))
    assert [query["sendInitialEvents"] for _, query in case.source.asked] == ["true", "true"]


def test_pages_that_fail_are_not_asked_for_for_ever(case: Case) -> None:
    case.source.lists = [ApiError(410, "the continue token is too old")]
    case.source.watches = [ApiError(422, "no"), [bookmark(9, end=True)]]
    for _ in range(3):
        case.reflector.cycle()
    assert [verb for verb, _ in case.source.asked] == ["watch", "list", "watch"]
    assert case.reflector.synced


# patience


def test_a_server_that_closes_at_once_is_not_hammered(case: Case) -> None:
    pauses = [case.go([*added(item("n1", 5)), bookmark(9, end=True)])]
    pauses += [case.go([]) for _ in range(9)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]


def test_a_watch_that_has_lived_is_followed_by_another_at_once(case: Case) -> None:
    for _ in range(5):
        case.go(ApiError(0, "refused"))
    assert case.go([bookmark(9, end=True), case.later(60), bookmark(10)]) == 0.5
    assert case.go([case.later(300)]) == 0.5


def test_a_wish_to_be_left_alone_is_heeded(case: Case) -> None:
    assert case.go(ApiError(429, "no", retry_after=20)) == 20.5
    assert case.go(ApiError(429, "no", retry_after=1e9)) == LONGEST_REQUEST + 0.5


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=40), st.floats(0, 1))
def test_a_pause_is_never_short_nor_endless(wishes: list[float | None], random: float) -> None:
    backoff = Backoff(random=lambda: random)
    for request in wishes:
        pause = backoff.next(request)
        assert min(request or 0.25, 0.25) <= pause <= LONGEST_REQUEST + 0.5
        assert request is None or pause >= min(request, LONGEST_REQUEST)


# what is known of itself


def test_it_says_since_when_nothing_is_sure(case: Case) -> None:
    seen: list[float | None] = []
    look: Step = lambda: seen.append(case.reflector.stale_since)  # noqa: E731
    assert case.reflector.stale_since == 0.0
    case.clock.sleep(3)
    case.go([look, *added(item("n1", 5)), look, bookmark(9, end=True), look, case.later(70), look, bookmark(10), look])
    assert seen == [0.0, 0.0, None, None, None]
    assert case.reflector.stale_since == 73.0
    case.clock.sleep(10)
    case.go(ApiError(0, "refused"))
    assert case.reflector.stale_since == 73.0
    case.go([look])
    assert seen[-1] is None


def test_a_watch_that_only_seems_to_live_is_not_sure(case: Case) -> None:
    seen: list[float | None] = []
    look: Step = lambda: seen.append(case.reflector.stale_since)  # noqa: E731
    case.go([bookmark(9, end=True), case.later(76), look])
    assert seen == [0.0]


def test_it_says_what_is_wrong(case: Case) -> None:
    case.go(ApiError(403, "nodes is forbidden"))
    assert (case.reflector.problem, case.reflector.restarts) == ("nodes is forbidden", 1)
    case.go([bookmark(9, end=True)])
    assert (case.reflector.problem, case.reflector.restarts) == ("", 2)


def test_a_broken_access_is_a_problem_and_no_end(case: Case) -> None:
    def fail(path: str, query: Query | None = None) -> Script:
        raise ProaError(Code.KUBECONFIG, "the token cannot be read again")

    case.source.stream = fail  # type: ignore[method-assign]  # the fake's own
    assert case.reflector.cycle() == 0.5
    assert case.reflector.problem == "the token cannot be read again"


# with threads and a real connection


def test_it_follows_a_server_in_a_thread(server: HttpServer) -> None:
    more = threading.Event()

    def answer(asked: Request, reply: Reply) -> None:
        reply.begin()
        reply.event("ADDED", item("n1", 5))
        reply.event("BOOKMARK", bookmark(9, end=True).object)
        more.wait(300)
        reply.event("MODIFIED", item("n1", 10, 1))
        server.ending.wait()

    server.answer = answer
    changed = ChangeSignal()
    reflector: Reflector[object] = Reflector(Api(server.access), NODES, project, changed)
    reflector.start()
    heard = changed.wait(0, 300)
    assert (dict(reflector.objects), reflector.stale_since) == ({"n1": 0}, None)
    more.set()
    changed.wait(heard, 300)
    assert dict(reflector.objects) == {"n1": 1}
    before = threading.active_count()
    reflector.stop()
    assert reflector.join(300)
    assert threading.active_count() < before


def test_it_stops_in_the_middle_of_a_pause() -> None:
    source = FakeSource([ApiError(429, "no", retry_after=250)])
    reflector: Reflector[object] = Reflector(source, NODES, project)
    reflector.start()
    reflector.stop()
    assert reflector.join(300)
    assert len(source.asked) <= 1


def test_it_may_be_stopped_before_it_was_started(case: Case) -> None:
    case.reflector.stop()
    assert case.reflector.join()


def test_a_defect_is_not_hidden() -> None:
    def fail(found: Mapping[str, Any], before: object) -> object:
        raise ZeroDivisionError

    changed = ChangeSignal()
    reflector: Reflector[object] = Reflector(FakeSource([added(item("n1", 5))]), NODES, fail, changed)
    reflector.start()
    assert reflector.join(300)
    assert changed.count == 1
    with pytest.raises(ProaError) as caught:
        assert reflector.objects
    assert caught.value.code is Code.INTERNAL
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


# any course of events


EVENTS = st.lists(
    st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "cut", "gone", "end"]), st.integers(0, 4)),
    max_size=40,
)


@given(EVENTS)
def test_what_is_shown_is_what_is_there(events: list[tuple[str, int]]) -> None:
    """Whatever happens to the connection, the views are those of the server's objects in the end."""
    there: dict[str, dict[str, Any]] = {}
    case = Case()
    version = 10

    def everything() -> list[Step]:
        return [*added(*there.values()), bookmark(version, end=True)]

    script = everything()
    for kind, number in events:
        version += 1
        name = f"n{number}"
        if kind in ("cut", "gone", "end"):
            script += [ApiError(0, "cut")] if kind == "cut" else []
            case.go(script)
            script = []
            if kind == "gone":
                case.go(ApiError(410, "gone"))
                script = everything()
        elif kind == "BOOKMARK":
            script.append(bookmark(version))
        else:
            changed = item(name, version, number % 2)
            if kind == "DELETED":
                there.pop(name, None)
            else:
                there[name] = changed
            script.append(Event(kind, changed))
    case.go(script)
    assert case.shown == {name: found["value"] for name, found in there.items()}
