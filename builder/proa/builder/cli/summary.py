"""``proa-build summary``: every setting with its origin, and the layout of the disk before anything is built."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Final

from proa.builder.cli.reports import DiskLayout, Effective, Summary
from proa.builder.config.disklayout import is_derived, layout
from proa.builder.config.kinds import Duration, Size, seconds_text, size_text
from proa.builder.config.loading import Loaded
from proa.builder.config.settings import SECTIONS
from proa.builder.engine import proxies
from proa.core.oci.failures import safe_url
from proa.core.runtime.events import human_bytes
from proa.partition.disk.layout import Layout


def effective(loaded: Loaded) -> Iterator[Effective]:
    """Every setting, in the table's order."""
    document = dataclasses.asdict(loaded.config)
    for section in SECTIONS:
        found = document[section.name]
        tables = (
            [(f"{section.name}[{number}]", table) for number, table in enumerate(found)]
            if section.many
            else [(section.name, found)]
        )
        for prefix, table in tables:
            for setting in section.settings:
                name = f"{prefix}.{setting.key}"
                value = "" if table[setting.key] is None else table[setting.key]
                value = safe_url(value) if name.endswith(".uri") and "@" in value else value
                yield Effective(name, value, loaded.origins.get(name, "default"))


def report(loaded: Loaded) -> Summary:
    """What is reported; there is no layout where it depends on what the build makes."""
    return Summary(str(loaded.path), tuple(effective(loaded)), proxies.read().shown, _layout(loaded))


def _layout(loaded: Loaded) -> DiskLayout | None:
    if is_derived(loaded.config):
        return None
    planned = layout(loaded.config, {})
    return DiskLayout(planned.disk_size, planned.sector_size, planned.disk_guid, planned.partitions, free(planned))


def text(loaded: Loaded) -> str:
    """The same for people."""
    rows = [(one.name, _show(one.value, _KINDS.get(_plain(one.name))), one.origin) for one in effective(loaded)]
    width = max(len(name) for name, _, _ in rows)
    lines = [f"{name:<{width}}  {value:<40}  {origin}".rstrip() for name, value, origin in rows]
    if proxy := proxies.read().shown:
        lines += ["", f"proxy: {proxy}"]
    if is_derived(loaded.config):
        return "\n".join([*lines, "", "the disk layout depends on the build's results (disk.uki or disk.root is 0)"])
    planned = layout(loaded.config, {})
    lines += ["", f"disk of {human_bytes(planned.disk_size)}, {planned.sector_size}-byte sectors"]
    lines += [
        f"{part.number}  {part.name:<8}  from {human_bytes(part.start):>10}  {human_bytes(part.size):>10}"
        for part in planned.partitions
    ]
    return "\n".join([*lines, f"   unused                      {human_bytes(free(planned)):>10}"])


def free(planned: Layout) -> int:
    """Bytes of the disk that no partition has, the partition table's own included."""
    return planned.disk_size - sum(partition.size for partition in planned.partitions)


_KINDS: Final = {f"{section.name}.{setting.key}": setting.kind for section in SECTIONS for setting in section.settings}
"""By name of a setting: what values it can have."""


def _plain(name: str) -> str:
    """The name of a setting without the number of its table."""
    return re.sub(r"\[[0-9]+\]", "", name)


def _show(value: object, kind: object) -> str:
    """A value in the units that people write."""
    if isinstance(value, int) and not isinstance(value, bool):
        if isinstance(kind, Size):
            return size_text(value) if value else "0"
        if isinstance(kind, Duration):
            return seconds_text(value)
    if isinstance(value, tuple | list):
        return f"[{len(value)} items]" if len(value) > 3 else json.dumps(value)
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
