"""The person's verbs: what they change, what they refuse, and what they show."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from proa.core.oci.access import Access
from proa.core.orders.messages import (
    Action,
    Booted,
    Condition,
    LastError,
    Moved,
    NodeStatus,
    Observed,
    Order,
    Phase,
    Progress,
    Standby,
)
from proa.core.runtime.cli import name_twins
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.schema.model import document, fields_of, parse
from proa.scheduler.cli import spec_values
from proa.scheduler.cli.changing import _wishes, start
from proa.scheduler.cli.kubectl import cli
from proa.scheduler.cli.releases import Finder
from proa.scheduler.cli.rollouts import body_of, find, need
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.planning.views import ATTEMPT, PAUSED, ZONE, NodeOSView, NodeView, RolloutView, Snapshot
from proa.scheduler.report import patches, status_view
from proa.scheduler.report.explain import explain
from proa.scheduler.report.patches import SpecChange
from proa.scheduler.report.rendering import explain_lines
from proa.scheduler.spec import selectors
from proa.scheduler.spec.rollout import (
    Drain,
    FailurePolicy,
    OnFailure,
    Operator,
    Requirement,
    RolloutSpec,
    Selector,
    WaitFor,
)
from proa.scheduler.spec.rolloutstatus import Blocker, Counts, PastRollout, RolloutPhase, RolloutStatus
from proa.scheduler.testing.apiserver import ApiServer

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
A, B, C = (f"registry.example/os:{name}@sha256:{name * 64}" for name in "abc")


def view(release: str = B, status: RolloutStatus | None = None, **spec: Any) -> RolloutView:
    return RolloutView("workers", "uid", 3, RolloutSpec(release, **spec), status or RolloutStatus())


def halted(**spec: Any) -> RolloutView:
    status = RolloutStatus(release=B, halted="failed on 2 nodes", phase="Halted", failed_digests=(B.partition("@")[2],))
    return view(B, status, **spec)


def past(*releases: tuple[str, str]) -> RolloutStatus:
    return RolloutStatus(history=tuple(PastRollout(release, phase=phase) for release, phase in releases))


# selectors


@pytest.mark.parametrize(
    ("text", "labels", "requirements"),
    [
        ("", {}, ()),
        ("a=b", {"a": "b"}, ()),
        ("a==b, c.d/e=f", {"a": "b", "c.d/e": "f"}, ()),
        ("a=", {"a": ""}, ()),
        ("a!=b", {}, (Requirement("a", Operator.NOT_IN, ("b",)),)),
        (
            "a in (b, c),d notin (e)",
            {},
            (Requirement("a", Operator.IN, ("b", "c")), Requirement("d", Operator.NOT_IN, ("e",))),
        ),
        ("a,!b", {}, (Requirement("a", Operator.EXISTS), Requirement("b", Operator.DOES_NOT_EXIST))),
    ],
)
def test_selectors_are_read_as_kubectl_reads_them(
    text: str, labels: dict[str, str], requirements: tuple[Requirement, ...]
) -> None:
    assert selectors.parse(text) == Selector(labels, requirements)


@pytest.mark.parametrize("text", ["a=b=c", "a,,b", "=b", "a in b", "a in (", "-a", "a=b,a=c", "a b"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ProaError) as caught:
        selectors.parse(text)
    assert (caught.value.code, caught.value.at) == (Code.USAGE, "--selector")


# releases


def test_a_release_by_its_digest_needs_no_registry() -> None:
    assert Finder(offline=True).find(A) == A


@pytest.mark.parametrize(
    ("text", "what"), [("registry.example/os:1", "the digest of a tag is unknown"), ("oci:out", "folder")]
)
def test_what_no_node_could_fetch_is_refused(text: str, what: str) -> None:
    with pytest.raises(ProaError, match=what) as caught:
        Finder(offline=True).find(text)
    assert caught.value.code is Code.REFERENCE


# start


def test_a_new_rollout() -> None:
    found = patches.start(None, A, {"maxUnavailable": 2}, selectors.parse("pool=a"))
    assert body_of("workers", found, None) == {
        "apiVersion": "proa.dev/v1alpha1",
        "kind": "OSRollout",
        "metadata": {"name": "workers"},
        "spec": {"release": A, "maxUnavailable": 2, "nodeSelector": {"matchLabels": {"pool": "a"}}},
    }
    assert found.notes == ()
    assert patches.start(None, A, {}).notes == ("It selects all nodes.",)


@pytest.mark.parametrize(
    ("given", "patch"),
    [
        ({"nodes": 0}, {"nodes": 0, "soak": None}),
        ({"nodes": "0%"}, {"nodes": "0%", "soak": None}),
        ({"nodes": 0, "soak": "10m"}, {"nodes": 0, "soak": "10m"}),
        ({"nodes": 2}, {"nodes": 2}),
        ({"soak": "1h"}, {"soak": "1h"}),
    ],
)
def test_who_wants_no_canaries_any_more_need_not_take_their_soak_back(
    given: dict[str, Any], patch: dict[str, Any]
) -> None:
    """A soak without canaries is refused, and the one of before would stay."""
    assert patches.start(view(A), B, {"canary": given}).spec == {"release": B, "canary": patch}


def test_another_release() -> None:
    found = patches.start(view(A), B, {})
    assert body_of("workers", found, view(A)) == {"metadata": {"uid": "uid"}, "spec": {"release": B}}
    assert found.said == f"taken to {B}"


def test_another_selector_takes_the_old_one_away() -> None:
    before = view(A, node_selector=selectors.parse("a=b,c in (d)"))
    assert patches.start(before, A, {}, selectors.parse("e=f")).spec["nodeSelector"] == {
        "matchLabels": {"a": None, "e": "f"},
        "matchExpressions": None,
    }
    assert patches.start(before, A, {}, selectors.parse("a=b,c in (d)")).spec == {}


def test_the_same_again_changes_nothing() -> None:
    assert patches.start(view(A), A, {}) == SpecChange()


def test_what_a_person_should_know_is_said() -> None:
    (paused,) = patches.start(view(A, paused=True), B, {}).notes
    assert "paused" in paused
    assert patches.start(view(A, paused=True), B, {"paused": False}).notes == ()
    (again,) = patches.start(halted(), B, {}).notes
    assert "failed on 2 nodes" in again
    failed = view(A, RolloutStatus(failed_digests=(C.partition("@")[2],)))
    (before,) = patches.start(failed, C, {}).notes
    assert "failed before" in before


def start_given(*words: str, **environment: str) -> dict[str, Any]:
    """What ``start`` makes of options that have more than one word."""
    name_twins(start, "PROA_START")
    with CliRunner().isolation(env=environment):
        given = start.make_context("start", ["workers", A, *words]).params
    names = ("order__groups", "drain__waitFor", "health__alerts", "settings", "settingsDisruption")
    return {name: given[name] for name in names if given[name] is not None}


STORES = {
    "name": "stores",
    "nodeSelector": {"matchExpressions": [{"key": "site", "operator": "In", "values": ["north", "south"]}]},
    "soak": "4h",
}
TEST_NODES = {"name": "test", "nodeSelector": {"matchLabels": {"stage": "test"}}}


def test_groups_alerts_and_jobs_are_options() -> None:
    words = ("--group", "test:stage=test", "--group", "stores: site in (north, south) :4h")
    assert start_given(*words) == {"order__groups": [TEST_NODES, STORES]}
    query = 'ALERTS{alertstate="firing", job=~"a:b"} == 1'
    assert start_given("--alert", f"critical={query}") == {"health__alerts": [{"name": "critical", "query": query}]}
    told = {"selector": {"matchLabels": {"job": "nightly"}}, "timeout": "2h"}
    assert start_given("--wait-for", "job=nightly:2h") == {"drain__waitFor": told}
    assert start_given() == {}


def test_an_environment_variable_has_one_of_them_a_line() -> None:
    said = "test:stage=test\nstores:site in (north, south):4h"
    assert start_given(PROA_START_GROUP=said) == {"order__groups": [TEST_NODES, STORES]}


def test_an_empty_option_takes_them_away() -> None:
    none = start_given("--group", "", "--alert", "", "--wait-for", "")
    assert none == {"order__groups": [], "health__alerts": [], "drain__waitFor": {}}
    before = view(A, drain=Drain(wait_for=WaitFor(Selector({"job": "nightly"}), "2h")))
    assert patches.start(before, A, {"drain": {"waitFor": {}}}).spec["drain"] == {"waitFor": None}
    assert patches.start(None, A, {"drain": {"waitFor": {}, "timeout": "1m"}}).spec["drain"] == {"timeout": "1m"}


@pytest.mark.parametrize(
    "words",
    [
        ("--group", "test"),
        ("--group", "test:"),
        ("--group", ":stage=test"),
        ("--group", "test:stage=test:soon"),
        ("--group", "test:stage=test:1h:2h"),
        ("--group", "test:stage=a=b"),
        ("--wait-for", "job=nightly"),
        ("--wait-for", "job=nightly:1h:2h"),
        ("--wait-for", ":1h"),
        ("--alert", "critical"),
        ("--alert", "=ALERTS"),
        ("--alert", "critical="),
    ],
)
def test_what_is_no_group_no_alert_and_no_pods_is_a_wrong_command_line(words: tuple[str, str]) -> None:
    with pytest.raises(click.BadParameter):
        start_given(*words)


def test_other_pods_to_wait_for_take_the_labels_of_those_before_away() -> None:
    before = view(A, drain=Drain(wait_for=WaitFor(Selector({"job": "nightly", "tier": "batch"}), "2h")))
    wanted = spec_values.wait_for("tier=batch,kind=report:3h")
    selector = {"matchLabels": {"job": None, "tier": "batch", "kind": "report"}, "matchExpressions": None}
    found = patches.start(before, A, {"drain": {"waitFor": wanted, "timeout": "1m"}}).spec["drain"]
    assert found == {"timeout": "1m", "waitFor": {"selector": selector, "timeout": "3h"}}
    assert patches.start(before, A, {"drain": {"timeout": "1m"}}).spec["drain"] == {"timeout": "1m"}


def test_settings_come_from_a_file_and_take_the_place_of_those_before(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[sysctl]\n"vm.swappiness" = 10\n[kubelet.evictionHard]\n"memory.available" = "5%"\n')
    wanted = {"sysctl": {"vm.swappiness": 10}, "kubelet": {"evictionHard": {"memory.available": "5%"}}}
    assert start_given("--settings", str(path), "--settings-disruption", "None") == {
        "settings": wanted,
        "settingsDisruption": "None",
    }
    old = {"kubelet": {"evictionHard": {"nodefs.available": "1%"}, "maxPods": 9}, "limits": {"nofile": 4096}}
    assert patches.start(view(A, settings=old), A, {"settings": wanted}).spec["settings"] == {
        "sysctl": {"vm.swappiness": 10},
        "kubelet": {"evictionHard": {"memory.available": "5%", "nodefs.available": None}, "maxPods": None},
        "limits": None,
    }
    assert patches.start(None, A, {"settings": wanted}).spec["settings"] == wanted
    for content in ("[sysctl]\n'vm.swappiness' = 999\n", "[sysctl\n", '{"kubelet": {"staticPodPath": "/x"}}'):
        path.write_text(content)
        with pytest.raises(click.BadParameter):
            start_given("--settings", str(path))


def test_who_wants_no_turns_of_zones_any_more_need_not_take_their_soak_back() -> None:
    found = patches.start(view(A), A, {"order": {"zones": "Ignore"}}).spec["order"]
    assert found == {"zones": "Ignore", "zoneSoak": None}
    assert patches.start(view(A), A, {"order": {"zones": "OneAtATime"}}).spec["order"] == {"zones": "OneAtATime"}


def test_every_option_stands_in_the_spec() -> None:
    """With values that the dataclass takes."""
    how = {"rollout", "reference", "selector", "key_files", "threshold", "offline", "dry_run", "as_json"}
    how |= {"kubeconfig", "context", *(one.name for one in fields_of(Access))}
    names = {parameter.name or "" for parameter in start.params} - how
    assert len(names) == 22
    given: dict[str, Any] = dict.fromkeys(names, 1) | {
        "canary__soak": "1m",
        "drain__timeout": "1m",
        "paused": True,
        "allowDowngrade": True,
    }
    given |= {
        "order__zones": "OneAtATime",
        "order__zoneSoak": "1m",
        "order__groups": [spec_values.group("test:stage=test:1h")],
        "cordoned": "Include",
        "settings": {"sysctl": {"vm.swappiness": 10}},
        "settingsDisruption": "None",
        "drain__onTimeout": "Park",
        "drain__undrainable": "Skip",
        "drain__waitFor": spec_values.wait_for("job=nightly:2h"),
        "health__alerts": [spec_values.alert("critical=ALERTS")],
        "failure__action": "Halt",
        "approval": "AfterCanary",
    }
    parse(RolloutSpec, {"release": A, **_wishes(given)}, strict=True)
    assert _wishes(dict.fromkeys(names)) == {}


# pause and resume


def test_pause() -> None:
    busy = view(status=RolloutStatus(counts=Counts(updating=2)))
    assert patches.pause(busy) == SpecChange(
        {}, "paused", ("2 nodes are under way, and will finish.",), {PAUSED: "true"}
    )
    assert not patches.pause(view(paused=True)).is_one


def test_resume() -> None:
    assert patches.resume(view(paused=True), attempt=False).spec == {"paused": False}
    assert patches.resume(view(), attempt=False).spec == {}
    again = patches.resume(view(paused=True, attempt=4), attempt=True)
    assert (again.spec, again.annotations) == ({"paused": False}, {PAUSED: None, ATTEMPT: "5"})


def test_a_halt_is_not_taken_away_in_passing() -> None:
    with pytest.raises(ProaError) as caught:
        patches.resume(halted(paused=True), attempt=False)
    assert (caught.value.code, caught.value.exit) == (Code.HALTED, Exit.STATE)
    assert patches.resume(halted(), attempt=True).annotations == {ATTEMPT: "1"}


# rollback


def test_what_was_halted_goes_back_to_its_other_slot() -> None:
    found = patches.rollback(halted())
    assert found.spec == {"failure": {"action": "Rollback"}}
    assert patches.rollback(halted(failure=FailurePolicy(action=OnFailure.ROLLBACK))).spec == {}


def test_what_is_paused_does_not_go_back_either() -> None:
    assert patches.rollback(halted(paused=True)).notes[-1].startswith("It is paused")
    assert patches.rollback(view(C, past((A, "Complete")), paused=True)).notes[-1].startswith("It is paused")


def test_a_halt_of_another_attempt_is_over() -> None:
    before = dataclasses.replace(
        halted(attempt=1), status=dataclasses.replace(halted().status, history=past((A, "Complete")).history)
    )
    assert patches.rollback(before).spec == {"release": A, "allowDowngrade": True}


def test_the_last_completed_release_is_gone_back_to() -> None:
    before = view(C, past((B, "Halted"), (A, RolloutPhase.COMPLETE)))
    assert patches.rollback(before).spec == {"release": A, "allowDowngrade": True}


@pytest.mark.parametrize(
    "status",
    [
        RolloutStatus(),
        past((A, "Halted"), (A, "Progressing")),
        past((B, "Complete")),
        dataclasses.replace(past((A, "Complete")), failed_digests=(A.partition("@")[2],)),
    ],
)
def test_without_a_past_there_is_no_way_back(status: RolloutStatus) -> None:
    with pytest.raises(ProaError) as caught:
        patches.rollback(view(B, status))
    assert (caught.value.code, caught.value.exit) == (Code.NO_PREVIOUS, Exit.STATE)
    assert "--to REF" in caught.value.hint


def test_s04_what_was_allowed_for_the_way_back_is_not_for_the_next_release() -> None:
    back = view(A, allow_downgrade=True)
    assert patches.start(back, B, {}).spec == {"release": B, "allowDowngrade": False}
    assert patches.start(back, B, {"allowDowngrade": True}).spec == {"release": B, "allowDowngrade": True}
    assert patches.start(view(A), B, {}).spec == {"release": B}


def test_a_release_may_be_named() -> None:
    assert patches.rollback(halted(), A).spec == {"release": A, "allowDowngrade": True}
    assert patches.rollback(view(B), B).spec == {}


# reading


def test_a_rollout_that_is_not_there() -> None:
    gone = ApiServer()
    assert find(gone, "workers") is None
    with pytest.raises(ProaError, match="no OSRollout 'workers'") as caught:
        need(gone, "workers")
    assert caught.value.exit is Exit.STATE


@pytest.mark.parametrize(
    "error",
    [
        ApiError(404, "answered 404"),
        ApiError(404, "the server could not find the requested resource", reason="NotFound"),
    ],
)
def test_a_cluster_without_proa(error: ApiError) -> None:
    api = ApiServer()
    api.fail(lambda verb, path: error)
    with pytest.raises(ProaError, match="does not know OSRollouts") as caught:
        find(api, "workers")
    assert "proa-scheduler manifests" in caught.value.hint


# what is shown


def node(name: str, *, zone: str = "z1", **more: Any) -> NodeView:
    return NodeView(name, f"uid-{name}", {ZONE: zone, "pool": "a"}, **more)


def node_os(name: str, status: NodeStatus | None = None, order: Order | None = None) -> NodeOSView:
    return NodeOSView(name, f"os-{name}", f"uid-{name}", order, status)


def a_cluster() -> Snapshot:
    digest = B.partition("@")[2]
    booted = Booted("b", "2", digest, committed=True, bytes=Moved(fetch=3 << 20))
    done = NodeStatus(phase=Phase.GOOD, booted=booted, standby=Standby("a", "1", bytes=Moved(fetch=5 << 20)))
    busy = NodeStatus(
        observed_order=Observed(4, "Stage", "Running"),
        phase=Phase.STAGING,
        booted=Booted("a", "1", A.partition("@")[2], committed=True),
        standby=Standby("b"),
        progress=Progress("write", 40),
        last_error=LastError("NETWORK", "no answer"),
    )
    nodes = {name: node(name) for name in ("n1", "n2", "n3")}
    nodes["n4"] = NodeView("n4", "uid-n4", {}, ready=False, unschedulable=True)
    oses = {
        "n1": node_os("n1", done),
        "n2": node_os("n2", busy, Order(4, Action.STAGE, 1, B)),
        "n3": node_os("n3", busy, Order(5, Action.STAGE, 1, B)),
    }
    status = RolloutStatus(
        observed_generation=3,
        phase=RolloutPhase.STAGING,
        progress="1/3",
        counts=Counts(nodes=3, up_to_date=1, staging=2),
        blockers=(Blocker("n2", "shop/web-1", reason="its budget allows none", since="2026-01-31T11:00:00Z"),),
        next_window="2026-01-31T22:00:00Z",
        history=(PastRollout(A, phase="Complete", ended_at="2026-01-01T00:00:00Z", nodes=3),),
    )
    workers = dataclasses.replace(view(B, status, node_selector=selectors.parse("pool=a")))
    return Snapshot(nodes, oses, {"workers": workers})


def lines(rollout: str = "", **options: Any) -> Iterator[str]:
    found = status_view.status_report(a_cluster(), NOW, rollout)
    return status_view.status_lines(found, status_view.Look(alone=bool(rollout), **options))


def test_the_text_says_what_a_person_asks_for() -> None:
    text = "\n".join(lines(wide=True))
    row = next(line for line in lines(wide=True) if line.startswith("workers"))
    assert row.split()[:4] == ["workers", "Staging", "1/3", "0"]
    assert "2026-01-31T22:00:00Z" in row
    assert row.endswith("@sha256:bbbbbbbbbbbb")
    assert "workers: n2 is blocked by shop/web-1: its budget allows none, since 2026-01-31T11:00:00Z" in text
    by_node = {line.split()[0]: line for line in lines(wide=True) if line[:1] == "n" and line[1:2].isdigit()}
    assert list(by_node) == ["n2", "n3", "n4", "n1"], "what failed comes first, then who is away"
    assert "Staging 40%" in by_node["n2"]
    assert "Stage Running" in by_node["n2"]
    assert "NETWORK" in by_node["n2"]
    assert "Stage not seen" in by_node["n3"]
    assert "no, cordoned" in by_node["n4"]
    assert "no rollout selects it" in by_node["n4"]
    assert "UpToDate" in by_node["n1"]


def test_the_text_of_one_rollout() -> None:
    text = "\n".join(lines("workers"))
    assert f"workers: release {B}" in text
    assert f"workers: before: {A}: Complete on 3 nodes, until 2026-01-01T00:00:00Z" in text
    assert "n4" not in text


def test_an_order_that_is_not_taken_is_shown() -> None:
    said = Condition("Delivered", "False", "STALE_ORDER", "order 7 was seen")
    status = NodeStatus(phase=Phase.GOOD, booted=Booted("a", "1", committed=True), conditions=(said,))
    snapshot = dataclasses.replace(a_cluster(), oses={"n1": node_os("n1", status)})
    found = status_view.status_lines(status_view.status_report(snapshot, NOW))
    assert any(line.startswith("n1 ") and "STALE_ORDER" in line for line in found)
    assert "Delivered is False: STALE_ORDER: order 7 was seen" in explain_lines(explain(snapshot, "n1", NOW), NOW)


def test_a_long_list_is_cut() -> None:
    assert "... and 2 more (--all shows them)" in list(lines(most=2))
    assert not any("more" in line for line in lines(most=0))


@pytest.mark.parametrize("width", [80, 120])
def test_p10_the_tables_fit_a_terminal_and_say_each_reason_once(width: int) -> None:
    snapshot = a_cluster()
    names = [f"node-{number:03}.eu-central-1.compute.internal.example.net" for number in range(9)]
    more = {name: NodeView(name, f"uid-{name}", {"pool": "a"}) for name in names}
    snapshot = dataclasses.replace(snapshot, nodes={**snapshot.nodes, **more})
    found = list(status_view.status_lines(status_view.status_report(snapshot, NOW), status_view.Look(width=width)))
    end = next(number for number, line in enumerate(found) if line.startswith("Staging ("))
    assert max(len(line) for line in found[:end] if not line.startswith("workers:")) <= width
    assert sum("The node has just joined." in line for line in found) == 1
    assert any(line.startswith("New (9): ") for line in found)
    rows = [line.split()[0] for line in found if line.startswith(("n1 ", "n2 ", "n4 "))]
    assert rows == ["n2", "n4", "n1"]
    wide = list(status_view.status_lines(status_view.status_report(snapshot, NOW), status_view.Look(wide=True)))
    assert any(names[0] in line for line in wide)


def test_p10_a_terminal_has_colours_by_urgency_and_the_words_stand_there_too() -> None:
    found = [line for line in lines(colour=True) if isinstance(line, status_view.Painted)]
    assert [(line.split()[0], line.colour) for line in found] == [
        ("n2", "red"),
        ("n3", "red"),
        ("n4", "yellow"),
        ("n1", "green"),
    ]
    assert [line.split()[1] for line in found] == ["Staging", "Staging", "no", "UpToDate"]


def test_versions_are_counted() -> None:
    told = document(status_view.status_report(a_cluster(), NOW))
    assert told["versions"] == {"1": 2, "2": 1, "unknown": 1}
    assert told["rollouts"][0]["counts"]["nodes"] == 3
    assert [one["name"] for one in told["nodes"]] == ["n2", "n3", "n4", "n1"]
    assert told["nodes"][0]["order"] == document(Order(4, Action.STAGE, 1, B))


def test_what_the_scheduler_has_not_seen_yet_is_said() -> None:
    snapshot = a_cluster()
    changed = dataclasses.replace(snapshot.rollouts["workers"], generation=4)
    found = status_view.status_report(dataclasses.replace(snapshot, rollouts={"workers": changed}), NOW)
    assert any("(not seen by a scheduler yet)" in line for line in status_view.status_lines(found))


# the command


def test_every_verb_has_an_example_under_its_own_name() -> None:
    name_twins(cli, "PROA")
    assert set(cli.commands) == {
        "status",
        "start",
        "approve",
        "pause",
        "resume",
        "rollback",
        "settings",
        "explain",
        "plan",
    }
    for name, command in cli.commands.items():
        assert (command.epilog or "").startswith(f"Example: kubectl proa {name} "), name
