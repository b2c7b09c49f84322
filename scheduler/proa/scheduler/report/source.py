"""Where a verb has its snapshot from: the live cluster, or a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.kube.server import Server
from proa.scheduler.planning.views import Snapshot
from proa.scheduler.report import document, live, undrainable


@dataclass(frozen=True)
class Seen:
    """What a verb looks at.

    Attributes:
        snapshot: What is known.
        now: When that was.
        notes: What is not, in sentences.
    """

    snapshot: Snapshot
    now: datetime
    notes: tuple[str, ...] = ()


def load(path: Path) -> Seen:
    """The snapshot in a file.

    Raises:
        ProaError: ``FILE_MISSING``, ``CONFIG_VALUE`` for what is no snapshot.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ProaError(Code.FILE_MISSING, "the snapshot cannot be read", at=path) from error
    except (ValueError, RecursionError) as error:
        raise ProaError(Code.CONFIG_VALUE, "not JSON", at=path, hint="'snapshot -o FILE' writes one.") from error
    return Seen(*document.read(found, str(path)))


def look(api: Server, *, rollout: str = "", node: str = "", clock: Clock = SYSTEM) -> Seen:
    """A snapshot of the live cluster.

    Args:
        api: Its API server.
        rollout: The rollout that it is for: what could never be drained is looked at there only; everywhere if empty.
        node: The same of a node.
        clock: The clock.

    Raises:
        ApiError: For any answer that is not 2xx, or none.
    """
    snapshot, now = live.snapshot(api), clock.now()
    snapshot, notes = undrainable.look_ahead(api, snapshot, now, rollout=rollout, node=node)
    return Seen(snapshot, now, notes)
