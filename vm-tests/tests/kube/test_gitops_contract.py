"""What tools that apply manifests from git make of a rollout: kstatus by its library, Argo CD by its Lua."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types

from proa.core.runtime import process
from proa.core.schema.model import document
from proa.scheduler.planning.planner import Plan
from proa.scheduler.spec.crd import ROLLOUTS
from proa.scheduler.spec.rollout import FailurePolicy, OnFailure
from proa.scheduler.testing.situations import HALTED, change, done, planned, ready, two_of, unfetched
from proa.vm.support.tools import go_tool

pytestmark = pytest.mark.contract
PAGE = Path(__file__).resolve().parents[3] / "docs/how-to/keep-rollouts-in-git.md"
BLOCK = "```yaml file=argocd-cm.yaml\n"
KEY = "resource.customizations.health.proa.dev_OSRollout"
BACK = change(failure=FailurePolicy(action=OnFailure.ROLLBACK))


def seen(made: Plan) -> dict[str, Any]:
    """The status that the scheduler writes at generation 3."""
    return document(made.statuses["workers"])


COMPLETE = seen(planned(done()))
UNSEEN = ROLLOUTS.definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["default"]
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "complete": (COMPLETE, "Current", "Healthy"),
    "no node follows it": (seen(planned()), "Current", "Healthy"),
    "staging": (seen(planned(unfetched())), "InProgress", "Progressing"),
    "progressing": (seen(planned(ready())), "InProgress", "Progressing"),
    "waits for a person": (seen(planned(ready(hold="debugging"))), "InProgress", "Progressing"),
    "paused": (seen(planned(ready(), spec=change(paused=True))), "InProgress", "Suspended"),
    "halted": (seen(planned(ready(), status=HALTED)), "Failed", "Degraded"),
    "rolls back": (seen(planned(done(), spec=BACK, status=HALTED)), "Failed", "Degraded"),
    "rolled back": (seen(planned(ready(), spec=BACK, status=HALTED)), "Failed", "Degraded"),
    "invalid": (seen(planned(ready(), spec=change(expected_duration="never"))), "Failed", "Degraded"),
    "conflict": (seen(planned(ready(), rollouts=two_of(HALTED))), "Failed", "Degraded"),
    "changed since then": (COMPLETE | {"observedGeneration": 2}, "InProgress", "Progressing"),
    "not seen yet": (UNSEEN, "InProgress", "Progressing"),
}


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """By case: what the tools say."""
    text = PAGE.read_text()
    block = text[text.index(BLOCK) + len(BLOCK) :].partition("```")[0]
    script = tmp_path_factory.mktemp("gitops") / "health.lua"
    script.write_text(yaml.safe_load(block)["data"][KEY])
    head = {"apiVersion": "proa.dev/v1alpha1", "kind": "OSRollout", "metadata": {"name": "workers", "generation": 3}}
    objects = [head | {"status": status} for status, _, _ in CASES.values()]
    told = process.run([go_tool("gitops"), script], stdin=json.dumps(objects).encode())
    return dict(zip(CASES, json.loads(told.stdout), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_c14_kstatus_and_argo_cd_tell_how_a_rollout_stands(case: str, findings: dict[str, dict[str, str]]) -> None:
    _, kstatus, argo = CASES[case]
    found = findings[case]
    assert (found["kstatus"], found["argo"]) == (kstatus, argo), found


def test_c14_they_tell_why_it_is_stalled(findings: dict[str, dict[str, str]]) -> None:
    assert HALTED.halted in findings["halted"]["message"]
    assert findings["halted"]["argoMessage"] == f"Halted 0/1: {HALTED.halted}"
    assert findings["complete"]["argoMessage"] == "Complete 1/1"


def test_c14_the_how_to_shows_objects_that_are_yaml() -> None:
    """Its Kustomization names the rollout as the API server does."""
    text = PAGE.read_text()
    block = text[text.index("```yaml file=kustomization.yaml\n") :].partition("\n")[2].partition("```")[0]
    (check,) = yaml.safe_load(block)["spec"]["healthChecks"]
    assert check["apiVersion"] == f"{ROLLOUTS.definition['spec']['group']}/v1alpha1"
    assert check["kind"] == ROLLOUTS.kind
