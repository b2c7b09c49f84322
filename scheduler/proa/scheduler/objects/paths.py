"""Where our own objects are on the API server."""

from __future__ import annotations

from typing import Final

from proa.scheduler.spec import crd

NODE_OSES: Final = crd.NODES.path
OS_ROLLOUTS: Final = crd.ROLLOUTS.path
