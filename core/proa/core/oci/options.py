"""How a registry may be reached, as options of a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proa.core.oci.access import Access
from proa.core.runtime.cli import Function, options
from proa.core.schema.model import Field, fields_of

_FIELDS = fields_of(Access)


def registry_options(function: Function) -> Function:
    """An option for each setting of :class:`Access`; :func:`access` takes them together."""
    return options(*(click.option(f"--{_name(one)}", help=one.about.doc, **_kind(one)) for one in _FIELDS))(function)


def access(choices: dict[str, Any]) -> Access:
    """What the options say; they are taken out of the choices."""
    return Access(**{one.name: choices.pop(one.name) for one in _FIELDS})


def _name(one: Field) -> str:
    return one.name.replace("_", "-")


def _kind(one: Field) -> dict[str, Any]:
    # A whole path: a daemon that is handed it has another working folder.
    if one.type in (bool, str):
        return {"is_flag": True} if one.type is bool else {"default": "", "metavar": one.name.upper()}
    return {"type": click.Path(path_type=Path, resolve_path=True)}
