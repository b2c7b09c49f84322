"""A configuration that goes to another process: the root is assembled in one of its own, which is given JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proa.builder.config.setting import Section
from proa.builder.config.settings import SECTIONS, Config


def from_document(document: Mapping[str, Any]) -> Config:
    """A configuration from ``dataclasses.asdict`` of one that went through JSON."""

    def one(section: Section, values: Mapping[str, Any]) -> Any:
        return section.type(
            **{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        )

    values: dict[str, Any] = {
        section.name: tuple(one(section, values) for values in document[section.name])
        if section.many
        else one(section, document[section.name])
        for section in SECTIONS
    }
    return Config(**values)
