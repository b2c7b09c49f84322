"""What a demo or a rehearsal leaves: a JSON document, and one HTML page that needs nothing else."""

from __future__ import annotations

import dataclasses
import html
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proa.core.runtime import files
from proa.core.runtime.errors import ProaError
from proa.core.schema.model import Part, Report, document, field, parse
from proa.core.schema.values import Seconds

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#1b2430;background:#fff}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3em .8em;border-bottom:1px solid #d8dee6;
vertical-align:top}.ok{color:#1a7f37}.bad{color:#b42318;font-weight:600}.bar{background:#3b6ea5;height:.8em;
border-radius:2px;min-width:2px}pre{background:#10151c;color:#d8dee6;padding:1em;overflow:auto;max-height:30em}
summary{cursor:pointer;font-weight:600;margin:.5em 0}
@media(prefers-color-scheme:dark){body{background:#10151c;color:#d8dee6}th,td{border-color:#2d3745}}
"""


LARGE = frozenset({"timeline"})
"""What is too large for the page's table of facts."""


_JOURNAL = "journal"
"""Of a step's details, what is shown as lines."""


@dataclass
class StepRecord:
    """One step of the story."""

    name: str
    started: float
    """Seconds from the story's start."""
    seconds: float = 0.0
    ok: bool = False
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What it found: versions, slots, bytes, reasons."""

    def document(self) -> dict[str, Any]:
        """As JSON keys and values."""
        rounded = {"started": round(self.started, 1), "seconds": round(self.seconds, 1)}
        return {"name": self.name, "ok": self.ok, **rounded, **self.details}


@dataclass(frozen=True)
class StoryStep(Part):
    """A step; further keys say what it found: versions, slots, bytes, reasons."""

    name: str = field("What the step did.")
    ok: bool = field("Whether it went as promised.")
    started: Seconds = field("Seconds from the start.")
    seconds: Seconds = field("Duration of the step.")
    error: Mapping[str, Any] = field("Why not (`proa.error/v1`).", default={}, left_out=True)
    journal: tuple[str, ...] = field(
        "The last lines of the journal of a trial that returned in it.", default=(), left_out=True
    )
    found: Mapping[str, Any] = field("What it found.", default={}, others=True)


@dataclass(frozen=True)
class StoryReport(Report):
    """What every story reports."""

    ok: bool = field("Whether every step went as promised.")
    seconds: Seconds = field("From start to end.")
    steps: tuple[StoryStep, ...] = field("In order.")


@dataclass(frozen=True)
class DemoReport(StoryReport, schema="proa.demo/v1"):
    """`build/demo/report.json` of `make demo`."""


@dataclass
class Story:
    """The steps of a demo or a rehearsal, in order, with their times.

    Attributes:
        kind: What it reports.
        title: Of the HTML page.
    """

    kind: type[StoryReport]
    title: str
    steps: list[StepRecord] = dataclasses.field(default_factory=list)
    _start: float = dataclasses.field(default_factory=time.monotonic)

    @contextmanager
    def step(self, name: str) -> Iterator[StepRecord]:
        """Record a step: its time, and that it went well unless something is raised."""
        record = StepRecord(name, time.monotonic() - self._start)
        self.steps.append(record)
        try:
            yield record
            record.ok = True
        except ProaError as error:
            record.details["error"] = error.document()
            raise
        finally:
            record.seconds = time.monotonic() - self._start - record.started

    @property
    def ok(self) -> bool:
        """Whether every step went well."""
        return all(step.ok for step in self.steps)

    @property
    def seconds(self) -> float:
        """From the start until now."""
        return time.monotonic() - self._start

    def document(self, **more: Any) -> dict[str, Any]:
        """The JSON document; ``more`` comes behind the steps."""
        head = self.kind.header() | {"ok": self.ok, "seconds": round(self.seconds, 1)}
        return document(parse(self.kind, head | {"steps": [step.document() for step in self.steps]} | more))

    def write(self, folder: Path, consoles: Mapping[str, str], **more: Any) -> None:
        """Write ``report.json``, ``report.html`` and ``console-NAME.log`` into ``folder``.

        Raises:
            ProaError: ``DISK_FULL`` or ``DEVICE``.
        """
        folder.mkdir(parents=True, exist_ok=True)
        files.replace(folder / "report.json", (json.dumps(self.document(**more), indent=2) + "\n").encode())
        for name, text in consoles.items():
            files.replace(folder / f"console-{name}.log", text.encode())
        files.replace(folder / "report.html", self.page(consoles, **more).encode())

    @contextmanager
    def written(
        self,
        folder: Path,
        consoles: Mapping[str, str],
        tell: Callable[[str], object],
        facts: Callable[[], Mapping[str, Any]] = dict,
    ) -> Iterator[None]:
        """Write the report however the block ends.

        Args:
            folder: Where to.
            consoles: By name; looked at when the block has ended.
            tell: Told why there is no report, when the block has failed too: that it failed is what counts.
            facts: What comes behind the steps (:meth:`document`), asked when the block has ended.

        Raises:
            ProaError: ``DISK_FULL`` or ``DEVICE``, when the block itself went well.
        """
        try:
            yield
        except BaseException:
            try:
                self.write(folder, consoles, **facts())
            except (ProaError, OSError) as second:
                tell(f"the report could not be written: {second}")
            raise
        self.write(folder, consoles, **facts())

    def sections(self, more: Mapping[str, Any]) -> str:
        """HTML between the steps and the consoles, made of what comes behind the steps; none by default."""
        del more
        return ""

    def page(self, consoles: Mapping[str, str], **more: Any) -> str:
        """The HTML page."""
        total = max(self.seconds, 0.1)
        rows = "\n".join(_row(step, total) for step in self.steps)
        facts = "".join(
            f"<tr><th>{_text(key)}</th><td>{_text(value)}</td></tr>" for key, value in more.items() if key not in LARGE
        )
        logs = "\n".join(
            f"<details><summary>Console: {_text(name)}</summary><pre>{_text(text)}</pre></details>"
            for name, text in consoles.items()
        )
        verdict = '<span class="ok">as promised</span>' if self.ok else '<span class="bad">not as promised</span>'
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_text(self.title)}</title>'
            f"<style>{_STYLE}</style><h1>{_text(self.title)}</h1><p>{verdict}, {self.seconds:.0f} s</p>"
            f"<table>{facts}</table><h2>Timeline</h2>"
            f"<table><tr><th>step</th><th></th><th>seconds</th><th>when</th><th>what</th></tr>\n{rows}\n</table>\n{self.sections(more)}\n{logs}"
        )


def _row(step: StepRecord, total: float) -> str:
    left, width = 100 * step.started / total, 100 * step.seconds / total
    mark = '<span class="ok">ok</span>' if step.ok else '<span class="bad">failed</span>'
    bar = f'<div class="bar" style="margin-left:{left:.1f}%;width:{width:.1f}%"></div>'
    what = "<br>".join(f"{_text(key)}: {_text(value)}" for key, value in step.details.items() if key != _JOURNAL)
    if journal := step.details.get(_JOURNAL):
        lines = _text("\n".join(journal))
        what += f"<details open><summary>Journal of the trial, its end</summary><pre>{lines}</pre></details>"
    return (
        f'<tr><td>{_text(step.name)}</td><td>{mark}</td><td>{step.seconds:.1f}</td><td style="width:30%">{bar}</td>'
        f"<td>{what}</td></tr>"
    )


def _text(value: object) -> str:
    shown = value if isinstance(value, str) else json.dumps(value, default=str)
    return html.escape("".join(c for c in shown if c.isprintable() or c in "\n\t"))
