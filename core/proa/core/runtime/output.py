"""The one exit to a person's terminal. What a command prints may hold text of nodes, registries, releases and disks."""

from __future__ import annotations

import click

from proa.core.runtime.printable import printable


def say(text: str, *, err: bool = False, bold: bool = False) -> None:
    """Print text: what a terminal would act on comes out as escapes, lines and tabs stay.

    Args:
        text: One line or more.
        err: Whether it goes to standard error.
        bold: Whether a terminal shows it in bold.
    """
    click.echo(click.style(printable(text), bold=True) if bold else printable(text), err=err)
