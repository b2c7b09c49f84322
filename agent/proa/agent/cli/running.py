"""What every verb of ``proa-agent`` has in common: where the node is, and whether a daemon serves it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from proa.agent.api.client import Client
from proa.agent.node.cancel import Cancel
from proa.agent.node.paths import Paths
from proa.core.runtime.cli import options, progress
from proa.core.runtime.events import Monitor

if TYPE_CHECKING:
    from proa.agent.node.view import Context

_WHERE: Final = {
    "root": "A folder to put before every path of the agent.  [default: /]",
    "disk": "A device or image file to work on, instead of the disk that this machine runs from.",
}


def _keep(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(dict)[parameter.name] = value


def _where(name: str) -> Callable[[Any], Any]:
    """An option that every verb takes, behind its name or before it; :func:`_run` reads it."""
    kind = click.Path(path_type=Path)
    return click.option(f"--{name}", type=kind, expose_value=False, callback=_keep, help=_WHERE[name])


where_options = options(_where("root"), _where("disk"))


@dataclasses.dataclass(frozen=True)
class Run:
    """One call of the command. What only the work itself needs is imported where no daemon does it."""

    paths: Paths
    monitor: Monitor
    client: Client | None
    """The daemon, where one runs."""
    cancel: Cancel = dataclasses.field(default_factory=Cancel)

    @property
    def context(self) -> Context:
        """For work in this process."""
        from proa.agent.node.view import Context

        return Context(self.paths, self.monitor, cancel=self.cancel)


def running(kind: str = "none") -> Run:
    """One call, by the options that stand before and behind the verb.

    Args:
        kind: How progress is shown, as ``--progress`` has it.
    """
    where: dict[str, Path] = click.get_current_context().ensure_object(dict)
    paths = Paths(where.get("root", Path("/")).absolute(), where.get("disk"))
    client = Client(paths.socket)
    running = paths.disk is None and client.is_running
    return Run(paths, progress(kind), client if running else None)
