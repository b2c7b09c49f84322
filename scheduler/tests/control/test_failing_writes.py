"""The controller when writes fail, take long, are refused, or have no answer."""

from __future__ import annotations

from proa.scheduler.control.controller import LONGEST_WAIT
from proa.scheduler.control.pending import REST
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.objects.writing import POLICY
from proa.scheduler.spec.crd import NODE_OSES
from proa.scheduler.testing.controlled import Case, assert_all_is_well


def test_a_write_without_an_answer_is_looked_at_before_anything_else(case: Case) -> None:
    case.server.lose(lambda verb, path: (verb, path) == ("apply", case.node("n0")))
    case.until(lambda: case.cordoned != [])
    case.server.mend()
    before = len(case.server.log)
    case.controller.step()  # before it shows: the cordon is known from its being read alone
    assert case.server.log[before] == ("get", case.node("n0"))
    assert case.cordoned == ["n0"]
    case.until(lambda: case.phase == "Complete")
    assert_all_is_well(case)


def test_as_long_as_it_cannot_be_looked_at_nothing_is_written(case: Case) -> None:
    case.server.lose(lambda verb, path: verb == "create")
    case.step()
    case.server.fail(lambda verb, path: ApiError(0, "refused"))
    writes = len(case.server.writes)
    pauses = []
    for _ in range(7):
        pauses.append(case.step())
        assert case.step() <= pauses[-1] + 0.001  # news in between change nothing
        case.clock.sleep(pauses[-1] + 0.001)
    assert len([one for one in case.server.log if one[0] == "get"]) <= 7
    assert len(case.server.writes) == writes
    assert pauses[0] < 1 < pauses[-1]
    case.server.mend()
    case.until(lambda: case.phase == "Complete")
    assert_all_is_well(case)


def test_a_pass_ends_where_the_server_is_away(case: Case) -> None:
    case.server.fail(lambda verb, path: ApiError(503, "busy", retry_after=20) if verb == "create" else None)
    assert case.step() >= 20
    assert [one for one in case.server.log if one[0] == "create"] == [("create", NODE_OSES)]


def test_a_pass_ends_when_writes_take_long_and_the_next_goes_on() -> None:
    case = Case(nodes=12)
    beats: list[float] = []

    def slow(verb: str, path: str) -> None:
        beats.append(case.controller.beat)
        case.clock.sleep(2)

    case.server.fail(slow)
    assert case.step() == 0
    made = [one for one in case.server.items if one.startswith(NODE_OSES)]
    assert 1 <= len(made) <= 3
    assert beats == sorted(set(beats))  # each write is a sign of life
    for _ in range(12):
        case.step()
    assert len([one for one in case.server.items if one.startswith(NODE_OSES)]) == 12


def test_a_node_whose_writes_always_fail_does_not_keep_others_from_theirs(case: Case) -> None:
    """As where a webhook that is away is asked about that one."""
    bad = ("merge", case.os("n0"))
    case.server.fail(lambda verb, path: ApiError(500, "failed calling webhook") if (verb, path) == bad else None)
    case.until(lambda: {("merge", case.os("n1")), ("merge", case.os("n2"))} <= set(case.server.log), turns=40)
    assert bad in case.server.log
    case.server.mend()
    case.until(lambda: case.phase == "Complete")
    assert_all_is_well(case)


def test_who_is_fenced_resigns_and_stops(case: Case) -> None:
    said = f"ValidatingAdmissionPolicy '{POLICY}' with binding 'x' denied request: stale leader"
    case.server.fail(lambda verb, path: ApiError(403, said, reason="Forbidden") if verb == "create" else None)
    assert case.step() == 0
    assert case.elector.resigned == 1
    assert len([one for one in case.server.log if one[0] == "create"]) == 1
    assert case.step() == LONGEST_WAIT
    assert case.drains.wanted == {}


def test_who_is_fenced_by_a_status_writes_nothing_else(case: Case) -> None:
    said = f"ValidatingAdmissionPolicy '{POLICY}' with binding 'x' denied request: stale leader"
    case.server.fail(lambda verb, path: ApiError(403, said, reason="Forbidden") if "/status" in path else None)
    assert case.step() == 0
    assert (case.elector.resigned, len(case.server.log)) == (1, 1)


def test_a_node_whose_write_is_refused_rests_and_the_others_go_on(case: Case) -> None:
    path = case.node("n0")
    right = ApiError(403, "no right", reason="Forbidden")
    case.server.fail(lambda verb, asked: right if (verb, asked) == ("apply", path) else None)
    case.until(lambda: case.boots.keys() == {"n1", "n2"}, turns=60)
    refused = len([one for one in case.server.log if one == ("apply", path)])
    assert 1 <= refused <= 1 + case.clock.monotonic() / (REST / 2)
    assert ("n0", "WriteRefused") in case.ears.heard
    case.server.mend()
    case.until(lambda: case.phase == "Complete", turns=800)
    assert_all_is_well(case)


def test_what_belongs_to_a_refused_write_is_not_written_either(case: Case) -> None:
    """A node is not given back before what went wrong on it is noted: else it would be started again at once."""
    case.drains.seconds = 10_000
    case.until(lambda: case.cordoned != [])
    (name,) = case.cordoned
    case.clock.sleep(1000)
    case.server.fail(lambda verb, path: ApiError(403, "no right") if path == case.os(name) else None)
    case.step()
    assert ("merge", case.os(name)) in case.server.log
    assert case.cordoned == [name]
    case.server.mend()
    case.clock.sleep(REST)
    case.step()
    assert case.cordoned == []
