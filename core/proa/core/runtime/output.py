"""The one exit to a person's terminal. What a command prints may hold text of nodes, registries, releases and disks."""

from __future__ import annotations

import click

from proa.core.runtime.printable import printable


def say(text: str, *, err: bool = False, bold: bool = False, colour: str = "") -> None:
    """Print text: what a terminal would act on comes out as escapes, lines and tabs stay.

    Args:
        text: One line or more.
        err: Whether it goes to standard error.
        bold: Whether a terminal shows it in bold.
        colour: The colour in which a terminal shows it, such as ``red``; its usual one if empty.
    """
    styled = bold or colour
    click.echo(
        click.style(printable(text), bold=bold or None, fg=colour or None) if styled else printable(text), err=err
    )
