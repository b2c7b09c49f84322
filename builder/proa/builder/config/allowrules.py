"""Rules of ``[settings]``: what a release may allow the cluster to set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from proa.builder.config.problems import Problem
from proa.builder.config.settings import Config
from proa.core.runtime.errors import ProaError
from proa.core.settings import allow_list
from proa.core.settings.registry import MODELS


def settings_can_be_allowed(config: Config, folder: Path) -> Iterator[Problem]:
    """Only keys of the models, and none that must never come from a cluster."""
    for model in MODELS:
        entries = getattr(config.settings, model)
        for number, entry in enumerate(entries):
            try:
                allow_list.entry(model, entry)
            except ProaError as error:
                yield Problem(("settings", model, number), error.message)
        keys = [entry.partition("=")[0] for entry in entries]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                yield Problem(("settings", model, number), f"{key} is listed twice")
