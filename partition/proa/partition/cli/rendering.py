"""A layout as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from proa.core.runtime.events import human_bytes
from proa.partition.disk.layout import Layout


def text(layout: Layout, used: Mapping[str, int] | None = None, holds: Mapping[str, str] | None = None) -> str:
    """The layout as a table.

    Args:
        layout: The disk.
        used: Bytes of content by name, where they are known; gives the columns ``used`` and ``free``.
        holds: What each partition holds, in words; gives the column ``holds``.
    """
    rows = [["#", "name", "offset", "size", ""]]
    for partition in layout.partitions:
        numbers = (str(partition.start), str(partition.size), human_bytes(partition.size))
        rows.append([str(partition.number), partition.name, *numbers])
    if used is not None:
        rows[0] += ["used", "free"]
        for row, partition in zip(rows[1:], layout.partitions, strict=True):
            content = used.get(partition.name)
            row += ["-", "-"] if content is None else [human_bytes(content), human_bytes(partition.size - content)]
    if holds is not None:
        rows[0].append("holds")
        for row, partition in zip(rows[1:], layout.partitions, strict=True):
            row.append(holds.get(partition.name, "-"))
    return "\n".join([*aligned(rows, left={"name", "holds"}), _summary(layout)])


def aligned(rows: Sequence[Sequence[str]], left: set[str]) -> list[str]:
    """Rows as lines with their columns aligned: to the left for those whose heading is in ``left``."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.ljust(width) if heading in left else cell.rjust(width)
            for heading, cell, width in zip(rows[0], row, widths, strict=True)
        )
        return "  ".join(cells).rstrip()

    return [line(row) for row in rows]


def _summary(layout: Layout) -> str:
    free = f", {human_bytes(layout.unallocated)} of it unallocated" if layout.unallocated else ""
    return (
        f"disk of {layout.disk_size} bytes ({human_bytes(layout.disk_size)}) with sectors of "
        f"{layout.sector_size} bytes{free}; offsets and sizes are in bytes"
    )
