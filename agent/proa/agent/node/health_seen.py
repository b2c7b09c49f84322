"""What the last look at a boot's health saw: in /run, so that ``status`` can tell it with and without the daemon."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from proa.agent.node.failure import HealthFailure
from proa.agent.node.paths import Paths
from proa.core.runtime import files
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.schema.model import Document, document, field, parse
from proa.core.schema.values import Count, Seconds, Time


@dataclass(frozen=True)
class HealthSeen(Document, schema="proa.health/v1"):
    """`/run/proa/health.json`: what was looked at in this boot's trial, and what was found."""

    time: Time = field("When the last look was (RFC 3339).")
    healthy: bool = field("Whether the trial may be committed: nothing is wrong, and was not for long enough.")
    steady: Seconds = field("Seconds for which nothing has been wrong.")
    wanted: Seconds = field("Seconds without a failure that a commit requires (`health.seconds`).")
    units: tuple[str, ...] = field("Units that must be active.", default=())
    checks: tuple[str, ...] = field("Checks that were run; none while units start or have failed.", default=())
    services: Count = field("Services whose restarts are counted.", default=0)
    restarts: Mapping[str, Count] = field("Restarts of services since the agent began to watch the trial.", default={})
    failures: tuple[HealthFailure, ...] = field("What was found to be wrong.", default=())


def load_health(paths: Paths) -> HealthSeen | None:
    """The last health check of this boot; none if there was none."""
    try:
        return parse(HealthSeen, load_json(paths.health_seen.read_bytes(), Code.CONFIG_SYNTAX))
    except (OSError, ProaError):
        return None


def save_health(paths: Paths, seen: HealthSeen) -> None:
    """Write it down.

    Raises:
        ProaError: ``DEVICE`` or ``DISK_FULL``.
    """
    files.replace(paths.health_seen, (json.dumps(document(seen), indent=1) + "\n").encode(), 0o600)
