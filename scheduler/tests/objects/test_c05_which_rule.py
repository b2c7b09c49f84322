"""Which rule has refused a write is told by the policy's message; only that another one leads ends a term."""

from __future__ import annotations

from pathlib import Path

import pytest

from proa.scheduler.install import render
from proa.scheduler.kube.apierror import ApiError, Cause
from proa.scheduler.objects import writing
from proa.scheduler.objects.writing import POLICY, Outcome, outcome_of
from proa.scheduler.testing.controlled import Case, assert_all_is_well

SAID = f"nodes \"n0\" is forbidden: ValidatingAdmissionPolicy '{POLICY}' with binding 'x' denied request: "
OTHERS_FIELDS = "the scheduler may change only the cordon and its own annotations of a Node"


def denied(what: str) -> ApiError:
    return ApiError(403, SAID + what, reason="Forbidden")


def stale(lease: object, ours: object) -> ApiError:
    return denied(f"another leader holds the lease: the fence is {lease}, this write has {ours}")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (stale(8, 7), Outcome.FENCED),
        (denied("another leader holds the lease"), Outcome.FENCED),
        (denied("another leader holds the lease: the order's fence is not the lease's"), Outcome.FENCED),
        (stale(7, "none"), Outcome.REFUSED),
        (stale(7, 8), Outcome.REFUSED),
        (denied(OTHERS_FIELDS), Outcome.REFUSED),
        (ApiError(403, "no", causes=(Cause("", SAID + OTHERS_FIELDS),)), Outcome.REFUSED),
        (ApiError(403, "no", causes=(Cause("", SAID + "another leader holds the lease"),)), Outcome.FENCED),
    ],
)
def test_c05_only_a_stale_fence_means_that_another_one_leads(error: ApiError, outcome: Outcome) -> None:
    assert outcome_of(error, "7") is outcome


def test_c05_the_messages_are_those_of_the_policy_that_is_installed() -> None:
    policies = Path(render.__file__).with_name("policies.yaml").read_text()
    assert f"message: {writing._OTHERS_FIELDS}" in policies
    assert "'another leader holds the lease: the fence is ' + variables.lease" in policies
    assert "+ ', this write has ' +" in policies


@pytest.mark.parametrize("error", [denied(OTHERS_FIELDS), stale(0, "none")], ids=["fields", "fence"])
def test_c05_a_mutating_webhook_does_not_make_the_leader_resign(error: ApiError) -> None:
    case = Case(nodes=3)
    said = stale(case.elector.fence, "none") if "fence is" in error.message else error
    case.server.fail(lambda verb, path: said if (verb, path) == ("apply", case.node("n0")) else None)
    case.until(lambda: case.boots.keys() == {"n1", "n2"}, turns=80)
    assert case.elector.resigned == 0
    assert ("n0", "WriteRefused") in case.ears.heard
    case.server.mend()
    case.until(lambda: case.phase == "Complete", turns=800)
    assert_all_is_well(case)
