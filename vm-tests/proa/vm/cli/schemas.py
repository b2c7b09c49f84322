"""The JSON Schemas of the reports of ``proa-vm``, of the demo, of the benchmarks and of the tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proa.core.artifact.schemas import Schema, flag, listing, nullable, record, report, seconds, text
from proa.vm.node.faults import Break


def _story(name: str, what: str, optional: tuple[str, ...] = (), /, **more: Schema) -> Schema:
    step = record(
        "A step; further keys say what it found: versions, slots, bytes, reasons.",
        ["error"],
        name=text("What was done."),
        ok=flag("Whether it came out as promised."),
        started=seconds("From the start of all."),
        seconds=seconds("What it took."),
        error={"type": "object", "description": "Why not (`proa.error/v1`)."},
    )
    # What a step found is of many kinds, so here even `closed` lets keys pass.
    steps = listing("In order.", step | {"additionalProperties": True})
    verdict = flag("Whether every step came out as promised.")
    return report(name, what, optional, ok=verdict, seconds=seconds("From start to end."), steps=steps, **more)


def _number_or_null(what: str) -> Any:
    return nullable({"type": "number", "description": what})


_REHEARSAL: Final = _story(
    "proa.rehearsal/v1",
    "`proa-vm rehearse`, and `report.json` in its report folder.",
    old=text("The output folder of the build that the node ran."),
    new=text("The output folder of the build that it was upgraded to."),
    secure_boot=flag("Whether Secure Boot was enforced."),
    breaks=listing("How the new release was broken.", text("A break.", of=[fault.option for fault in Break])),
)

_REHEARSAL_PLAN: Final = report(
    "proa.rehearsal-plan/v1",
    "`proa-vm rehearse --dry-run`: what would be done; what can be checked before has been.",
    old=text("The output folder of the build that the node would run."),
    new=text("The output folder of the build that it would be upgraded to."),
    breaks=listing("How the new release would be broken.", text("A break.", of=[fault.option for fault in Break])),
)

_COUNT: Final = {"type": "integer", "minimum": 0}


def _by_node(what: str) -> Schema:
    return {"type": "object", "description": f"{what} By node.", "additionalProperties": _COUNT}


_PROOF: Final = _story(
    "proa.proof/v1",
    "`build/proof/report.json` of `make proof`; `proa-vm cluster`, and `report.json` in its report folder. A step "
    "with a rollout says how long each part of every node's turn took (`turns`), what the service answered (`probes`), "
    "and how many bytes of releases and of pods' images each node fetched (`bytes_fetched`, `bytes_of_pods`).",
    nodes=_COUNT | {"description": "How many nodes."},
    memory=_COUNT | {"description": "MiB of each."},
    memory_of_kernel=_by_node("MiB that a node's kernel has."),
    memory_used=_by_node("The most MiB that a node was seen to use."),
    probes=record(
        "What the service answered, from its first probe to the last.",
        answers=_COUNT | {"description": "Answers that came."},
        failures=_COUNT | {"description": "Answers that did not."},
        slowest=seconds("The slowest answer."),
        by_node=_by_node("Answers."),
        failed=listing(
            "The first 1000 failures.",
            record(
                "A failure.",
                at=seconds("From the boot of the nodes."),
                node=text("Who was asked; empty if there was nobody."),
                why=text("What happened."),
            ),
        ),
    ),
    timeline={
        "type": "object",
        "description": "What the API server told of each node: every change.",
        "additionalProperties": listing(
            "In order.", record("A change.", at=seconds("From the boot of the nodes."), what=text("In one line."))
        ),
    },
)

_ACCEL: Final = report(
    "proa.accel/v1",
    "`proa-vm accel`: what truly runs guests on this machine.",
    accel=text("What is used.", of=["kvm", "tcg"]),
    factor=seconds("How many times as long a guest takes as on the reference machine."),
    probes=listing(
        "What was tried, in order.",
        record(
            "One kind of acceleration.",
            name=text("Its name.", of=["kvm", "tcg"]),
            works=flag("Whether a guest ran."),
            seconds=seconds("What trying took."),
            why=text("Why it does not work; empty if it does."),
        ),
    ),
)

_BENCH: Final = report(
    "proa.bench/v1",
    "`build/bench/NAME.json` of `make bench-NAME`.",
    machine={"type": "object", "description": "The machine that it was measured on."},
    rows=listing(
        "One figure each.",
        record(
            "A figure.",
            figure=text("What was measured."),
            value={"type": "number", "description": "The result."},
            unit=text("Of value and floor."),
            floor=_number_or_null("The peer or the limit that was measured in the same run; null if there is none."),
            ratio=_number_or_null("value / floor."),
            goal=text("What it should be; empty if there is no goal."),
            ok=flag("Whether the goal is met."),
        ),
    ),
)

_SPENT: Final = {
    "seconds": seconds("How long it took."),
    "cpu_seconds": seconds("Processor time of all its processes: what does not depend on what else the machine does."),
}

_TEST: Final = report(
    "proa.test/v1",
    "`build/test/summary.json` of `make test`; written after every tier, so it is there when one fails or all is "
    "interrupted.",
    ok=flag("Whether every tier passed."),
    interrupted=flag("Whether it was ended early; tiers that never began are missing then."),
    seconds=seconds("From start to end. Less than the sum where tiers ran at the same time."),
    tiers=listing(
        "In the order in which they were asked for.",
        record(
            "A tier.",
            name=text("Its name.", of=["lint", "unit", "rollouts", "contract", "vm"]),
            ok=flag("Whether all of it passed."),
            passed=_COUNT | {"description": "Tests that passed; of `lint`, its checks."},
            failed=_COUNT | {"description": "Tests that failed. A run that ended without a report counts as one."},
            skipped=_COUNT | {"description": "Tests that were skipped."},
            **_SPENT,
        ),
    ),
    slowest=listing(
        "The twenty slowest tests of all tiers, the slowest first.",
        record(
            "A test.",
            tier=text("Its tier."),
            name=text("Its file and name."),
            seconds=seconds("How long it took, with its fixtures."),
        ),
    ),
)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "proa.accel/v1": _ACCEL,
    "proa.bench/v1": _BENCH,
    "proa.demo/v1": _story("proa.demo/v1", "`build/demo/report.json` of `make demo`."),
    "proa.proof/v1": _PROOF,
    "proa.rehearsal/v1": _REHEARSAL,
    "proa.rehearsal-plan/v1": _REHEARSAL_PLAN,
    "proa.test/v1": _TEST,
}
"""The schemas of this package, by name."""
