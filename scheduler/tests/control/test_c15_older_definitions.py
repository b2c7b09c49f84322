"""Where the definitions are older than the scheduler, its status is refused: people are told."""

from __future__ import annotations

from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.testing.controlled import Case, assert_all_is_well


def test_c15_a_status_that_cannot_be_stored_is_told_once() -> None:
    case = Case()
    old = ApiError(400, 'strict decoding error: unknown field "status.outstanding"', reason="BadRequest")
    case.server.fail(lambda verb, path: old if path.endswith("/status") else None)
    case.until(lambda: ("workers", "StatusRefused") in case.ears.heard)
    for _ in range(30):
        case.turn()
    assert case.ears.heard.count(("workers", "StatusRefused")) == 1
    case.server.mend()
    case.until(lambda: case.phase == "Complete", turns=800)
    assert_all_is_well(case)
