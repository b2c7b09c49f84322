"""What the verbs have in common: which cluster is meant, and how is told what was found."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proa.core.runtime.cli import options
from proa.core.runtime.errors import ProaError
from proa.core.runtime.output import say
from proa.core.schema.model import Report
from proa.core.schema.output import tell
from proa.scheduler.spec.amounts import Amount, resolve

if TYPE_CHECKING:
    from proa.scheduler.kube.access import ApiSession
    from proa.scheduler.kube.api import Api
    from proa.scheduler.report.source import ClusterLook


@dataclass(frozen=True)
class ClusterOption:
    """The cluster that is meant.

    Attributes:
        kubeconfig: Kubeconfig files, separated by colons; empty for the usual ones.
        context: One of their contexts; empty for the current one.
    """

    kubeconfig: str
    context: str

    @property
    def load(self) -> Callable[[], ApiSession]:
        """Reads the access to it."""
        from proa.scheduler.kube import access

        return access.find(self.kubeconfig, self.context)

    def connect(self) -> Api:
        """Its API server; nothing is asked of it yet.

        Raises:
            ProaError: ``KUBECONFIG``.
        """
        from proa.scheduler.kube.api import Api

        return Api(self.load)

    def look(self, path: Path | None = None, *, rollout: str = "", node: str = "") -> ClusterLook:
        """The snapshot in a file if one is named, else one of the live cluster.

        Args:
            path: The file.
            rollout: The rollout that it is for: what could never be drained is looked at there only; everywhere if
                empty.
            node: The same of a node.

        Raises:
            ProaError: ``FILE_MISSING``, ``CONFIG_VALUE``, ``KUBECONFIG``, and what the API server answers.
        """
        from proa.scheduler.report import document, source

        if path is not None:
            return source.ClusterLook(*document.load(path))
        api = self.connect()
        try:
            return source.look(api, rollout=rollout, node=node)
        finally:
            api.close()


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which cluster is meant; the verb is given it as ``cluster``."""

    @functools.wraps(function)
    def verb(*, kubeconfig: str, context: str, **given: Any) -> Any:
        return function(cluster=ClusterOption(kubeconfig, context), **given)

    return options(
        click.option("--kubeconfig", default="", metavar="FILE", help="Kubeconfig files, separated by colons."),
        click.option("--context", default="", metavar="NAME", help="A context in the kubeconfig."),
    )(verb)


from_option = click.option(
    "--from",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Read a file of 'proa-scheduler snapshot' instead of the live cluster.",
)
all_option = click.option("--all", "whole", is_flag=True, help="Show all nodes, however many there are.")


usual_option = functools.partial(click.option, show_default=True)
"""An option whose help tells its default."""


def checked(read: Callable[[str], object]) -> Callable[[click.Context, click.Parameter, str | None], object]:
    """Reads an option, whose errors are told as those of a command line."""

    def callback(_: click.Context, __: click.Parameter, value: str | None) -> object:
        try:
            return None if value is None else read(value)
        except ProaError as error:
            raise click.BadParameter(error.message) from error

    return callback


def _amount(said: str) -> Amount:
    """A number of nodes, or a percentage of them."""
    found: Amount = int(said) if re.fullmatch(r"[0-9]{1,9}", said) else said
    resolve(found, 100)
    return found


amount = checked(_amount)
"""Reads an option that is a number of nodes, or a percentage of them."""


def show(report: Report, as_json: bool, lines: Iterable[str]) -> None:
    """Print a report, for people by its lines; what they should know besides goes to standard error."""
    if as_json:
        tell(report, True, str)
        return
    paint(lines)
    remark(getattr(report, "notes", ()))


def paint(lines: Iterable[str]) -> None:
    """Print lines, each in its colour if it has one; a line stays one, whatever a node has written into it."""
    for line in lines:
        say(" ".join(line.splitlines()), colour=getattr(line, "colour", ""))


def remark(notes: Iterable[str]) -> None:
    """Tell people what they should know besides."""
    for note in notes:
        say(f"note: {' '.join(note.splitlines())}", err=True)
