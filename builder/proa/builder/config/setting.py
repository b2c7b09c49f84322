"""What a setting is, and a section of them: the machinery of the table in :mod:`proa.builder.config.settings`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

from proa.builder.config.kinds import Number, Size, ValueKind

UNSET: Final = -1
"""A number that is derived."""
_REQUIRED: Final = object()


def setting(kind: ValueKind, doc: str, default: Any = _REQUIRED, *, example: Any = None) -> Any:
    """A field that is a setting; ``default`` and ``example`` are written as in the file.

    A default of ``""`` means not set. One of None does too, for a text that may be empty when it is set.
    """
    details = {"kind": kind, "doc": doc, "default": default, "example": example}
    if default is _REQUIRED:
        return dataclasses.field(metadata=details)
    if default is None:
        return dataclasses.field(default=None, metadata=details | {"default": ""})
    unset = 0 if isinstance(kind, Size) else UNSET if isinstance(kind, Number) else ""
    return dataclasses.field(default=unset if default == "" else kind.read(default), metadata=details)


@dataclass(frozen=True)
class Section:
    """A table of the file, or an array of tables."""

    name: str
    type: type
    many: bool = False

    @property
    def doc(self) -> str:
        """What the section is for."""
        return (self.type.__doc__ or "").strip()

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Its settings, in order."""
        return tuple(
            Setting(
                self.name,
                field.name,
                field.metadata["kind"],
                field.metadata["doc"],
                field.metadata["default"] is _REQUIRED,
                None if field.metadata["default"] is _REQUIRED else field.metadata["default"],
                field.metadata["example"],
            )
            for field in dataclasses.fields(self.type)
        )


@dataclass(frozen=True)
class Setting:
    """One setting, as the table's readers see it."""

    section: str
    key: str
    kind: ValueKind
    doc: str
    required: bool
    default: Any
    """As it stands in the file; ``""`` for not set, None if required."""
    example: Any
    """As it stands in the file; None if the default says enough."""

    @property
    def name(self) -> str:
        """``section.key``."""
        return f"{self.section}.{self.key}"
