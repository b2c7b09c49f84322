"""What the verbs have in common: which cluster is meant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proa.core.runtime.cli import options

if TYPE_CHECKING:
    from proa.scheduler.kube.api import Api

cluster_options = options(
    click.option("--kubeconfig", default="", metavar="FILE", help="Kubeconfig files, separated by colons."),
    click.option("--context", default="", metavar="NAME", help="One of their contexts."),
)
from_option = click.option(
    "--from",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file of 'proa-scheduler snapshot' instead of the live cluster.",
)


def remark(notes: Iterable[str]) -> None:
    """Tell people what they should know besides."""
    for note in notes:
        click.echo(f"note: {note}", err=True)


def connect(kubeconfig: str, context: str) -> Api:
    """The API server of the cluster that is meant; nothing is asked of it yet.

    Raises:
        ProaError: ``KUBECONFIG``.
    """
    from proa.scheduler.kube import access
    from proa.scheduler.kube.api import Api

    return Api(access.find(kubeconfig, context))
