"""Where a verb has its snapshot from: the live cluster, or a file."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from proa.core.clock import SYSTEM, Clock
from proa.core.errors import Code, ProaError
from proa.scheduler.planning.views import Snapshot
from proa.scheduler.report import document


def load(path: Path) -> tuple[Snapshot, datetime]:
    """The snapshot in a file, and when it was taken.

    Raises:
        ProaError: ``FILE_MISSING``, ``CONFIG_VALUE`` for what is no snapshot.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ProaError(Code.FILE_MISSING, "the snapshot cannot be read", at=path) from error
    except (ValueError, RecursionError) as error:
        raise ProaError(Code.CONFIG_VALUE, "not JSON", at=path, hint="'snapshot -o FILE' writes one.") from error
    return document.read(found, str(path))


def look(kubeconfig: str, context: str, path: Path | None, clock: Clock = SYSTEM) -> tuple[Snapshot, datetime]:
    """The snapshot in a file if one is named, else one of the live cluster; and when it was taken.

    Raises:
        ProaError: as :func:`load`, ``KUBECONFIG``, and what the API server answers.
    """
    if path is not None:
        return load(path)
    from proa.scheduler.kube import access
    from proa.scheduler.kube.api import Api
    from proa.scheduler.report import live

    api = Api(access.find(kubeconfig, context))
    try:
        return live.snapshot(api), clock.now()
    finally:
        api.close()
